"""Blobs of one thing, frame after frame: prediction with constant acceleration, best assignment over all pairs.

Pairs near the prediction come first; then a thing that shows nowhere near may be one of equal looks elsewhere, which
jumped. Things that touch share one blob, which is cut by their colours and last places. A thing wholly behind another
waits for as long as the other covers the place where it should be.
"""

from dataclasses import dataclass, field
from statistics import median
from typing import Literal

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from vgen.judge.observation import Floats
from vgen.judge.perception.background import Background
from vgen.judge.perception.segment import Blob, blob_of
from vgen.judge.perception.view import Bytes, View

__all__ = ["Trail", "follow"]

MAX_GAP = {"body": 2, "shadow": 6}  # frames without a blob after which what shows where it is expected is another
REACH_DIAMETERS, REACH_STEPS = 0.5, 1.2  # how far off its prediction a thing may be: in sizes, and in its own steps
KICK_DIAMETERS = 0.5  # a velocity that changes by more within one frame was kicked
KNOWN = 4  # frames that show a dark patch before it may jump: scraps of shadows come and go, all of equal looks
CROSSING = 3  # frames in one blob with another, after which it may cross that one
SAME_LAB = 14.0  # looks that differ by less may be the same thing's
SAME_AREA = 1.7  # ratio of areas
RECENT = 8  # frames that looks and size are taken from
COLOUR_SCALE, PLACE_SCALE = 12.0, 0.35  # of Lab units, and of diameters, in the cut of a shared blob
PIECE_LAB = 25.0  # looks of a piece, whose colour is its outline's mixture to a large part
CUT_AREA = 0.85  # of its usual area: what shows less is a piece
MAX_HIDDEN_SHARE = 0.2  # of a thing's area: what shows less lies behind the other
FAR = 1e6


@dataclass(slots=True, eq=False)
class Trail:
    """One thing as far as it could be followed.

    Args:
        number: its own, in the order in which trails begin.
        kind: of its blobs.
        blobs: by frame.
        shared: frames in which its blob was cut out of one shared with others, and the numbers of those.
        behind: frames in which it waited behind another trail, and that one's number.
        usual: by frame, area and colour before it, once asked for.
    """

    number: int
    kind: Literal["body", "shadow"]
    blobs: dict[int, Blob] = field(default_factory=dict)
    shared: dict[int, set[int]] = field(default_factory=dict)
    behind: dict[int, int] = field(default_factory=dict)
    usual: dict[int, tuple[float, Floats]] = field(default_factory=dict, repr=False)

    @property
    def first(self) -> int:
        return min(self.blobs)

    @property
    def last(self) -> int:
        return max(self.blobs)

    @property
    def latest(self) -> int:
        """The last frame in which it showed or is known to have been hidden."""
        return max(self.last, max(self.behind, default=-1))

    def recent(self, frame: int, count: int = RECENT) -> list[Blob]:
        """Its latest blobs before a frame, whole ones if there are any."""
        known = [number for number in sorted(self.blobs) if number < frame]
        whole = [number for number in known if number not in self.shared and not self.blobs[number].at_border]
        return [self.blobs[number] for number in (whole or known)[-count:]]

    def area(self, frame: int) -> float:
        return self._usual(frame)[0]

    def lab(self, frame: int) -> Floats:
        return self._usual(frame)[1]

    def _usual(self, frame: int) -> tuple[float, Floats]:
        """Area and colour; a frame asks for them many times, and what came before it does not change any more."""
        if frame not in self.usual:
            recent = self.recent(frame)
            self.usual[frame] = median([blob.area for blob in recent]), np.median([blob.lab for blob in recent], axis=0)
        return self.usual[frame]

    def predict(self, frame: int) -> tuple[Floats, float]:
        """Where it should be, and how far it moves in one frame."""
        known = [number for number in sorted(self.blobs) if number < frame]
        here = self.blobs[known[-1]].xy
        if len(known) < 2:
            return here, 0.0
        step = (here - self.blobs[known[-2]].xy) / (known[-1] - known[-2])
        ahead = frame - known[-1]
        guess = here + step * ahead
        smooth = len(known) > 2 and known[-1] - known[-3] == 2 and not self.shared.keys() & set(known[-3:])
        if smooth and ahead == 1:
            before = self.blobs[known[-2]].xy - self.blobs[known[-3]].xy
            guess = guess + (step - before)
        return guess, float(np.hypot(*step))

    def guesses(self, frame: int) -> list[Floats]:
        """Where it may be: its prediction, and after a while in one blob with another where it crosses that one.

        A piece tells little of its place, and what goes on behind another comes out where its way alone led. After a
        kick, as a bounce is one, it goes on as it left: a kick does not last.
        """
        known = [number for number in sorted(self.blobs) if number < frame]
        alone = [number for number in known if number not in self.shared]
        guesses = [self.predict(frame)[0]]
        if len(known) > 1:
            here, before = self.blobs[known[-1]].xy, self.blobs[known[-2]].xy
            onward = here + (here - before) / (known[-1] - known[-2]) * (frame - known[-1])
            if np.hypot(*(onward - guesses[0])) > KICK_DIAMETERS * np.sqrt(4 * self.area(frame) / np.pi):
                guesses.append(onward)
        if len(alone) > 1 and self.last - alone[-1] >= CROSSING:
            here, before = self.blobs[alone[-1]].xy, self.blobs[alone[-2]].xy
            guesses.append(here + (here - before) / (alone[-1] - alone[-2]) * (frame - alone[-1]))
        return guesses


def _whole(trail: Trail, frame: int) -> tuple[Floats, float]:
    """Centre and area of its whole: from the frames that showed it whole, for a piece's centre lags behind."""
    frames = [number for number in sorted(trail.blobs) if number < frame][-RECENT:]
    area = float(np.quantile([trail.blobs[number].area for number in frames], 0.8))
    known = [number for number in frames if trail.blobs[number].area > CUT_AREA * area][-3:]
    if len(known) < 2 or known[-1] == frames[-1]:
        return trail.predict(frame)[0], area
    first, last = trail.blobs[known[0]].xy, trail.blobs[known[-1]].xy
    return last + (last - first) / (known[-1] - known[0]) * (frame - known[-1]), area


def follow(view: View, background: Background, blobs_F: list[list[Blob]]) -> list[Trail]:
    """Trails of all blobs, in the order in which they begin."""
    trails: list[Trail] = []
    for frame, seen in enumerate(blobs_F):
        live = [index for index, trail in enumerate(trails) if frame - trail.latest <= 1 + MAX_GAP[trail.kind]]
        blobs = _joined(trails, live, seen, frame, view, background)
        pairs = _near(trails, live, blobs, frame)
        blobs = _cut(trails, live, blobs, pairs, frame, view, background)
        _pair_jumps(trails, live, blobs, pairs, frame)
        for index, blob in pairs.items():
            trails[index].blobs[frame] = blob
        taken = set(pairs.values())  # blobs are told apart by identity
        for blob in (blob for blob in blobs if blob not in taken):
            trails.append(Trail(len(trails), blob.kind, {frame: blob}))
    return trails


def _gate(trail: Trail, frame: int) -> float:
    _, step = trail.predict(frame)
    missed = frame - trail.last - 1
    diameter = 2 * np.sqrt(trail.area(frame) / np.pi)
    return float(REACH_DIAMETERS * diameter * (1 + 0.3 * missed) + REACH_STEPS * step + 1.5)


def _near(trails: list[Trail], live: list[int], blobs: list[Blob], frame: int) -> dict[int, Blob]:
    """Trail index -> blob, for pairs near the prediction."""
    if not live or not blobs:
        return {}
    cost = np.full((len(live), len(blobs)), FAR)
    for row, index in enumerate(live):
        trail = trails[index]
        guesses = trail.guesses(frame)
        gate, area, lab = _gate(trail, frame), trail.area(frame), trail.lab(frame)
        for column, blob in enumerate(blobs):
            away = min(float(np.hypot(*(blob.xy - guess))) for guess in guesses)
            if blob.kind == trail.kind and away < gate:
                looks = min(float(np.linalg.norm(blob.lab - lab)) / 25, 2.0)
                cost[row, column] = away / gate + 0.5 * looks + 0.4 * abs(np.log(blob.area / area))
    rows, columns = linear_sum_assignment(cost)
    return {live[row]: blobs[column] for row, column in zip(rows, columns, strict=True) if cost[row, column] < FAR}


def _joined(
    trails: list[Trail], live: list[int], blobs: list[Blob], frame: int, view: View, background: Background
) -> list[Blob]:
    """The blobs, pieces of one thing (behind a post, or torn by noise) put together."""
    for index in live:
        trail = trails[index]
        guess, area = _whole(trail, frame)
        lab = trail.lab(frame)
        radius = np.sqrt(area / np.pi)
        pieces = [
            blob
            for blob in blobs
            if blob.kind == trail.kind
            and np.hypot(*(blob.xy - guess)) < 1.2 * radius
            and blob.area < 0.9 * area
            and np.linalg.norm(blob.lab - lab) < PIECE_LAB
        ]
        if len(pieces) < 2 or sum(piece.area for piece in pieces) > 1.2 * area:
            continue
        mask = np.zeros(view.size, np.uint8)
        for piece in pieces:
            mask[piece.crop] |= piece.share_YX > 0.5
        whole = _blob(mask, view, background, frame, trail.kind, None)
        blobs = [blob for blob in blobs if blob not in pieces] + [whole]
    return blobs


def _cut(
    trails: list[Trail],
    live: list[int],
    blobs: list[Blob],
    pairs: dict[int, Blob],
    frame: int,
    view: View,
    background: Background,
) -> list[Blob]:
    """Cuts each blob that several trails claim into one part for each; who gets no part waits behind another.

    Changes `pairs` and returns the blobs as they are then.
    """
    rest: list[Blob] = []
    for blob in blobs:
        owners = [index for index, own in pairs.items() if own is blob]
        claims = owners + [index for index in live if index not in pairs and _covers(blob, trails[index], frame)]
        masks = _parts(blob, [trails[index] for index in claims], frame, view) if len(claims) > 1 else []
        showing = [
            (index, mask)
            for index, mask in zip(claims, masks, strict=False)
            if mask.sum() > MAX_HIDDEN_SHARE * trails[index].area(frame)
        ]
        if not showing:
            rest.append(blob)
            continue
        front = max(showing, key=lambda pair: float(pair[1].sum() / trails[pair[0]].area(frame)))[0]
        whole = np.zeros(view.size, np.uint8)
        whole[blob.crop] = blob.share_YX > 0.5
        for index, mask in showing:
            part = _blob(mask, view, background, frame, blob.kind, whole & (1 - mask)) if len(showing) > 1 else blob
            rest.append(part)
            pairs[index] = part
            trails[index].shared[frame] = set(claims) - {index}
        for index in set(claims) - {index for index, _ in showing}:
            pairs.pop(index, None)
            trails[index].behind[frame] = front
    return rest


def _blob(
    mask: Bytes, view: View, background: Background, frame: int, kind: Literal["body", "shadow"], others: Bytes | None
) -> Blob:
    inside = None if view.inside_FYX is None else view.inside_FYX[frame]
    return blob_of(
        mask, view.rgb_FYX3[frame], view.lab_FYX3[frame], inside, background, None, kind=kind, others_YX=others
    )


def _covers(blob: Blob, trail: Trail, frame: int) -> bool:
    """Whether a blob lies where a trail should be."""
    return blob.kind == trail.kind and any(_lies_in(blob, guess, trail, frame) for guess in trail.guesses(frame))


def _lies_in(blob: Blob, guess: Floats, trail: Trail, frame: int) -> bool:
    """Whether a trail would lie in a blob, or near its edge, at a place."""
    column, row = (int(np.floor(value)) for value in guess - (blob.left, blob.top))
    height, width = blob.share_YX.shape
    if 0 <= row < height and 0 <= column < width and blob.share_YX[row, column] > 0.5:
        return True
    ys, xs = np.nonzero(blob.share_YX > 0.5)
    nearest = np.hypot(xs + 0.5 + blob.left - guess[0], ys + 0.5 + blob.top - guess[1]).min() if len(xs) else FAR
    return bool(nearest < 0.5 * np.sqrt(trail.area(frame) / np.pi))


def _parts(blob: Blob, claims: list[Trail], frame: int, view: View) -> list[Bytes]:
    """The blob's pixels, each given to the trail whose colour and last shape fit best."""
    inner = blob.share_YX > 0.5
    costs = []
    for trail in claims:
        guesses = trail.guesses(frame)
        guess = next((guess for guess in guesses if _lies_in(blob, guess, trail, frame)), guesses[0])
        last = trail.recent(frame, 1)[-1]
        colour = np.linalg.norm(view.lab_FYX3[frame][blob.crop] - trail.lab(frame).astype(np.float32), axis=-1)
        shape = np.zeros(view.size, np.uint8)
        shift = np.array([[1, 0, guess[0] - last.xy[0]], [0, 1, guess[1] - last.xy[1]]], np.float32)
        shape[last.crop] = last.share_YX > 0.5
        shape = np.asarray(cv2.warpAffine(shape, shift, view.size[::-1], flags=cv2.INTER_NEAREST), np.uint8)
        away = cv2.distanceTransform(1 - shape, cv2.DIST_L2, 3)[blob.crop] if shape.any() else np.full(inner.shape, FAR)
        diameter = 2 * np.sqrt(trail.area(frame) / np.pi)
        costs.append(np.minimum(colour / COLOUR_SCALE, 3.0) + away / (PLACE_SCALE * diameter))
    owner = np.argmin(costs, axis=0)
    masks = []
    for place in range(len(claims)):
        part = cv2.medianBlur(((owner == place) & inner).astype(np.uint8), 3)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(part)
        mask = np.zeros(view.size, np.uint8)
        if count > 1:
            mask[blob.crop] = labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
        masks.append(mask)
    return masks


def _pair_jumps(trails: list[Trail], live: list[int], blobs: list[Blob], pairs: dict[int, Blob], frame: int) -> None:
    """Adds pairs of a trail and a blob of equal looks, wherever it is, both left over in neighbouring frames."""
    taken = set(pairs.values())
    free = [blob for blob in blobs if blob not in taken and not blob.at_border]
    for index in live:
        trail = trails[index]
        if index in pairs or trail.last != frame - 1 or trail.blobs[trail.last].at_border or frame in trail.behind:
            continue
        if trail.kind == "shadow" and len(trail.blobs) < KNOWN:
            continue
        lab, guess = trail.lab(frame), trail.predict(frame)[0]
        areas = (trail.area(frame), trail.blobs[trail.last].area)
        alike = [
            blob
            for blob in free
            if blob.kind == trail.kind
            and np.linalg.norm(blob.lab - lab) < SAME_LAB
            and all(1 / SAME_AREA < blob.area / area < SAME_AREA for area in areas)
        ]
        if alike:
            pairs[index] = min(alike, key=lambda blob: float(np.hypot(*(blob.xy - guess))))
            free.remove(pairs[index])
