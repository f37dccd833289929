"""Shadows that grow too faint to be told from noise pixel by pixel, followed on from the frames that show them clearly.

The higher a thing, the fainter and wider its shadow. Where one is known to lie, the mean over its whole place tells
far fainter darkening than any pixel of it: from both ends of a trail, frame after frame, the darkest place near where
it should be, averaged over its rows and half its width, counts while it stands out from what the same rows show
elsewhere.
"""

from typing import NamedTuple

import cv2
import numpy as np

from vgen.judge.observation import Floats
from vgen.judge.perception.background import Background
from vgen.judge.perception.segment import SHADOW_TINT, Blob
from vgen.judge.perception.sift import THROWN_SHARE, lies_inside, throws
from vgen.judge.perception.track import Trail
from vgen.judge.perception.view import Bytes, Mask, Picture, View

__all__ = ["with_faint"]

LEAST = 2  # frames that show a shadow clearly before it is followed on
MOST = 6  # shadows of a clip, those that show longest
LATEST = 5  # frames that its velocity is taken from
CLEAR_SIGMAS, CLEAR_LAB = 5.0, 0.5  # by which it must stand out
FADING = 0.6  # of the darkness of the frame before, at least
HALF = 0.5  # of its darkest: where it ends
MISSES = 1  # frames in a row in which it may not be found
MAX_WIDTH = 3.0  # of the widest thing: the higher a thing, the wider and softer its shadow
LIT = 0.75  # quantile of a place's light over the frames that is taken for lit


def with_faint(view: View, background: Background, trails: list[Trail]) -> list[Trail]:
    """The trails, those of shadows followed on as far as they go, two that prove one joined."""
    bodies = [trail for trail in trails if trail.kind == "body" and len(trail.blobs) > LEAST]
    shadows = [trail for trail in trails if trail.kind == "shadow" and len(trail.blobs) >= LEAST]
    shadows = [trail for trail in shadows if _is_thrown(trail, bodies) and not lies_inside(trail, bodies)]
    gone: set[int] = set()
    for trail in sorted(shadows, key=lambda one: -len(one.blobs))[:MOST]:
        for side in (1, -1):
            if trail.number not in gone:
                others = [other for other in shadows if other is not trail and other.number not in gone]
                gone |= _followed_on(trail, side, view, background, bodies, others)
    return [trail for trail in trails if trail.number not in gone]


def _is_thrown(trail: Trail, bodies: list[Trail]) -> bool:
    thrown = [any(throws(body, frame, blob) for body in bodies) for frame, blob in trail.blobs.items()]
    return float(np.mean(thrown)) >= THROWN_SHARE


def _followed_on(
    trail: Trail, side: int, view: View, background: Background, bodies: list[Trail], others: list[Trail]
) -> set[int]:
    """Adds what one end of a trail goes on as, and the trails that it meets, whose numbers are told."""
    met: set[int] = set()
    band: _Band | None = None
    darkest, missed = 0.0, 0
    while missed <= MISSES:
        known = sorted(trail.blobs, reverse=side > 0)[:LATEST]  # from the end inwards
        frame, last = known[0] + side * (missed + 1), trail.blobs[known[0]]
        if not 0 <= frame < view.frames or last.at_border:
            break
        step = (last.xy - trail.blobs[known[-1]].xy) / (known[0] - known[-1]) if len(known) > 1 else np.zeros(2)
        guess = last.xy + step * (frame - known[0])
        reach = 0.5 * _width(last) + abs(float(step[0]))
        meets = [one for one in others if frame in one.blobs and _lies_at(one.blobs[frame], guess, reach)]
        if meets:
            other = min(meets, key=lambda one: float(np.hypot(*(one.blobs[frame].xy - guess))))
            trail.blobs |= {number: blob for number, blob in other.blobs.items() if number not in trail.blobs}
            met.add(other.number)
            others = [one for one in others if one is not other]
            band, missed = None, 0
            continue
        if band is None:
            band = _band(view, last, bodies)
            darkest = float(np.nan_to_num(band.dark_FX[known[0], min(int(last.xy[0]), view.size[1] - 1)]))
        found = _found(view, background, band, frame, float(guess[0]), reach)
        if found is None or found[1] < FADING * darkest:
            missed += 1
            continue
        trail.blobs[frame], darkest = found
        missed = 0
    return met


def _lies_at(blob: Blob, guess: Floats, reach: float) -> bool:
    return bool(abs(blob.xy[0] - guess[0]) < reach and abs(blob.xy[1] - guess[1]) < blob.share_YX.shape[0])


def _width(blob: Blob) -> int:
    return max(3, int((blob.share_YX >= 0.5).any(0).sum()))


class _Band(NamedTuple):
    """The rows that a shadow runs along, and how much darker than when lit they are, not a number under bodies."""

    rows: slice
    width: int
    widest: float
    dark_FX: Picture


def _band(view: View, blob: Blob, bodies: list[Trail]) -> _Band:
    """Against the light quarter of the frames: the background's median lies in the shadow where that lingers."""
    lit = np.flatnonzero((blob.share_YX >= 0.5).any(1)) + blob.top
    rows = slice(int(lit.min()), int(lit.max()) + 1) if len(lit) else blob.crop[0]
    light_FX = view.lab_FYX3[:, rows, :, 0].mean(1)
    for body in bodies:
        for frame, one in body.blobs.items():
            if one.crop[0].start < rows.stop and rows.start < one.crop[0].stop:
                light_FX[frame, one.crop[1]] = np.nan
    if view.inside_FYX is not None:
        light_FX[~view.inside_FYX[:, rows].all(1)] = np.nan
    known_X = np.isfinite(light_FX).any(0)
    lit_X = np.full(light_FX.shape[1], np.nan, np.float32)
    lit_X[known_X] = np.nanquantile(light_FX[:, known_X], LIT, axis=0)
    dark_FX = lit_X - light_FX
    diameter = max(2 * float(np.sqrt(np.median([one.area for one in body.blobs.values()]) / np.pi)) for body in bodies)
    width = max(_width(blob), int(diameter))
    free_FX = np.isfinite(dark_FX).astype(np.float32)
    side = (max(3, width // 2) | 1, 1)
    sum_FX, count_FX = cv2.blur(np.nan_to_num(dark_FX), side), cv2.blur(free_FX, side)
    mean_FX = np.where(free_FX > 0, sum_FX / np.maximum(count_FX, 1e-3), np.nan)
    return _Band(rows, width, MAX_WIDTH * diameter, mean_FX.astype(np.float32))


def _found(
    view: View, background: Background, band: _Band, frame: int, guess: float, reach: float
) -> tuple[Blob, float] | None:
    """The darkest place near a guess and how dark it is; None where none stands out."""
    dark_X = band.dark_FX[frame]
    free_X = np.isfinite(dark_X)
    columns = np.arange(len(dark_X)) + 0.5
    here_X = free_X & (np.abs(columns - guess) <= reach)
    if not here_X.any():
        return None
    peak = int(np.argmax(np.where(here_X, dark_X, -np.inf)))
    elsewhere_X = free_X & (np.abs(columns - peak) > 1.5 * band.width)
    if elsewhere_X.sum() < band.width:
        return None
    usual = float(np.median(dark_X[elsewhere_X]))
    spread = 1.48 * float(np.median(np.abs(dark_X[elsewhere_X] - usual)))
    most = float(dark_X[peak]) - usual
    if most < max(CLEAR_LAB, CLEAR_SIGMAS * spread):
        return None
    low, high = _extent(free_X & (np.nan_to_num(dark_X) - usual > HALF * most), peak)
    place = (band.rows, slice(low, high))
    if high - low > band.widest or not _is_darker(
        view.rgb_FYX3[frame][place], background.rgb_YX3[place], background.noise
    ):
        return None
    weight_X = dark_X[low:high] - usual
    blob = Blob(
        kind="shadow",
        left=low,
        top=band.rows.start,
        share_YX=np.ones((band.rows.stop - band.rows.start, high - low), np.float32),
        xy=np.array([float(columns[low:high] @ weight_X / weight_X.sum()), (band.rows.start + band.rows.stop) / 2]),
        area=float((band.rows.stop - band.rows.start) * (high - low)),
        lab=view.lab_FYX3[frame][place].reshape(-1, 3).mean(0).astype(np.float64),
        at_border=low == 0 or high == view.size[1],
    )
    return blob, most


def _extent(above_X: Mask, peak: int) -> tuple[int, int]:
    """The run of columns around a peak."""
    off = np.flatnonzero(~above_X)
    return int(off[off < peak].max(initial=-1)) + 1, int(off[off > peak].min(initial=len(above_X)))


def _is_darker(here_YX3: Bytes, behind_YX3: Picture, noise: float) -> bool:
    """Whether a place shows, on the whole, the background's colour."""
    here, behind = here_YX3.reshape(-1, 3).mean(0), behind_YX3.reshape(-1, 3).mean(0)
    factor = float(here @ behind) / float(behind @ behind + 1)
    return float(np.linalg.norm(here - factor * behind)) < SHADOW_TINT + noise
