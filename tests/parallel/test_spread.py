"""What of a job cannot be shared, asked of a model without weights, so that nothing is loaded before it is refused."""

from typing import Any

import pytest

from tests.folders import tiny_folder
from vgen.config import merge
from vgen.errors import ConfigError
from vgen.parallel.degrees import Degrees
from vgen.parallel.mesh import World
from vgen.pipeline import Run, VideoPipeline
from vgen.schema import PerformanceConfig
from vgen.spread import work_of

ASKED: dict[str, Any] = {"request.prompt": "a red ball", "request.num_frames": 9, "request.seed": 1}
WIDE = {"attention.name": "vmoba", "attention.patch": "allx1x2", "attention.cuboid": "2x1x2"}


@pytest.fixture(scope="module")
def planner(tmp_path_factory: pytest.TempPathFactory) -> VideoPipeline:
    """Of a process that believes that there are two."""
    folder = tiny_folder(tmp_path_factory.mktemp("models") / "tiny", layout="wan2.1")
    made = VideoPipeline.without_weights(folder, device="cpu", dtype="auto", performance=PerformanceConfig())
    made.world = World()
    made.world.size = 2
    return made


def degrees(planner: VideoPipeline, **asked: Any) -> Degrees:
    named = {key.replace("__", "."): value for key, value in asked.items()}
    return planner.start(*merge(("test", ASKED | named))).mesh.degrees


def test_what_can_be_shared(planner: VideoPipeline) -> None:
    assert degrees(planner) == Degrees(ulysses=2)
    assert degrees(planner, request__guidance_scale=3.0) == Degrees(cfg=2)
    assert degrees(planner, attention__name="radial") == Degrees(ulysses=2)
    assert degrees(planner, **WIDE, attention__scope="head_global") == Degrees(ulysses=2)
    assert degrees(planner, step_cache__name="taylorseer") == Degrees(ulysses=2), "it goes by the step alone"


def test_when_branches_of_guidance_run_other_blocks(planner: VideoPipeline) -> None:
    def apart(**asked: Any) -> str | None:
        named = {key.replace("__", "."): value for key, value in asked.items()}
        run = planner.start(*merge(("test", ASKED | {"request.guidance_scale": 3.0} | named)))
        assert isinstance(run, Run)
        return work_of(run.job, run.model).apart

    assert apart() is None and apart(step_cache__name="taylorseer") is None
    assert "rests" in str(apart(request__guidance_interval=[0.3, 0.8]))
    assert "first-block" in str(apart(step_cache__name="first-block"))


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"step_cache.name": "first-block"}, "step cache 'first-block' looks at all tokens"),
        (WIDE | {"attention.scope": "overall"}, "all heads of a layer compete"),
        (WIDE | {"attention.scope": "block"}, "all heads of a layer compete"),
        ({"request.width": 80, "request.height": 16}, "5 tokens of a frame"),
    ],
)
def test_what_cannot_is_refused(planner: VideoPipeline, asked: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        planner.start(*merge(("test", ASKED | asked)))
    if "parallel" not in next(iter(asked)):
        guided = degrees(planner, **asked, request__guidance_scale=3.0)
        assert guided == Degrees(cfg=2), "the branches of guidance can be shared all the same"
