"""From blobs to what a track says of each frame: outline, orientation, colour, and how much its path scatters.

Orientation comes from the outline where it is not round and from the pattern inside where there is one, each as the
turn that lays a frame's polar picture best onto the one before; light that rests in the picture is taken out first.
"""

import cv2
import numpy as np
import numpy.typing as npt

from vgen.judge.observation import OUTLINE_DIRECTIONS, Floats
from vgen.judge.perception.segment import Blob
from vgen.judge.perception.view import Picture

__all__ = ["ANGLES_A", "outline", "polar", "turns"]

ANGLES_A = np.arange(OUTLINE_DIRECTIONS, dtype=np.float64) * (2 * np.pi / OUTLINE_DIRECTIONS)
STEP_PX = 0.25  # along a ray
POLAR_ANGLES = 96
POLAR_RINGS = np.array([0.25, 0.4, 0.55, 0.7, 0.85])  # of the mean radius
FINE_TIMES = 8  # finer than the polar picture's angles are turns told
MIN_TURN = 0.3  # radians in all, from which what turns can be told from what rests
ROUNDS = 4
MIN_PATTERN = 2.0  # L* deviation around the rings that tells a turn
MIN_OUTLINE = 0.03  # deviation of the outline's radius over its mean that tells a turn


def outline(blob: Blob) -> Floats:
    """Distance from the centre to where the share falls below a half for the last time, per direction, in pixels."""
    height, width = blob.share_YX.shape
    reach = np.arange(0, np.hypot(height, width) + 2, STEP_PX)
    x = blob.xy[0] - blob.left - 0.5 + reach[None] * np.cos(ANGLES_A)[:, None]
    y = blob.xy[1] - blob.top - 0.5 + reach[None] * np.sin(ANGLES_A)[:, None]
    share = cv2.remap(
        blob.share_YX, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )
    inside = share >= 0.5
    last = np.where(inside.any(1), inside.shape[1] - 1 - inside[:, ::-1].argmax(1), 0)
    rows = np.arange(OUTLINE_DIRECTIONS)
    here, next_ = share[rows, last], share[rows, np.minimum(last + 1, share.shape[1] - 1)]
    part = np.clip((here - 0.5) / np.maximum(here - next_, 1e-6), 0, 1)
    return np.where(inside.any(1), (last + part) * STEP_PX, 0.0)


def polar(blob: Blob, lab_YX3: Picture) -> Floats:
    """Lightness on rings around the centre, [rings + 1, angles]; the last row is the outline's radius over its mean."""
    radius = np.sqrt(blob.area / np.pi)
    angle = np.arange(POLAR_ANGLES) * (2 * np.pi / POLAR_ANGLES)
    x = blob.xy[0] - 0.5 + radius * POLAR_RINGS[:, None] * np.cos(angle)
    y = blob.xy[1] - 0.5 + radius * POLAR_RINGS[:, None] * np.sin(angle)
    light = cv2.remap(lab_YX3[..., 0], x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)
    edge = outline(blob)
    edge = np.interp(angle, np.append(ANGLES_A, 2 * np.pi), np.append(edge, edge[0]))
    return np.concatenate([light.astype(np.float64), (edge / max(edge.mean(), 1e-6))[None]])


def turns(polar_FRA: Floats) -> Floats:
    """Orientation per frame in radians, unwrapped, 0 in the first known one; NaN where nothing tells it.

    Args:
        polar_FRA: `polar` per frame, NaN where unknown; `R` rings and outline.
    """
    known = np.flatnonzero(np.isfinite(polar_FRA).all((1, 2)))
    angle_F = np.full(len(polar_FRA), np.nan)
    if len(known) < 4:
        return angle_F
    picture = polar_FRA[known].copy()
    picture -= picture.mean(2, keepdims=True)
    rings, edge = picture[:, :-1], picture[:, -1:]
    if np.median(edge.std((1, 2))) > MIN_OUTLINE:
        signal = edge
    else:
        still = rings.mean(0)
        moving = rings - still
        turning = np.median(moving.std((1, 2))) > MIN_PATTERN
        signal = moving if turning else rings
        if np.median(signal.std((1, 2))) < MIN_PATTERN:
            return angle_F
    angle_F[known] = _unwrapped(signal, known)
    if signal is not rings and np.ptp(angle_F[known]) > MIN_TURN:
        angle_F[known] = _refined(picture[:, -1:] if signal is edge else rings, angle_F[known])
    return angle_F


def _unwrapped(signal_FRA: Floats, frames_F: npt.NDArray[np.int64]) -> Floats:
    """Sum of the turns from each known frame to the next; over a gap, near what it turned before."""
    spectrum = np.fft.rfft(signal_FRA, axis=2)
    angles, rate = [0.0], 0.0
    for place, gap in enumerate(np.diff(frames_F), start=1):
        near = rate * gap if gap > 1 else 0.0
        turn = _best_turn(spectrum[place] * spectrum[place - 1].conj(), near)
        angles.append(angles[-1] + turn)
        rate = turn / gap
    return np.array(angles)


def _refined(signal_FRA: Floats, angle_F: Floats) -> Floats:
    """Orientations against one pattern that turns over one that rests (the light), both learnt from all frames."""
    spectrum = np.fft.rfft(signal_FRA, axis=2)
    orders = np.arange(spectrum.shape[2])
    for _ in range(ROUNDS):
        still = np.zeros(spectrum.shape[1:], complex)
        for _ in range(ROUNDS):
            back = np.exp(1j * orders * angle_F[:, None])[:, None]
            turning = ((spectrum - still) * back).mean(0)
            still = (spectrum - turning * back.conj()).mean(0)
        moved = [
            _best_turn((one - still) * turning.conj(), angle) for one, angle in zip(spectrum, angle_F, strict=True)
        ]
        angle_F = np.array(moved)
    return angle_F - angle_F[0]


def _best_turn(product: npt.NDArray[np.complex128], near: float) -> float:
    """The turn with the highest correlation within an eighth of a circle: beyond, symmetric patterns have a twin."""
    match = np.fft.irfft(product.sum(0), FINE_TIMES * POLAR_ANGLES)
    step = 2 * np.pi / len(match)
    shifts = round(near / step) + np.arange(-(len(match) // 8), len(match) // 8 + 1)
    return float(shifts[match[shifts % len(match)].argmax()]) * step
