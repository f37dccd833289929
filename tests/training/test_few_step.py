"""The few-step student: what it makes, what it is pulled to, and what a run writes."""

import json
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.training.conftest import Trained
from vgen.config import merge
from vgen.models.cache import KVCache
from vgen.pipeline import VideoPipeline
from vgen.samplers.noise import IndependentNoise, NoiseSource
from vgen.training.config import FewStepRecipe
from vgen.training.dit import load_text_to_video
from vgen.training.few_step import Rollout, blocks_of, self_rollout, teacher_end, train_few_step
from vgen.training.loop import Plan, TrainingRecord, keyed
from vgen.training.lora import LORA_FILE, add_lora
from vgen.training.text import text_states

CPU = torch.device("cpu")
FRAMES, WINDOW, BLOCK, SHIFT = 7, 9, 3, 3.0


@pytest.fixture(scope="module")
def student(trained: Trained) -> Any:
    """The tiny transformer with a LoRA that changes nothing yet."""
    dit = load_text_to_video(trained.folder, CPU).dit
    add_lora(dit, targets=("to_q", "ffn.net.2"), rank=2, alpha=2.0, seed=0)
    return dit


def drawn(frames: tuple[int, ...], step: int) -> Tensor:
    return torch.randn(2, 16, len(frames), 4, 4, generator=keyed(frames[0], "noise", step))


def rolled(dit: Any, *, known: int = 0, **changed: Any) -> Rollout:
    generator = keyed(1, "texts", 0)
    texts = [torch.randn(2, 32, 16, generator=generator) for _ in range(2)]
    known_BCTHW = torch.randn(2, 16, known, 4, 4, generator=generator)
    said: dict[str, Any] = {
        "frames": FRAMES,
        "window": WINDOW,
        "recipe": FewStepRecipe(teacher_steps=4),
        "block": BLOCK,
        "shift": SHIFT,
        "guidance_scale": 3.0,
        "exit_step": 1,
        "learnt": (1,),
        "noise": drawn,
    } | changed
    return self_rollout(dit, (texts[0], texts[1]), known_BCTHW, **said)


def test_blocks_are_whole() -> None:
    assert blocks_of(7, 3) == [(0, 1, 2), (3, 4, 5), (6, 7, 8)]
    assert blocks_of(6, 3) == [(0, 1, 2), (3, 4, 5)]


@pytest.mark.parametrize("exit_step", range(4))
def test_a_teacher_of_one_step_without_guidance_is_the_student(student: Any, exit_step: int) -> None:
    everywhere = range(3)
    once: dict[str, Any] = {"recipe": FewStepRecipe(teacher_steps=1), "guidance_scale": 1.0, "learnt": everywhere}
    assert rolled(student, exit_step=exit_step, **once).loss < 1e-9
    assert rolled(student, exit_step=exit_step, learnt=everywhere).loss > 1e-6


@pytest.mark.parametrize("frames", [FRAMES, 14])  # the second is longer than what is in sight
def test_a_rollout_is_what_the_sampler_makes(trained: Trained, student: Any, frames: int) -> None:
    """From the same noise, through another denoiser, cache and loop."""
    recipe, prompt, seed = FewStepRecipe(), "a red ball falls and bounces", 11
    policy = IndependentNoise(NoiseSource(seed))

    def noise(frames: tuple[int, ...], step: int) -> Tensor:
        made = []
        for frame in frames:
            at = frame // BLOCK * len(recipe.sigmas) + step - 1  # steps of the whole run so far
            shape = (16, 4, 4)
            made.append(policy.initial(frame, shape, None) if step == 0 else policy.fresh(frame, at, shape))
        return torch.stack(made, dim=1)[None]

    pipeline = VideoPipeline.from_pretrained(trained.folder, dtype="float32", device="cpu")
    said = {
        "request.prompt": prompt,
        "request.seed": seed,
        "request.num_frames": 4 * frames - 3,
        "request.guidance_scale": 1.0,
        "request.num_inference_steps": len(recipe.sigmas),
        "sampler.sigmas": recipe.sigmas,
        "sampler.name": "causal",
        "sampler.solver": "renoise",
    }
    events = list(pipeline.start(*merge(("test", said))))
    theirs = torch.cat([event.latents_BCTHW for event in events if event.latents_BCTHW is not None], dim=2)
    held = load_text_to_video(trained.folder, CPU)
    with torch.no_grad():
        text_BMD = text_states(held.tokenizer, held.encoder, [prompt], trained.config.dit.text_length)
        ours = self_rollout(
            student,
            (text_BMD, text_BMD),
            torch.zeros(1, 16, 0, 4, 4),
            frames=frames,
            window=WINDOW,
            recipe=recipe,
            block=BLOCK,
            shift=SHIFT,
            guidance_scale=1.0,
            exit_step=0,
            learnt=(0,),
            noise=noise,
        ).x0_BCTHW
    torch.testing.assert_close(ours, theirs[:, :, :frames], rtol=0, atol=1e-4)


def test_what_learns_does_not_change_what_is_made(student: Any) -> None:
    clips = [rolled(student, learnt=learnt, exit_step=e).x0_BCTHW for learnt, e in (((0,), 0), ((1, 2), 3))]
    assert torch.equal(clips[0], clips[1]) and clips[0].shape == (2, 16, FRAMES, 4, 4)


@pytest.mark.parametrize("known", [1, 3, 6])
def test_known_frames_stay(student: Any, known: int) -> None:
    generator = keyed(1, "texts", 0)
    _ = [torch.randn(2, 32, 16, generator=generator) for _ in range(2)]
    known_BCTHW = torch.randn(2, 16, known, 4, 4, generator=generator)
    made = rolled(student, known=known, learnt=(2,))
    torch.testing.assert_close(made.x0_BCTHW[:, :, :known], known_BCTHW, rtol=0, atol=0)
    assert not torch.equal(made.x0_BCTHW[:, :, known:], rolled(student, learnt=(2,)).x0_BCTHW[:, :, known:])


def test_gradients_reach_the_lora_alone(student: Any) -> None:
    rolled(student).loss.backward()
    reached = {name for name, weight in student.named_parameters() if weight.grad is not None}
    assert reached and all("lora_" in name for name in reached)
    student.zero_grad(set_to_none=True)


def test_the_teacher_does_not_see_the_lora(trained: Trained) -> None:
    dit = load_text_to_video(trained.folder, CPU).dit
    generator = keyed(0, "teacher", 0)
    text_BMD, x_BCTHW = (
        torch.randn(4, 32, 16, generator=generator),
        torch.randn(2, 16, 3, 4, 4, generator=generator),
    )
    sigma_BT = torch.full((2, 3), 0.9)

    def end() -> Tensor:
        with torch.no_grad():
            context = KVCache(layers=len(dit.blocks), capacity=3)
            return teacher_end(dit, x_BCTHW, sigma_BT, dit.prepare_text(text_BMD), (0, 1, 2), context, 4, SHIFT, 3.0)

    add_lora(dit, targets=("ffn.net.2",), rank=2, alpha=2.0, seed=0)
    before = end()
    for name, weight in dit.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    assert torch.equal(end(), before)


def test_the_teacher_s_flow_is_exact_where_it_is_straight() -> None:
    """A velocity of (x - x0(text)) / sigma runs straight to x0, and guidance to where the two texts say."""

    class Straight:
        blocks = (None,)

        def disable_lora(self) -> None: ...

        def enable_lora(self) -> None: ...

        def __call__(self, x_BCTHW: Tensor, sigma_BT: Tensor, text: Any, **_: Any) -> Tensor:
            sigma = sigma_BT[:, None, :, None, None]
            ends = torch.tensor([2.0, 2.0, 1.0, 1.0]).view(4, 1, 1, 1, 1)  # with the prompt, then without
            return torch.where(sigma > 0, (x_BCTHW - ends) / sigma.clamp(min=1e-9), 0.0)

    x_BCTHW = torch.randn(2, 3, 2, 4, 4, generator=keyed(0, "x", 0))
    sigma_BT = torch.tensor([[0.0, 0.75], [0.0, 0.75]])
    dit: Any = Straight()
    none: Any = None
    end_BCTHW = teacher_end(dit, x_BCTHW, sigma_BT, none, (0, 1), none, 12, SHIFT, 5.0)
    assert torch.equal(end_BCTHW[:, :, 0], x_BCTHW[:, :, 0])
    torch.testing.assert_close(end_BCTHW[:, :, 1], torch.full((2, 3, 4, 4), 6.0), rtol=0, atol=1e-4)


def distilled(
    trained: Trained, folder: Path, checkpoints: Path, *, save_every_s: float = 1e9
) -> Iterator[TrainingRecord]:
    return train_few_step(
        trained.config,
        folder=folder,
        cache=trained.work / "latents",
        checkpoints=checkpoints,
        plan=Plan(minutes=1, steps=6, warmup_steps=2, cooldown=0.0),
        device=CPU,
        report_every=1,
        save_every_s=save_every_s,
    )


def test_a_run_writes_a_variant_and_leaves_the_model(trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(trained.folder, folder)
    straight = list(distilled(trained, folder, tmp_path / "straight"))
    made = load_file(folder / "variants" / "fast" / LORA_FILE)
    assert made and all(weight.isfinite().all() for weight in made.values())
    for path in trained.folder.rglob("*.safetensors"):
        assert path.read_bytes() == (folder / path.relative_to(trained.folder)).read_bytes()
    state = json.loads((folder / "training.json").read_text())
    assert state["few_step"]["step"] == 6 and state["dit"]["step"] == 120
    # interrupted, and gone on with
    first = list(islice(distilled(trained, folder, tmp_path / "parts", save_every_s=0), 3))
    second = list(distilled(trained, folder, tmp_path / "parts"))
    losses = [[r.values["loss"] for r in records if "loss" in r.values] for records in (first, second, straight)]
    assert losses[0] + losses[1] == losses[2]
    again = load_file(folder / "variants" / "fast" / LORA_FILE)
    assert all(torch.equal(again[name], weight) for name, weight in made.items())


def test_the_variant_samples_as_its_card_says(trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(trained.folder, folder)
    list(distilled(trained, folder, tmp_path / "work"))
    pipeline = VideoPipeline.from_pretrained(f"{folder}:fast", dtype="float32", device="cpu")
    record = pipeline("a red ball falls and bounces", seed=1).record
    assert record is not None
    said = record["resolved"]
    assert (said["request.num_inference_steps"], said["request.guidance_scale"]) == (4, 1.0)
    assert (said["sampler.name"], said["sampler.solver"]) == ("causal", "renoise")
