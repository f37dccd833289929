"""motion_without_cause: a body at rest stays at rest until something acts on it.

Formula: way = distance between the resting place and the farthest place that the body reaches before anything touches
it, in its diameters; 0 for a body that stays, or that something comes to, or that loses its support and falls.
Source: Newton's first law (Principia, 1687, Lex I).
Strength: diameters of way beyond 3 standard errors. A pusher that comes late is `effect_before_cause` or `event_order`.
Images in a mirror that are at odds with their things are for `mirror`. Abstains where no body rests.
"""

import numpy as np

from vgen.judge.observation import Observation
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.effect_before_cause import pusher_time, starts
from vgen.judge.rules.segments import DOWN, Joint, Path, paths

__all__ = ["RULE"]

_SMALL_D = 0.05  # diameters: rests drift that much


def measure(observation: Observation) -> Measured:
    found: list[Measurement] = []
    for path in paths(observation):
        diameter = path.track.diameter_px
        if path.swings or not any(segment.resting(diameter) for segment in path.good):
            continue
        begun = starts(path)
        found += [_start(observation, path, joint) for joint in begun] or [_still(path)]
    return tuple(found) or Abstention(status="not_applicable", reason="no body rests")


def _start(observation: Observation, path: Path, joint: Joint) -> Measurement:
    way, sigma = _way(path, joint)
    innocent = _explained(observation, path, joint)
    return Measurement(
        strength=0.0 if innocent else max(0.0, way - 3 * sigma - _SMALL_D),
        frames=(joint.before.last, joint.after.last),
        objects=(path.track.id,),
        quantity="way from rest with nothing near, diameters",
        value=0.0 if innocent else way,
        expected=0.0,
        sigma=sigma,
        text=f"thing {path.track.id} starts at frame {joint.frame:.1f} "
        + ("and something made it" if innocent else f"with nothing near and goes {way:.2f} diameters"),
    )


def _still(path: Path) -> Measurement:
    first, last = path.segments[0].first, path.segments[-1].last
    return Measurement(
        strength=0.0,
        frames=(first, last),
        objects=(path.track.id,),
        quantity="way from rest with nothing near, diameters",
        value=0.0,
        expected=0.0,
        sigma=path.segments[0].sigma_px / path.track.diameter_px,
        text=f"thing {path.track.id} does not start by itself",
    )


def _way(path: Path, joint: Joint) -> tuple[float, float]:
    place_2 = joint.before.fit.at(joint.before.last)
    way = float(np.linalg.norm(joint.after.xy_N2 - place_2, axis=1).max())
    return way / path.track.diameter_px, joint.after.sigma_px / path.track.diameter_px


def _explained(observation: Observation, path: Path, joint: Joint) -> bool:
    if joint.causes & {"contact", "body", "hidden", "event", "border"}:
        return True
    way_2 = joint.after.xy_N2[-1] - joint.after.xy_N2[0]
    if joint.after.ground != "ground" and way_2 @ DOWN > 0.85 * np.linalg.norm(way_2):
        return True  # let go, it falls
    return pusher_time(observation, path, joint) is not None


RULE = Rule(
    name="motion_without_cause",
    group="causal",
    statement="A body at rest stays at rest until something acts on it.",
    measure=measure,
)
