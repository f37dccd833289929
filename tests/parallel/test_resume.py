"""A run that two processes began and one goes on with, and the other way round."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.folders import tiny_folder
from tests.parallel.two import on_ranks
from tests.runs import own_run
from vgen.checkpoint import Checkpoint
from vgen.config import merge
from vgen.pipeline import VideoPipeline

ASKED: dict[str, Any] = {
    "request.prompt": "a red ball rolls",
    "request.num_frames": 21,
    "request.seed": 4,
    "request.num_inference_steps": 3,
    "sampler.name": "causal",
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("models") / "tiny", layout="wan2.1")


def part(model: str, folder: str, guidance: float, shared: bool, first: bool) -> dict[str, Tensor]:
    """The frames of one half of a run: up to its second chunk, or from there to its end."""
    pipeline = VideoPipeline.from_pretrained(model, parallel="auto" if shared else None)
    run = own_run(pipeline.start(*merge(("test", ASKED | {"request.guidance_scale": guidance}))))
    checkpoint = Checkpoint(Path(folder))
    frames = []
    for event in run.events(checkpoint, resume=not first):
        if event.frames_FYX3 is not None:
            frames.append(torch.from_numpy(event.frames_FYX3))
            if first and len(frames) == 3:
                break
    return {"frames": torch.cat(frames), "shared": torch.tensor(run.mesh.degrees.sizes)}


@pytest.mark.parametrize(("guidance", "degrees"), [(3.0, [1, 2, 1, 1]), (1.0, [1, 1, 1, 2])], ids=["cfg", "ulysses"])
@pytest.mark.parametrize("begun_by", [1, 2])
def test_another_number_of_processes_goes_on(
    tiny: Path, tmp_path: Path, guidance: float, degrees: list[int], begun_by: int
) -> None:
    whole = part(str(tiny), str(tmp_path / "whole.run"), guidance, False, True)["frames"]
    again = part(str(tiny), str(tmp_path / "whole.run"), guidance, False, False)["frames"]
    assert torch.equal(again[: len(whole)], whole) and len(again) == 21
    two = tmp_path / "two.run"
    for first in (True, False):
        if (begun_by == 2) == first:
            ends = on_ranks(part, str(tiny), str(two), guidance, True, first)
            assert all(end["shared"].tolist() == degrees for end in ends)
            assert torch.equal(ends[0]["frames"], ends[1]["frames"])
            frames = ends[0]["frames"]
        else:
            frames = part(str(tiny), str(two), guidance, False, first)["frames"]
    largest = int((frames.short() - again.short()).abs().max())
    assert largest <= (0 if degrees[1] == 2 else 1), "guidance is to the bit, tokens within rounding"
