"""Bodies that come out of one another are told from bodies that come from nowhere, in either direction of time."""

from dataclasses import replace

import numpy as np
import pytest

from tests.judge.sights import track
from vgen.judge.observation import Sight, Track
from vgen.judge.perception.parting import find_joinings, find_partings, with_partings

FRAMES, PARTED = 24, 10
HALF = 6 / np.sqrt(2)  # radius of one of two pieces of a disc of radius 6


def shown(index: int, start: int, end: int, *, x: float, step: float, radius: float) -> Track:
    """A disc that shows from one frame to another and goes to the side."""
    xy_F2 = np.full((FRAMES, 2), np.nan)
    time_N = np.arange(start, end)
    xy_F2[start:end] = np.stack([x + step * (time_N - start), np.full(len(time_N), 40.0)], axis=1)
    return track(index, xy_F2, radius=radius)


def broken(*, aside: float = 0.0) -> tuple[Track, ...]:
    """A disc that becomes two; `aside` puts both pieces elsewhere."""
    return (
        shown(0, 0, PARTED, x=50, step=0, radius=6),
        shown(1, PARTED, FRAMES, x=53 + aside, step=1.5, radius=HALF),
        shown(2, PARTED, FRAMES, x=47 + aside, step=-1.5, radius=HALF),
    )


def turned(tracks: tuple[Track, ...]) -> tuple[Track, ...]:
    """The same backwards in time."""
    return tuple(track(one.id, one.xy_F2[::-1], radius=one.diameter_px / 2) for one in tracks)


def test_two_halves_came_out_of_the_whole() -> None:
    (parting,) = find_partings(broken())
    assert (parting.frame, parting.whole, parting.pieces) == (PARTED, 0, (1, 2))
    assert parting.share == pytest.approx(1)
    assert not find_joinings(broken())


def test_backwards_they_join() -> None:
    (joining,) = find_joinings(turned(broken()))
    assert (joining.frame, joining.whole, set(joining.pieces)) == (FRAMES - 1 - PARTED, 0, {1, 2})
    assert not find_partings(turned(broken()))


def test_pieces_were_hidden_in_the_whole_and_it_is_in_them() -> None:
    tracks, events = with_partings(broken())
    assert [(event.kind, event.frame, event.tracks) for event in events] == [("split", PARTED - 0.5, (0, 1, 2))]
    assert not any((one.sight_F == Sight.LOST).any() for one in tracks)
    assert (tracks[1].sight_F[:PARTED] == Sight.OCCLUDED).all() and (tracks[0].sight_F[PARTED:] == Sight.OCCLUDED).all()


def test_a_body_that_goes_on_smaller_lost_what_came_out() -> None:
    whole = shown(0, 0, FRAMES, x=50, step=0, radius=6)
    area_F = whole.area_px_F.copy()
    area_F[PARTED:] /= 2
    smaller = Track(**{name: getattr(whole, name) for name in Track.__slots__ if name != "area_px_F"}, area_px_F=area_F)
    piece = shown(1, PARTED, FRAMES, x=53, step=1.5, radius=HALF)
    assert [parting.pieces for parting in find_partings((smaller, piece))] == [(1,)]
    assert not find_partings((whole, piece))  # it lost nothing: the other one came from nowhere


@pytest.mark.parametrize("tracks", [broken(aside=40), broken()[:2], ()])
def test_what_shows_elsewhere_or_alone_is_no_piece(tracks: tuple[Track, ...]) -> None:
    same, events = with_partings(tracks)
    assert not events
    assert all(np.array_equal(one.sight_F, other.sight_F) for one, other in zip(same, tracks, strict=True))


def stood(*, alike: bool) -> tuple[Track, ...]:
    """Two discs that show as one until the lower one goes aside."""
    lower, upper = (
        shown(0, 0, FRAMES, x=50, step=0, radius=6),
        shown(1, PARTED, FRAMES, x=53, step=0, radius=HALF),
    )
    area_F = lower.area_px_F.copy()
    area_F[PARTED:] /= 2
    lab_F3 = upper.lab_F3 + (0 if alike else np.array([0, 40, 0]))
    return replace(lower, area_px_F=area_F), replace(upper, lab_F3=lab_F3)


@pytest.mark.parametrize("alike", [True, False])
def test_what_stood_together_does_not_show_as_it_is_until_it_parts(alike: bool) -> None:
    (whole, _), events = with_partings(stood(alike=alike))
    assert [event.kind for event in events] == ["split"]
    assert (whole.sight_F[:PARTED] == Sight.SEEN).all() == alike
    assert (whole.sight_F[PARTED:] == Sight.SEEN).all()
