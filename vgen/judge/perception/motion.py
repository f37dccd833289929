"""A path as pieces of constant acceleration: how much it scatters, and the moments at which its motion changes.

Least squares with a price per piece, solved exactly by dynamic programming (Jackson et al. 2005); sums over any stretch
come from running sums, so all stretches are fitted at once. A letter beyond the legend: `G` frames in which it shows.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from vgen.judge.observation import Floats

__all__ = ["MIN_SIGMA_PX", "Piece", "fit_pieces", "kink", "scatter"]

PRICE = 9.0  # of a further piece, in squared standard errors per free parameter
MIN_SIGMA_PX = 0.05  # of working pixels: what the segmentation of a perfect clip leaves
MOVES_PX, MOVING_FRAMES = 1.0, 9  # in three frames; and how many of those make enough
THIRD = np.sqrt(20.0)  # of independent errors of one unit: deviation of their third differences
KINK_REACH = 5  # frames on either side of a kink that are looked at
MAX_FRAMES = 240  # pieces are sought within stretches of this length: the work grows with its square


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Piece:
    """A stretch of constant acceleration.

    Args:
        first, last: frames that it covers.
        middle: frame that its terms count from.
        terms_32: position, velocity and half the acceleration there, in pixels and frames.
    """

    first: int
    last: int
    middle: float
    terms_32: Floats

    def at(self, frame: float) -> Floats:
        """Position."""
        t = frame - self.middle
        return self.terms_32[0] + self.terms_32[1] * t + self.terms_32[2] * t * t

    def velocity(self, frame: float) -> Floats:
        return self.terms_32[1] + 2 * self.terms_32[2] * (frame - self.middle)


def scatter(xy_F2: Floats) -> float:
    """Standard error of one coordinate in working pixels, from third differences, which smooth motion leaves at zero.

    A change of motion disturbs three of them, so their median does not see it. What rests is not asked, if enough
    moves: compressed, it stands more still than its place is known. NaN where too little is known.
    """
    third = np.diff(xy_F2, 3, axis=0)
    known = np.isfinite(third).all(1)
    if known.sum() < 3:
        return float("nan")
    goes = known & (np.linalg.norm(xy_F2[3:] - xy_F2[:-3], axis=1) > MOVES_PX)
    asked = third[goes if goes.sum() >= MOVING_FRAMES else known]
    return float(1.4826 * np.median(np.abs(asked)) / THIRD)


def fit_pieces(xy_F2: Floats, sigma_px: float, price: float = PRICE) -> list[Piece]:
    """The cheapest set of pieces for a path with gaps (NaN); a gap of any length may lie inside a piece.

    A frame that fits neither side is a piece of its own, of one or two frames.

    Args:
        xy_F2: positions, NaN where unknown.
        sigma_px: their standard error.
        price: of a further piece.
    """
    frames_G = np.flatnonzero(np.isfinite(xy_F2).all(1))
    pieces: list[Piece] = []
    for start in range(0, len(frames_G), MAX_FRAMES):
        pieces += _fit(frames_G[start : start + MAX_FRAMES], xy_F2, sigma_px, price)
    return pieces


def _fit(frames_G: npt.NDArray[np.int64], xy_F2: Floats, sigma_px: float, price: float) -> list[Piece]:
    count = len(frames_G)
    t = frames_G - frames_G.mean()
    xy = xy_F2[frames_G] - xy_F2[frames_G].mean(0)
    error = _stretch_errors(t, xy) / sigma_px**2
    best = np.full(count + 1, np.inf)
    best[0] = 0.0
    back = np.zeros(count + 1, int)
    for end in range(1, count + 1):
        total = best[:end] + error[:end, end - 1] + 2 * price * np.minimum(3, end - np.arange(end))
        back[end] = int(total.argmin())
        best[end] = total[back[end]]
    bounds = [count]
    while bounds[-1] > 0:
        bounds.append(int(back[bounds[-1]]))
    bounds.reverse()
    return [_piece(frames_G[a:b], xy_F2) for a, b in pairwise(bounds)]


def _stretch_errors(t: Floats, xy: Floats) -> Floats:
    """Squared error left by the best quadratic over each stretch [first, last], both coordinates together."""
    count = len(t)
    powers = np.stack([t**power for power in range(5)], 1)
    sums = np.concatenate([np.zeros((1, 5)), np.cumsum(powers, 0)])
    mixed = np.concatenate([np.zeros((1, 3, 2)), np.cumsum(powers[:, :3, None] * xy[:, None, :], 0)])
    square = np.concatenate([[0.0], np.cumsum((xy**2).sum(1))])
    error = np.zeros((count, count))
    for first in range(count):
        last = np.arange(first + 3, count)  # up to three points fit exactly
        if not last.size:
            break
        s = sums[last + 1] - sums[first]
        m = mixed[last + 1] - mixed[first]
        normal = np.stack([s[:, 0:3], s[:, 1:4], s[:, 2:5]], 1)
        terms = np.linalg.solve(normal, m)
        error[first, last] = np.maximum(square[last + 1] - square[first] - (terms * m).sum((1, 2)), 0)
    return error


def _piece(frames: npt.NDArray[np.int64], xy_F2: Floats) -> Piece:
    middle = float(frames[0] + frames[-1]) / 2
    t = frames - middle
    degree = min(2, len(frames) - 1)
    design = np.stack([t**power for power in range(degree + 1)], 1).astype(np.float64)
    terms_32 = np.zeros((3, 2))
    terms_32[: degree + 1] = np.linalg.lstsq(design, xy_F2[frames], rcond=None)[0]
    return Piece(first=int(frames[0]), last=int(frames[-1]), middle=middle, terms_32=terms_32)


def kink(xy_F2: Floats, when: float, window: tuple[int, int], sigma_px: float) -> tuple[Floats, float]:
    """How far velocity jumps at a moment of a path that is smooth beside it, and the jump's standard error.

    A polynomial with a hinge, by least squares: a smooth curve leaves the hinge at zero where pieces of constant
    acceleration would not. NaN and infinity where there are too few frames.

    Args:
        xy_F2: positions, NaN where unknown.
        when: the moment, in frames.
        window: first and last frame to look at; no other change of motion lies within, and at most `KINK_REACH` count.
        sigma_px: standard error of the positions.
    """
    low = max(window[0], int(np.ceil(when - KINK_REACH)))
    high = min(window[1], int(np.floor(when + KINK_REACH)))
    frames = np.arange(low, high + 1)
    frames = frames[np.isfinite(xy_F2[frames]).all(1)]
    t = frames - when
    if (t < 0).sum() < 3 or (t > 0).sum() < 3:
        return np.full(2, np.nan), float("inf")
    degree = 4 if len(t) >= 10 else 3 if len(t) >= 8 else 2
    smooth = [t**power for power in range(degree + 1)]
    design = np.stack([*smooth, np.maximum(t, 0)], 1)
    terms = np.linalg.lstsq(design, xy_F2[frames], rcond=None)[0]
    left = xy_F2[frames] - design @ terms
    error = max(sigma_px, float(np.sqrt((left**2).sum() / max(1, 2 * (len(t) - design.shape[1])))))
    spread = np.linalg.pinv(design.T @ design)[-1, -1]
    return terms[-1], float(error * np.sqrt(spread))
