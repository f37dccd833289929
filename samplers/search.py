"""Search while sampling: make a clip anew from before what is wrong in it, with other noise, and keep the best.

A piece is what is finished between two moments at which no frame is under way: a block of a causal sampler, a clip of a
story, the whole clip of ordinary diffusion. A verifier looks at the clip behind each piece, but clips are compared when
they are whole, since a prefix tells little of what becomes of it. What is at fault has a first frame: the best clip so
far is made again from the piece that holds it, from one piece earlier each time that this does not help, and given up
as soon as it looks no better than what there is. The noise alone differs between tries, and a clip that is never found
at fault is what the rollout makes without a search (tree of frames with verifiers: Liu et al. 2025, Video-T1,
arXiv:2503.18942, without its reward models and stage prompts).
"""

import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from vgen.samplers.noise import NoiseSource
from vgen.samplers.protocols import NoisePolicy
from vgen.samplers.rollout import Progress, Rollout, RolloutState
from vgen.samplers.steps import Step

__all__ = ["Attempt", "Finding", "Piece", "RedrawnNoise", "Verifier", "redone", "redraw", "replayed"]

M = TypeVar("M")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a verifier thinks of a clip so far.

    Args:
        score: larger is better; compares clips.
        passed: whether nothing is at fault.
        since: the first latent frame at fault; what was finished before it may stay.
        evidence: what was found at fault, as plain JSON.
    """

    score: float
    passed: bool
    since: int = 0
    evidence: tuple[Mapping[str, Any], ...] = ()

    @property
    def rank(self) -> tuple[float, int]:
        """Larger is better; a law that is wholly broken leaves no score, and then fewer faults are better."""
        return self.score, -len(self.evidence)


class Verifier(Protocol[M]):
    """Looks at clean latents. What it remembers of the past is a value, so that a try that failed leaves no trace."""

    def begin(self) -> M:
        """What it remembers before the first frame."""
        ...

    def __call__(self, past: M, latents_BCTHW: Tensor, frames: range) -> tuple[Finding, M]:
        """What it thinks of the clip once these frames follow the past, and what it then remembers."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A piece that was made and judged.

    Args:
        frames: absolute latent indices; empty where only frames before the clip were finished.
        draw: which noise it was made from; 0 is the rollout's own.
        step: where the rollout stands behind it.
        given: whether nothing of it was made by the model, so that other noise would not change it.
        finding: the verifier's, on the clip up to its end.
    """

    frames: range
    draw: int
    step: int
    given: bool
    finding: Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A piece of the clip that stays.

    Args:
        frames, draw, given: as of `Attempt`.
        latents_BCTHW: clean.
        state: where the rollout stands behind it; not written to any more.
    """

    frames: range
    draw: int
    given: bool
    latents_BCTHW: Tensor | None
    state: RolloutState


@dataclass(frozen=True, slots=True)
class RedrawnNoise:
    """Other noise for the same frames. What is added to finished frames (`step` below 0) stays that of `first`, so that
    a context can be made again from the frames alone.
    """

    first: NoisePolicy
    other: NoisePolicy

    def initial(self, frame: int, shape: tuple[int, int, int], before: Tensor | None) -> Tensor:
        return self.other.initial(frame, shape, before)

    def fresh(self, frame: int, step: int, shape: tuple[int, int, int]) -> Tensor:
        return (self.first if step < 0 else self.other).fresh(frame, step, shape)

    def again(self, x0_CTHW: Tensor, frames: range, step: int) -> Tensor:
        return self.other.again(x0_CTHW, frames, step)


def redraw(source: NoiseSource, draw: int) -> NoiseSource:
    """The source of the noise of a draw; the same one for draw 0."""
    if draw == 0:
        return source
    key = hashlib.sha256(f"{source.seed}/draw/{draw}".encode()).digest()
    return NoiseSource(int.from_bytes(key[:8]) >> 1)


def redone(
    rollout: Rollout[Any],
    state: RolloutState,
    verifier: Verifier[M],
    *,
    noise_of: Callable[[int], NoisePolicy],
    redo: int,
    known: Iterable[Attempt] = (),
) -> Iterator[Progress | Attempt | Piece]:
    """Makes a clip, and where it does not pass makes it anew from before its first fault; the best clip stays.

    All together it takes at most `1 + redo` times the steps of the clip. It holds the latents, and where the rollout
    stood behind each piece, of the best clip and of the try under way.

    Args:
        rollout, state: as `Rollout.run`, of a rollout that ends; `state` is left as it was.
        verifier: judges the clip behind each new piece.
        noise_of: the noise policy of a draw; that of draw 0 is the rollout's own.
        redo: how many clips' worth of steps the search may take besides the first clip.
        known: what a search of the same that was cut off has yielded; it goes on from there as it would have.

    Yields:
        each step of each try (without latents), each judged piece, and in the end the pieces of the clip that stays.
    """
    total = rollout.total
    assert total is not None, "a clip without end is never whole"
    search = _Search(
        rollout=rollout,
        state=state,
        verifier=verifier,
        noise_of=noise_of,
        total=total,
        left=(1 + redo) * (total - state.step),
        known=deque(known),
    )
    yield from search.run()


def replayed(
    rollout: Rollout[Any], state: RolloutState, *, noise_of: Callable[[int], NoisePolicy], draws: Sequence[int]
) -> Iterator[Progress | Piece]:
    """Makes the pieces again that a search settled on, from the draws that it took; draw 0 where they end."""
    place = state.fork()
    for draw in itertools.chain(draws, itertools.repeat(0)):
        piece = yield from _made(rollout, place, noise_of(draw), draw)
        if piece is None:
            return
        yield piece
        place = piece.state.fork()


@dataclass(slots=True)
class _Judged(Generic[M]):
    """A piece that was judged; itself and what the verifier remembers behind it are None where a search that was cut
    off made it, until somebody goes on from there.
    """

    attempt: Attempt
    made: tuple[Piece, M] | None = None


@dataclass(slots=True, kw_only=True)
class _Search(Generic[M]):
    rollout: Rollout[Any]
    state: RolloutState
    verifier: Verifier[M]
    noise_of: Callable[[int], NoisePolicy]
    total: int
    left: int  # steps that may still be taken
    known: deque[Attempt]

    def run(self) -> Iterator[Progress | Attempt | Piece]:
        best, earlier = (yield from self._tried([], 0, None)), 0
        for draw in itertools.count(1):
            kept = self._kept(best, earlier)
            if kept is None:
                break
            rival = yield from self._tried(best[:kept], draw, best)
            best, earlier = (rival, 0) if _rank(rival) > _rank(best) else (best, earlier + 1)
        yield from self._made_up_to(best)
        for judged in best:
            assert judged.made is not None
            yield judged.made[0]

    def _tried(
        self, path: list[_Judged[M]], draw: int, best: list[_Judged[M]] | None
    ) -> Generator[Progress | Attempt, None, list[_Judged[M]]]:
        """Goes on from a path with the noise of a draw, until the clip is whole or looks no better than the best."""
        while self._step(path) < self.total:
            path = [*path, (yield from self._next(path, draw))]
            if best is not None and _rank(path) <= _rank(best):
                break
        return path

    def _kept(self, best: list[_Judged[M]], earlier: int) -> int | None:
        """How many pieces of the best clip the next try keeps: those before its first fault, and `earlier` fewer; more
        where less is left to spend. None where nothing is at fault, can be changed, or can be paid for.
        """
        given = next((i for i, judged in enumerate(best) if not judged.attempt.given), len(best))
        if given == len(best) or best[-1].attempt.finding.passed:
            return None
        fault = best[-1].attempt.finding.since
        first = max((i for i, judged in enumerate(best) if judged.attempt.frames.start <= fault), default=0)
        kept = range(max(given, first - earlier), max(given, first) + 1)
        return next((count for count in kept if self.total - self._step(best[:count]) <= self.left), None)

    def _next(self, path: list[_Judged[M]], draw: int) -> Generator[Progress | Attempt, None, _Judged[M]]:
        """The piece behind a path."""
        known = self.known.popleft() if self.known else None
        if known is not None and known.draw == draw and self._step(path) < known.step <= self.total:
            judged = _Judged[M](known)
        else:
            self.known.clear()
            yield from self._made_up_to(path)
            judged = yield from self._judged(path, draw)
            yield judged.attempt
        self.left -= judged.attempt.step - self._step(path)
        return judged

    def _judged(self, path: list[_Judged[M]], draw: int) -> Generator[Progress, None, _Judged[M]]:
        """Makes the piece behind a path, all of which is made."""
        state, past = self.state, self.verifier.begin()
        if path:
            assert path[-1].made is not None
            state, past = path[-1].made[0].state, path[-1].made[1]
        piece = yield from _made(self.rollout, state.fork(), self.noise_of(draw), draw)
        assert piece is not None, "the clip is not whole yet"
        finding, memory = Finding(score=0.0, passed=True), past
        if piece.latents_BCTHW is not None:
            finding, memory = self.verifier(past, piece.latents_BCTHW, piece.frames)
        attempt = Attempt(frames=piece.frames, draw=draw, step=piece.state.step, given=piece.given, finding=finding)
        return _Judged(attempt, (piece, memory))

    def _made_up_to(self, path: list[_Judged[M]]) -> Iterator[Progress]:
        """Makes again what a search that was cut off had made of a path."""
        for i, judged in enumerate(path):
            if judged.made is None:
                judged.made = (yield from self._judged(path[:i], judged.attempt.draw)).made

    def _step(self, path: list[_Judged[M]]) -> int:
        """Where the rollout stands behind a path."""
        return path[-1].attempt.step if path else self.state.step


def _rank(path: list[_Judged[Any]]) -> tuple[bool, float, int, int]:
    """Larger is better: what passes, then what is liked, then what has fewer faults, then what is sound for longer."""
    finding = path[-1].attempt.finding
    return finding.passed, *finding.rank, finding.since


def _made(
    rollout: Rollout[Any], state: RolloutState, noise: NoisePolicy, draw: int
) -> Generator[Progress, None, Piece | None]:
    """Runs `state` to the end of its piece, which it returns; None where the rollout has ended."""
    front, latents, given = state.front, [], True
    for progress in replace(rollout, noise=noise).run(state):
        given = given and isinstance(progress.move, Step) and not progress.move.updates
        if progress.latents_BCTHW is not None:
            latents.append(progress.latents_BCTHW)
        yield replace(progress, latents_BCTHW=None)
        if _at_rest(state, front) or state.step == progress.total:
            clean = torch.cat(latents, dim=2) if latents else None
            count = 0 if clean is None else clean.shape[2]
            frames = range(state.front - count, state.front)
            return Piece(frames=frames, draw=draw, given=given, latents_BCTHW=clean, state=state)
    return None


def _at_rest(state: RolloutState, front: int) -> bool:
    """Whether something was finished and nothing is under way."""
    return state.front > front and all(frame < state.front for frame in state.latents)
