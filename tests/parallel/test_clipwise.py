"""Whole runs of two processes that share a clip's frames, or the weights: the clip of one; and what is refused."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.folders import tiny_folder
from tests.parallel.two import on_ranks
from tests.runs import own_run
from vgen.clipwise import in_clips, uncut
from vgen.config import merge
from vgen.errors import ConfigError
from vgen.job import Job
from vgen.pipeline import VideoPipeline
from vgen.schema import ParallelConfig

PROMPT = "a red ball rolls"
SIZE: dict[str, Any] = {"height": 32, "width": 48, "num_inference_steps": 3, "seed": 5}
DUAL = {"name": "dual_scope", "reach": 1, "count": 2, "clips": 2}
IMAGE = np.full((32, 48, 3), 90, np.uint8)

# name -> what is shared, what is asked for, and how far a value of 255 may be from one process's
CASES: dict[str, tuple[ParallelConfig, dict[str, Any], int]] = {
    "clips": (ParallelConfig(clips=2), {"num_frames": 29, "attention": DUAL}, 1),
    "clips of two lengths": (ParallelConfig(clips=2), {"num_frames": 25, "attention": DUAL}, 1),
    "an image": (ParallelConfig(clips=2), {"num_frames": 29, "attention": DUAL, "image": IMAGE}, 1),
    "freenoise": (ParallelConfig(clips=2), {"num_frames": 61, "sampler": "freenoise"}, 1),
    "taylorseer": (ParallelConfig(clips=2), {"num_frames": 29, "attention": DUAL, "step_cache": "taylorseer"}, 1),
    "weights": (ParallelConfig(fsdp=True), {"num_frames": 9, "guidance_scale": 3.0}, 0),
    "weights and clips": (ParallelConfig(fsdp=True, clips=2), {"num_frames": 29, "attention": DUAL}, 1),
}


def made(model: str, together: bool) -> dict[str, Tensor]:
    """The frames of every case, by the processes together or by one alone."""
    frames = {}
    for name, (parallel, values, _) in CASES.items():
        pipeline = VideoPipeline.from_pretrained(model, parallel=parallel if together else None)
        clip = pipeline(PROMPT, **SIZE, **values)
        frames[name] = torch.from_numpy(clip.frames)
        if together:
            shared = clip.record["parallel"]
            assert (shared["clips"], shared["fsdp"]) == (parallel.clips or 1, bool(parallel.fsdp))
            (row,) = clip.record["attention"]
            assert row["density"] == 1 if name in ("freenoise", "weights") else row["density"] < 1
            assert name != "freenoise" or row["fusion"]["window"] < clip.record["resolved"]["request.num_frames"] // 4
    return frames


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("models") / "tiny", layout="playground")


@pytest.fixture(scope="module")
def alone(tiny: Path) -> Mapping[str, Tensor]:
    return made(str(tiny), together=False)


@pytest.fixture(scope="module")
def both(tiny: Path) -> list[Mapping[str, Tensor]]:
    return on_ranks(made, str(tiny), True)


@pytest.mark.parametrize("name", CASES)
def test_two_processes_make_the_clip_of_one(
    alone: Mapping[str, Tensor], both: list[Mapping[str, Tensor]], name: str
) -> None:
    assert torch.equal(both[0][name], both[1][name])
    apart = (both[0][name].short() - alone[name].short()).abs().max()
    assert int(apart) <= CASES[name][2]


def crossed(model: str) -> dict[str, Tensor]:
    """Frames and heads over four processes; and branches, frames and weights."""
    found = {}
    for name, parallel, scale in (
        ("heads", ParallelConfig(clips=2, ulysses=2), 1.0),
        ("branches", ParallelConfig(clips=2, cfg=2, fsdp=True), 3.0),
    ):
        pipeline = VideoPipeline.from_pretrained(model, parallel=parallel)
        clip = pipeline(PROMPT, **SIZE, guidance_scale=scale, num_frames=29, attention=DUAL)
        found[name] = torch.from_numpy(clip.frames)
    return found


def test_four_processes_share_in_two_ways(tiny: Path) -> None:
    pipeline, found = VideoPipeline.from_pretrained(tiny), on_ranks(crossed, str(tiny), ranks=4)
    for name, scale in (("heads", 1.0), ("branches", 3.0)):
        alone = pipeline(PROMPT, **SIZE, guidance_scale=scale, num_frames=29, attention=DUAL).frames
        for rank in found:
            assert int((rank[name].short() - torch.from_numpy(alone).short()).abs().max()) <= 1


@pytest.fixture(scope="module")
def pipeline(tiny: Path) -> VideoPipeline:
    return VideoPipeline.from_pretrained(tiny)


def asked(pipeline: VideoPipeline, **values: Any) -> tuple[Job, list[str]]:
    """What a request becomes, and which keys it says."""
    size = {"request.height": 32, "request.width": 48, "request.num_frames": 29, "request.prompt": PROMPT}
    words = {key.replace("__", "."): value for key, value in values.items()}
    config, said = merge(("here", size | words))
    return own_run(pipeline.start(config, said)).job, said


def test_parts_attend_by_dual_scope_and_say_so(pipeline: VideoPipeline) -> None:
    job, said = asked(pipeline)
    assert in_clips(job, said, 1) == job
    parts = in_clips(job, said, 4)
    assert parts.attention.resolved()["attention.name"] == "dual_scope"
    assert parts.attention.resolved()["attention.clips"] == 4
    assert "8 latent frames to each side and 16 from everywhere" in parts.notes[-1]
    assert replace(parts, attention=job.attention, notes=job.notes) == job
    job, said = asked(pipeline, attention__name="dual_scope", attention__clips=4, attention__reach=1)
    assert in_clips(job, said, 4) == job, "what was asked for is as it was asked for"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"attention__name": "dense"}, "attends by dual_scope with clips=2, asked for dense; leave attention out"),
        ({"attention__name": "radial"}, "asked for radial"),
        ({"attention__name": "dual_scope"}, r"or ask for --attention dual_scope attention\.clips=2"),
        ({"attention__name": "dual_scope", "attention__clips": 3}, "asked for dual_scope clips=3"),
        (
            {"attention__name": "dual_scope", "attention__clips": 2, "attention__dense_layers": 1},
            "cannot see in dense steps or layers",
        ),
        ({"attention__name": "dual_scope", "attention__clips": 2, "attention__executor": "gather"}, "no executor"),
        ({"request__num_frames": 1}, "the video has 1 latent frames, and each process takes at least one"),
    ],
)
def test_what_parts_do_not_attend_by_is_refused(pipeline: VideoPipeline, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        in_clips(*asked(pipeline, **values), 2)


def test_a_part_has_frames_to_make(pipeline: VideoPipeline) -> None:
    job, said = asked(pipeline)
    with pytest.raises(ConfigError, match="the first part has 4 latent frames, and 4 are given; ask for more frames"):
        in_clips(replace(job, known=4), said, 2)
    assert in_clips(replace(job, known=3), said, 2).known == 3


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({}, None),
        ({"sampler__name": "freenoise"}, None),
        ({"sampler__name": "freeinit"}, None),
        ({"step_cache__name": "taylorseer"}, None),
        ({"sampler__name": "causal"}, "'causal' does not move all frames together; possible: full"),
        ({"sampler__name": "fifo"}, "'fifo' does not move all frames together"),
        ({"sampler__name": "syncos"}, "'syncos' shows the model windows"),
        ({"sampler__mask": "causal"}, r"possible: sampler\.mask=full"),
        ({"step_cache__name": "first-block"}, "possible: mag, taylorseer"),
    ],
)
def test_which_jobs_can_be_cut(pipeline: VideoPipeline, values: dict[str, Any], why: str | None) -> None:
    found = uncut(asked(pipeline, **values)[0])
    assert (found is None) == (why is None)
    assert re.search(why or "", found or "")
