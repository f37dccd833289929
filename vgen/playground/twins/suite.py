"""Takes by name: a family and a seed make a possible film; with a law and a severity also its impossible twin.

Everything is keyed: the same names give the same films on every machine, up to the last digits, which are rounded off.
Calibration uses seeds from 0 on, the final run on test families those from `TEST_FROM_SEED` on.
"""

import zlib
from dataclasses import fields, replace

import numpy as np
import numpy.typing as npt

from vgen.errors import InputError, nearest
from vgen.playground.scene import NUM_PALETTES, Dice
from vgen.playground.twins.breaches import BREACHES
from vgen.playground.twins.families import FAMILIES, LAWS
from vgen.playground.twins.film import Actor, Film, Happening, Take, Truth
from vgen.playground.twins.staging import Staged, Wrong
from vgen.playground.twins.swaps import SWAPS, swapped

__all__ = ["TEST_FROM_SEED", "first_difference", "quadruplet", "take", "twin"]

TEST_FROM_SEED = 110_000_000  # those from 50 million on were looked at, those from 80 million on measured before
_FPS = (12.0, 16.0, 20.0, 24.0)
_DECIMALS = 9  # what libraries of mathematics disagree about lies behind them


def take(family: str, seed: int) -> Take:
    """The possible film of a family and a seed.

    Raises:
        InputError: for an unknown family or a seed outside 0..2^63-1.
    """
    return _possible(family, seed, _staged(family, seed, Wrong(None, 0.0, _dice(seed, family))))


def twin(law: str, seed: int, severity: float, family: str | None = None) -> tuple[Take, Take]:
    """A possible take and one that is the same up to the frame from which on it breaks one law.

    Args:
        law: one of `LAWS`.
        seed: names the scene.
        severity: above 0, at most 1; what it means stands in `SEVERITY`.
        family: one that can break the law; taken in turn, by the seed, where None.

    Raises:
        InputError: for anything else.
    """
    family, wrong = _asked(law, seed, severity, family)
    before = _staged(family, seed, Wrong(None, 0.0, _dice(seed, family)))
    possible = _possible(family, seed, before)
    if law in SWAPS:
        after = swapped(before, SWAPS[law](before, wrong))
    elif law in BREACHES:
        after = BREACHES[law](before, wrong)
    else:
        after = _staged(family, seed, wrong)
    return possible, _impossible(possible, after, law, severity)


def quadruplet(law: str, seed: int, severity: float, family: str | None = None) -> tuple[Take, Take, Take, Take]:
    """Two possible takes that differ from their start, and two impossible ones that pass from one to the other while
    all that differs is hidden, so that no single frame tells them apart.

    Raises:
        InputError: as `twin`, and for a law that no occluder can hide the breach of.
    """
    if law not in SWAPS:
        raise InputError(f"no quadruplets for law '{law}'; {nearest(law, SWAPS)}")
    family, wrong = _asked(law, seed, severity, family)
    one = _staged(family, seed, Wrong(None, 0.0, _dice(seed, family)))
    other = SWAPS[law](one, wrong)
    takes = _possible(family, seed, one), _possible(family, seed, other)
    # The way back: those that differ are the same ones; where the first scene has none of them, it shows none.
    there = swapped(one, other)
    back = swapped(other, replace(one, culprits=other.culprits))
    return (
        *takes,
        _impossible(takes[0], there, law, severity),
        _impossible(takes[1], back, law, severity),
    )


def first_difference(one: Film, other: Film) -> int | None:
    """First frame in which two films of one length show something else; None where they never do."""
    differs_F = np.zeros(one.frames, dtype=np.bool_)
    for index in range(max(len(one.actors), len(other.actors))):
        if index >= min(len(one.actors), len(other.actors)):
            extra = (one if index < len(one.actors) else other).actors[index]
            differs_F |= extra.shown_F > 0
            continue
        a, b = one.actors[index], other.actors[index]
        shown_F = (a.shown_F > 0) | (b.shown_F > 0)
        differs_F |= a.shown_F != b.shown_F
        if (a.form, a.depth) != (b.form, b.depth):
            differs_F |= shown_F
        for name in ("xy_F2", "angle_F", "radius_F", "rgb_F3", "stretch_F2", "shadow_xy_F2"):
            if (was := getattr(a, name)) is not None:
                change_F = (was != getattr(b, name)).reshape(one.frames, -1).any(axis=1)
                differs_F |= change_F & shown_F
    for fixture, changed in zip(one.fixtures, other.fixtures, strict=True):
        if fixture.corners_P2.ndim == 3:
            differs_F |= (fixture.corners_P2 != changed.corners_P2).any(axis=(1, 2))
    frames = np.flatnonzero(differs_F)
    return int(frames[0]) if frames.size else None


def _asked(law: str, seed: int, severity: float, family: str | None) -> tuple[str, Wrong]:
    if law not in LAWS:
        raise InputError(f"unknown law '{law}'; {nearest(law, LAWS)}")
    if not 0 < severity <= 1:
        raise InputError(f"severity {severity} is out of range; possible: above 0, at most 1")
    if family is None:
        family = LAWS[law][seed % len(LAWS[law])]
    elif family not in LAWS[law]:
        raise InputError(f"family '{family}' cannot break '{law}'; {nearest(family, LAWS[law])}")
    return family, Wrong(law, severity, _dice(seed, f"{family} {law}"))


def _dice(seed: int, label: str) -> Dice:
    """Dice of a seed for one purpose."""
    if not 0 <= seed < 2**63:
        raise InputError(f"seed {seed} is out of range; possible: 0 to 2^63 - 1")
    return Dice(zlib.crc32(label.encode()) << 64 | seed)


def _staged(family: str, seed: int, wrong: Wrong) -> Staged:
    if family not in FAMILIES:
        raise InputError(f"unknown family '{family}'; {nearest(family, FAMILIES)}")
    return FAMILIES[family].stage(_dice(seed, family), wrong)


def _possible(family: str, seed: int, staged: Staged) -> Take:
    truth = Truth(family=family, seed=seed, happenings=_in_film(staged), symmetric=staged.symmetric)
    return Take(film=_film(family, seed, staged), truth=truth)


def _impossible(possible: Take, staged: Staged, law: str, severity: float) -> Take:
    truth = possible.truth
    film = _film(truth.family, truth.seed, staged)
    first = first_difference(possible.film, film)
    assert first is not None, f"{truth.family} {truth.seed} does not break {law} at severity {severity}"
    last = film.frames - 1 if staged.lasts is None else min(film.frames - 1, first + staged.lasts)
    happenings = _in_film(staged)
    if kind := {"vanish": "vanish", "spawn": "appear"}.get(law):
        happenings = (*happenings, Happening(kind=kind, frame=first, actors=staged.culprits))
    return Take(
        film=film,
        truth=Truth(
            family=truth.family,
            seed=truth.seed,
            law=law,
            severity=severity,
            frames=(first, last),
            actors=staged.culprits,
            happenings=happenings,
        ),
    )


def _in_film(staged: Staged) -> tuple[Happening, ...]:
    happenings = (h for h in staged.happenings if 0 <= h.frame <= staged.frames - 1)
    return tuple(sorted(happenings, key=lambda happening: happening.frame))


def _film(family: str, seed: int, staged: Staged) -> Film:
    """The staged scene at a frame rate, before a palette, half of them in a mirror."""
    dice = _dice(seed, f"{family} film")
    fps, palette, flip = dice.pick(_FPS), dice.pick(tuple(range(NUM_PALETTES))), dice.pick((False, True))
    return Film(
        fps=fps,
        palette=palette,
        actors=tuple(_finished(actor, flip) for actor in staged.actors),
        fixtures=tuple(replace(fixture, corners_P2=_flipped(fixture.corners_P2, flip)) for fixture in staged.fixtures),
    )


def _finished(actor: Actor, flip: bool) -> Actor:
    arrays = {f.name: getattr(actor, f.name) for f in fields(actor) if isinstance(getattr(actor, f.name), np.ndarray)}
    arrays["xy_F2"] = _flipped(actor.xy_F2, flip)
    arrays["angle_F"] = -actor.angle_F if flip else actor.angle_F
    if actor.shadow_xy_F2 is not None:
        arrays["shadow_xy_F2"] = _flipped(actor.shadow_xy_F2, flip)
    return replace(actor, **{name: np.round(array, _DECIMALS) for name, array in arrays.items()})


def _flipped(points: npt.NDArray[np.float64], flip: bool) -> npt.NDArray[np.float64]:
    """Points in a mirror, where asked for; the last axis is x and something else."""
    points = points.copy()
    if flip:
        points[..., 0] = 1 - points[..., 0]
    return np.round(points, _DECIMALS)
