"""From a checkpoint to a folder: the same outputs in stock diffusers and in vgen, and what does not fit."""

import errno
import math
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from diffusers import WanPipeline, WanTransformer3DModel
from diffusers.utils import logging as diffusers_logging
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.convert.files import originals, prefixed, save_pickled
from tests.folders import tiny_folder, tiny_transformer
from tests.models.tiny import ours_of
from vgen.cli import _run
from vgen.config import merge
from vgen.convert.fit import check_fit
from vgen.convert.folder import Conversion, plan_conversion, write_conversion
from vgen.convert.methods import METHODS, warped
from vgen.convert.names import diffusers_name
from vgen.errors import ConfigError, InputError, ModelError, ResourceError
from vgen.models.load import load_model
from vgen.pipeline import VideoPipeline
from vgen.samplers import NoiseSource, Renoise

PROMPT = "a red ball rolls"
SIGMAS = (1.0, 0.9375, 5 / 6, 0.625)  # 1000, 750, 500, 250 warped by shift 5, by hand
LATENT = (16, 3, 4, 6)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    diffusers_logging.disable_progress_bar()
    return tiny_folder(tmp_path_factory.mktemp("base") / "wan2.1", layout="wan2.1")


@pytest.fixture(scope="module")
def trained() -> WanTransformer3DModel:
    """Of the base's config, and with other weights; every parameter random, norms and tables too."""
    model = tiny_transformer(seed=7)
    torch.manual_seed(8)
    for value in model.parameters():
        value.data += 0.05 * torch.randn_like(value)
    return model


@pytest.fixture(scope="module")
def source(trained: WanTransformer3DModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    wrapped = prefixed(originals(trained), "model._fsdp_wrapped_module.")
    noisy = {name: value + 1 for name, value in wrapped.items()}
    content = {"generator": noisy, "generator_ema": wrapped, "critic": noisy, "step": 600}
    return save_pickled(content, tmp_path_factory.mktemp("source") / "self_forcing_dmd.pt")


@pytest.fixture(scope="module")
def folder(source: Path, base: Path) -> Path:
    out = source.parent / "out"
    write_conversion(plan_conversion(source, str(base), method="self-forcing"), out)
    return out


def plan(state: dict[str, Tensor], base: Path, where: Path, **options: Any) -> Conversion:
    save_file({name: value.contiguous() for name, value in state.items()}, where / "a.safetensors")
    return plan_conversion(where / "a.safetensors", str(base), **({"method": "self-forcing"} | options))


def stock_of(folder: Path) -> WanTransformer3DModel:
    return WanTransformer3DModel.from_pretrained(folder / "transformer", dtype=torch.float32).eval()


@torch.no_grad()
def test_outputs_are_those_of_the_trained_model_bit_for_bit(folder: Path, trained: WanTransformer3DModel) -> None:
    generator = torch.Generator().manual_seed(0)
    x_BCTHW = torch.randn(1, *LATENT, generator=generator)
    text_BMD, timestep = torch.randn(1, 16, 32, generator=generator), torch.tensor([937.5])
    want = trained(x_BCTHW, timestep, text_BMD).sample
    assert want.std() > 0.1
    assert torch.equal(stock_of(folder)(x_BCTHW, timestep, text_BMD).sample, want)
    ours = load_model(str(folder), device=torch.device("cpu"), dtype=torch.float32).dit
    assert torch.equal(ours.to_stock()(x_BCTHW, timestep, text_BMD).sample, want)
    sigma_BT = torch.full((1, 1), 0.9375, dtype=torch.float64)
    got = ours(x_BCTHW, sigma_BT, text_BMD)
    assert torch.equal(got, ours_of(trained)(x_BCTHW, sigma_BT, text_BMD))
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5)


def test_the_card_and_the_rest_of_the_folder(folder: Path, base: Path) -> None:
    card = yaml.safe_load((folder / "vgen.yaml").read_text())
    theirs = yaml.safe_load((base / "vgen.yaml").read_text())
    new = {"name", "samplers", "sampler", "solver", "sigmas", "causal_block", "trained_window"}
    assert {key: card[key] for key in theirs if key not in new} == {k: v for k, v in theirs.items() if k not in new}
    assert (card["name"], card["samplers"], card["sampler"], card["solver"]) == (
        "tiny self-forcing", ["causal"], "causal", "renoise"
    )  # fmt: skip
    assert card["sigmas"] == pytest.approx(SIGMAS, abs=1e-15)
    assert (card["num_inference_steps"], card["guidance_scale"]) == (4, 1.0)
    assert (card["causal_block"], card["trained_window"]) == (3, 21)
    for path in base.rglob("*"):
        copy = folder / path.relative_to(base)
        if path.is_file() and "transformer" not in path.parts and path.name != "vgen.yaml":
            assert copy.read_bytes() == path.read_bytes()
            assert copy.samefile(path) == (path.suffix == ".safetensors")
    assert {path.relative_to(folder).parts[0] for path in folder.rglob("*")} == {
        path.relative_to(base).parts[0] for path in base.rglob("*")
    }
    assert WanPipeline.from_pretrained(folder, dtype=torch.float32).transformer.config.num_layers == 2


def test_a_clip_equals_the_published_loop_over_stock_diffusers(folder: Path) -> None:
    """Self-Forcing's loop over one block: x0 = x - sigma v, then fresh noise at the next level, four times."""
    pipeline = VideoPipeline.from_pretrained(folder, device="cpu", dtype="float32")
    values = {"request.prompt": PROMPT, "request.seed": 3, "request.num_frames": 9}
    run = pipeline.start(*merge(("test", values)))
    assert (run.job.sampling.name, run.job.num_steps, run.job.guidance_scale) == ("causal", 4, 1.0)
    assert run.job.sampling.solver == Renoise()
    made_BCTHW = torch.cat([event.latents_BCTHW for event in run if event.latents_BCTHW is not None], dim=2)

    stock, source = stock_of(folder), NoiseSource(3)
    text_BMD = pipeline.model.prompts(PROMPT)
    shape = (LATENT[0], *LATENT[2:])
    x_BCTHW = torch.stack([source.draw("initial", f, 0, shape) for f in range(3)], dim=1)[None]
    with torch.no_grad():
        for k, (sigma, after) in enumerate(zip(SIGMAS, (*SIGMAS[1:], 0.0), strict=True)):
            x0_BCTHW = x_BCTHW - sigma * stock(x_BCTHW, torch.tensor([1000 * sigma]), text_BMD).sample
            eps_BCTHW = torch.stack([source.draw("fresh", f, k, shape) for f in range(3)], dim=1)[None]
            x_BCTHW = (1 - after) * x0_BCTHW + after * eps_BCTHW
    assert x_BCTHW.std() > 0.1
    torch.testing.assert_close(made_BCTHW, x_BCTHW, rtol=0, atol=1e-4)


@pytest.mark.parametrize("words", [[], ["--sampler", "causal"], ["--sampler", "streaming"]])
def test_the_command_makes_clips_with_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    clip = tmp_path / "a.mkv"
    assert _run(["generate", "--model", str(folder), PROMPT, "--num-frames", "33", "-o", str(clip), *words]) == 0
    assert "sampler " + (words[-1] if words else "causal") + ", 4 steps" in capsys.readouterr().err
    assert _run(["replay", str(clip), "--model", str(folder), "-o", str(tmp_path / "b.mkv"), "--verify"]) == 0
    assert "equal bit for bit" in capsys.readouterr().err


def test_steps_and_samplers_that_it_was_not_distilled_for_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*words: str) -> str:
        assert _run(["generate", "--model", str(folder), PROMPT, "-o", str(tmp_path / "a.mkv"), *words]) == 2
        return capsys.readouterr().err

    assert "was distilled for 4, at noise levels 1, 0.9375, 0.8333, 0.625; leave" in said("--num-inference-steps", "8")
    assert "was not trained for sampler 'full'; possible: causal, streaming" in said("--sampler", "full")
    assert "has 2 noise levels (1, 0.5), asked for 4" in said("sampler.sigmas=[1,0.5]", "--num-inference-steps", "4")
    assert "possible: numbers that fall" in said("sampler.sigmas=[0.5,1]")
    assert (
        _run(["generate", "--model", str(folder), PROMPT, "sampler.sigmas=[1,0.5]", "-o", str(tmp_path / "a.mkv")]) == 0
    )
    assert "sampler causal, 2 steps" in capsys.readouterr().err


def test_the_command_converts_and_says_what_it_took(
    source: Path, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["convert", str(source), "--base", str(base), "-o", str(out)]
    assert _run([*words, "--dry-run"]) == 0
    dry = capsys.readouterr()
    assert not any(tmp_path.iterdir())
    assert _run(words) == 0
    done = capsys.readouterr()
    assert done.out == f"{out}\n" and dry.out == (out / "vgen.yaml").read_text()
    assert "part generator_ema of self_forcing_dmd.pt; left aside: critic, generator, step" in done.err
    assert (
        "4 steps at noise levels 1, 0.9375, 0.8333, 0.625, solver renoise, no guidance, blocks of 3 and 21" in done.err
    )
    assert "hard-linked" in done.err and "copied" in done.err
    assert _run(words) == 2
    assert "exists; give another name" in capsys.readouterr().err
    assert _run([*words[:-1], str(tmp_path / "other"), "--dtype", "float8"]) == 2
    assert "unknown dtype 'float8'" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_makes_a_folder_that_samples_its_own_way(
    method: str, trained: WanTransformer3DModel, base: Path, tmp_path: Path
) -> None:
    write_conversion(plan(originals(trained), base, tmp_path, method=method), tmp_path / "out")
    pipeline = VideoPipeline.from_pretrained(tmp_path / "out", device="cpu", dtype="float32")
    run = pipeline.start(*merge(("test", {"request.prompt": PROMPT, "request.num_frames": 57})))
    sampling, way = run.job.sampling, METHODS[method]
    assert (sampling.name, sampling.solver) == (way.sampler, Renoise())
    assert sampling.table.per_step == way.sigmas
    assert sampling.policy is not None and sampling.policy.capacity == way.trained_window
    assert torch.isfinite(torch.cat([e.latents_BCTHW for e in run if e.latents_BCTHW is not None], dim=2)).all()


def test_longlive_sees_three_sink_frames_and_the_nine_latest(
    trained: WanTransformer3DModel, base: Path, tmp_path: Path
) -> None:
    conversion = plan(originals(trained), base, tmp_path, method="longlive")
    assert any("sampler.positions=absolute" in note for note in conversion.notes)
    write_conversion(conversion, tmp_path / "out")
    pipeline = VideoPipeline.from_pretrained(tmp_path / "out", device="cpu", dtype="float32")
    policy = pipeline.start(*merge(("test", {"request.prompt": PROMPT}))).job.sampling.policy
    assert policy is not None and (policy.sink, policy.window, policy.block) == (3, 9, 3)


def test_warping_is_the_published_table() -> None:
    table = [5 * s / (1 + 4 * s) for s in (i / 1000 for i in range(1000, 0, -1))]
    assert warped((1000, 750, 500, 250), 5.0) == pytest.approx([table[1000 - t] for t in (1000, 750, 500, 250)])
    assert warped((1000, 400), 1.0) == pytest.approx((1.0, 0.4))


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16])
def test_the_dtype_is_kept_or_asked_for(
    trained: WanTransformer3DModel, base: Path, tmp_path: Path, dtype: torch.dtype | None
) -> None:
    state = originals(trained)
    state["head.head.weight"] = state["head.head.weight"].bfloat16()
    write_conversion(plan(state, base, tmp_path, dtype=dtype), tmp_path / "out")
    stored = load_file(tmp_path / "out" / "transformer" / "diffusion_pytorch_model.safetensors")
    for name, value in state.items():
        assert torch.equal(stored[str(diffusers_name(name))], value if dtype is None else value.to(dtype))
        assert stored[str(diffusers_name(name))].dtype == (dtype or value.dtype)


def test_blocks_of_one_frame_and_blocks_that_are_too_long(
    trained: WanTransformer3DModel, base: Path, tmp_path: Path
) -> None:
    assert plan(originals(trained), base, tmp_path, block=1).card.causal_block == 1
    with pytest.raises(ConfigError, match="a block of 22 latent frames is not possible; possible: 1 to 21"):
        plan(originals(trained), base, tmp_path, block=22)
    with pytest.raises(ConfigError, match="unknown method 'self-forging'; did you mean 'self-forcing'"):
        plan(originals(trained), base, tmp_path, method="self-forging")


def test_missing_and_unknown_tensors_are_listed(trained: WanTransformer3DModel, base: Path, tmp_path: Path) -> None:
    state = originals(trained)
    gone = ("blocks.1.ffn.0.bias", "head.modulation")
    with pytest.raises(ModelError, match=r"lacks 2 of 69 tensors: blocks\.1\.ffn\.net\.0\.proj\.bias, scale_shift_t"):
        plan({name: value for name, value in state.items() if name not in gone}, base, tmp_path)
    odd = {f"extra.{i}": torch.ones(1) for i in range(12)}
    with pytest.raises(ModelError, match=r"12 of 81 tensors are none of Wan's own code: extra\.0, .* and 2 more$"):
        plan(state | odd, base, tmp_path)
    named = {"blocks.1.modulation.weight": torch.ones(1)}  # a name by the table, and no place
    with pytest.raises(ModelError, match=r"holds 1 tensors that .* has no place for: blocks\.1\.scale_shift_table\.w"):
        plan(state | named, base, tmp_path)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"num_layers": 3}, r"num_layers is 3, not 2$"),
        ({"ffn_dim": 32, "text_dim": 16}, r"text_dim is 16, not 32; ffn_dim is 32, not 64$"),
        ({"num_attention_heads": 3}, r"width is 72, not 48$"),
        ({"in_channels": 36}, r"in_channels is 36, not 16$"),
        ({"out_channels": 8}, r"out_channels is 8, not 16$"),
        ({"freq_dim": 16}, r"freq_dim is 16, not 32$"),
        ({"image_dim": 20, "added_kv_proj_dim": 48}, r"image_dim is 20, not None; added_kv_proj_dim is 48, not None$"),
    ],
)
def test_another_config_than_the_bases_is_told_by_its_sizes(
    base: Path, tmp_path: Path, config: dict[str, int], said: str
) -> None:
    with pytest.raises(ModelError, match=f"does not fit the base .*: {said}"):
        plan(originals(tiny_transformer(**config)), base, tmp_path)


@pytest.mark.parametrize(("layout", "why"), [("i2v", "channels of the whole clip"), ("t2v-a14b", "two transformers")])
def test_a_base_that_no_causal_sampler_runs_is_refused(tmp_path: Path, source: Path, layout: str, why: str) -> None:
    with pytest.raises(ModelError, match=f"{why}.*possible: a text-to-video model"):
        plan_conversion(source, str(tiny_folder(tmp_path / "base", layout=layout)), method="self-forcing")


def test_with_a_base_that_takes_a_first_frame_so_does_the_result(tmp_path: Path) -> None:
    base = tiny_folder(tmp_path / "base", layout="wan2.2")
    stock = WanTransformer3DModel.from_pretrained(base / "transformer")
    write_conversion(plan(originals(stock), base, tmp_path), tmp_path / "out")
    image_YX3 = torch.randint(0, 255, (32, 48, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8).numpy()
    clip = VideoPipeline.from_pretrained(tmp_path / "out")("a red ball", image_YX3, num_frames=9, seed=0)
    assert clip.record is not None and clip.record["resolved"]["sampler.name"] == "causal" and len(clip.frames) == 9


def test_a_wrong_shape_elsewhere_is_told_by_its_name(
    trained: WanTransformer3DModel, base: Path, tmp_path: Path
) -> None:
    state = originals(trained) | {"blocks.1.cross_attn.norm_q.weight": torch.ones(2)}
    with pytest.raises(ModelError, match=r"blocks\.1\.attn2\.norm_q\.weight is \[2\], not \[48\]$"):
        plan(state, base, tmp_path)
    state = originals(trained) | {"patch_embedding.weight": torch.ones(2)}
    with pytest.raises(ModelError, match=r"patch_embedding\.weight is \[2\], not \[48, 16, 1, 2, 2\]$"):
        plan(state, base, tmp_path)


def test_weights_that_are_not_finite_are_refused(trained: WanTransformer3DModel, base: Path, tmp_path: Path) -> None:
    state = originals(trained)
    broken = state | {"head.head.bias": torch.full_like(state["head.head.bias"], math.nan)}
    with pytest.raises(ModelError, match=r"not finite: proj_out\.bias$"):
        plan(broken, base, tmp_path)
    large = state | {"head.head.bias": torch.full_like(state["head.head.bias"], 1e5)}
    with pytest.raises(ModelError, match=r"not finite in float16: proj_out\.bias$"):
        plan(large, base, tmp_path, dtype=torch.float16)


@pytest.mark.parametrize("pos_embed", [None, 514])
def test_tensors_of_image_models_fit_their_own_config(pos_embed: int | None) -> None:
    image = {"image_dim": 20, "added_kv_proj_dim": 48, "in_channels": 36}
    stock = tiny_transformer(**(image if pos_embed is None else image | {"pos_embed_seq_len": pos_embed}))
    state = {str(diffusers_name(name)): value for name, value in originals(stock).items()}
    check_fit(state, dict(stock.config), Path("a.pt"), Path("base"))
    fresh = tiny_transformer(seed=5, **{k: v for k, v in dict(stock.config).items() if k in image})
    if pos_embed is None:
        fresh.load_state_dict(state)
        assert torch.equal(fresh.blocks[1].attn2.add_k_proj.weight, stock.blocks[1].attn2.add_k_proj.weight)
    without = {name: value for name, value in state.items() if "image_embedder" not in name}
    with pytest.raises(ModelError, match="image_dim is None, not 20"):
        check_fit(without, dict(stock.config), Path("a.pt"), Path("base"))


def test_nothing_half_written_is_left(
    trained: WanTransformer3DModel, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversion = plan(originals(trained), base, tmp_path)
    before = sorted(tmp_path.iterdir())

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(WanTransformer3DModel, "save_pretrained", full)
    with pytest.raises(InputError, match="No space left on device"):
        write_conversion(conversion, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="exists; give another name, or remove it"):
        write_conversion(conversion, tmp_path / "out")


def test_too_small_a_disk_is_said_before_anything_is_written(
    trained: WanTransformer3DModel, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversion = plan(originals(trained), base, tmp_path)
    monkeypatch.setattr("vgen.convert.folder.shutil.disk_usage", lambda _: Disk)
    with pytest.raises(ResourceError, match=r"takes \d+ MiB, 0 MiB are free on its disk"):
        write_conversion(conversion, tmp_path / "out")


class Disk:
    free = 0


def test_a_base_of_symbolic_links_is_followed(trained: WanTransformer3DModel, base: Path, tmp_path: Path) -> None:
    """As a download cache keeps them: every file a link to a blob that is named by its digest."""
    linked, blobs = tmp_path / "linked", tmp_path / "blobs"
    blobs.mkdir()
    for number, path in enumerate(path for path in base.rglob("*") if path.is_file()):
        place = linked / path.relative_to(base)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(shutil.copyfile(path, blobs / str(number)))
    write_conversion(plan(originals(trained), linked, tmp_path), tmp_path / "out")
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not any(path.is_symlink() for path in files)
    vae = Path("vae", "diffusion_pytorch_model.safetensors")
    assert (tmp_path / "out" / vae).samefile(linked / vae)


def test_files_are_copied_where_they_cannot_be_linked(
    trained: WanTransformer3DModel, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_disk(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", other_disk)
    (note,) = write_conversion(plan(originals(trained), base, tmp_path), tmp_path / "out")
    assert "hard-linked" not in note and "copied" in note
    vae = Path("vae", "diffusion_pytorch_model.safetensors")
    assert (tmp_path / "out" / vae).read_bytes() == (base / vae).read_bytes()
    assert not (tmp_path / "out" / vae).samefile(base / vae)
