"""Trains TRAVL's critic on the playground's twins: the same scene possible, and with one law broken.

Its seeds lie apart from those that the judge is calibrated and tested on, and from those that it is checked on; its
scenes do not, so figures on twins of any seed are figures on what it was trained for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from vgen.errors import InputError, nearest
from vgen.evaluate.critics.travl import Travl
from vgen.playground.twins.draw import draw
from vgen.playground.twins.families import LAWS
from vgen.playground.twins.film import Film
from vgen.playground.twins.suite import twin
from vgen.training.loop import named_parameters
from vgen.training.optim import Optimizer

__all__ = [
    "HELD_OUT_FROM_SEED",
    "MOST_PAIRS",
    "RUNS",
    "TRAIN_FROM_SEED",
    "Drawn",
    "TravlStep",
    "Twins",
    "check_laws",
    "drawn",
    "first_seed",
    "orders",
    "train_travl",
]

TRAIN_FROM_SEED = 20_000_000  # calibration counts up from 0, its tests from 110 million
RUNS, MOST_PAIRS = 200, 100_000  # runs that draw their scenes apart, and pairs of each
HELD_OUT_FROM_SEED = TRAIN_FROM_SEED + RUNS * MOST_PAIRS
SIDE_PX = 64
SEVERITY = 1.0

Seen = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Twins:
    """What the model takes of a possible clip and of its twin that breaks a law."""

    law: str
    possible: Seen
    broken: Seen


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """A pair that has been drawn, the `done`th of `total`."""

    stage: str
    done: int
    total: int
    twins: Twins


@dataclass(frozen=True, slots=True, kw_only=True)
class TravlStep:
    """One step of training.

    Args:
        done, total: steps, counted from 1.
        loss: binary cross-entropy over the pairs of the step.
        ordered: share of these pairs whose broken clip had the larger logit.
    """

    done: int
    total: int
    loss: float
    ordered: float
    stage: str = "train"


def check_laws(laws: Sequence[str]) -> None:
    """Raises InputError unless these are laws that twins can break, at least one."""
    if not laws:
        raise InputError(f"no law was named; possible: {', '.join(LAWS)}")
    if unknown := [law for law in laws if law not in LAWS]:
        raise InputError(f"unknown law '{unknown[0]}'; {nearest(unknown[0], LAWS)}")


def first_seed(run: int) -> int:
    """Of the scenes of a run, which shares none with another one.

    Raises:
        InputError: there is no such run.
    """
    if not 0 <= run < RUNS:
        raise InputError(f"seed {run} is out of range; possible: 0 to {RUNS - 1}")
    return TRAIN_FROM_SEED + run * MOST_PAIRS


def drawn(critic: Travl, *, pairs: int, first: int, laws: Sequence[str], stage: str = "draw") -> Iterator[Drawn]:
    """Draws pairs of twins, the laws in turn; each law sees every seed, and so all its families of scenes.

    Args:
        critic: how they are seen.
        pairs: how many.
        first: the first of their seeds.
        laws: which ones are broken.
        stage: what the events are called.

    Raises:
        InputError: an unknown law, or a number of pairs that is out of range.
    """
    check_laws(laws)
    if not 1 <= pairs <= MOST_PAIRS:
        raise InputError(f"{pairs} pairs; possible: 1 to {MOST_PAIRS}")
    for place in range(pairs):
        law = laws[place % len(laws)]
        possible, broken = twin(law, first + place // len(laws), SEVERITY)
        twins = Twins(law=law, possible=_seen(critic, possible.film), broken=_seen(critic, broken.film))
        yield Drawn(stage=stage, done=place + 1, total=pairs, twins=twins)


def train_travl(
    critic: Travl, twins: Sequence[Twins], *, steps: int, batch: int = 4, lr: float = 3e-3
) -> Iterator[TravlStep]:
    """Trains a critic in place; stop iterating to stop, and `save_travl` to keep it.

    Args:
        critic: from `new_travl` or `open_travl`.
        twins: as it sees them, at least one pair.
        steps: how often some of them are looked at.
        batch: pairs of a step.
        lr: of AdamW; Muon's is ten times as large.
    """
    assert twins and batch >= 1, f"{len(twins)} pairs in batches of {batch}"
    named = named_parameters({"model": critic.model})
    optimizer = Optimizer(named, by_adam=("head.2.weight",), matrix_lr=10 * lr, lr=lr, weight_decay=0.0)
    for step in range(steps):
        # logits of the possible and the broken clip of each pair
        shown = [twins[(step * batch + i) % len(twins)] for i in range(batch)]
        logit_B2 = torch.stack([_logits(critic, pair) for pair in shown])
        truth_B2 = torch.tensor([0.0, 1.0]).expand_as(logit_B2)
        loss = functional.binary_cross_entropy_with_logits(logit_B2, truth_B2)
        loss.backward()
        optimizer.step(1.0)
        ordered = (logit_B2[:, 1] > logit_B2[:, 0]).float().mean()
        yield TravlStep(done=step + 1, total=steps, loss=float(loss.detach()), ordered=float(ordered))


def orders(critic: Travl, twins: Twins) -> bool:
    """Whether the broken clip of a pair gets the larger logit."""
    with torch.inference_mode():
        possible, broken = _logits(critic, twins)
    return bool(broken > possible)


def _logits(critic: Travl, twins: Twins) -> Tensor:
    return torch.stack([critic.model(*twins.possible), critic.model(*twins.broken)])


def _seen(critic: Travl, film: Film) -> Seen:
    return critic.seen(draw(film, world="playground", height=SIDE_PX, width=SIDE_PX))
