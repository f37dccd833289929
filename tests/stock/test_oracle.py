"""Clips of stock pipelines equal what diffusers makes when it is called directly with the same noise."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tests.stock.folders import LAYOUTS, TEXT
from vgen.attention import Full, SparseAttention
from vgen.config import merge
from vgen.pipeline import VideoPipeline
from vgen.samplers import NoiseSource
from vgen.stock.run import StockRun

pytestmark = pytest.mark.filterwarnings("ignore:In CPU autocast:UserWarning")

PROMPT, SEED, STEPS = "a red ball rolls to the right", 7, 3
# blocks so small that a pattern shows in a clip of a few tokens; the first step is dense
RADIAL = {
    "attention.name": "radial",
    "attention.min_reach": 1,
    "attention.decay": 0.2,
    "attention.sink": 0,
    "attention.adjacent": "half",
    "attention.block": 4,
    "attention.dense_first_steps": 1,
}
Folders = Callable[[str], Path]
Pipelines = Callable[[str], VideoPipeline]
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


def picture(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def with_image(layout: str) -> bool:
    return "i2v" in layout


def started(pipeline: VideoPipeline, layout: str, *, attention: Any = None, **asked: Any) -> StockRun:
    card = pipeline.model.card
    values = {"request.prompt": PROMPT, "request.seed": SEED, "request.num_inference_steps": STEPS} | asked
    image = picture(card.height, card.width) if with_image(layout) else None
    run = pipeline.start(*merge(("test", values)), image, attention=attention)
    assert isinstance(run, StockRun)
    return run


def made(run: StockRun) -> tuple[Tensor, NDArray[np.uint8]]:
    last = list(run)[-1]
    assert last.latents_BCTHW is not None and last.frames_FYX3 is not None
    return last.latents_BCTHW, last.frames_FYX3


def keyed_noise(layout: str, shape: tuple[int, int, int, int]) -> Tensor:
    """[1, C, T, H, W]"""
    C, T, H, W = shape
    frames = [NoiseSource(SEED).draw("initial", t, 0, (C, H, W)) for t in range(T)]
    return torch.stack(frames, dim=1)[None]


def by_diffusers(
    folder: Path, layout: str, run: StockRun, monkeypatch: pytest.MonkeyPatch, **more: Any
) -> tuple[Tensor, NDArray[np.uint8]]:
    """Latents as the pipeline hands them out, and frames as it decodes them."""
    pipe, job = DiffusionPipeline.from_pretrained(folder), run.job
    pipe.set_progress_bar_config(disable=True)
    noise_BCTHW = keyed_noise(layout, job.latent_shape)
    words: dict[str, Any] = {
        "prompt": PROMPT,
        "height": job.height,
        "width": job.width,
        "num_frames": job.num_frames,
        "num_inference_steps": STEPS,
        "guidance_scale": job.guidance_scale,
    }
    if layout == "hunyuan-cfg":
        words |= {"true_cfg_scale": words.pop("guidance_scale"), "negative_prompt": ""}
    if layout.startswith("ltx"):
        words |= {"frame_rate": job.fps, "max_sequence_length": job.text_length}
    if layout == "ltx-timestep":
        words |= {"decode_timestep": 0.05, "decode_noise_scale": 0.025}
    if layout == "mochi":
        words |= {"max_sequence_length": 16}
    if layout.startswith("cog"):
        words |= {"max_sequence_length": TEXT}
    if with_image(layout):
        words["image"] = Image.fromarray(picture(job.height, job.width))
    outputs = []
    for kind in ("latent", "pt"):
        words["generator"] = NoiseSource(SEED).generator("pipeline")
        if layout.startswith("ltx"):  # what it would draw by itself
            module = f"diffusers.pipelines.ltx.pipeline_ltx{'_image2video' if with_image(layout) else ''}"
            monkeypatch.setattr(f"{module}.randn_tensor", drawn(noise_BCTHW))
        else:
            words["latents"] = noise_BCTHW.transpose(1, 2) if layout.startswith("cog") else noise_BCTHW
        outputs.append(pipe(**(words | more), output_type=kind).frames)
    frames_FCYX = outputs[1][0]
    return outputs[0], (frames_FCYX.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)


def drawn(noise_BCTHW: Tensor) -> Callable[..., Tensor]:
    """Initial noise on the first call, that of decoding afterwards."""
    calls = []

    def draw(shape: tuple[int, ...], **_: Any) -> Tensor:
        calls.append(shape)
        if len(calls) == 1:
            assert tuple(shape) == tuple(noise_BCTHW.shape)
            return noise_BCTHW
        frame = (*shape[1:2], *shape[3:])
        return torch.stack([NoiseSource(SEED).draw("decode", t, 0, frame) for t in range(shape[2])], dim=1)[None]

    return draw


def unpacked(layout: str, given: Tensor, run: StockRun) -> Tensor:
    """Stock latents as [1, C, T, H, W], padding off."""
    if layout.startswith("cog"):
        return given.transpose(1, 2)[:, :, given.shape[1] - run.job.frames :]
    if layout.startswith("ltx"):
        C, T, H, W = run.job.latent_shape
        return given.reshape(1, T, H, W, C).permute(0, 4, 1, 2, 3)
    return given


@every_layout
def test_a_dense_clip_is_that_of_diffusers(
    layout: str, folder_of: Folders, pipeline_of: Pipelines, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started(pipeline_of(layout), layout)
    latents, frames = made(run)
    stock_latents, stock_frames = by_diffusers(folder_of(layout), layout, run, monkeypatch)
    assert torch.equal(latents, unpacked(layout, stock_latents, run))
    assert np.array_equal(frames, stock_frames)
    assert frames.std() > 1
    assert run.record()["attention"] == [
        {"layers": "all", "steps": "all", "pattern": "dense", "executor": "sdpa", "density": 1.0}
    ]


@every_layout
def test_sparse_attention_that_keeps_all_changes_nothing_and_radial_does(layout: str, pipeline_of: Pipelines) -> None:
    dense, _ = made(started(pipeline_of(layout), layout))
    whole, _ = made(started(pipeline_of(layout), layout, attention=SparseAttention(Full(), executor="reference")))
    torch.testing.assert_close(whole, dense, atol=1e-4, rtol=0)
    run = started(pipeline_of(layout), layout, **RADIAL)
    sparse, _ = made(run)
    assert (sparse - dense).abs().max() > 1e-4
    first, *rest = run.record()["attention"]
    assert (first["steps"], first["pattern"], first["density"]) == ("0", "dense", 1.0)
    assert rest and {row["steps"] for row in rest} == {"1-2"}
    assert all(row["token_density"] < 1 and row["pattern"].startswith("Radial") for row in rest)


@every_layout
def test_bfloat16_runs_and_decodes_in_float32(layout: str, folder_of: Folders) -> None:
    pipeline = VideoPipeline.from_pretrained(folder_of(layout), device="cpu", dtype="bfloat16")
    assert (pipeline.dtype, pipeline.model.vae.dtype) == (torch.bfloat16, torch.float32)
    run = started(pipeline, layout, **{"request.num_inference_steps": 2, "attention.name": "radial"})
    _, frames = made(run)
    assert frames.std() > 1
    assert {row["steps"] for row in run.record()["attention"]} == {"0-1"}  # levels are rounded as the pipeline does
