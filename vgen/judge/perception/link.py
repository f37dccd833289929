"""One thing before and behind what hides it, and why a thing does not show.

A trail that ends, or begins, cut from one side beside a still edge went behind something, or came from there. Two such
ends are one thing where place and time fit its motion or where its looks do. A trail that ends in the open ended: what
begins later is another.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from vgen.judge.observation import Floats, Sight
from vgen.judge.perception.background import Background
from vgen.judge.perception.segment import Blob
from vgen.judge.perception.sift import MIN_FRAMES, sift
from vgen.judge.perception.track import SAME_LAB, Trail
from vgen.judge.perception.view import View

__all__ = ["Box", "Thing", "link"]

Box = tuple[float, float, float, float]

CUT_AREA = 0.85  # of the whole area: what shows less is cut
CUT_LAG = 0.12  # of a diameter, by which a cut blob's centre lags behind the motion
WAIT_PRICE = 0.08  # per hidden frame: of two that may have come out, the first did
CUT_SHORT = 0.8  # of the share across that is left along a side
MAX_LEAP = 3.0  # frames' motion that may lie between a whole thing and its being hidden
BOTH_SIDES_FRAMES = 6  # during which a thing may show on both sides of what hides its middle
FIT_DIAMETERS = 1.5  # by which a thing may come out off its prediction and still be told by its motion
SIZE_RATIO = 1.8  # of diameters that still may be one thing
WHOLE = 0.92  # of the area around: beside what could cut it, a thing that shows less is cut
EDGE_LAB = 4.0  # across an edge of the still picture, at least
PATTERN = 0.5  # of the edge where something went behind it, up to which an edge is its own pattern
EDGE_DIAMETERS = 0.25  # from the point where a thing was cut, within which the edge lies that cut it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Thing:
    """A thing over the whole shot: its blobs by frame, a `Sight` per frame, and the trails that it is made of."""

    trails: tuple[Trail, ...]
    blobs: dict[int, Blob]
    sight_F: npt.NDArray[np.uint8]
    shared: dict[int, set[int]]

    @property
    def kind(self) -> str:
        return self.trails[0].kind


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _End:
    """One end of a trail: where, how fast and which way out, how large it was whole, and whether it is cut there.

    `tip` is the point of what shows that lies farthest out.
    """

    frame: int
    xy: Floats
    tip: Floats
    velocity: Floats  # per frame, outwards
    diameter: float
    cut: bool
    border: bool
    shared: bool


def link(view: View, background: Background, trails: list[Trail]) -> tuple[list[Thing], list[Box]]:
    """Things, in the order in which they first show, and boxes of the still things that hide, in working pixels."""
    kept = sift(trails)
    ends = {trail: (_end(trail, view, -1), _end(trail, view, 1)) for trail in kept}
    boxes: list[Box] = []
    follower: dict[Trail, Trail] = {}
    for trail in sorted(kept, key=lambda one: one.last):
        after = [
            other
            for other in kept
            if other.first > trail.last - BOTH_SIDES_FRAMES
            and other.last > trail.last
            and other is not trail
            and other not in follower.values()
            and _may_follow(trail, other, ends, background)
        ]
        if after:
            other = min(after, key=lambda one: _misfit(trail, one, ends))
            follower[trail] = other
            boxes += _occluder(ends[trail][1], ends[other][0], background)
    for trail in kept:
        for end in ends[trail]:
            if (
                end.cut
                and trail.kind == "body"
                and not end.border
                and not end.shared
                and trail not in follower
                and trail not in follower.values()
            ):
                boxes += _occluder(end, None, background)
    things = []
    for trail in sorted(kept, key=lambda one: one.first):
        if trail in follower.values():
            continue
        chain = [trail]
        while chain[-1] in follower:
            chain.append(follower[chain[-1]])
        things.append(_thing(chain, ends, view, boxes))
    return things, boxes


def _end(trail: Trail, view: View, side: int) -> _End:
    """The end of a trail towards earlier (-1) or later (1) frames."""
    frames = sorted(trail.blobs, reverse=side > 0)  # from the end inwards
    last = trail.blobs[frames[0]]
    areas = np.array([trail.blobs[frame].area for frame in frames])
    whole = float(np.quantile(areas[: 4 * MIN_FRAMES], 0.75))
    steady = [f for f in frames if trail.blobs[f].area > WHOLE * whole and f not in trail.shared][:4] or frames[:2]
    if len(steady) < 2:
        steady = frames[:2]
    span = steady[0] - steady[-1]
    velocity = (trail.blobs[steady[0]].xy - trail.blobs[steady[-1]].xy) / max(1, abs(span))
    diameter = 2 * np.sqrt(whole / np.pi)
    since = abs(frames[0] - steady[0])
    late = (last.xy - trail.blobs[steady[0]].xy) / max(1, since)
    if np.hypot(*late) > np.hypot(*velocity):  # it speeds up
        velocity = late
    cut = last.area < CUT_AREA * whole and _is_cut(trail.blobs[steady[0]], last, velocity * since, float(diameter))
    height, width = view.size
    ahead = last.xy + velocity
    leaves = bool((ahead < 0.25 * diameter).any() or (ahead > np.array([width, height]) - 0.25 * diameter).any())
    at_edge = frames[0] == (view.frames - 1 if side > 0 else 0)
    return _End(
        frame=frames[0],
        xy=last.xy,
        tip=_tip(last, velocity),
        velocity=velocity,
        diameter=float(diameter),
        cut=cut and not at_edge,
        border=last.at_border or (leaves and not at_edge),
        shared=frames[0] in trail.shared,
    )


def _is_cut(whole: Blob, last: Blob, way: Floats, diameter: float) -> bool:
    """Whether what is left of a thing was cut from the side that it moves to, and has not just shrunk.

    Then its centre lags behind the motion, or it is short along one side that it moves along and not along the other.
    """
    length = float(np.hypot(*way))
    if length < CUT_LAG * diameter:
        return False
    lag = float((whole.xy + way - last.xy) @ way) / length
    left_xy = np.array(_sides(last)) / _sides(whole)
    short = int(left_xy.argmin())
    from_side = left_xy[short] < CUT_SHORT * left_xy[1 - short] and abs(way[short]) > CUT_LAG * diameter
    return bool(lag > CUT_LAG * diameter or from_side)


def _tip(blob: Blob, velocity: Floats) -> Floats:
    rows, columns = np.nonzero(blob.share_YX > 0.5)
    points = np.stack([columns + blob.left + 0.5, rows + blob.top + 0.5], 1)
    return points[(points @ velocity).argmax()] if len(points) else blob.xy


def _may_follow(one: Trail, other: Trail, ends: dict[Trail, tuple[_End, _End]], background: Background) -> bool:
    """Whether `other` may be `one` come out again from behind something still."""
    gone, back = ends[one][1], ends[other][0]
    if one.kind != other.kind or one.kind == "shadow" or gone.border or back.border:
        return False
    if not 1 / SIZE_RATIO < gone.diameter / back.diameter < SIZE_RATIO:
        return False
    fits = _misfit_place(gone, back) < FIT_DIAMETERS * gone.diameter
    alike = float(np.linalg.norm(_looks(one) - _looks(other))) < SAME_LAB
    if back.frame <= gone.frame:  # for a while it shows on both sides of something narrow
        return gone.cut and back.cut and fits and alike
    if gone.cut and back.cut:
        return fits or alike
    edge = _edge_between(gone, back, background)
    if gone.cut or back.cut:
        return edge and (fits or alike)
    return edge and fits and alike


def _looks(trail: Trail) -> Floats:
    """Mean colour of its largest blobs."""
    blobs = sorted(trail.blobs.values(), key=lambda blob: -blob.area)
    return np.median([blob.lab for blob in blobs[: max(1, len(blobs) // 2)]], axis=0)


def _misfit_place(gone: _End, back: _End) -> float:
    """How far off the straight continuation it comes out, in pixels; half of it from either end."""
    between = back.frame - gone.frame
    forth = gone.xy + gone.velocity * between - back.xy
    return float(np.hypot(*forth))


def _misfit(one: Trail, other: Trail, ends: dict[Trail, tuple[_End, _End]]) -> float:
    gone, back = ends[one][1], ends[other][0]
    looks = float(np.linalg.norm(_looks(one) - _looks(other))) / SAME_LAB
    return _misfit_place(gone, back) / gone.diameter + looks + WAIT_PRICE * max(0, back.frame - gone.frame)


def _edge_between(gone: _End, back: _End, background: Background) -> bool:
    """Whether still edges cross the way near both ends, where an occluder's sides would be."""
    return all(
        _edge_ahead(end, background, limit=0.5 * float(np.hypot(*(back.xy - gone.xy))) + 0.5 * end.diameter)
        for end in (gone, back)
    )


def _edge_ahead(end: _End, background: Background, limit: float) -> bool:
    speed = float(np.hypot(*end.velocity))
    if speed < 0.01 * end.diameter:
        return False
    along = end.velocity / speed
    reach = min(limit, 0.5 * end.diameter + MAX_LEAP * speed)
    steps = np.arange(-0.25 * end.diameter, reach, 1.0)
    across = np.array([-along[1], along[0]])
    lines = [end.xy + side * end.diameter * across + steps[:, None] * along for side in (-0.3, 0.0, 0.3)]
    jumps = []
    for line in lines:
        index = np.clip(np.floor(line).astype(int), 0, np.array(background.known_YX.shape[::-1]) - 1)
        lab = background.lab_YX3[index[:, 1], index[:, 0]]
        jumps.append(np.linalg.norm(lab[2:] - lab[:-2], axis=1).max() if len(lab) > 2 else 0.0)
    return float(np.median(jumps)) > max(4.0, 4 * background.noise)


def _occluder(gone: _End, back: _End | None, background: Background) -> list[Box]:
    """The box of what hides a thing that went in at one end and, where it did, came out at the other.

    It reaches from where the thing was cut to where it came out, and across until the still picture shows an edge.
    Where nothing came out, it reaches to the next edge that is no mere pattern on it beside the one that cut the thing.
    """
    axis = int(np.abs(gone.velocity).argmax())
    ahead = 1 if gone.velocity[axis] > 0 else -1
    size = background.known_YX.shape[::-1]
    middle = gone.xy if back is None else (gone.xy + back.xy) / 2
    near = gone.tip[axis]
    if back is not None:
        far = back.tip[axis]
    else:
        profile = _profile(background, axis, middle[1 - axis], 0.4 * gone.diameter)
        around = _steps(profile)[_span(near, EDGE_DIAMETERS * gone.diameter, len(profile))]
        far = _walk(profile, near + ahead * 0.5 * gone.diameter, ahead, max(_least(background), PATTERN * around.max()))
    if abs(far - near) < 2:
        far = near + ahead * gone.diameter
    along = min(near, far), max(near, far)
    profile = _profile(background, 1 - axis, sum(along) / 2, 0.35 * (along[1] - along[0]))
    across = tuple(
        _walk(profile, middle[1 - axis] + side * 0.2 * gone.diameter, side, _least(background)) for side in (-1, 1)
    )
    low = np.clip([along[0], across[0]], 0, [size[axis], size[1 - axis]])
    high = np.clip([along[1], across[1]], 0, [size[axis], size[1 - axis]])
    if axis == 1:
        low, high = low[::-1], high[::-1]
    return [(float(low[0]), float(low[1]), float(high[0]), float(high[1]))]


def _profile(background: Background, axis: int, middle: float, half: float) -> Floats:
    """Median colour of the background along an axis (0 is x), over a stripe across it."""
    limit = background.known_YX.shape[axis]  # the other axis' size: shape is rows, columns
    low = int(np.clip(middle - half, 0, limit - 1))
    high = int(np.clip(middle + half, low + 1, limit))
    stripe = background.lab_YX3[low:high] if axis == 0 else background.lab_YX3[:, low:high]
    return np.median(stripe, axis=axis).astype(np.float64)


def _steps(profile: Floats) -> Floats:
    """Differences of colour along a profile; entry k is across place k + 1."""
    return np.linalg.norm(profile[2:] - profile[:-2], axis=1)


def _span(place: float, reach: float, places: int) -> slice:
    """Entries of `_steps` around a place."""
    low = int(np.clip(place - reach - 1, 0, places - 3))
    return slice(low, max(low + 1, int(place + reach)))


def _least(background: Background) -> float:
    """Of an edge, in Lab."""
    return max(EDGE_LAB, 4 * background.noise)


def _walk(profile: Floats, start: float, side: int, least: float) -> float:
    """From a place along a profile to the next edge of at least some strength on one side, or to its end."""
    step = _steps(profile)
    place = int(np.clip(start, 1, len(profile) - 2))
    while 1 <= place <= len(profile) - 2 and step[place - 1] < least:
        place += side
    return float(place) + 0.5


def _thing(chain: list[Trail], ends: dict[Trail, tuple[_End, _End]], view: View, boxes: list[Box]) -> Thing:
    sight_F = np.full(view.frames, Sight.LOST, np.uint8)
    blobs: dict[int, Blob] = {}
    shared: dict[int, set[int]] = {}
    for trail in chain:
        blobs |= trail.blobs
        shared |= trail.shared
        free = [frame for frame, blob in trail.blobs.items() if not (blob.at_border or _is_beside(blob, boxes))]
        for frame, blob in trail.blobs.items():
            sight_F[frame] = _shown(trail, frame, blob, boxes, free)
        for frame in trail.behind:
            if frame not in trail.blobs:
                sight_F[frame] = Sight.OCCLUDED
    for before, after in pairwise(chain):
        sight_F[before.last + 1 : after.first] = Sight.OCCLUDED
    first, last = ends[chain[0]][0], ends[chain[-1]][1]
    sight_F[: first.frame] = _absent(first)
    beyond = max([last.frame, *chain[-1].behind])
    sight_F[beyond + 1 :] = Sight.OCCLUDED if beyond > last.frame else _absent(last)
    return Thing(trails=tuple(chain), blobs=blobs, sight_F=sight_F, shared=shared)


def _absent(end: _End) -> Sight:
    """Why a thing does not show beyond an end."""
    if end.border:
        return Sight.OUTSIDE
    return Sight.OCCLUDED if end.cut else Sight.LOST


def _shown(trail: Trail, frame: int, blob: Blob, boxes: list[Box], free: list[int]) -> Sight:
    """Wholly or partly: cut by the border, by what it touches, or by what hides it elsewhere.

    What it is like whole is told by the frames that show it free of what hides, where there are some.
    """
    if blob.at_border:
        return Sight.PARTLY
    frames = [other for other in range(frame - 8, frame + 9) if other in trail.blobs]
    near = [trail.blobs[other] for other in frames]
    around = float(np.quantile([other.area for other in near], 0.75))
    if frame in trail.shared and blob.area < WHOLE * around:
        return Sight.PARTLY
    near_free = [trail.blobs[other] for other in frames if other in free]
    if blob.area < CUT_AREA * around and _lacks_a_part(blob, near_free if len(near_free) >= MIN_FRAMES else near):
        return Sight.PARTLY
    whole = float(np.quantile([trail.blobs[other].area for other in free or trail.blobs], 0.5 if free else 0.75))
    return Sight.PARTLY if _is_beside(blob, boxes) and blob.area < WHOLE * whole else Sight.SEEN


def _is_beside(blob: Blob, boxes: list[Box]) -> bool:
    """Whether it reaches what hides things."""
    height, width = blob.share_YX.shape
    return any(
        left - 2 < blob.left + width and blob.left < right + 2 and top - 2 < blob.top + height and blob.top < low + 2
        for left, top, right, low in boxes
    )


def _lacks_a_part(blob: Blob, near: list[Blob]) -> bool:
    """Whether a blob is short on one side only, or fills less of its box, than the larger ones near it in time."""
    usual = sorted(near, key=lambda other: -other.area)[: max(1, len(near) // 2)]
    sides_N2 = np.array([_sides(other) for other in usual])
    sides_2 = np.array(_sides(blob))
    left_2 = sides_2 / np.median(sides_N2, axis=0)
    fill = blob.area / np.prod(sides_2)
    usual_fill = float(np.median([other.area / np.prod(sides) for other, sides in zip(usual, sides_N2, strict=True)]))
    return bool(left_2.min() < CUT_SHORT * left_2.max() or fill < CUT_SHORT * usual_fill)


def _sides(blob: Blob) -> tuple[int, int]:
    """Columns and rows that it reaches over."""
    mask = blob.share_YX > 0.5
    return max(int(mask.any(0).sum()), 1), max(int(mask.any(1).sum()), 1)
