"""The three stages on a tiny recipe: they learn, resume, and leave a folder that stock diffusers loads."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan, WanImageToVideoPipeline, WanPipeline
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast

from tests.training.conftest import Trained, tiny_config
from vgen.errors import ConfigError, InputError, ModelError
from vgen.models.card import card_for
from vgen.models.dit import VideoDiT
from vgen.playground.caption import parse
from vgen.playground.scene import COLOURS, FRAMES, sample_scene
from vgen.schema import AttentionConfig
from vgen.training.config import DiTRecipe
from vgen.training.dit import build_dit, draw_windows, flow_loss, train_dit
from vgen.training.latents import CachedLatents, cache_latents, read_latents
from vgen.training.loop import Plan, TrainingRecord
from vgen.training.playground import train_playground
from vgen.training.vae import train_vae, vae_psnr

CPU = torch.device("cpu")
LIMIT_BYTES, SHARD_BYTES = 40 * 2**20, 15_000_000


def losses(records: list[TrainingRecord]) -> list[float]:
    return [record.values["loss"] for record in records if "loss" in record.values]


def test_both_stages_learn(trained: Trained) -> None:
    assert losses(trained.vae)[-1] < losses(trained.vae)[0]
    assert losses(trained.dit)[-1] < 0.85 * losses(trained.dit)[0]
    assert trained.vae[-1].done == trained.dit[-1].done == 1.0
    assert trained.vae[-1].values["psnr"] > 15


def test_psnr_is_that_of_the_saved_autoencoder(trained: Trained) -> None:
    scores = vae_psnr(trained.folder, 4, trained.config)
    assert scores["held_out_seed"] == pytest.approx(trained.vae[-1].values["psnr"], abs=0.01)
    assert set(scores) == {"held_out_seed", "held_out_combination"}


def test_latents_are_normalised_and_survive_interruption(trained: Trained) -> None:
    def read() -> CachedLatents:
        return read_latents(trained.config, folder=trained.folder, cache=trained.work / "latents", split="train")

    latents = read()
    assert latents.x0_BCTHW.shape == (6, 16, (FRAMES - 1) // 4 + 1, 4, 4) and latents.x0_BCTHW.dtype == torch.float16
    assert abs(latents.x0_BCTHW.float().mean()) < 0.5 and 0.5 < latents.x0_BCTHW.float().std() < 2
    lost = next((trained.work / "latents").rglob("train-*.safetensors"))
    lost.unlink()
    with pytest.raises(ModelError, match="missing"):
        read()
    again = list(cache_latents(trained.config, folder=trained.folder, cache=trained.work / "latents", device=CPU))
    assert len(again) == 1
    assert torch.equal(read().x0_BCTHW, latents.x0_BCTHW) and read().seeds == latents.seeds


def run_dit(
    trained: Trained, folder: Path, checkpoints: Path, steps: int, *, resume: bool = False, save_every_s: float = 1e9
) -> Iterator[TrainingRecord]:
    return train_dit(
        trained.config,
        folder=folder,
        cache=trained.work / "latents",
        checkpoints=checkpoints,
        plan=Plan(minutes=1, steps=steps, warmup_steps=10, cooldown=0.0),
        resume=resume,
        device=CPU,
        compiled=False,
        report_every=1,
        save_every_s=save_every_s,
    )


def interrupted(records: Iterator[TrainingRecord], after: int) -> list[TrainingRecord]:
    """The first records of a run that is then killed."""
    return list(islice(records, after))


def test_dit_resumes_from_a_checkpoint_to_the_bit(trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(trained.folder, folder)
    straight = list(run_dit(trained, folder, tmp_path / "straight", 6))
    first = interrupted(run_dit(trained, folder, tmp_path / "parts", 6, save_every_s=0), 3)
    second = list(run_dit(trained, folder, tmp_path / "parts", 6))
    assert losses(first) + losses(second) == losses(straight)
    assert second[-1].values == straight[-1].values
    assert not list((tmp_path / "parts").iterdir()), "a finished run leaves weights, not a checkpoint"


def test_vae_resumes_from_a_checkpoint_to_the_bit(trained: Trained, tmp_path: Path) -> None:
    def run(checkpoints: str, save_every_s: float = 1e9) -> Iterator[TrainingRecord]:
        return train_vae(
            trained.config,
            folder=tmp_path / "model",
            checkpoints=tmp_path / checkpoints,
            plan=Plan(minutes=1, steps=9, warmup_steps=2, cooldown=0.0),
            resume=False,
            device=CPU,
            compiled=False,
            report_every=1,
            save_every_s=save_every_s,
            held_out=1,
        )

    first = interrupted(run("parts", save_every_s=0), 4)  # nine steps have batches of all three kinds
    assert losses(first) + losses(list(run("parts"))) == losses(list(run("straight")))


def test_decoder_alone_leaves_latents_valid(trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(trained.folder, folder)
    records = train_vae(
        trained.config,
        folder=folder,
        checkpoints=tmp_path / "decoder",
        plan=Plan(minutes=1, steps=5, warmup_steps=2),
        resume=True,
        device=CPU,
        compiled=False,
        decoder_only=True,
        held_out=1,
    )
    assert list(records)[-1].step == 45
    old, new = (load_file(next((at / "vae").glob("*.safetensors"))) for at in (trained.folder, folder))
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed and all(name.startswith(("decoder.", "post_quant_conv.")) for name in changed)
    read_latents(trained.config, folder=folder, cache=trained.work / "latents", split="train")


def test_loss_does_not_rise_from_committed_weights(trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(trained.folder, folder)
    before = json.loads((folder / "training.json").read_text())["dit"]
    records = list(run_dit(trained, folder, tmp_path / "fresh", 30, resume=True))
    after = json.loads((folder / "training.json").read_text())["dit"]
    assert after["values"]["held_out"] <= before["values"]["held_out"] * 1.01
    assert sum(losses(records)) / 30 <= losses(trained.dit)[-1] * 1.05
    assert after["step"] == before["step"] + 30
    assert after["next_index"] == before["next_index"] + 30 * trained.config.dit.batch


def test_resume_without_weights_is_refused(trained: Trained, tmp_path: Path) -> None:
    shutil.copytree(trained.folder / "vae", tmp_path / "model" / "vae")
    (tmp_path / "model" / "training.json").write_text('{"vae": {}}')
    with pytest.raises(ModelError, match="to resume from"):
        list(run_dit(trained, tmp_path / "model", tmp_path / "fresh", 1, resume=True))


def test_unknown_stage_is_refused(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'dit'"):
        next(
            train_playground(
                trained.config,
                stage="dti",
                minutes=1,
                resume=False,
                device=CPU,
                folder=tmp_path,
                work=tmp_path,
                compiled=False,
            )
        )


def test_all_goes_on_after_the_stages_that_are_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def stage(name: str) -> Callable[..., Iterator[TrainingRecord]]:
        def run(*_: object, **__: object) -> Iterator[TrainingRecord]:
            made.append(name)
            yield TrainingRecord(stage=name, step=0, done=1.0, eta_s=0.0)

        return run

    for function, name in (("vae", "vae"), ("dit", "dit"), ("few_step", "few-step")):
        monkeypatch.setattr(f"vgen.training.playground.train_{function}", stage(name))
    monkeypatch.setattr("vgen.training.playground.cache_latents", stage("latents"))

    def run(resume: bool = False) -> Iterator[TrainingRecord]:
        return train_playground(
            tiny_config(),
            stage="all",
            minutes=1,
            resume=resume,
            device=CPU,
            folder=tmp_path,
            work=tmp_path / "work",
            compiled=False,
        )

    interrupted(run(), 3)  # in the transformer's stage
    list(run())
    assert made == ["vae", "latents", "dit", "dit", "few-step"]
    made.clear()
    list(run(resume=True))
    assert made == ["latents", "dit", "few-step"]
    (tmp_path / "work" / "few-step").mkdir()
    (tmp_path / "work" / "few-step" / "state.json").write_text("{}")
    with pytest.raises(ConfigError, match="unfinished run of stage 'few-step'; finish it with --stage few-step"):
        list(run())


def test_attention_of_a_stage_without_any_is_refused(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'radial' is trained in one stage alone; possible: --stage dit"):
        next(
            train_playground(
                trained.config,
                stage="vae",
                minutes=1,
                resume=False,
                device=CPU,
                folder=tmp_path,
                work=tmp_path,
                compiled=False,
                attention=AttentionConfig(name="radial"),
            )
        )


def test_folder_loads_in_both_stock_pipelines(trained: Trained) -> None:
    pipeline = WanPipeline.from_pretrained(trained.folder, dtype=torch.float32, local_files_only=True)
    assert pipeline.config.expand_timesteps
    assert type(pipeline.tokenizer) is PreTrainedTokenizerFast
    size = trained.config.size
    made = pipeline(
        "a red ball falls",
        height=size,
        width=size,
        num_frames=5,
        num_inference_steps=1,
        max_sequence_length=trained.config.dit.text_length,
        output_type="np",
        generator=torch.Generator().manual_seed(0),
    )
    assert made.frames.shape == (1, 5, size, size, 3)
    WanImageToVideoPipeline.from_pretrained(trained.folder, dtype=torch.float32, local_files_only=True)


def test_folder_holds_safetensors_within_limits_and_a_card(trained: Trained) -> None:
    files = [path for path in trained.folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors", ".yaml"}
    assert sum(path.stat().st_size for path in files) <= LIMIT_BYTES
    assert max(path.stat().st_size for path in files) <= SHARD_BYTES
    card = card_for(trained.folder, {})
    assert (card.height, card.num_frames, card.text_length) == (32, 9, 32)
    assert card.closed_vocabulary and card.image == "first_latent"
    for component, dtype in (("transformer", "BF16"), ("text_encoder", "F32"), ("vae", "F16")):
        for path in (trained.folder / component).glob("*.safetensors"):
            with safe_open(path, "pt") as opened:
                assert {opened.get_slice(name).get_dtype() for name in opened.keys()} == {dtype}  # noqa: SIM118


def test_statistics_are_measured_not_wans(trained: Trained) -> None:
    vae = AutoencoderKLWan.from_pretrained(trained.folder / "vae", local_files_only=True)
    default = AutoencoderKLWan.load_config(trained.folder / "vae")
    assert len(vae.config.latents_std) == 16 and min(vae.config.latents_std) > 0
    assert default["latents_mean"] == vae.config.latents_mean != [0.0] * 16


def test_windows_start_at_latent_0_or_later_as_asked(trained: Trained) -> None:
    frames = (FRAMES - 1) // 4 + 1
    ramp_BCTHW = torch.arange(frames).view(1, 1, frames, 1, 1).expand(2, 16, frames, 1, 1).half()
    seeds = read_latents(trained.config, folder=trained.folder, cache=trained.work / "latents", split="train").seeds[:2]
    latents, recipe = CachedLatents(ramp_BCTHW, seeds), trained.config.dit
    starts, empty, colourless, index = [], 0, 0, 0
    for _ in range(40):
        window, index = draw_windows(latents, index, recipe, mid_clip=0.5, seed=0)
        first = window.x0_BCTHW[:, 0, 0, 0, 0]
        assert window.x0_BCTHW.shape == (8, 16, 9, 1, 1)
        assert torch.equal(window.x0_BCTHW[:, 0, -1, 0, 0], first + 8)
        assert window.from_start == (first == 0).tolist()
        starts += first.int().tolist()
        empty += window.prompts.count("")
        colourless += sum(bool(prompt) and not {*prompt.split()} & {*COLOURS} for prompt in window.prompts)
    assert index == 320
    assert set(starts) == set(range(frames - 9 + 1))
    assert 0.4 < starts.count(0) / 320 < 0.6
    assert 0.04 < empty / 320 < 0.17 and 0.09 < colourless / 320 < 0.22
    only, _ = draw_windows(latents, 0, recipe, mid_clip=0.0, seed=0)
    assert all(only.from_start)


def test_captions_belong_to_the_clip(trained: Trained) -> None:
    latents = read_latents(trained.config, folder=trained.folder, cache=trained.work / "latents", split="train")
    marked = CachedLatents(torch.arange(6).view(6, 1, 1, 1, 1).expand(6, 16, 17, 1, 1).half(), latents.seeds)
    window, _ = draw_windows(marked, 0, trained.config.dit, mid_clip=0.5, seed=3)
    for row, prompt in zip(window.x0_BCTHW, window.prompts, strict=True):
        scene = sample_scene(latents.seeds[int(row[0, 0, 0, 0])])
        assert prompt == "" or parse(prompt).event == scene.event


def test_clean_frames_carry_no_loss() -> None:
    x0_BCTHW = torch.randn(1, 4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    noise_BCTHW = torch.randn(1, 4, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    sigma_BT = torch.tensor([[0.0, 0.5, 1.0]])

    def right_where_noisy(
        x: torch.Tensor, sigma: torch.Tensor, text: torch.Tensor, *, causal_block: None
    ) -> torch.Tensor:
        assert torch.equal(x[:, :, 0], x0_BCTHW[:, :, 0]) and torch.equal(x[:, :, 2], noise_BCTHW[:, :, 2])
        velocity = noise_BCTHW - x0_BCTHW
        velocity[:, :, 0] = 1e6
        return velocity

    text = torch.zeros(1, 1, 1)
    assert flow_loss(right_where_noisy, x0_BCTHW, noise_BCTHW, sigma_BT, text, None).item() == 0.0


def test_fresh_transformer_predicts_nothing(trained: Trained) -> None:
    dit = build_dit(trained.config.dit, 16, seed=0)
    assert isinstance(dit, VideoDiT)
    x_BCTHW = torch.randn(1, 16, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    assert not dit(x_BCTHW, torch.ones(1, 2), torch.zeros(1, 4, 16)).any()


@pytest.mark.parametrize("block", [None, 3])
def test_a_step_is_one_graph_and_learns_the_same(block: int | None) -> None:
    """A graph that is cut trains at the speed of no compiler at all, and says nothing of it."""
    dit = build_dit(replace(DiTRecipe(), text_dim=16, heads=1, head_width=24, ffn_dim=32, layers=2), 16, 0)
    torch.nn.init.normal_(dit.proj_out.weight, std=0.1)
    generator = torch.Generator().manual_seed(0)
    x0_BCTHW, noise_BCTHW = (torch.randn(2, 16, 7, 4, 4, generator=generator) for _ in range(2))
    sigma_BT, text_BMD = torch.rand(2, 7, generator=generator), torch.randn(2, 8, 16, generator=generator)
    found = []
    for forward in (dit, torch.compile(dit, dynamic=False, fullgraph=True, backend="aot_eager")):
        loss = flow_loss(forward, x0_BCTHW, noise_BCTHW, sigma_BT, text_BMD, block)
        loss.backward()
        found.append([loss.detach(), *(weight.grad.clone() for weight in dit.parameters() if weight.grad is not None)])
        dit.zero_grad(set_to_none=True)
    assert len(found[0]) == len(found[1]) > 40
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_sparse_attention_is_trained_uncompiled(trained: Trained, tmp_path: Path) -> None:
    def run(name: str, compiled: bool) -> list[TrainingRecord]:
        folder = tmp_path / name
        shutil.copytree(trained.folder, folder)
        records = train_dit(
            trained.config,
            folder=folder,
            cache=trained.work / "latents",
            checkpoints=tmp_path / f"{name}-checkpoints",
            plan=Plan(minutes=1, steps=2, warmup_steps=1),
            resume=True,
            device=CPU,
            compiled=compiled,
            attention=AttentionConfig(name=name),
            report_every=1,
        )
        return list(records)

    dense, sparse = run("dense", False), run("radial", False)
    assert losses(sparse)[0] != losses(dense)[0] and sparse[-1].values["held_out"] != dense[-1].values["held_out"]
    with pytest.raises(ConfigError, match="'vmoba' cannot be compiled in training; add --no-compile"):
        run("vmoba", True)
