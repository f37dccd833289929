"""colour: a thing in full view keeps its colour.

Formula: the largest CIE 1976 difference between the median colours of two windows of up to six frames, next to each
other or four frames apart, within one unbroken view; less a just noticeable difference (2.3) and three standard errors;
over 20. Of a thing that touches another, or stands on a ground, the part of the change towards the colours of those
is left out, and a change to their hue whatever the light: it may take up paint. The whole picture's changes of light
are taken out by perception.
Source: colour constancy of objects (IntPhys2, arXiv:2506.09849, condition immutability); just noticeable
difference: Mahy, Van Eycken and Oosterlinck 1994.
Strength: 1 is a change of 20 Delta-E. A change out of sight is `identity`.
Abstains where no thing is wholly seen for six frames, or where colours scatter so that 10 Delta-E could not be told.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from vgen.judge.observation import Floats, Observation, Sight, Track
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.lives import (
    TOUCH_D,
    TOUCH_FRAMES,
    between_frames_px,
    bodies,
    in_touch,
    level_px,
    successions,
    whole_runs,
)
from vgen.judge.rules.looks import JND, SAME_LAB, Look, delta_e, look, main_colours, mean_lab

__all__ = ["RULE"]

WINDOW = 6  # frames on either side
LEAST = 3
SPREAD = (0, 4)  # frames between the two sides: a change may take a moment
CLEAR = 10.0  # Delta-E
UNDERFOOT_D = 0.5  # diameters below a thing that belong to where it stands: a ground is seen from above
EXCUSED = 0.25  # share of a change that may be left of one that paint explains
CHROMATIC = 10.0  # CIE L*a*b* chroma from which a hue is known ...
ONE_HUE = np.pi / 6  # ... and radians by which hues of one paint may differ
FULL = 20.0  # Delta-E, a strength of 1
Change = tuple[float, float, float, int, int]  # strength, value, sigma, last frame before, first frame after


def measure(observation: Observation) -> Measured:
    found, noisy = [], False
    for track in bodies(observation):
        changes = _changes(observation, track)
        told = [change for change in changes if 3 * change[2] <= CLEAR]
        noisy |= bool(changes) and not told
        if told:
            found.append(_said(max(told), (track.id,)))
    for old, new in successions(observation):  # the tracker gave up on what changed its looks
        before, after = (look(track, np.flatnonzero(track.seen_F)) for track in (old, new))
        if _shown_as_one(observation, old, new):
            continue
        if before is not None and after is not None:
            last, first = int(np.flatnonzero(old.seen_F)[-1]), int(np.flatnonzero(new.seen_F)[0])
            found.append(_said(_change(before, after, min(last, first), max(last, first)), (old.id, new.id)))
    if found:
        return tuple(found)
    if noisy:
        return Abstention(status="undecidable", reason="colours scatter by more than 10 Delta-E")
    return Abstention(status="not_applicable", reason="no thing is wholly seen for six frames")


def _sides(track: Track) -> Iterator[tuple[Look, Look, int, int]]:
    """Looks before and after every moment of every unbroken view, with the frames next to it."""
    for start, end in whole_runs(track, least=2 * LEAST, margin=2):
        splits = range(start + LEAST, end - LEAST + 1)
        before = {split: look(track, np.arange(max(start, split - WINDOW), split)) for split in splits}
        after = {split: look(track, np.arange(split, min(end, split + WINDOW))) for split in splits}
        for gap in SPREAD:
            for split in range(start + LEAST, end - LEAST - gap + 1):
                one, other = before[split], after[split + gap]
                if one is not None and other is not None:
                    yield one, other, split - 1, split + gap


def _changes(observation: Observation, track: Track) -> list[Change]:
    """All changes of one thing, what it takes on from what it touches taken off.

    Whether paint that came on in that way stays is for `consequence_persists`, so the way back counts as little.
    """
    changes, bare = [], list[Floats]()
    for before, after, last, first in _sides(track):
        whole = change = _change(before, after, last, first)
        if whole[0] > 0:  # else there is nothing to excuse
            change = _change(before, after, last, first, [*_paints(observation, track, last, first), *bare])
        changes.append(change)
        if whole[0] > CLEAR and change[0] < EXCUSED * whole[0]:
            bare.append(before.lab_3)
    return changes


def _paints(observation: Observation, track: Track, last: int, first: int) -> list[Floats]:
    """Colours of all that it touches between two frames, with two more on either side: bodies, and its ground."""
    around = slice(max(0, last - TOUCH_FRAMES), first + TOUCH_FRAMES + 1)
    paints = [
        mean_lab(other)
        for other in bodies(observation)
        if other.id != track.id and (observation.gap(track.id, other.id)[around] < TOUCH_D * track.diameter_px).any()
    ]
    falls_px = between_frames_px(track, around)
    stands_N = around.start + np.flatnonzero(track.surface_px_F[around] <= level_px(track) + falls_px)
    if not stands_N.size:
        return paints
    # The ground that it was on from the first has no paint to give.
    begin = int(np.flatnonzero(track.seen_F)[0])
    known = _around(observation, track, np.arange(begin, begin + WINDOW), 0.0)
    now = _around(observation, track, stands_N, falls_px)
    return paints + [lab for lab in now if all(np.linalg.norm(lab - old) > SAME_LAB for old in known)]


def _around(observation: Observation, track: Track, frames_N: npt.NDArray[np.intp], falls_px: float) -> list[Floats]:
    """Main colours of the background where a thing is in each of some frames, and a little farther out, most below."""
    box_N4 = track.box_F4[frames_N[frames_N < len(track.box_F4)]]
    if observation.background_YX3 is None:
        return []
    reach = TOUCH_D * track.diameter_px
    below = UNDERFOOT_D * track.diameter_px + falls_px
    found: list[Floats] = []
    for box_4 in box_N4[np.isfinite(box_N4).all(1)]:
        left, top = (box_4[:2] - reach).clip(0).astype(int)
        right, bottom = (box_4[2:] + (reach, below) + 1).astype(int).clip(0)
        found += main_colours(observation.background_YX3[top:bottom, left:right])
    return found


def _shown_as_one(observation: Observation, old: Track, new: Track) -> bool:
    """Whether the tracker lost a thing that touched another: what it found next may be the other, or both."""
    last = int(np.flatnonzero(old.sight_F <= Sight.PARTLY)[-1])
    first = int(np.flatnonzero(new.sight_F <= Sight.PARTLY)[0])
    return in_touch(observation, old, last) or in_touch(observation, new, first)


def _change(before: Look, after: Look, last: int, first: int, paints: Sequence[Floats] = ()) -> Change:
    """A change, less what lies on the way from the colour before to one of the paints, or all if it has their hue."""
    value, sigma = delta_e(before, after)
    for paint in paints:
        if _one_hue(paint, after.lab_3):
            value = 0.0
        way_3, change_3 = paint - before.lab_3, after.lab_3 - before.lab_3
        share = float(np.clip(change_3 @ way_3 / max(float(way_3 @ way_3), 1e-9), 0.0, 1.0))
        value = min(value, float(np.linalg.norm(change_3 - share * way_3)))
    return max(0.0, value - JND - 3 * sigma), value, sigma, last, first


def _one_hue(one_3: Floats, other_3: Floats) -> bool:
    """Whether both may be one paint: other light, as on a ground, changes lightness and saturation, hardly the hue."""
    one, other = complex(*one_3[1:]), complex(*other_3[1:])
    return min(abs(one), abs(other)) > CHROMATIC and bool(abs(np.angle(one * other.conjugate())) < ONE_HUE)


def _said(change: Change, objects: tuple[int, ...]) -> Measurement:
    strength, value, sigma, last, first = change
    return Measurement(
        strength=strength / FULL,
        frames=(last, first),
        objects=objects,
        quantity="lasting change of colour, Delta-E",
        value=value,
        expected=0.0,
        sigma=sigma,
        text=f"thing {objects[0]} changes its colour in full view between frames {last} and {first}, by {value:.1f} "
        "Delta-E"
        if strength
        else f"thing {objects[0]} keeps its colour",
    )


RULE = Rule(
    name="colour",
    group="permanence",
    statement="A thing in full view keeps its colour.",
    measure=measure,
    motion=False,
)
