"""The layouts of Wan2.1 I2V and FLF2V and of Wan2.2 A14B against diffusers' own pipelines on the same folder.

Latents agree to 1e-4 from the same noise.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UniPCMultistepScheduler, WanImageToVideoPipeline, WanPipeline
from diffusers.utils import logging as diffusers_logging
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from tests.folders import STATES, tiny_folder
from vgen import wiring
from vgen.config import merge
from vgen.pipeline import Run, VideoPipeline

PROMPT, NEGATIVE = "a red ball rolls", "blue box"
HEIGHT, WIDTH, FRAMES = 32, 48, 9
LATENT = (16, 3, HEIGHT // 8, WIDTH // 8)
LAYOUTS = ("t2v-a14b", "i2v-a14b", "i2v", "flf2v")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    diffusers_logging.disable_progress_bar()
    place = tmp_path_factory.mktemp("layouts")
    return {layout: tiny_folder(place / layout, layout=layout) for layout in LAYOUTS}


@pytest.fixture(scope="module")
def pipelines(folders: dict[str, Path]) -> dict[str, VideoPipeline]:
    return {
        layout: VideoPipeline.from_pretrained(folder, device="cpu", dtype="float32")
        for layout, folder in folders.items()
    }


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))


def images_of(layout: str, *, last: bool | None = None) -> dict[str, Image.Image]:
    if layout == "t2v-a14b":
        return {}
    both = layout == "flf2v" if last is None else last
    return {"image": picture(0)} | ({"last_image": picture(1)} if both else {})


def run_of(pipeline: VideoPipeline, images: dict[str, Image.Image], initial: torch.Tensor | None, **said: Any) -> Run:
    values = {
        "request.prompt": PROMPT,
        "request.num_frames": FRAMES,
        "request.height": HEIGHT,
        "request.width": WIDTH,
        "request.seed": 0,
    } | {f"request.{key}": value for key, value in said.items()}
    config, keys = merge(("test", values))
    run = pipeline.start(config, keys, images.get("image"), last_image=images.get("last_image"), initial_CTHW=initial)
    assert isinstance(run, Run)
    return run


def latents_of(run: Run) -> torch.Tensor:
    return torch.cat([event.latents_BCTHW for event in run if event.latents_BCTHW is not None], dim=2)


def initial_latents(seed: int) -> torch.Tensor:
    return torch.randn(LATENT, generator=torch.Generator().manual_seed(seed))


def stock_answer(
    folder: Path, images: dict[str, Image.Image], initial: torch.Tensor, *, stock: Any = None, **said: Any
) -> torch.Tensor:
    """What diffusers' own pipeline makes of the same request."""
    kind = WanImageToVideoPipeline if images else WanPipeline
    # with torchvision the stock processor takes its filter, which rounds otherwise
    seen: dict[str, Any] = {}
    if folder.name in STATES:
        seen["image_processor"] = CLIPImageProcessorPil.from_pretrained(folder / "image_processor")
    stock = stock or kind.from_pretrained(folder, dtype=torch.float32, **seen)
    stock.set_progress_bar_config(disable=True)
    answer: torch.Tensor = stock(
        **images,
        prompt=PROMPT,
        num_frames=FRAMES,
        latents=initial[None].clone(),
        max_sequence_length=512 if folder.name in STATES else 16,
        output_type="latent",
        **({"height": HEIGHT, "width": WIDTH} | said),
    ).frames
    return answer


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("steps", [4, 24])
@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_latents_equal_stock(
    folders: dict[str, Path], pipelines: dict[str, VideoPipeline], layout: str, steps: int, guidance: float
) -> None:
    images, initial = images_of(layout), initial_latents(steps)
    said: dict[str, Any] = {"num_inference_steps": steps, "guidance_scale": guidance}
    said |= {"negative_prompt": NEGATIVE} if guidance > 1 else {}
    ours = latents_of(run_of(pipelines[layout], images, initial, **said))
    theirs = stock_answer(folders[layout], images, initial, **said)
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("layout", ["t2v-a14b", "i2v-a14b"])
def test_each_expert_has_its_guidance(
    folders: dict[str, Path], pipelines: dict[str, VideoPipeline], layout: str
) -> None:
    images, initial = images_of(layout), initial_latents(3)
    said = {"num_inference_steps": 8, "guidance_scale": 4.0, "guidance_scale_2": 2.5}
    ours = latents_of(run_of(pipelines[layout], images, initial, **said))
    theirs = stock_answer(folders[layout], images, initial, **said)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    one = latents_of(run_of(pipelines[layout], images, initial, **(said | {"guidance_scale_2": 4.0})))
    assert (one - ours).abs().max() > 1e-3


def test_a_last_image_without_image_encoder_equals_stock(
    folders: dict[str, Path], pipelines: dict[str, VideoPipeline]
) -> None:
    images, initial = images_of("i2v-a14b", last=True), initial_latents(5)
    said = {"num_inference_steps": 6, "guidance_scale": 3.5}
    ours = latents_of(run_of(pipelines["i2v-a14b"], images, initial, **said))
    torch.testing.assert_close(ours, stock_answer(folders["i2v-a14b"], images, initial, **said), rtol=0, atol=1e-4)


def test_the_flow_shift_that_is_asked_for_equals_stock(
    folders: dict[str, Path], pipelines: dict[str, VideoPipeline]
) -> None:
    initial = initial_latents(6)
    said = {"num_inference_steps": 6, "guidance_scale": 1.0}
    stock = WanPipeline.from_pretrained(folders["t2v-a14b"], dtype=torch.float32)
    stock.scheduler = UniPCMultistepScheduler.from_config(stock.scheduler.config, flow_shift=12.0)
    theirs = stock_answer(folders["t2v-a14b"], {}, initial, stock=stock, **said)
    ours = latents_of(run_of(pipelines["t2v-a14b"], {}, initial, flow_shift=12.0, **said))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    usual = latents_of(run_of(pipelines["t2v-a14b"], {}, initial, **said))
    assert (ours - usual).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("layout", "part"),
    [("i2v-a14b", "channels"), ("i2v", "channels"), ("i2v", "states"), ("flf2v", "mask"), ("flf2v", "states")],
)
def test_each_condition_matters_more_than_the_tolerance(
    pipelines: dict[str, VideoPipeline], layout: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    initial, said = initial_latents(2), {"num_inference_steps": 4, "guidance_scale": 1.0}
    run, other = (run_of(pipelines[layout], images_of(layout), initial, **said) for _ in range(2))
    usual, read = latents_of(run), other.wiring.conditions()
    if part == "states":
        assert read.image_BMD is not None
        # the order of its tokens means nothing where there is one picture
        changed = replace(read, image_BMD=read.image_BMD.flip(0 if layout == "flf2v" else 2))
    else:
        assert read.image_CTHW is not None
        channels = read.image_CTHW.clone()
        channels[-1 if part == "channels" else 3, -1] += 1
        changed = replace(read, image_CTHW=channels)
    monkeypatch.setattr(wiring, "read_conditions", lambda *_, **__: changed)
    difference = (usual - latents_of(other)).abs().max()
    assert difference > 1e-3


@pytest.mark.parametrize("layout", ["t2v-a14b", "flf2v"])
def test_a_run_is_made_again_from_what_it_resolved(pipelines: dict[str, VideoPipeline], layout: str) -> None:
    pipeline, images = pipelines[layout], images_of(layout)
    run = run_of(pipeline, images, None, num_inference_steps=3, guidance_scale=2.0)
    config, said = merge(("record", run.job.resolved()))
    again = pipeline.start(config, said, images.get("image"), last_image=images.get("last_image"))
    assert again.job.resolved() == run.job.resolved()
    assert again.clip().sha256() == run.clip().sha256()
    assert (run.record()["last_image"] is None) == (layout == "t2v-a14b")


def test_pictures_of_another_size_equal_stock(folders: dict[str, Path], pipelines: dict[str, VideoPipeline]) -> None:
    """The image encoder's side is 32, so that these pictures are made smaller and cut."""
    large = {"height": 48, "width": 64}
    images = {
        name: Image.fromarray(np.random.default_rng(i).integers(0, 256, (48, 64, 3), dtype=np.uint8))
        for i, name in enumerate(("image", "last_image"))
    }
    initial = torch.randn(16, 3, 6, 8, generator=torch.Generator().manual_seed(8))
    said = {"num_inference_steps": 4, "guidance_scale": 1.0} | large
    ours = latents_of(run_of(pipelines["flf2v"], images, initial, **said))
    theirs = stock_answer(folders["flf2v"], images, initial, **said)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
