"""What a request may ask of models with images in channels, with a last image, or with two experts."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.folders import tiny_folder
from vgen.clip import Clip
from vgen.config import merge
from vgen.errors import ConfigError, InputError, ModelError, VgenError
from vgen.ladder import Fitted, OnDevice
from vgen.models.experts import Experts
from vgen.pipeline import Run, VideoPipeline

LAYOUTS = ("t2v-a14b", "i2v-a14b", "i2v", "flf2v", "wan2.1")
PROMPT = "a red ball rolls"


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, VideoPipeline]:
    place = tmp_path_factory.mktemp("layouts")
    return {
        layout: VideoPipeline.from_pretrained(
            tiny_folder(place / layout, layout=layout, trainings="full, causal, forcing"), device="cpu", dtype="float32"
        )
        for layout in LAYOUTS
    }


def picture(seed: int = 0, height: int = 40, width: int = 60) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def start(
    pipeline: VideoPipeline, images: str = "", said: dict[str, Any] | None = None, base: Clip | None = None
) -> Run:
    """`images` names those that are given: `first`, `last`."""
    keys = {key if "." in key else f"request.{key}": value for key, value in (said or {}).items()}
    config, told = merge(("test", {"request.prompt": PROMPT, "request.seed": 1} | keys))
    first = picture() if "first" in images else None
    run = pipeline.start(config, told, first, base=base, last_image=picture(1) if "last" in images else None)
    assert isinstance(run, Run)
    return run


@pytest.mark.parametrize(
    ("layout", "images", "said", "kind", "message"),
    [
        ("i2v", "", {}, ModelError, "makes video from an image; give one with --image"),
        ("i2v", "last", {}, ModelError, "makes video from an image"),
        ("i2v", "first last", {}, ModelError, "takes no last image"),
        ("t2v-a14b", "first", {}, ModelError, "makes video from text alone"),
        ("wan2.1", "last", {}, ModelError, "takes no last image"),
        ("flf2v", "first", {}, ModelError, "give the other with --last-image"),
        ("flf2v", "first last", {"num_frames": 1}, InputError, "cannot be a first and a last image"),
        ("i2v", "first", {"guidance_scale_2": 3.0}, ConfigError, "model '.*' has one; say guidance_scale"),
        ("i2v", "first", {"sampler.name": "causal"}, ModelError, "takes its image in channels .* such as full"),
        ("i2v", "first", {"sampler.name": "fifo"}, ModelError, "makes a clip part by part"),
        ("i2v", "first", {"sampler.name": "story"}, ModelError, "makes a clip part by part"),
        ("t2v-a14b", "", {"sampler.name": "streaming", "sampler.force": True}, ModelError, "has two transformers"),
        ("t2v-a14b", "", {"sampler.name": "ar-diffusion"}, ModelError, "has two transformers"),
        ("t2v-a14b", "", {"guidance_scale": 1.0, "negative_prompt": "a box"}, ConfigError, "is not above 1"),
        ("t2v-a14b", "", {"fit": "pad"}, ConfigError, "there is none"),
    ],
)
def test_what_a_layout_cannot_do_is_refused(
    pipelines: dict[str, VideoPipeline],
    layout: str,
    images: str,
    said: dict[str, Any],
    kind: type[VgenError],
    message: str,
) -> None:
    with pytest.raises(kind, match=message):
        start(pipelines[layout], images, said)


def test_a_clip_is_gone_on_from_by_its_last_frame(pipelines: dict[str, VideoPipeline]) -> None:
    base = Clip(frames=np.zeros((9, 32, 48, 3), np.uint8), fps=8.0)
    with pytest.raises(ModelError, match="begin from that clip's last frame with --image"):
        start(pipelines["i2v"], base=base)


@pytest.mark.parametrize("sampler", ["freenoise", "freeinit", "syncos"])
@pytest.mark.parametrize("layout", ["t2v-a14b", "i2v"])
def test_samplers_that_lower_all_frames_together_run(
    pipelines: dict[str, VideoPipeline], layout: str, sampler: str
) -> None:
    said = {"sampler.name": sampler, "num_frames": 17, "num_inference_steps": 2}
    run = start(pipelines[layout], "" if layout == "t2v-a14b" else "first", said)
    assert len(run.clip().frames) == 17


@pytest.mark.parametrize(
    ("said", "scales"),
    [
        ({}, (1.0, 1.0)),
        ({"guidance_scale": 5.0}, (5.0, 5.0)),
        ({"guidance_scale_2": 5.0}, (1.0, 5.0)),
        ({"guidance_scale": 4.0, "guidance_scale_2": 1.0}, (4.0, 1.0)),
    ],
)
def test_either_guidance_can_be_said(
    pipelines: dict[str, VideoPipeline], said: dict[str, float], scales: tuple[float, float]
) -> None:
    run = start(pipelines["t2v-a14b"], said=said)
    assert (run.job.guidance_scale, run.job.guidance_scale_2) == scales
    fitted = run.wiring.rollout()[0].denoise
    assert isinstance(fitted, Fitted) and isinstance(fitted.denoise, Experts)
    experts = (fitted.denoise.high, fitted.denoise.low)
    guided = [isinstance(expert, OnDevice) and hasattr(expert.denoise, "uncond") for expert in experts]
    assert guided == [scale > 1 for scale in scales]


def test_the_card_says_the_flow_shift_and_a_note_says_so(pipelines: dict[str, VideoPipeline]) -> None:
    pipeline = pipelines["wan2.1"]
    assert start(pipeline).job.flow_shift == 3.0 and not start(pipeline).notes
    object.__setattr__(pipeline.model.card, "flow_shift", 7.0)
    object.__setattr__(pipeline.model.card, "flow_shift_480p", 2.0)
    run = start(pipeline)
    assert run.job.flow_shift == 2.0 and "flow shift 2, as the model card says for 48x32" in run.notes[0]
    assert start(pipeline, said={"flow_shift": 3.0}).job.flow_shift == 3.0
    assert start(pipeline, said={"width": 848, "height": 480}).job.flow_shift == 7.0
    assert pipeline.model.scheduler.config.flow_shift == 3.0


def test_the_last_image_is_fitted_like_the_first(pipelines: dict[str, VideoPipeline]) -> None:
    run = start(pipelines["flf2v"], "first last", {"width": 32, "height": 48, "fit": "pad"})
    assert run.job.image_YX3 is not None and run.job.last_image_YX3 is not None
    assert run.job.last_image_YX3.shape == run.job.image_YX3.shape == (48, 32, 3)
    assert not run.job.last_image_YX3[0].any()


def test_python_takes_what_the_command_line_takes(pipelines: dict[str, VideoPipeline]) -> None:
    said: dict[str, Any] = {"seed": 1, "num_frames": 5, "num_inference_steps": 2}
    clip = pipelines["i2v-a14b"](
        PROMPT, picture(), last_image=picture(1), guidance_scale=2.0, guidance_scale_2=1.5, flow_shift=5.0, **said
    )
    resolved = clip.record["resolved"]
    assert (resolved["request.guidance_scale_2"], resolved["request.flow_shift"]) == (1.5, 5.0)
    chunks = pipelines["i2v-a14b"].stream(PROMPT, picture(), last_image=picture(1), sampler="full", **said)
    assert sum(len(frames_FYX3) for frames_FYX3 in chunks) == 5
