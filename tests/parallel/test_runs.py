"""Whole runs over two processes against one: frames, seeds, what is searched, what does not agree, who is killed."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.folders import tiny_folder
from tests.parallel.two import ended_on, on_ranks
from vgen.config import merge
from vgen.parallel.launched import launched
from vgen.pipeline import VideoPipeline
from vgen.schema import ParallelConfig

PROMPT = "a red ball rolls to the right"
SHORT: dict[str, Any] = {"num_frames": 9, "num_inference_steps": 3, "seed": 5}
GUIDED = SHORT | {"guidance_scale": 3.0, "negative_prompt": "a blue box"}
CASES: dict[str, dict[str, Any]] = {
    "guided": GUIDED,
    "guided causal": GUIDED | {"sampler": "causal"},
    "guided streaming": GUIDED | {"sampler": {"name": "streaming", "force": True}},
    "redone": GUIDED | {"num_frames": 17, "redo": 2, "sampler": {"name": "story", "force": True}},
    "best of two": GUIDED | {"num_frames": 17, "best_of": 2},
    "radial": SHORT | {"attention": {"name": "radial", "min_reach": 2}},
    "by head": SHORT | {"attention": {"name": "per_head", "of": [{"name": "sink"}, {"name": "full"}]}},
    "causal": SHORT | {"sampler": "causal"},
    "windows": SHORT | {"num_frames": 29, "sampler": {"name": "freenoise", "force": True}},
    "a seed of its own": {"num_frames": 1, "num_inference_steps": 2, "guidance_scale": 3.0},
}
SPLIT = ("radial", "by head", "causal", "windows")  # without guidance the rule takes tokens and heads
EXACT = tuple(name for name in CASES if name not in SPLIT and name != "a seed of its own")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two heads and an even number of tokens, which the embedded one does not have."""
    return tiny_folder(tmp_path_factory.mktemp("models") / "tiny", layout="wan2.1")


def clips(model: str, parallel: str | None) -> dict[str, Tensor]:
    """The frames of every case, and how they were shared; all from one pipeline."""
    pipeline, made = VideoPipeline.from_pretrained(model, parallel=parallel), {}
    for name, values in CASES.items():
        clip = pipeline(PROMPT, **values)
        shared = clip.record["parallel"] or {"processes": 1, "cfg": 1, "ulysses": 1}
        made[name] = torch.from_numpy(clip.frames)
        made[f"{name}, shared"] = torch.tensor([shared[axis] for axis in ("processes", "cfg", "ulysses")])
    return made


@pytest.fixture(scope="module")
def alone(tiny: Path) -> Mapping[str, Tensor]:
    return clips(str(tiny), None)


@pytest.fixture(scope="module")
def both(tiny: Path) -> list[Mapping[str, Tensor]]:
    return on_ranks(clips, str(tiny), "auto")


@pytest.mark.parametrize("name", CASES)
def test_every_process_has_the_same_clip(both: list[Mapping[str, Tensor]], name: str) -> None:
    assert torch.equal(both[0][name], both[1][name])
    assert both[0][f"{name}, shared"].tolist() == ([2, 1, 2] if name in SPLIT else [2, 2, 1])


@pytest.mark.parametrize("name", EXACT)
def test_guidance_over_two_processes_is_that_of_one_to_the_bit(
    alone: Mapping[str, Tensor], both: list[Mapping[str, Tensor]], name: str
) -> None:
    assert torch.equal(both[0][name], alone[name])


@pytest.mark.parametrize("name", SPLIT)
def test_tokens_and_heads_over_two_processes_make_the_clip_of_one(
    alone: Mapping[str, Tensor], both: list[Mapping[str, Tensor]], name: str
) -> None:
    assert int((both[0][name].short() - alone[name].short()).abs().max()) <= 1


def guided(model: str) -> dict[str, Tensor]:
    clip = VideoPipeline.from_pretrained(model, parallel="auto")(PROMPT, **GUIDED)
    assert clip.record["parallel"] == {"processes": 4, "dp": 1, "cfg": 2, "clips": 1, "ulysses": 2, "fsdp": False}
    return {"frames": torch.from_numpy(clip.frames)}


def test_four_processes_share_guidance_and_tokens(tiny: Path, alone: Mapping[str, Tensor]) -> None:
    for one in on_ranks(guided, str(tiny), ranks=4):
        assert int((one["frames"].short() - alone["guided"].short()).abs().max()) <= 1


def differing(model: str, key: str, values: list[Any]) -> dict[str, Tensor]:
    there = launched()
    assert there is not None
    pipeline = VideoPipeline.from_pretrained(model, parallel=ParallelConfig(timeout_s=20.0))
    asked = {"request.prompt": PROMPT, "request.num_frames": 5, "request.seed": 1, key: values[there.rank]}
    latents = None
    if key == "request.fps":  # changes no noise; the other's noise is another, as another torch could make it
        latents = torch.randn(16, 2, 4, 6, generator=torch.Generator().manual_seed(there.rank))
    pipeline.start(*merge(("test", asked)), initial_CTHW=latents).clip()
    return {}


@pytest.mark.parametrize(
    ("key", "values", "what"),
    [
        ("request.seed", [1, 2], "the request"),
        ("request.num_inference_steps", [3, 4], "the request"),
        ("request.fps", [8, 8], "the noise"),
    ],
)
def test_processes_that_do_not_go_alike_find_out(tiny: Path, key: str, values: list[Any], what: str) -> None:
    ends = ended_on(differing, str(tiny), key, values)
    assert [end.code for end in ends] == [2, 2]
    assert any(f"processes disagree on {what}: process 1 has another than process 0" in end.error for end in ends)


def killed(model: str, rank: int) -> dict[str, Tensor]:
    there = launched()
    assert there is not None
    pipeline = VideoPipeline.from_pretrained(model, parallel=ParallelConfig(timeout_s=10.0))
    for event in pipeline.start(*merge(("test", {"request.prompt": PROMPT, "request.num_frames": 5}))):
        if event.stage == "denoise" and event.done == 2 and there.rank == rank:
            os.kill(os.getpid(), 9)
    return {}


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_ends_the_others(tiny: Path, rank: int) -> None:
    ends = ended_on(killed, str(tiny), rank)
    assert (ends[rank].code, ends[1 - rank].code) == (-9, 2)
    assert ends[1 - rank].error.startswith("PeerLostError: another process has ended or does not answer")
