"""Outcomes of rules whose behaviour is known, without a clip."""

import zlib
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from vgen.judge.calibration.outcomes import Finding, Outcome, Outcomes
from vgen.judge.calibration.suite import Piece

Strength = Callable[[Piece, np.random.Generator], float | None]  # None: the rule abstains
RULES = ("teleport", "colour")


def fake_suite(scenes: int, *, severities: tuple[float, ...] = (0.25, 0.5, 1.0)) -> list[Piece]:
    """Twins of two laws per scene, in two worlds, with edits and second drawings of the possible clips."""
    pieces = []
    for seed in range(scenes):
        scene = Piece(family="roll", seed=seed, world="second" if seed % 3 == 0 else "playground")
        pieces += [scene, replace(scene, drawing=1), replace(scene, attack="reverse"), replace(scene, attack="border")]
        pieces += [replace(scene, law=law, severity=severity) for law in RULES for severity in severities]
    return pieces


def fake_outcome(piece: Piece, rules: dict[str, Strength]) -> Outcome:
    """What such rules say of a piece; their lots depend on the piece alone."""
    findings = {}
    for name, strength in rules.items():
        key = zlib.crc32(f"{name} {piece}".encode())
        said = strength(piece, np.random.Generator(np.random.Philox(key=key)))
        broken = piece.law is not None and said is not None
        findings[name] = Finding(
            state="undecidable" if said is None else "measured",
            strength=said,
            iou=0.5 if broken else None,
            hit=piece.law == name if broken else None,
        )
    return Outcome(piece=piece, findings=findings, seconds=0.25)


def table(pieces: Iterable[Piece], rules: dict[str, Strength]) -> Outcomes:
    pieces = list(pieces)
    return Outcomes.gather([fake_outcome(piece, rules) for piece in pieces], pieces)


def sharp(law: str, noise: float = 0.1) -> Strength:
    """A rule that measures the severity of its law, and notices edits in time."""

    def strength(piece: Piece, lots: np.random.Generator) -> float:
        broken = piece.severity if piece.law == law else 1.0 if piece.attack == "reverse" else 0.0
        return abs(float(lots.normal(0, noise * 0.1))) + broken

    return strength


def blind(piece: Piece, lots: np.random.Generator) -> float:
    """A rule that draws lots."""
    return float(lots.random())
