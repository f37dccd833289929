"""The model that comes with the package: its size and layout, stock diffusers on the same folder, and its figures."""

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import WanImageToVideoPipeline, WanPipeline
from PIL import Image

from vgen.config import merge
from vgen.models.folder import embedded_folder
from vgen.pipeline import VideoPipeline
from vgen.playground.detect import digest

FOLDER = embedded_folder()
PROMPT = "a red ball rolls to the right"
FRAMES = 9
RESULTS = files("vgen").joinpath("bench", "results", "embedded.json")


@pytest.fixture(scope="module")
def pipeline() -> VideoPipeline:
    return VideoPipeline.from_pretrained(device="cpu", dtype="float32")


def test_it_is_small_and_holds_safetensors_alone() -> None:
    sizes = {path: path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()}
    assert sum(sizes.values()) <= 40 * 2**20
    assert max(sizes.values()) <= 15_000_000
    assert {path.suffix for path in sizes} <= {".json", ".safetensors", ".yaml"}


@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize("task", ["text", "image"])
def test_stock_pipelines_on_its_folder_give_the_same_latents(
    pipeline: VideoPipeline, task: str, guidance: float
) -> None:
    card = pipeline.model.card
    pixels = np.random.default_rng(0).integers(0, 256, (card.height, card.width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels) if task == "image" else None
    initial = torch.randn((16, 3, card.height // 8, card.width // 8), generator=torch.Generator().manual_seed(0))
    said = {
        "request.prompt": PROMPT,
        "request.num_frames": FRAMES,
        "request.num_inference_steps": 4,
        "request.guidance_scale": guidance,
        "request.seed": 0,
    }
    run = pipeline.start(*merge(("test", said)), image, initial_CTHW=initial)
    ours = torch.cat([event.latents_BCTHW for event in run if event.latents_BCTHW is not None], dim=2)
    if image is None:
        stock = WanPipeline.from_pretrained(FOLDER, dtype=torch.float32)
    else:
        stock = WanImageToVideoPipeline.from_pretrained(
            FOLDER, dtype=torch.float32, image_encoder=None, image_processor=None
        )
    stock.set_progress_bar_config(disable=True)
    asked = {"prompt": PROMPT, "height": card.height, "width": card.width, "num_frames": FRAMES}
    theirs = stock(
        **(asked | ({} if image is None else {"image": image})),
        num_inference_steps=4,
        guidance_scale=guidance,
        latents=initial[None].clone(),
        max_sequence_length=card.text_length,
        output_type="latent",
    ).frames
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("sampler", ["full", "causal"])
def test_the_same_seed_gives_the_same_frames(pipeline: VideoPipeline, sampler: str) -> None:
    first, again = (
        pipeline(PROMPT, num_frames=FRAMES, num_inference_steps=2, seed=3, sampler=sampler) for _ in range(2)
    )
    assert first.sha256() == again.sha256()


def test_its_figures_are_those_of_these_weights_and_this_detector(pipeline: VideoPipeline) -> None:
    """Who changes the weights or the detector must score anew (`make score`)."""
    results = json.loads(RESULTS.read_text())
    for part in ("text", "image"):
        assert results[part]["digests"] == pipeline.model.digests()
    assert results["text"]["generated"]["detector_sha256"] == digest()


def test_its_training_state_is_beside_the_weights() -> None:
    state = json.loads((Path(FOLDER) / "training.json").read_text())
    assert state["dit"]["step"] > 0 and state["vae"]["step"] > 0
