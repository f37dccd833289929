"""Drift: how a clip changes over its length, measured while its frames stream by, in memory that does not grow.

Long rollouts get brighter, paler, blurred, or come to a stand; neighbouring frames never show it. So this measures each
frame, keeps means over at most 120 stretches of time, compares the ends, and compares frames at growing distances.
All sums are of integers or run frame by frame, so that the figures do not depend on how the frames were handed over.

What it cannot know is meaning. A sunset drifts, a ball comes to rest, a cut changes everything: a warning says what
changed, not that it is wrong. Similarity is the correlation of small pictures (`_similarity`): it follows layout and
large colours, so a small object may change its identity unseen, and a moving camera lowers it without fault.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vgen.frames import Frames, check_frames

__all__ = ["DriftMeter"]

MAX_BINS = 120
BIN_S = 0.25  # of a short clip; a longer one has wider bins
MIN_S = 4.0  # below this the ends are too near each other to speak of drift
GAPS = tuple(digit * 10**power for power in range(5) for digit in (1, 2, 5))  # in frames
ANCHORS = 16  # pictures kept for each gap
CELLS = 32  # rows and columns of the small picture
MOTION_STEP_S = 1 / 12
MOVED = 3 / 255  # a cell has moved where its colour changed by more

MOTION_LEFT = 0.25  # a clip has died when its last quarter moves less than this share of what the first one did
MOTION_LEAST = 0.002  # a clip of which less than this share moves at a time is a still

_BT709 = np.array([54, 183, 19], np.int32)  # share of R, G and B in the luma, in 1/256
_WHITE = 255 * 256
_FLAT = 0.02  # contrast below which sharpness is rounding noise
_FINE = 16  # cells count colour in steps of 1/16 of a byte

Luma = NDArray[np.int32]  # [Y, X], 0 to _WHITE
Cells = NDArray[np.int64]  # [cells, 3], 0 to 255 * _FINE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What is measured on one frame, each on a scale of 0 to 1; None where it cannot be.

    Args:
        brightness: mean luma, BT.709 weights.
        contrast: standard deviation of the luma.
        saturation: mean distance between the largest and the smallest of R, G, B.
        red_green, blue_yellow: mean of R - G, and of B - (R + G) / 2.
        sharpness: root mean square of the luma's Laplacian over the contrast, so that a fade alone does not blur.
        motion: share of the picture whose colour changed since a twelfth of a second ago.
    """

    brightness: float
    contrast: float
    saturation: float
    red_green: float
    blue_yellow: float
    sharpness: float | None
    motion: float | None


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """A small picture without the mean of each channel, times the number of its cells so that it stays whole."""

    offsets_N3: Cells
    length: float


QUANTITIES = tuple(field.name for field in fields(_Look))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How far the last quarter of a clip may lie from the first before it warns: both must be passed.

    Args:
        quantity: one of `QUANTITIES`.
        falls, rises: what the user is told.
        change: difference; of a steady drift over the whole clip the quarters show three quarters.
        factor: between the larger and the smaller.
    """

    quantity: str
    falls: str
    rises: str
    change: float = 0.0
    factor: float = 1.0


LIMITS = (
    Limit(quantity="brightness", falls="the picture darkens", rises="the picture brightens", change=0.06),
    Limit(quantity="contrast", falls="the contrast fades", rises="the contrast grows", factor=1.4),
    Limit(quantity="saturation", falls="the colours fade", rises="the colours deepen", change=0.015, factor=1.4),
    Limit(quantity="red_green", falls="the colours turn green", rises="the colours turn red", change=0.04),
    Limit(quantity="blue_yellow", falls="the colours turn yellow", rises="the colours turn blue", change=0.04),
    Limit(quantity="sharpness", falls="the picture blurs", rises="the picture grows sharper or noisier", factor=1.4),
)


class DriftMeter:
    """Measures a clip chunk by chunk: `add` its frames in order, `report` at any time.

    Args:
        fps: frames per second.
        height, width: of the frames, in pixels.
    """

    def __init__(self, fps: float, height: int, width: int) -> None:
        assert math.isfinite(fps) and fps > 0, f"fps must be positive, got {fps}"
        self.fps = fps
        self.frames = 0
        self._size = (height, width)
        second_frames = max(1, round(fps))
        self._first: list[_Look] = []
        self._last = deque[_Look](maxlen=second_frames)
        self._before = deque[Cells](maxlen=max(1, round(fps * MOTION_STEP_S)))
        self._bins = _Bins(frames=max(1, round(fps * BIN_S)))
        self._gaps = [_Gap(frames) for frames in GAPS]

    def add(self, frames_FYX3: Frames) -> None:
        """Measures the next frames, uint8 [F, Y, X, 3]."""
        check_frames(frames_FYX3)
        assert frames_FYX3.shape[1:3] == self._size, f"frames of {frames_FYX3.shape[1:3]} in a clip of {self._size}"
        for frame_YX3 in frames_FYX3:
            self._add(frame_YX3)

    def report(self) -> dict[str, Any]:
        """The drift so far, as plain JSON.

        Returns:
            `frames`, `seconds`; `bin_s` and `series`, for each quantity of `QUANTITIES` its mean over each bin (None
            where it has none); `ends`, its mean over the first and the last second and their difference, None for
            a clip too short; `similarity`, of neighbours (mean and least) and the mean at each gap in frames;
            `warnings`, a line each; `note`, why there can be no warnings, or None.
        """
        seconds = self.frames / self.fps
        enough = seconds >= MIN_S
        return {
            "frames": self.frames,
            "seconds": _round(seconds),
            "bin_s": _round(self._bins.frames / self.fps),
            "series": {name: [_round(value) for value in self._bins.series(name)] for name in QUANTITIES},
            "ends": {name: self._ends(name) for name in QUANTITIES} if enough else None,
            "similarity": {
                "adjacent": {"mean": _round(self._gaps[0].mean), "least": _round(self._gaps[0].least)},
                "gaps": {str(gap.frames): _round(gap.mean) for gap in self._gaps if gap.pairs},
            },
            "warnings": _warnings({name: self._bins.series(name) for name in QUANTITIES}) if enough else [],
            "note": None if enough else f"{seconds:.2f} s are too short to tell drift; at least {MIN_S:g} s are needed",
        }

    def _add(self, frame_YX3: Frames) -> None:
        cells_N3 = _shrink(frame_YX3)
        then_N3 = self._before[0] if len(self._before) == self._before.maxlen else None
        look = _look(frame_YX3, cells_N3, then_N3)
        if len(self._first) < (self._last.maxlen or 0):
            self._first.append(look)
        self._last.append(look)
        self._before.append(cells_N3)
        self._bins.add(look)
        layout = _layout(cells_N3)
        for gap in self._gaps:
            gap.add(self.frames, layout)
        self.frames += 1

    def _ends(self, name: str) -> dict[str, float | None]:
        first, last = (_mean([getattr(look, name) for look in looks]) for looks in (self._first, self._last))
        change = None if first is None or last is None else last - first
        return {"first": _round(first), "last": _round(last), "change": _round(change)}


class _Bins:
    """Means over equal stretches of time; where there would be too many, each two become one."""

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self._bins: list[_Sums] = []

    def add(self, look: _Look) -> None:
        if not self._bins or self._bins[-1].frames == self.frames:
            if len(self._bins) == MAX_BINS:
                self._bins = [left.plus(right) for left, right in zip(self._bins[::2], self._bins[1::2], strict=True)]
                self.frames *= 2
            self._bins.append(_Sums())
        self._bins[-1].add(look)

    def series(self, name: str) -> list[float | None]:
        return [bin.mean(name) for bin in self._bins]


class _Sums:
    """Sum and count of each quantity over some frames."""

    def __init__(self) -> None:
        self.frames = 0
        self.sums = dict.fromkeys(QUANTITIES, 0.0)
        self.counts = dict.fromkeys(QUANTITIES, 0)

    def add(self, look: _Look) -> None:
        self.frames += 1
        for name in QUANTITIES:
            value = getattr(look, name)
            if value is not None:
                self.sums[name] += value
                self.counts[name] += 1

    def plus(self, other: "_Sums") -> "_Sums":
        both = _Sums()
        both.frames = self.frames + other.frames
        both.sums = {name: self.sums[name] + other.sums[name] for name in QUANTITIES}
        both.counts = {name: self.counts[name] + other.counts[name] for name in QUANTITIES}
        return both

    def mean(self, name: str) -> float | None:
        return self.sums[name] / self.counts[name] if self.counts[name] else None


class _Gap:
    """Similarity of frames so many apart: over all of them up to 16, then over one in `gap / 16`."""

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self.pairs = 0
        self.sum = 0.0
        self.least: float | None = None
        self._stride = max(1, frames // ANCHORS)
        self._anchors = deque[_Layout]()

    @property
    def mean(self) -> float | None:
        return self.sum / self.pairs if self.pairs else None

    def add(self, frame: int, layout: _Layout) -> None:
        if frame >= self.frames and (frame - self.frames) % self._stride == 0:
            similarity = _similarity(self._anchors.popleft(), layout)
            self.pairs += 1
            self.sum += similarity
            self.least = similarity if self.least is None else min(self.least, similarity)
        if frame % self._stride == 0:
            self._anchors.append(layout)


def _look(frame_YX3: Frames, cells_N3: Cells, then_N3: Cells | None) -> _Look:
    luma_YX: Luma = np.matmul(frame_YX3, _BT709, dtype=np.int32)
    brightness, contrast = _mean_and_deviation(luma_YX)
    red, green, blue = (int(channel.sum()) for channel in cells_N3.T)
    scale = cells_N3.shape[0] * 255 * _FINE
    return _Look(
        brightness=brightness,
        contrast=contrast,
        saturation=int((cells_N3.max(1) - cells_N3.min(1)).sum()) / scale,
        red_green=(red - green) / scale,
        blue_yellow=(2 * blue - red - green) / (2 * scale),
        sharpness=_edges(luma_YX) / contrast if contrast > _FLAT else None,
        motion=None if then_N3 is None else _moved(then_N3, cells_N3),
    )


def _shrink(frame_YX3: Frames) -> Cells:
    """Mean colour of at most 32 x 32 equal cells, rounded to 1/16 of a byte: [cells, 3]."""
    starts = [np.arange(cells) * side // cells for side in frame_YX3.shape[:2] for cells in [min(side, CELLS)]]
    sums = np.add.reduceat(frame_YX3, starts[0], axis=0, dtype=np.int64)
    sums = np.add.reduceat(sums, starts[1], axis=1)
    rows, columns = (np.diff([*start, side]) for start, side in zip(starts, frame_YX3.shape[:2], strict=True))
    area = rows[:, None, None] * columns[None, :, None]
    cells: Cells = (2 * _FINE * sums + area) // (2 * area)
    return cells.reshape(-1, 3)


def _mean_and_deviation(luma_YX: Luma) -> tuple[float, float]:
    """Of the luma on a scale of 0 to 1, from exact sums."""
    count, total = luma_YX.size, int(luma_YX.sum(dtype=np.int64))
    squares = int(np.square(luma_YX, dtype=np.int64).sum())
    return total / count / _WHITE, math.sqrt(count * squares - total * total) / count / _WHITE


def _edges(luma_YX: Luma) -> float:
    """Root mean square of the Laplacian inside the picture, whose sides are repeated where it is too thin for one."""
    padded = np.pad(luma_YX, [(0, 0) if side > 2 else (1, 1) for side in luma_YX.shape], mode="edge")
    inner = padded[1:-1, 1:-1]
    laplacian = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * inner
    return math.sqrt(int(np.square(laplacian, dtype=np.int64).sum()) / inner.size) / _WHITE


def _moved(then_N3: Cells, now_N3: Cells) -> float:
    changed = np.abs(now_N3 - then_N3).max(axis=1) > MOVED * 255 * _FINE
    return int(np.count_nonzero(changed)) / len(changed)


def _layout(cells_N3: Cells) -> _Layout:
    offsets_N3 = len(cells_N3) * cells_N3 - cells_N3.sum(axis=0)
    return _Layout(offsets_N3, math.sqrt(int(np.vdot(offsets_N3, offsets_N3))))


def _similarity(one: _Layout, other: _Layout) -> float:
    """Correlation of two small pictures over all cells and channels, -1 to 1; 0 for a flat one and one that is not."""
    if not one.length * other.length:
        return float(one.length == other.length)
    return int(np.vdot(one.offsets_N3, other.offsets_N3)) / (one.length * other.length)


def _warnings(series: dict[str, list[float | None]]) -> list[str]:
    ends = {name: _quarters(values) for name, values in series.items()}
    lines = [_warning(limit, *ends[limit.quantity]) for limit in LIMITS]
    return [line for line in [*lines, _motion_warning(series["motion"], *ends["motion"])] if line]


def _warning(limit: Limit, first: list[float], last: list[float]) -> str | None:
    """What the user is told where the quarters differ by more than the limit and have no value in common.

    The second keeps a motion that repeats, or a light that flickers, from passing for drift.
    """
    if not first or not last or (min(first) <= max(last) and min(last) <= max(first)):
        return None
    before, after = sum(first) / len(first), sum(last) / len(last)
    if abs(after - before) <= limit.change or max(before, after) <= limit.factor * min(before, after):
        return None
    words = limit.rises if after > before else limit.falls
    return f"{words}: {limit.quantity} {before:.3f} in the first quarter, {after:.3f} in the last"


def _motion_warning(series: list[float | None], first: list[float], last: list[float]) -> str | None:
    moving = _mean(series)
    if moving is None or not first or not last:
        return None
    if moving < MOTION_LEAST:
        return f"hardly anything moves: {moving:.2%} of the picture at a time"
    before, after = sum(first) / len(first), sum(last) / len(last)
    if before >= MOTION_LEAST and after < MOTION_LEFT * before:
        return f"the motion dies: {before:.2%} of the picture moves in the first quarter, {after:.2%} in the last"
    return None


def _quarters(series: list[float | None]) -> tuple[list[float], list[float]]:
    """What is known in the first and in the last quarter of a series."""
    count = max(1, len(series) // 4)
    first, last = series[:count], series[-count:]
    return [value for value in first if value is not None], [value for value in last if value is not None]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4) + 0.0  # never -0.0
