"""The attack audit: edits that break the course of time must lower the plausibility, superficial ones must not move it.

A plausibility counts as lowered where it falls by more than superficial edits may move it; where either clip leaves
nothing decided, it was not lowered, and did not move in a way that could be told.
"""

from collections.abc import Mapping

import numpy as np

from vgen.judge.calibration.figures import plausibility, violations
from vgen.judge.calibration.metrics import mean_figure
from vgen.judge.calibration.outcomes import Outcomes
from vgen.judge.card import Figure, Scale
from vgen.playground.twins.attack import SUPERFICIAL_ATTACKS, TEMPORAL_ATTACKS

__all__ = ["MAY_MOVE", "audit"]

MAY_MOVE = 0.02


def audit(outcomes: Outcomes, scales: Mapping[str, Scale]) -> dict[str, dict[str, Figure]]:
    """Figures per edit, over possible clips.

    Returns:
        for a temporal edit `lowered`, the share of clips; for a superficial one `moved`, the median of how far; for all
        `change`, the mean of plausibility behind minus before, and `decided`, the share of clips that have both.
        `temporal` and `superficial` are over all edits of the kind.
    """
    plausibility_P = plausibility(violations(outcomes, scales))
    rows: dict[str, list[tuple[float, int]]] = {}
    for row, piece in enumerate(outcomes.pieces):
        before = outcomes.row_of(piece.unedited) if piece.attack is not None else None
        if piece.attack is not None and before is not None:
            change = float(plausibility_P[row] - plausibility_P[before])
            rows.setdefault(piece.attack, []).append((change, int(outcomes.scene_P[row])))
    figures = {name: _figures(name in TEMPORAL_ATTACKS, told) for name, told in rows.items()}
    for kind, names in (("temporal", TEMPORAL_ATTACKS), ("superficial", SUPERFICIAL_ATTACKS)):
        told = [one for name in names for one in rows.get(name, [])]
        if told:
            figures[kind] = _figures(kind == "temporal", told)
    return figures


def _figures(temporal: bool, told: list[tuple[float, int]]) -> dict[str, Figure]:
    change = np.array([by for by, _ in told])
    scene = np.array([number for _, number in told], dtype=np.intp)
    decided = np.isfinite(change)
    figures = {
        "decided": mean_figure(decided.astype(np.float64), scene),
        "change": Figure(value=float(change[decided].mean()) if decided.any() else None, count=int(decided.sum())),
    }
    if temporal:
        return figures | {"lowered": mean_figure((decided & (change < -MAY_MOVE)).astype(np.float64), scene)}
    moved = np.abs(change[decided])
    return figures | {"moved": Figure(value=float(np.median(moved)) if moved.size else None, count=moved.size)}
