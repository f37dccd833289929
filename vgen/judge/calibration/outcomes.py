"""What the rules said of every clip of a run: line by line while it runs, then one table to count over.

Letters: `P` pieces, `R` rules.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from vgen.judge.calibration.suite import Piece

__all__ = ["STATES", "Finding", "Outcome", "Outcomes", "State"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

State = Literal["measured", "not_applicable", "undecidable", "error"]
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one rule said of one clip.

    Args:
        state: whether it measured.
        strength: of its strongest measurement; None where it did not measure.
        iou: temporal IoU of that measurement's frames with those of the true breach; None for possible clips.
        hit: whether one of its tracks is a thing that truly breaks the law; None for possible clips, and where the
            camera moves, which leaves the two in different coordinates.
    """

    state: State
    strength: float | None = None
    iou: float | None = None
    hit: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What all rules said of one clip, and the processor time that perceiving and measuring took.

    Without findings where there is no such clip: its scene does not allow its nuisance, or its edit changes nothing.
    """

    piece: Piece
    findings: dict[str, Finding]
    seconds: float

    def line(self) -> str:
        """One line of JSON."""
        said = {name: [f.state, f.strength, f.iou, f.hit] for name, f in self.findings.items()}
        return json.dumps({"piece": asdict(self.piece), "seconds": round(self.seconds, 3), "findings": said})

    @classmethod
    def of_line(cls, line: str) -> "Outcome":
        """The outcome that a line tells.

        Raises:
            ValueError: it is none.
        """
        told: Any = json.loads(line)
        try:
            findings = {
                name: Finding(state=state, strength=strength, iou=iou, hit=hit)
                for name, (state, strength, iou, hit) in told["findings"].items()
            }
            return cls(piece=Piece(**told["piece"]), findings=findings, seconds=float(told["seconds"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("not a line of a calibration run") from error


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcomes:
    """All outcomes of a run, as arrays with a row per piece and a column per rule.

    Args:
        pieces: what was measured, in the order of the suite.
        rules: names of the rules.
        state_PR: index into `STATES`.
        strength_PR, iou_PR, hit_PR: as in `Finding`; NaN where None.
        seconds_P: of the processor, for perceiving and measuring.
    """

    pieces: tuple[Piece, ...]
    rules: tuple[str, ...]
    state_PR: npt.NDArray[np.int8]
    strength_PR: Floats
    iou_PR: Floats
    hit_PR: Floats
    seconds_P: Floats
    _index: dict[Piece, int] = field(default_factory=dict)

    @classmethod
    def gather(cls, outcomes: Iterable[Outcome], order: Sequence[Piece]) -> "Outcomes":
        """The table of outcomes that came in any order; pieces without findings are left out."""
        by_piece = {outcome.piece: outcome for outcome in outcomes if outcome.findings}
        kept = [by_piece[piece] for piece in order if piece in by_piece]
        rules = tuple(kept[0].findings) if kept else ()
        rows = [[outcome.findings[rule] for rule in rules] for outcome in kept]

        def table(name: str) -> Floats:
            values = [[getattr(f, name) for f in row] for row in rows]
            return np.array(values, dtype=np.float64).reshape(len(kept), len(rules))

        return cls(
            pieces=tuple(outcome.piece for outcome in kept),
            rules=rules,
            state_PR=np.array([[STATES.index(f.state) for f in row] for row in rows], dtype=np.int8).reshape(
                len(kept), len(rules)
            ),
            strength_PR=table("strength"),
            iou_PR=table("iou"),
            hit_PR=table("hit"),
            seconds_P=np.array([outcome.seconds for outcome in kept]),
            _index={outcome.piece: row for row, outcome in enumerate(kept)},
        )

    def only(self, chosen_P: Flags) -> "Outcomes":
        """The table of some of its rows."""
        pieces = tuple(piece for piece, keep in zip(self.pieces, chosen_P, strict=True) if keep)
        return Outcomes(
            pieces=pieces,
            rules=self.rules,
            state_PR=self.state_PR[chosen_P],
            strength_PR=self.strength_PR[chosen_P],
            iou_PR=self.iou_PR[chosen_P],
            hit_PR=self.hit_PR[chosen_P],
            seconds_P=self.seconds_P[chosen_P],
            _index={piece: row for row, piece in enumerate(pieces)},
        )

    def row_of(self, piece: Piece) -> int | None:
        """The row of a piece; None where it has none."""
        return self._index.get(piece)

    def column(self, rule: str) -> int:
        return self.rules.index(rule)

    @cached_property
    def measured_PR(self) -> Flags:
        return np.asarray(self.state_PR == STATES.index("measured"))

    @cached_property
    def possible_P(self) -> Flags:
        """Clips that break nothing and were not edited."""
        return np.array([p.law is None and p.attack is None for p in self.pieces], dtype=bool)

    @cached_property
    def scene_P(self) -> npt.NDArray[np.intp]:
        """A number per scene: clips that were made from the same family and seed share it."""
        scenes = {scene: number for number, scene in enumerate(dict.fromkeys(p.scene for p in self.pieces))}
        return np.array([scenes[p.scene] for p in self.pieces], dtype=np.intp)
