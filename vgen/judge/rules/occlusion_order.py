"""occlusion_order: of two things that overlap in the picture, the one in front stays in front while they do.

Formula: in every frame of one unbroken overlap each thing lacks a share of its whole area; what lies in front lacks
none. strength = the lesser of the two things' largest shares, the floor of .08 taken off: 0 where one of them stays
whole, as large as the overlap in which the order changed where it did.
Source: depth order is constant without crossing (T-junctions, Guzman 1968; IntPhys2, arXiv:2506.09849, permanence).
Strength: share of a thing's area.
Abstains where no two things overlap that are each seen apart as well, or where two that do look the same, so that their
border cannot be seen.
"""

import numpy as np

from vgen.judge.observation import Floats, Observation, Sight, Track
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.lives import bodies, runs
from vgen.judge.rules.looks import SAME_LAB, mean_lab

__all__ = ["RULE"]

NEAR = 0.1  # diameters of the smaller thing: outlines that near may overlap
FLOOR = 0.08  # of a thing's area: what a cut along a border is worth
APART = 3  # frames that show a thing away from the other
OVERLAP = 0.15  # of a thing's area that is hidden where two truly overlap


def measure(observation: Observation) -> Measured:
    things = {track.id: track for track in bodies(observation)}
    found, alike = [], False
    for one, other in observation.gap_px:
        if one not in things or other not in things:
            continue
        pair = things[one], things[other]
        overlaps = _overlaps(observation, *pair)
        if not all(_is_known(track, overlaps) for track in pair):
            continue
        measured = [m for start, end in overlaps if (m := _of(pair, start, end)) is not None]
        if measured and float(np.linalg.norm(mean_lab(pair[0]) - mean_lab(pair[1]))) < SAME_LAB:
            alike = True
        else:
            found += measured
    if found:
        return tuple(found)
    if alike:
        return Abstention(status="undecidable", reason="two things that overlap look the same")
    return Abstention(status="not_applicable", reason="no two things overlap")


def _overlaps(observation: Observation, one: Track, other: Track) -> list[tuple[int, int]]:
    """Stretches of frames in which they may overlap: near each other, or one of them hidden after they were."""
    gap_F = observation.gap(one.id, other.id)
    smaller = min(one.diameter_px, other.diameter_px)
    near_F = np.nan_to_num(gap_F, nan=np.inf) <= NEAR * smaller
    gone_F = (one.sight_F == Sight.OCCLUDED) | (other.sight_F == Sight.OCCLUDED)
    return [(start, end) for start, end in runs(near_F | gone_F) if near_F[start:end].any()]


def _is_known(track: Track, overlaps: list[tuple[int, int]]) -> bool:
    """Whether it is seen whole and by itself: what always lies at another thing may be a torn-off part of its looks."""
    apart_F = track.seen_F.copy()
    for start, end in overlaps:
        apart_F[start:end] = False
    return int(apart_F.sum()) >= APART


def _of(pair: tuple[Track, Track], start: int, end: int) -> Measurement | None:
    lacks = [_lacking(track, start, end) for track in pair]
    if max(float(lack_N.max()) for lack_N in lacks) < OVERLAP:
        return None
    at = [start + int(lack_N.argmax()) for lack_N in lacks]
    value = min(float(lack_N.max()) for lack_N in lacks)
    strength = max(0.0, value - FLOOR)
    front = pair[int(lacks[0].max() > lacks[1].max())].id
    return Measurement(
        strength=strength,
        frames=(min(at), max(at)) if strength else (start, end - 1),
        objects=(pair[0].id, pair[1].id),
        quantity="share of the area that the thing in front lacks while they overlap",
        value=value,
        expected=0.0,
        sigma=FLOOR / 2,
        text=f"things {pair[0].id} and {pair[1].id} change which is in front between frames {min(at)} and {max(at)}, "
        "while they overlap"
        if strength
        else f"thing {front} stays in front while things {pair[0].id} and {pair[1].id} overlap",
    )


def _lacking(track: Track, start: int, end: int) -> Floats:
    """Share of its whole area that each frame does not show."""
    whole = float(np.nanmedian(track.area_px_F[track.seen_F])) if track.seen_F.any() else float("nan")
    lack_N = 1 - track.area_px_F[start:end] / whole
    lack_N[track.sight_F[start:end] == Sight.OCCLUDED] = 1.0
    return np.nan_to_num(np.clip(lack_N, 0.0, 1.0))


RULE = Rule(
    name="occlusion_order",
    group="optics",
    statement="Of two things that overlap in the picture, the one in front stays in front while they do.",
    measure=measure,
    motion=False,
)
