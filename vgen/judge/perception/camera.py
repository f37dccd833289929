"""How the camera moved: every frame is laid directly onto one reference frame, so that nothing drifts.

Corners followed from frame to frame (Shi and Tomasi 1994; Lucas and Kanade 1981) give a first guess by RANSAC. Then
pixels with a gradient, spread over the picture, are laid onto the reference by iteratively reweighted least squares
with Tukey's biweight (Odobez and Bouthemy 1995): edges count too where a picture has no corners, and things that move
for themselves fall out as outliers. A letter beyond the legend: `P` points.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from vgen.judge.observation import Camera, Floats
from vgen.judge.perception.view import Bytes, Picture

__all__ = ["find_camera"]

CELL_PX = 6  # one point per cell of the picture, where its gradient is strongest
MIN_GRADIENT = 1.2  # levels per pixel; flatter cells say nothing
MIN_POINTS = 24
STILL_PX = 0.2  # a point agrees where its residual is a shift of less than this, or noise
NOISE_LEVELS = 1.0, 6.0  # least and most that is taken for noise
NOISE_PAIRS = 5  # of frames that it is measured in
STILL_FRAMES = 0.7  # of all frames in which a point agrees with a camera that rests ...
STILL_SHARE = 0.3  # ... for this share of points, on edges of more than one direction: it rests
STEADY_SHARE = 0.7  # from here on it rests without further questions
PARTS, MIN_PARTS = 4, 7  # the picture is cut into 4 x 4 parts; points in so many of them are no single thing's
MIN_CROSS = 0.05  # of the weaker direction of edges against the stronger
ITERATIONS = 8
TUKEY = 4.685  # 95 % efficiency
MAX_CORNERS = 200

_Columns = Callable[[Floats, Floats, Floats, Floats], Floats]  # of the Jacobian, from u, v and the gradient


@dataclass(frozen=True, slots=True)
class _Anchor:
    """The reference frame's points: where, how bright, how steep and which way; and the noise in levels."""

    xy_P2: Floats
    grey_P: Floats
    steep_P: Floats
    slope_P2: Floats
    noise: float


def find_camera(rgb_FYX3: Bytes) -> Camera:
    """The camera's motion over one shot, in pixels of these frames; at rest where the picture cannot tell."""
    grey_FYX = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in rgb_FYX3])
    smooth_FYX = np.stack([cv2.GaussianBlur(grey, (0, 0), 1.0) for grey in grey_FYX]).astype(np.float32)
    frames, reference = len(grey_FYX), len(grey_FYX) // 2
    rest_F33 = np.tile(np.eye(3), (frames, 1, 1))
    anchor = _anchor(smooth_FYX[reference], _noise(grey_FYX, smooth_FYX))
    if len(anchor.xy_P2) < MIN_POINTS:  # a blank picture: nothing to tell a motion from, nothing to be misled by
        return Camera(to_reference_F33=rest_F33, inliers_F=np.ones(frames), reference=reference, moving=False)
    kept_FP = np.stack([_agree(anchor, smooth, np.eye(3)) for smooth in smooth_FYX])
    steady_P = kept_FP.mean(0) > STILL_FRAMES
    pinned = _pins(anchor, steady_P)  # then other points may belong to things, or a camera trembles
    moving = not pinned or steady_P.mean() < STEADY_SHARE
    if moving:
        from_reference_F33, inliers_F = _followed(anchor, grey_FYX, smooth_FYX, reference)
        moving = _explains(anchor, smooth_FYX, from_reference_F33, steady_P)
    if not moving:
        inliers_F = (
            kept_FP[:, steady_P].mean(1) if pinned else _unchanged(smooth_FYX, smooth_FYX[reference], anchor.noise)
        )
        return Camera(to_reference_F33=rest_F33, inliers_F=inliers_F, reference=reference, moving=False)
    to_F33 = np.asarray(np.linalg.inv(from_reference_F33), np.float64)
    to_F33 /= to_F33[:, 2:, 2:]
    return Camera(to_reference_F33=to_F33, inliers_F=inliers_F, reference=reference, moving=True)


def _followed(anchor: _Anchor, grey_FYX: Bytes, smooth_FYX: Picture, reference: int) -> tuple[Floats, Floats]:
    """The motion from the reference frame to each frame, and the share of points that agree, from there outwards."""
    frames = len(grey_FYX)
    from_reference_F33, inliers_F = np.tile(np.eye(3), (frames, 1, 1)), np.ones(frames)
    for direction in (1, -1):
        guess = np.eye(3)
        for frame in range(reference + direction, frames if direction > 0 else -1, direction):
            step = _step(grey_FYX[frame - direction], grey_FYX[frame])
            guess, inliers_F[frame] = _lay(anchor, smooth_FYX[frame], (step @ guess, guess, np.eye(3)))
            from_reference_F33[frame] = guess
    return from_reference_F33, inliers_F


def _explains(
    anchor: _Anchor, smooth_FYX: Picture, from_reference_F33: Floats, steady_P: npt.NDArray[np.bool_]
) -> bool:
    """Whether a moving camera is more than a thing that moves before a plain picture.

    The points that only a motion explains must be many and lie all over the picture; a thing's lie together.
    """
    agreed_P, shown_P = np.zeros(len(steady_P)), np.zeros(len(steady_P))
    for smooth_YX, to in zip(smooth_FYX, from_reference_F33, strict=True):
        shown_P += np.isfinite(_residual(anchor, smooth_YX, to))
        agreed_P += _agree(anchor, smooth_YX, to)
    gained_P = (agreed_P > STILL_FRAMES * np.maximum(shown_P, 1)) & ~steady_P
    if gained_P.sum() < max(MIN_POINTS // 2, STILL_SHARE * len(gained_P)):
        return False
    height, width = smooth_FYX.shape[1:]
    part_P2 = (anchor.xy_P2[gained_P] / [width, height] * PARTS).astype(int)
    return len(np.unique(part_P2, axis=0)) >= MIN_PARTS


def _unchanged(smooth_FYX: Picture, reference_YX: Picture, noise: float) -> Floats:
    """Share of each frame's pixels that are as the reference has them; on a plain picture most edges are of things."""
    allowed_YX = noise + STILL_PX * np.hypot(*np.gradient(reference_YX))
    off_FYX = smooth_FYX - reference_YX
    off_FYX -= np.median(off_FYX, axis=(1, 2), keepdims=True)
    return (np.abs(off_FYX) < allowed_YX).mean(axis=(1, 2))


def _noise(grey_FYX: Bytes, smooth_FYX: Picture) -> float:
    """By how many levels a pixel may differ between frames once motion is taken out, from neighbouring frames."""
    size = smooth_FYX.shape[:0:-1]
    typical = []
    for pick in np.unique(np.linspace(0, len(smooth_FYX) - 2, NOISE_PAIRS).round().astype(int)):
        back = _step(grey_FYX[pick], grey_FYX[pick + 1])
        laid_YX = cv2.warpPerspective(smooth_FYX[pick + 1], back, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        inner = (slice(size[1] // 8, -size[1] // 8), slice(size[0] // 8, -size[0] // 8))
        typical.append(np.median(np.abs(laid_YX - smooth_FYX[pick])[inner]))
    return float(np.clip(4.5 * np.median(typical), *NOISE_LEVELS))


def _anchor(grey_YX: Picture, noise: float) -> _Anchor:
    """The steepest pixel of each cell that has one; cells keep one busy corner from outvoting the picture."""
    dx_YX, dy_YX = _slopes(grey_YX)
    steep_YX = np.hypot(dx_YX, dy_YX)
    steep_YX[:2], steep_YX[-2:], steep_YX[:, :2], steep_YX[:, -2:] = 0, 0, 0, 0
    rows, columns = (side // CELL_PX for side in grey_YX.shape)
    cells = steep_YX[: rows * CELL_PX, : columns * CELL_PX].reshape(rows, CELL_PX, columns, CELL_PX)
    best = cells.transpose(0, 2, 1, 3).reshape(rows * columns, -1).argmax(1)
    y = np.repeat(np.arange(rows), columns) * CELL_PX + best // CELL_PX
    x = np.tile(np.arange(columns), rows) * CELL_PX + best % CELL_PX
    keep = steep_YX[y, x] > max(MIN_GRADIENT, noise)
    x, y = x[keep], y[keep]
    xy_P2 = np.stack([x, y], 1) + 0.5
    slope_P2 = np.stack([dx_YX[y, x], dy_YX[y, x]], 1).astype(np.float64)
    return _Anchor(xy_P2, grey_YX[y, x].astype(np.float64), steep_YX[y, x].astype(np.float64), slope_P2, noise)


def _slopes(grey_YX: Picture) -> tuple[Picture, Picture]:
    """The gradient along x and along y, in levels per pixel."""
    dy_YX, dx_YX = np.gradient(grey_YX)
    return np.asarray(dx_YX, np.float32), np.asarray(dy_YX, np.float32)


def _sample(picture_YX: Picture, xy_P2: Floats) -> Floats:
    """Bilinear values at coordinates; NaN outside."""
    index = (xy_P2 - 0.5).astype(np.float32)
    value = cv2.remap(
        picture_YX,
        index[None, :, 0],
        index[None, :, 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=np.nan,
    )
    return value[0].astype(np.float64)


def _moved(xy_P2: Floats, to: Floats) -> Floats:
    return cv2.perspectiveTransform(xy_P2[None], to)[0]


def _residual(anchor: _Anchor, grey_YX: Picture, to: Floats) -> Floats:
    """Brightness of a frame at the anchor's points less that of the anchor, the light's common change taken out."""
    value_P = _sample(grey_YX, _moved(anchor.xy_P2, to))
    off_P = value_P - anchor.grey_P
    known = np.isfinite(off_P)
    return off_P - np.median(off_P[known]) if known.any() else off_P


def _agree(anchor: _Anchor, grey_YX: Picture, to: Floats) -> npt.NDArray[np.bool_]:
    """Whether each point lies where the motion says; those that the frame does not show do not."""
    off_P = _residual(anchor, grey_YX, to)
    with np.errstate(invalid="ignore"):
        return np.abs(off_P) < anchor.noise + STILL_PX * anchor.steep_P


def _share(anchor: _Anchor, grey_YX: Picture, to: Floats) -> float:
    """Share of the points which the frame shows that lie where the motion says; 0 where it shows too few."""
    shown = np.isfinite(_residual(anchor, grey_YX, to))
    if shown.sum() < max(MIN_POINTS, 0.2 * len(shown)):
        return 0.0
    return float(_agree(anchor, grey_YX, to)[shown].mean())


def _pins(anchor: _Anchor, steady_P: npt.NDArray[np.bool_]) -> bool:
    """Whether points that agree with a resting camera are enough to hold the picture in both directions."""
    if steady_P.sum() < max(MIN_POINTS // 2, STILL_SHARE * len(steady_P)):
        return False
    slope = anchor.slope_P2[steady_P]
    weak, strong = np.linalg.eigvalsh(slope.T @ slope)
    return bool(weak > MIN_CROSS * strong)


def _step(before_YX: Bytes, after_YX: Bytes) -> Floats:
    """Motion of the picture between two neighbouring frames, from corners; none where too few hold."""
    corners = cv2.goodFeaturesToTrack(before_YX, MAX_CORNERS, 0.01, 5)
    if corners is None or len(corners) < 6:
        return np.eye(3)
    there, status, _ = cv2.calcOpticalFlowPyrLK(before_YX, after_YX, corners, np.empty_like(corners))
    found = status.ravel() > 0
    if found.sum() < 6:
        return np.eye(3)
    similar, _ = cv2.estimateAffinePartial2D(corners[found], there[found], ransacReprojThreshold=1.0)
    return np.eye(3) if similar is None else np.vstack([similar, [0, 0, 1]])


def _lay(anchor: _Anchor, grey_YX: Picture, guesses: tuple[Floats, ...]) -> tuple[Floats, float]:
    """The motion from the anchor to a frame, refined from the best guess, and the share of points that agree."""
    dx_YX, dy_YX = _slopes(grey_YX)
    best = max(guesses, key=lambda to: _share(anchor, grey_YX, to))
    share = _share(anchor, grey_YX, best)
    for model in (_similarity_columns, _homography_columns):
        to = _refined(anchor, grey_YX, dx_YX, dy_YX, best, model)
        refined_share = _share(anchor, grey_YX, to)
        if refined_share > share + (0 if model is _similarity_columns else 0.03):
            best, share = to, refined_share
    return best, share


def _refined(
    anchor: _Anchor, grey_YX: Picture, dx_YX: Picture, dy_YX: Picture, to: Floats, columns: _Columns
) -> Floats:
    """The motion after reweighted least squares from `to`, brightness held against the anchor's."""
    centre = anchor.xy_P2.mean(0)
    spread = anchor.xy_P2.std() + 1.0
    for _ in range(ITERATIONS):
        at_P2 = _moved(anchor.xy_P2, to)
        off_P = _residual(anchor, grey_YX, to)
        dx_P, dy_P = _sample(dx_YX, at_P2), _sample(dy_YX, at_P2)
        shown = np.isfinite(off_P) & np.isfinite(dx_P)
        if shown.sum() < MIN_POINTS:
            return to
        off, dx, dy = off_P[shown], dx_P[shown], dy_P[shown]
        u, v = ((at_P2[shown] - centre) / spread).T
        jacobian = spread * columns(u, v, dx, dy)
        steep = np.hypot(dx, dy) + 0.5
        sigma = 1.4826 * np.median(np.abs(off / steep)) + 0.05  # in pixels
        weight = np.clip(1 - (off / steep / (TUKEY * sigma)) ** 2, 0, 1) ** 2 / steep
        normal = (jacobian * weight[:, None]).T @ jacobian
        # Where edges leave a direction open, and where no point agrees at all.
        normal += np.eye(len(normal)) * (1e-3 * np.trace(normal) / len(normal) + 1e-9)
        change = np.linalg.solve(normal, -(jacobian * weight[:, None]).T @ off)
        move = _as_matrix(change)
        frame = np.array([[spread, 0, centre[0]], [0, spread, centre[1]], [0, 0, 1.0]])
        to = frame @ move @ np.linalg.inv(frame) @ to
        to = to / to[2, 2]
        if np.abs(change).max() * spread < 0.01:
            break
    return to


def _similarity_columns(u: Floats, v: Floats, dx: Floats, dy: Floats) -> Floats:
    return np.stack([dx, dy, u * dx + v * dy, u * dy - v * dx], 1)


def _homography_columns(u: Floats, v: Floats, dx: Floats, dy: Floats) -> Floats:
    along = u * dx + v * dy
    return np.stack([dx, dy, u * dx, v * dx, u * dy, v * dy, -u * along, -v * along], 1)


def _as_matrix(change: Floats) -> Floats:
    """The small motion that parameters of either model stand for, in centred and scaled coordinates."""
    if len(change) == 4:
        x, y, grow, turn = change
        return np.array([[1 + grow, -turn, x], [turn, 1 + grow, y], [0, 0, 1]])
    x, y, xu, xv, yu, yv, p, q = change
    return np.array([[1 + xu, xv, x], [yu, 1 + yv, y], [p, q, 1]])
