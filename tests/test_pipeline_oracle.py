"""The whole sampler against diffusers' own pipelines, loaded from the same folder with the same initial latents."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import WanImageToVideoPipeline, WanPipeline
from diffusers.utils import logging as diffusers_logging
from PIL import Image

from tests.folders import tiny_folder
from vgen.config import merge
from vgen.pipeline import Run, VideoPipeline

PROMPT, NEGATIVE = "a red ball rolls", "blue box"
HEIGHT, WIDTH, FRAMES = 32, 48, 9
LATENT = (16, 3, HEIGHT // 8, WIDTH // 8)
TEXT_LENGTH = 16


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    diffusers_logging.disable_progress_bar()
    place = tmp_path_factory.mktemp("folders")
    return {layout: tiny_folder(place / layout, layout=layout) for layout in ("wan2.1", "wan2.2", "playground")}


every_layout = pytest.mark.parametrize("layout", ["wan2.1", "wan2.2", "playground"])
layouts_with_image = pytest.mark.parametrize("layout", ["wan2.2", "playground"])


def run_of(
    folder: Path, *, steps: int, guidance: float, initial: torch.Tensor, image: Image.Image | None = None
) -> Run:
    values = {
        "request.prompt": PROMPT,
        "request.negative_prompt": NEGATIVE if guidance > 1 else None,
        "request.num_inference_steps": steps,
        "request.guidance_scale": guidance,
        "request.num_frames": FRAMES,
        "request.height": HEIGHT,
        "request.width": WIDTH,
        "request.seed": 0,
    }
    pipeline = VideoPipeline.from_pretrained(folder, device="cpu", dtype="float32")
    run = pipeline.start(*merge(("test", values)), image, initial_CTHW=initial)
    assert isinstance(run, Run)
    return run


def latents_of(run: Run) -> torch.Tensor:
    return torch.cat([event.latents_BCTHW for event in run if event.latents_BCTHW is not None], dim=2)


def initial_latents(seed: int) -> torch.Tensor:
    return torch.randn(LATENT, generator=torch.Generator().manual_seed(seed))


def stock_answer(
    folder: Path,
    *,
    steps: int,
    guidance: float,
    initial: torch.Tensor,
    output_type: str,
    image: Image.Image | None = None,
) -> Any:
    """What diffusers' own pipeline makes of the same request."""
    if image is None:
        stock = WanPipeline.from_pretrained(folder, dtype=torch.float32)
    else:
        stock = WanImageToVideoPipeline.from_pretrained(
            folder, dtype=torch.float32, image_encoder=None, image_processor=None
        )
    stock.set_progress_bar_config(disable=True)
    return stock(
        **({} if image is None else {"image": image}),
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        height=HEIGHT,
        width=WIDTH,
        num_frames=FRAMES,
        num_inference_steps=steps,
        guidance_scale=guidance,
        latents=initial[None].clone(),
        max_sequence_length=TEXT_LENGTH,
        output_type=output_type,
    ).frames


@every_layout
@pytest.mark.parametrize("steps", [4, 24])
@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_text_to_video_equals_stock(folders: dict[str, Path], layout: str, steps: int, guidance: float) -> None:
    folder, initial = folders[layout], initial_latents(steps)
    ours = latents_of(run_of(folder, steps=steps, guidance=guidance, initial=initial))
    theirs = stock_answer(folder, steps=steps, guidance=guidance, initial=initial, output_type="latent")
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


@every_layout
@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_frames_equal_stock(folders: dict[str, Path], layout: str, guidance: float) -> None:
    folder, initial = folders[layout], initial_latents(1)
    frames = run_of(folder, steps=4, guidance=guidance, initial=initial).clip().frames
    theirs = stock_answer(folder, steps=4, guidance=guidance, initial=initial, output_type="np")[0]
    assert np.abs(frames / 255.0 - theirs).max() <= 1 / 255


@layouts_with_image
@pytest.mark.parametrize("steps", [4, 24])
@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_image_to_video_equals_stock(folders: dict[str, Path], layout: str, steps: int, guidance: float) -> None:
    folder, initial = folders[layout], initial_latents(steps)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    ours = latents_of(run_of(folder, steps=steps, guidance=guidance, initial=initial, image=image))
    theirs = stock_answer(folder, steps=steps, guidance=guidance, initial=initial, output_type="latent", image=image)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
