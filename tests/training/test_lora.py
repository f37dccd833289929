"""`vgen train lora` on a tiny random model: it learns, goes on to the bit, and stock diffusers runs what it writes."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from diffusers import WanPipeline, WanTransformer3DModel
from diffusers.utils import logging as diffusers_logging
from safetensors.torch import load_file
from torch import Tensor

from tests.folders import tiny_folder
from vgen.clip import Clip
from vgen.config import merge
from vgen.errors import ConfigError, InputError, ModelError
from vgen.models.conditioning import read_conditions
from vgen.models.load import load_model
from vgen.models.loaded import own_model
from vgen.models.vae import as_pixels, encode_frames
from vgen.pipeline import VideoPipeline
from vgen.schema import AttentionConfig
from vgen.sparsity import resolve_attention
from vgen.training.captioned import read_captioned, windows
from vgen.training.loop import TrainingRecord
from vgen.training.lora import LoraTraining
from vgen.training.lora_run import LoraJob, recipe_for, split, train_lora
from vgen.training.samples import encode_samples, read_sample, sample_files

WEIGHTS = "pytorch_lora_weights.safetensors"
FRAMES = 17  # the tiny model's own are 9
CAPTIONS = {"a": "a red ball rolls", "b": "a blue box falls", "c": "a red box falls to the right"}
Job = Callable[..., tuple[LoraJob, Any]]


def moving(channel: int, frames: int = FRAMES, fps: float = 8.0) -> Clip:
    """A box that moves to the right."""
    frames_FYX3 = np.zeros((frames, 32, 48, 3), np.uint8)
    for frame in range(frames):
        frames_FYX3[frame, 8:24, frame : frame + 16, channel] = 255
    return Clip(frames=frames_FYX3, fps=fps)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    diffusers_logging.disable_progress_bar()
    place = tmp_path_factory.mktemp("lora")
    tiny_folder(place / "model", layout="wan2.1")
    (place / "data").mkdir()
    for channel, (name, caption) in enumerate(CAPTIONS.items()):
        moving(channel).save(place / "data" / f"{name}.mkv")
        (place / "data" / f"{name}.txt").write_text(caption)
    return place


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


@pytest.fixture
def job(place: Path, tmp_path: Path) -> Job:
    def make(**changes: Any) -> tuple[LoraJob, Any]:
        ours: dict[str, Any] = {
            "data": place / "data",
            "model": str(place / "model"),
            "attention": AttentionConfig(name="radial"),
        }
        for key in ("data", "model", "attention", "held_out", "save_every"):
            if key in changes:
                ours[key] = changes.pop(key)
        checkpointing = changes.pop("gradient_checkpointing", False)
        output, work = tmp_path / changes.pop("output", "out"), place / "work"
        rest = {"rank": 4, "steps": 6, "lr": 1e-2, "warmup_steps": 1, "targets": ("to_q", "to_k", "to_v", "to_out.0")}
        sizes = {name: changes.pop(name, None) for name in ("num_frames", "width", "height", "fps")}
        recipe = recipe_for(ours["model"], **sizes, rest=rest | changes)
        return LoraJob(output=output, work=work, gradient_checkpointing=checkpointing, **ours), recipe

    return make


def trained(accelerator: Accelerator, made: tuple[LoraJob, Any]) -> tuple[list[TrainingRecord], dict[str, Tensor]]:
    records = list(train_lora(*made, accelerator, torch.float32))
    return records, load_file(made[0].output / WEIGHTS)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_an_overfit_clip_is_learnt_and_stock_makes_the_same_latents(
    place: Path, accelerator: Accelerator, job: Job, tmp_path: Path
) -> None:
    data = tmp_path / "one"
    data.mkdir()
    moving(0).save(data / "a.mkv")
    (data / "a.txt").write_text(CAPTIONS["a"])
    made = job(data=data, steps=40, rank=8, alpha=16.0, caption_dropout=0.0)
    records, weights = trained(accelerator, made)
    before, after = (record.values["held_out"] for record in (records[1], records[-1]))
    assert [record.stage for record in (records[0], records[1], records[-1])] == ["latents", "before", "after"]
    assert after < 0.9 * before
    assert all(name.startswith("transformer.blocks.") for name in weights)
    assert len(weights) == 2 * 2 * 8  # blocks, tensors, layers of both attentions
    told = json.loads((made[0].output / "training.json").read_text())
    assert told["outcome"]["after"] == after
    assert told["recipe"]["num_frames"] == FRAMES
    assert str(tmp_path) not in (made[0].output / "training.json").read_text()
    ours, theirs = both_latents(place / "model", made[0].output)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def both_latents(folder: Path, lora: Path) -> tuple[Tensor, Tensor]:
    """Of the same request, ours and stock's."""
    initial = torch.randn(16, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    asked = {"request.prompt": CAPTIONS["a"], "request.num_frames": FRAMES, "request.num_inference_steps": 2}
    pipeline = VideoPipeline.from_pretrained(folder, device="cpu", lora=[lora])
    run = pipeline.start(*merge(("test", asked)), initial_CTHW=initial)
    ours = torch.cat([event.latents_BCTHW for event in run if event.latents_BCTHW is not None], dim=2)
    stock = WanPipeline.from_pretrained(folder, dtype=torch.float32)
    stock.set_progress_bar_config(disable=True)
    stock.load_lora_weights(str(lora))
    sizes = {"height": 32, "width": 48, "num_frames": FRAMES, "num_inference_steps": 2, "max_sequence_length": 16}
    theirs = stock(
        prompt=CAPTIONS["a"], guidance_scale=1.0, latents=initial[None], output_type="latent", **sizes
    ).frames
    return ours, theirs


def killed(records: Iterator[TrainingRecord], step: int) -> None:
    for record in records:
        if record.stage == "lora" and record.step >= step:
            records.close()  # type: ignore[attr-defined]
            return
    raise AssertionError("it ended first")


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_killed_run_ends_at_the_same_bits(accelerator: Accelerator, job: Job, checkpointing: bool) -> None:
    more = {"accumulate": 2, "gradient_checkpointing": checkpointing, "save_every": 2, "num_frames": 9, "held_out": 0}
    whole = job(output="whole", **more)
    _, weights = trained(accelerator, whole)
    again = job(output="again", **more)
    killed(train_lora(*again, accelerator, torch.float32), 5)
    assert not again[0].output.exists()
    records, resumed = trained(accelerator, again)
    assert next(record for record in records if record.stage == "lora").step > 4
    assert same(resumed, weights)
    assert json.loads((whole[0].output / "training.json").read_text())["outcome"]["steps"] == 6


def test_gradient_checkpointing_changes_nothing(accelerator: Accelerator, job: Job) -> None:
    _, plain = trained(accelerator, job(output="plain", steps=2))
    _, twice = trained(accelerator, job(output="twice", steps=2, gradient_checkpointing=True))
    assert same(plain, twice)


def test_steps_are_those_of_stock_parts(place: Path, accelerator: Accelerator, job: Job, tmp_path: Path) -> None:
    """The same windows, noise and levels through stock's transformer, its mean squared error and torch's AdamW."""
    model = own_model(load_model(str(place / "model"), device=torch.device("cpu"), dtype=torch.float32))
    _, recipe = job(steps=3, num_frames=9)
    files = sample_files(model, read_captioned(place / "data", num_frames=9, fps=8), tmp_path, height=32, width=48)
    list(encode_samples(model, files, height=32, width=48))
    dense, _ = resolve_attention(AttentionConfig(), (1.0,), 2)
    training = LoraTraining(model, accelerator, recipe, dense, train=files, held_out=[], checkpoints=tmp_path)
    stock = WanTransformer3DModel.from_pretrained(place / "model" / "transformer")
    stock.requires_grad_(False)
    stock.load_lora_adapter(training.weights(), prefix=None, adapter_name="default")
    learnt = {name.replace(".default.", "."): w for name, w in stock.named_parameters() if ".lora_" in name}
    adam = torch.optim.AdamW(learnt.values(), lr=recipe.lr, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(recipe.steps):
        sample, noise, sigma_BT = training._draw(step)
        level = sigma_BT[0, 0]
        noisy = (1 - level) * sample.x0_BCTHW + level * noise
        velocity = stock(noisy, timestep=1000 * level[None], encoder_hidden_states=sample.text_BMD).sample
        torch.nn.functional.mse_loss(velocity, noise - sample.x0_BCTHW).backward()
        torch.nn.utils.clip_grad_norm_(learnt.values(), 1.0)
        adam.step()
        adam.zero_grad()
    list(training)
    for name, weight in training.weights().items():
        torch.testing.assert_close(weight, learnt[name], rtol=0, atol=1e-4)


@pytest.mark.parametrize("layout", ["i2v", "playground", "t2v-a14b"])
def test_other_layouts_train_too(place: Path, accelerator: Accelerator, job: Job, layout: str, tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / layout, layout=layout)
    second = {"transformer": 2} if layout == "t2v-a14b" else {}
    made = job(model=str(folder), steps=2, held_out=0, **second)
    _, weights = trained(accelerator, made)
    assert any(weights[name].any() for name in weights if ".lora_B." in name)
    VideoPipeline.from_pretrained(folder, device="cpu", lora=[{"path": made[0].output} | second])


def test_samples_are_what_the_encoders_make(place: Path, tmp_path: Path) -> None:
    model = own_model(load_model(str(place / "model"), device=torch.device("cpu"), dtype=torch.float32))
    clips = read_captioned(place / "data", num_frames=9, fps=8)
    files = sample_files(model, clips, tmp_path, height=32, width=48)
    assert len(list(encode_samples(model, files, height=32, width=48))) == 3
    assert not list(encode_samples(model, files, height=32, width=48))
    sample = read_sample(files[1].path, text_length=16)
    frames_FYX3 = moving(1).frames[:9]
    assert torch.equal(sample.x0_BCTHW, encode_frames(model.vae, as_pixels(model.vae, frames_FYX3)))
    states = read_conditions(model, prompts=[CAPTIONS["b"]], images_YX3=[], num_frames=9).states
    assert torch.equal(sample.text_BMD, states[CAPTIONS["b"]])


def test_windows_follow_one_another_and_thin_out_faster_clips(tmp_path: Path) -> None:
    clip = moving(0, frames=37, fps=16.0)
    clip.save(tmp_path / "a.mkv")
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"file_name": "a.mkv", "text": "a red  ball"}) + "\n")
    (read,) = read_captioned(tmp_path, num_frames=9, fps=8)
    assert read.caption == "a red ball"
    assert read.picked == (tuple(range(0, 18, 2)), tuple(range(18, 36, 2)))
    first, second = windows(read, height=32, width=48)
    assert np.array_equal(first, clip.frames[0:18:2])
    assert np.array_equal(second, clip.frames[18:36:2])


def test_held_out_clips_are_spread_and_leave_some() -> None:
    clips: list[Any] = list(range(20))
    halves: list[Any] = [split(clips, None), split(clips[:1], None), split(clips[:3], 1)]
    assert halves == [([c for c in clips if c not in (5, 15)], [5, 15]), ([0], []), ([0, 2], [1])]
    with pytest.raises(InputError, match="leaves none"):
        split(clips[:3], 3)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no videos in it"),
        ({"a.mkv": moving(0), "b.mkv": moving(0), "a.txt": "a"}, r"b.mkv has no caption in b.txt$"),
        ({"a.mkv": moving(0), "a.txt": " \n"}, "a.mkv has no caption in a.txt"),
        ({"a.mkv": moving(0, frames=9), "a.txt": "a"}, "9 frames at 8 fps, and 17 at 8 are needed"),
        ({"a.mkv": moving(0, fps=4.0), "a.txt": "a"}, "has 4 fps, and 8 are needed; see --fps"),
        ({"a.mkv": moving(0), "a.txt": "a", "b.txt": "b"}, "b.txt is a caption without a clip"),
        ({"a.mkv": moving(0), "metadata.jsonl": "{"}, "line 1 is not JSON"),
        ({"a.mkv": moving(0), "metadata.jsonl": '{"file_name": "b.mkv", "text": "b"}'}, "'b.mkv', which is not there"),
        ({"a.mkv": "no video", "a.txt": "a"}, "a.mkv"),
    ],
)
def test_data_is_checked_before_the_model_is_loaded(
    accelerator: Accelerator, job: Job, tmp_path: Path, files: dict[str, Any], words: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name, content in files.items():
        content.save(data / name) if isinstance(content, Clip) else (data / name).write_text(content)
    with pytest.raises(InputError, match=words) as refused:
        next(train_lora(*job(data=data), accelerator, torch.float32))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"width": 40}, InputError, "width 40 is no multiple of 16"),
        ({"num_frames": 15}, InputError, "not 1 \\+ 4 n; nearest: 13 and 17"),
        ({"targets": ("to_w",)}, ConfigError, "no layer of the model is called 'to_w'"),
        ({"transformer": 2}, ModelError, "has one transformer"),
        ({"attention": AttentionConfig(name="radiall")}, ConfigError, "unknown attention"),
        ({"output": "missing/out"}, InputError, "does not exist"),
        ({"data": "cat"}, InputError, "says 'cat', which is not in the model's vocabulary"),
        ({"data": "long"}, InputError, "has 21 tokens, and the model reads 16"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    accelerator: Accelerator, job: Job, tmp_path: Path, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    if "data" in changes:
        data = tmp_path / changes["data"]
        data.mkdir()
        moving(0).save(data / "a.mkv")
        (data / "a.txt").write_text("a red cat" if data.name == "cat" else "a red ball rolls " * 5)
        changes = {"data": data}
    with pytest.raises(error, match=words):
        list(train_lora(*job(**changes), accelerator, torch.float32))


def test_a_lora_is_not_replaced(accelerator: Accelerator, job: Job) -> None:
    made, recipe = job()
    made.output.mkdir()
    with pytest.raises(InputError, match="exists"):
        next(train_lora(replace(made), recipe, accelerator, torch.float32))
