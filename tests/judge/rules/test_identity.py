"""identity: another colour, form or size after hiding counts; the same change in full view does not."""

from dataclasses import replace

import numpy as np
import pytest

from tests.judge.rules.checks import abstains, holds, unit_free
from tests.judge.rules.hidden import behind, passer, path
from tests.judge.rules.world import body, seen
from vgen.judge.observation import OUTLINE_DIRECTIONS, Observation, Track
from vgen.judge.rules.identity import RULE

LATE = path()[:, 0] > 425


def recoloured(severity: float, seed: int) -> Observation:
    track = passer(path(), seed=seed)
    lab_F3 = track.lab_F3 + np.random.default_rng(seed).normal(0, 1, track.lab_F3.shape)
    lab_F3[LATE] += np.array([0, -40 * severity, 0])
    return behind(replace(track, lab_F3=lab_F3))


def reshaped(severity: float, seed: int) -> Observation:
    return behind(_outlined(passer(path(), seed=seed), 0.2 * severity, seed))


def _outlined(track: Track, share: float, seed: int) -> Track:
    turn_A = np.arange(OUTLINE_DIRECTIONS) * 2 * np.pi / OUTLINE_DIRECTIONS
    rng = np.random.default_rng(seed)
    outline_FA = track.outline_px_FA * (1 + 0.03 * rng.standard_normal(track.outline_px_FA.shape))
    turned_FA = turn_A + 0.2 * np.arange(len(outline_FA))[:, None]  # it rolls
    outline_FA[LATE] *= 1 + share * np.cos(4 * turned_FA[LATE])
    return replace(track, outline_px_FA=outline_FA)


@pytest.mark.parametrize(("scene", "broken"), [(recoloured, 0.4), (reshaped, 0.4)])
def test_law(scene, broken) -> None:  # type: ignore[no-untyped-def]
    holds(RULE, scene, kept=0.15, broken=broken)
    unit_free(RULE, scene)


def test_abstains_in_full_view() -> None:
    assert abstains(RULE, seen(body(path())), "not_applicable")
