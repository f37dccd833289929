"""Families in which motion passes on by contact: rows of bodies on the floor, and two that meet in flight.

Masses go with areas; restitution between bodies is `e`; what no contact moves stays where it is.
"""

import math

from vgen.playground.scene import Dice
from vgen.playground.twins.film import Form, Happening
from vgen.playground.twins.motion import fly, rest, slide, spliced, state, time_to_cover, trace, turned
from vgen.playground.twins.paint import pick_paints
from vgen.playground.twins.staging import Spell, Staged, Wrong, actor, on_floor, roller

__all__ = ["clash", "row", "struck_speeds"]


def struck_speeds(u: float, striker: float, struck: float, e: float) -> tuple[float, float]:
    """Speeds after a central blow on a resting body, of radii `striker` and `struck` (Newton's law of impact)."""
    share = striker**2 / (striker**2 + struck**2)
    return u * (share - e * (1 - share)), u * (1 + e) * share


def row(dice: Dice, wrong: Wrong, *, form: Form, count: int, alike: bool, slowing: float = 0.0) -> Staged:
    """The first body of a row runs into the second, that one into the third, and so on.

    Args:
        form: of all of them.
        count: how many.
        alike: whether they have one size; else each is a little smaller than the one before.
        slowing: mu g over what would stop the first body just at the second one; below 1.
    """
    paints, e = pick_paints(dice, count), dice.uniform(0.82, 0.95)
    radius = dice.uniform(0.055, 0.07) if count == 2 else dice.uniform(0.05, 0.053)
    radii = [radius * (1 if alike else 0.92**index) for index in range(count)]
    short = 1.0 if count < 4 else 0.65
    gaps = [dice.uniform(0.2, 0.25) * short, *(dice.uniform(0.07, 0.1) * short for _ in radii[2:])]
    speed = gaps[0] / dice.uniform(13, 16) * (1 + slowing / 2)
    brake = slowing * speed**2 / (2 * gaps[0])
    xs = [radius + dice.uniform(0.02, 0.04)]
    for index, gap in enumerate(gaps):
        xs.append(xs[index] + _reach(radii[index], radii[index + 1], form) + gap)

    onsets, speeds = _blows(speed, gaps, radii, e, brake)
    room = 0.96 - radii[-1] - xs[-1]
    frames = int(onsets[-1] + min(22.0, time_to_cover(room, speeds[-1], brake) - 8))
    sunk = wrong.of("solidity") * 2 * min(radii[-2:])
    onsets, speeds = _blows(speed, [*gaps[:-1], gaps[-1] + sunk], radii, e, brake)
    hits = onsets[1:]
    if early := wrong.of("event_order"):
        onsets[-1] = onsets[-2] - early
    onsets[-1] -= wrong.of("effect_before_cause")
    speeds[-1] *= 1 - wrong.of("missing_effect")

    actors = []
    for index, (onset, size) in enumerate(zip(onsets, radii, strict=True)):
        place = on_floor(xs[index], size)
        path = spliced(rest(-1, place), slide(onset, place, speeds[index], brake))
        if index < len(hits):
            xy, v = state(path, hits[index])
            left, _ = struck_speeds(v[0], size, radii[index + 1], e)
            path = spliced(path, slide(hits[index], xy, left, brake))
        actors.append(roller(form, trace(path, frames), size, paints[index]))
    happenings = [Happening(kind="contact", frame=hit, actors=(index, index + 1)) for index, hit in enumerate(hits)]
    happenings += [Happening(kind="onset", frame=onset, actors=(i,)) for i, onset in enumerate(onsets) if i]
    return Staged(
        actors=tuple(actors),
        happenings=tuple(happenings),
        free=Spell(0, 2, int(hits[0]) - 1),
        culprits=(count - 2, count - 1) if sunk else (count - 1,),
        lasts=math.ceil(hits[-1] - onsets[-1]) if sunk == 0 else 2,
    )


def _reach(one: float, other: float, form: Form) -> float:
    """Distance along the floor between the centres of two that touch; balls of two sizes touch aslant."""
    return 2 * math.sqrt(one * other) if form == "ball" else one + other


def _blows(
    speed: float, gaps: list[float], radii: list[float], e: float, brake: float
) -> tuple[list[float], list[float]]:
    """When each body of a row sets off, in frames, and how fast."""
    onsets, speeds = [0.0], [speed]
    for index, gap in enumerate(gaps):
        span = time_to_cover(gap, speeds[index], brake)
        assert math.isfinite(span), "the row comes to rest before its last body"
        onsets.append(onsets[index] + span)
        speeds.append(struck_speeds(speeds[index] - brake * span, radii[index], radii[index + 1], e)[1])
    return onsets, speeds


def clash(dice: Dice, wrong: Wrong, *, level: bool) -> Staged:
    """Two balls thrown at each other meet in flight and fly apart.

    Args:
        level: whether they meet head-on and have one size; else aslant, and of two sizes.
    """
    paints, e = pick_paints(dice, 2), dice.uniform(0.75, 0.95)
    one = dice.uniform(0.055, 0.065)
    other = one * (1 if level else dice.uniform(0.8, 0.9))
    slant = 0.0 if level else dice.uniform(0.3, 0.6) * dice.pick((-1.0, 1.0))
    meet, frames = dice.uniform(12, 14), 26
    gravity, speed = dice.uniform(0.0013, 0.0016), dice.uniform(0.018, 0.022)
    x, y = dice.uniform(0.47, 0.53), dice.uniform(0.62, 0.68)
    # From the first body to the second along the line of impact; both rise to the same free parabola, g t^2 / 2.
    normal = (math.cos(slant), math.sin(slant))
    climb = gravity * meet * dice.uniform(0.5, 0.7)
    starts, places = [], []
    sunk = wrong.of("solidity") * 2 * min(one, other)
    for way, radius in ((1, one), (-1, other)):
        place = (x - way * normal[0] * radius, y - way * normal[1] * radius)
        v = (way * speed, climb - gravity * meet)
        back = (place[0] - v[0] * meet, place[1] - v[1] * meet - gravity * meet**2 / 2)
        starts.append(fly(0, back, (v[0], climb), gravity))
        places.append(place)
    closing = 2 * speed * normal[0]
    hit = meet + sunk / closing if sunk else meet
    masses = (one**2, other**2)
    impulse = (1 + e) * closing * masses[0] * masses[1] / sum(masses)
    actors, aside = [], wrong.of("momentum")
    way_aside = wrong.dice.pick((-1, 1))
    for index, (path, radius) in enumerate(zip(starts, (one, other), strict=True)):
        xy, v = state(path, hit)
        kick = (-1, 1)[index] * impulse / masses[index]
        v = (v[0] + kick * normal[0], v[1] + kick * normal[1])
        if aside and index == 1:
            v = turned(v, way_aside * 2 * math.asin(aside / 2))
        actors.append(actor("ball", trace(spliced(path, fly(hit, xy, v, gravity)), frames), radius, paints[index]))
    return Staged(
        actors=tuple(actors),
        happenings=(Happening(kind="contact", frame=meet, actors=(0, 1)),),
        free=Spell(0, 2, int(meet) - 2),
        culprits=(1,) if aside else (0, 1),
        lasts=math.ceil(hit - meet) * 2,
        symmetric=e > 0.9,
    )
