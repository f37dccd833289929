"""What every rule owes: quiet where its law is kept, louder the worse it is broken, blind to scale, rate and side."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np

from tests.judge.rules.world import mirrored, resized
from vgen.judge.observation import Observation, Track
from vgen.judge.rule import Abstention, Rule

SEEDS = range(5)
SEVERITIES = (0.0, 0.25, 0.5, 0.75, 1.0)
Scene = Callable[[float, int], Observation]  # of severity and seed of the noise


def strength(rule: Rule, obs: Observation) -> float:
    """Of the strongest measurement; fails where the rule abstains."""
    measured = rule.measure(obs)
    assert not isinstance(measured, Abstention), f"{rule.name} abstains: {measured}"
    assert all(0 <= m.strength < np.inf and np.isfinite(m.value) and m.text for m in measured)
    return max(m.strength for m in measured)


def abstains(rule: Rule, obs: Observation, status: str) -> bool:
    measured = rule.measure(obs)
    return isinstance(measured, Abstention) and measured.status == status


def holds(rule: Rule, scene: Scene, *, kept: float, broken: float, monotone_to: float = 1.0) -> None:
    """The rule keeps below `kept` on all possible seeds, above `broken` from severity .5 on, and never falls."""
    for seed in SEEDS:
        strengths = [strength(rule, scene(severity, seed)) for severity in SEVERITIES]
        assert strengths[0] <= kept, f"possible, seed {seed}: {strengths}"
        assert strengths[2] >= broken, f"severity .5, seed {seed}: {strengths}"
        upto = strengths[: sum(s <= monotone_to for s in SEVERITIES)]
        assert all(b >= a - 0.02 * broken for a, b in pairwise(upto)), f"seed {seed}: {strengths}"


def unit_free(rule: Rule, scene: Scene, *, thin: float = 0.25) -> None:
    """Scale and side change nothing at all; half the frames change no more than the share `thin`."""
    for severity in (0.0, 0.5):
        obs = scene(severity, 1)
        plain = strength(rule, obs)
        np.testing.assert_allclose(strength(rule, resized(obs, 2.5)), plain, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(strength(rule, mirrored(obs)), plain, rtol=1e-6, atol=1e-6)
        half = strength(rule, thinned(obs))
        assert abs(half - plain) <= thin * max(plain, 0.1), f"every other frame: {half} instead of {plain}"


def thinned(obs: Observation) -> Observation:
    """The same clip at half the frame rate."""

    def fewer(track: Track) -> Track:
        rows = {name: getattr(track, name)[::2] for name in ARRAYS}
        return replace(track, **rows)

    return replace(
        obs,
        num_frames=(obs.num_frames + 1) // 2,
        fps=obs.fps / 2,
        camera=replace(
            obs.camera,
            to_reference_F33=obs.camera.to_reference_F33[::2],
            inliers_F=obs.camera.inliers_F[::2],
        ),
        tracks=tuple(map(fewer, obs.tracks)),
        events=tuple(replace(e, frame=e.frame / 2, sigma_frames=e.sigma_frames / 2) for e in obs.events),
        gap_px={pair: gap[::2] for pair, gap in obs.gap_px.items()},
        front={pair: front[::2] for pair, front in obs.front.items()},
        shot=(0, (obs.num_frames + 1) // 2),
    )


ARRAYS = (
    "xy_F2",
    "sight_F",
    "area_px_F",
    "box_F4",
    "outline_px_FA",
    "angle_F",
    "lab_F3",
    "surface_px_F",
)
