"""Schedules with a clip for each, drawn over all their knobs, for tests of what every schedule owes."""

from dataclasses import dataclass

from hypothesis import strategies as st

from vgen.samplers import Capped, FrameSchedule, Pyramid, Queue, Repeated, Trapezoid

__all__ = ["CASES", "Case", "pyramids"]


@dataclass(frozen=True)
class Case:
    """A schedule, and a clip for it."""

    schedule: FrameSchedule
    frames: int
    known: int


@st.composite
def pyramids(draw: st.DrawFn, *, clips: bool = False) -> Case:
    steps, block = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    pyramid = Pyramid(
        num_steps=steps,
        lag=draw(st.integers(0, steps)),
        block=block,
        clip=block * draw(st.integers(1, 3)) if clips else None,
        ahead=draw(st.integers(0, 9)),
    )
    frames = block * draw(st.integers(1, 6))
    return Case(pyramid, frames, draw(st.integers(0, frames)))


@st.composite
def queues(draw: st.DrawFn) -> Case:
    queue = Queue(
        num_steps=draw(st.integers(1, 8)),
        window=draw(st.integers(1, 6)),
        lookahead=draw(st.booleans()),
        primer=draw(st.booleans()),
    )
    frames = draw(st.integers(1, 12))
    return Case(queue, frames, draw(st.integers(0, frames)))


@st.composite
def ramps(draw: st.DrawFn) -> Case:
    steps, frames = draw(st.integers(1, 6)), draw(st.integers(1, 8))
    caps = tuple(draw(st.lists(st.integers(0, steps), max_size=4)))
    return Case(Capped(num_steps=steps, caps=caps), frames, draw(st.integers(1 if caps else 0, frames)))


@st.composite
def trapezoids(draw: st.DrawFn) -> Case:
    steps, frames = draw(st.integers(1, 6)), draw(st.integers(1, 8))
    return Case(Trapezoid(num_steps=steps, lag=draw(st.integers(0, steps))), frames, draw(st.integers(0, frames)))


@st.composite
def repetitions(draw: st.DrawFn) -> Case:
    frames = draw(st.integers(1, 4))
    repeated = Repeated(num_steps=draw(st.integers(1, 7)), passes=draw(st.integers(1, 4)), fast=draw(st.booleans()))
    return Case(repeated, frames, draw(st.integers(0, frames)))


CASES = {
    "pyramid": pyramids(),
    "pyramid in clips": pyramids(clips=True),
    "queue": queues(),
    "capped": ramps(),
    "trapezoid": trapezoids(),
    "repeated": repetitions(),
}
