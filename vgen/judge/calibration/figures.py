"""Which clips go into which figure: from the table of a split and the fitted scales to what the card says.

Letters: `P` pieces, `R` rules, `J` laws.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vgen.judge.calibration.metrics import Curve, auc, auc_figure, mean_figure, psychometric, wins
from vgen.judge.calibration.outcomes import STATES, Flags, Floats, Outcomes
from vgen.judge.calibration.suite import CLEAR
from vgen.judge.card import Figure, Scale

__all__ = [
    "Pairs",
    "against",
    "cross_talk",
    "curve_of",
    "false_alarms",
    "firing",
    "hardest",
    "held_up",
    "null_floor",
    "pairs_of",
    "plausibility",
    "rule_figures",
    "undecidable",
    "violations",
]

MIN_CROSS = 4  # clips of either kind that an entry of the cross-talk matrix needs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """Twins: rows of a table, an impossible clip and the possible one that differs from it in one law alone.

    Args:
        impossible, possible: rows; a possible clip may stand in several pairs.
        severity: of the impossible one.
        scene: number of their scene.
    """

    impossible: npt.NDArray[np.intp]
    possible: npt.NDArray[np.intp]
    severity: Floats
    scene: npt.NDArray[np.intp]

    def only(self, chosen: Flags) -> "Pairs":
        """Some of the pairs."""
        return Pairs(
            impossible=self.impossible[chosen],
            possible=self.possible[chosen],
            severity=self.severity[chosen],
            scene=self.scene[chosen],
        )


def pairs_of(outcomes: Outcomes, law: str, *, clear: bool = False) -> Pairs:
    """All twins of a law; with `clear` those whose violation is plain."""
    rows = []
    for row, piece in enumerate(outcomes.pieces):
        if piece.law == law and piece.attack is None and (not clear or piece.severity >= CLEAR):
            twin = outcomes.row_of(piece.possible_twin)
            if twin is not None:
                rows.append((row, twin))
    impossible, possible = np.array(rows, dtype=np.intp).reshape(-1, 2).T
    return Pairs(
        impossible=impossible,
        possible=possible,
        severity=np.array([outcomes.pieces[row].severity for row in impossible]),
        scene=outcomes.scene_P[impossible],
    )


def against(outcomes: Outcomes, rule: str) -> Floats:
    """What a rule holds against each clip: its strength, 0 where it has no occasion; NaN where it cannot tell."""
    column = outcomes.column(rule)
    nothing_P = outcomes.state_PR[:, column] == STATES.index("not_applicable")
    return np.where(nothing_P, 0.0, outcomes.strength_PR[:, column])


def held_up(outcomes: Outcomes, rule: str, pairs: Pairs) -> Pairs:
    """The pairs that a rule compares: it can tell of both clips, and measured one at least."""
    measured_P = outcomes.measured_PR[:, outcomes.column(rule)]
    known_P = np.isfinite(against(outcomes, rule))
    either = measured_P[pairs.impossible] | measured_P[pairs.possible]
    return pairs.only(known_P[pairs.impossible] & known_P[pairs.possible] & either)


def violations(outcomes: Outcomes, scales: Mapping[str, Scale]) -> Floats:
    """violation_PR in 0..1 as `scoring.violation_of` has it; NaN where there is no decision."""
    return _scaled(outcomes, scales, beyond=False)


def firing(outcomes: Outcomes, scales: Mapping[str, Scale]) -> Floats:
    """As `violations`, going on in a straight line above 1, so that two rules beyond doubt can still be compared."""
    return _scaled(outcomes, scales, beyond=True)


def plausibility(violation_PR: Floats) -> Floats:
    """1 minus the noisy or of the decided violations; NaN where nothing was decided."""
    decided_PR = np.isfinite(violation_PR)
    lawful_PR = np.where(decided_PR, 1 - violation_PR, 1.0)
    return np.where(decided_PR.any(axis=1), lawful_PR.prod(axis=1), np.nan)


def rule_figures(outcomes: Outcomes, rule: str, scale: Scale | None) -> dict[str, Figure]:
    """The figures of one rule.

    Returns:
        pairwise_accuracy: twins at clear severity, as in `held_up`, told rightly by strength; ties one half.
        auc: of strengths, the same clips.
        deciding: measured share of the clips of those twins to which the law applies: all that break it, and of the
            possible ones those that give it an occasion.
        iou, hit: of clear violations that were measured: how well its strongest evidence points at frames and things.
        found: clear violations, measured, that were called violated (with a scale only).
        false_alarms: possible clips, measured, that were called violated (with a scale only).
        hardest: see `hardest`; filled in by the caller, who has all scales.
    """
    column = outcomes.column(rule)
    strength_P, measured_P = outcomes.strength_PR[:, column], outcomes.measured_PR[:, column]
    pairs = pairs_of(outcomes, rule, clear=True)
    held_P = against(outcomes, rule)
    both = held_up(outcomes, rule, pairs)
    seen = pairs.only(measured_P[pairs.impossible])
    twins = np.unique(both.possible)
    occasion = pairs.possible[outcomes.state_PR[pairs.possible, column] != STATES.index("not_applicable")]
    clips = np.unique(np.concatenate([pairs.impossible, occasion]))
    told = wins(held_P[both.possible], held_P[both.impossible])
    figures = {
        "pairwise_accuracy": mean_figure(told, both.scene),
        "auc": auc_figure(held_P[twins], outcomes.scene_P[twins], held_P[both.impossible], both.scene),
        "deciding": mean_figure(measured_P[clips].astype(np.float64), outcomes.scene_P[clips]),
        "iou": _known(outcomes.iou_PR[seen.impossible, column], seen.scene),
        "hit": _known(outcomes.hit_PR[seen.impossible, column], seen.scene),
    }
    if scale is not None:
        called = (strength_P[seen.impossible] >= scale.threshold).astype(np.float64)
        figures |= {"found": mean_figure(called, seen.scene), "false_alarms": false_alarms(outcomes, {rule: scale})}
    return figures


def curve_of(outcomes: Outcomes, rule: str) -> Curve | None:
    """The psychometric curve of a rule over the twins of its law; None where it measured no pair."""
    pairs = held_up(outcomes, rule, pairs_of(outcomes, rule))
    if not pairs.impossible.size:
        return None
    held_P = against(outcomes, rule)
    return psychometric(pairs.severity, wins(held_P[pairs.possible], held_P[pairs.impossible]), pairs.scene)


def false_alarms(outcomes: Outcomes, scales: Mapping[str, Scale]) -> Figure:
    """Share of decided verdicts on possible clips, over these rules, that say violated."""
    violation_PR = violations(outcomes, scales)[outcomes.possible_P]
    scene_PR = np.broadcast_to(outcomes.scene_P[outcomes.possible_P][:, None], violation_PR.shape)
    decided_PR = np.isfinite(violation_PR)
    return mean_figure((violation_PR[decided_PR] >= 0.5).astype(np.float64), scene_PR[decided_PR])


def undecidable(outcomes: Outcomes, scales: Mapping[str, Scale]) -> Figure:
    """Share of verdicts, over these rules and all clips that were not edited, that came out undecidable or in error.

    Clips in which a rule's situation does not occur do not count.
    """
    columns = [outcomes.column(rule) for rule in scales]
    whole_P = np.array([piece.attack is None for piece in outcomes.pieces], dtype=bool)
    state_PR = outcomes.state_PR[whole_P][:, columns]
    apply_PR = state_PR != STATES.index("not_applicable")
    scene_PR = np.broadcast_to(outcomes.scene_P[whole_P][:, None], state_PR.shape)
    return mean_figure((state_PR[apply_PR] != STATES.index("measured")).astype(np.float64), scene_PR[apply_PR])


def hardest(
    outcomes: Outcomes, scales: Mapping[str, Scale], *, least: float = CLEAR
) -> tuple[Figure, dict[str, Figure]]:
    """How often the rule of the broken law fires hardest, over violations of laws that have a scale.

    Args:
        outcomes: of a split.
        scales: of the rules that count.
        least: severity from which on violations count.

    Returns:
        over all laws, and per law. A clip in which no rule fires at all counts as wrong, equal rules as shares.
    """
    firing_PR = firing(outcomes, scales)
    names = [rule for rule in outcomes.rules if rule in scales]
    columns = [outcomes.column(rule) for rule in names]
    rows, right, laws = [], [], []
    for row, piece in enumerate(outcomes.pieces):
        if piece.law is not None and piece.law in scales and piece.attack is None and piece.severity >= least:
            fired = np.nan_to_num(firing_PR[row, columns])
            top = fired == fired.max()
            rows.append(row)
            laws.append(piece.law)
            right.append(top[names.index(piece.law)] / top.sum() if fired.max() > 0 else 0.0)
    scene = outcomes.scene_P[rows] if rows else np.empty(0, dtype=np.intp)
    right_P, law_P = np.array(right, dtype=np.float64), np.array(laws)
    per_law = {law: mean_figure(right_P[law_P == law], scene[law_P == law]) for law in names if law in laws}
    return mean_figure(right_P, scene), per_law


def cross_talk(outcomes: Outcomes) -> tuple[tuple[str, ...], dict[str, dict[str, float | None]]]:
    """AUC of every rule on the twins of every law, at clear severity.

    Returns:
        the laws; and by rule, by law: the area, one half where the rule does not notice. None for too few clips.
    """
    laws = tuple(rule for rule in outcomes.rules if any(piece.law == rule for piece in outcomes.pieces))
    by_law = {law: pairs_of(outcomes, law, clear=True) for law in laws}
    matrix: dict[str, dict[str, float | None]] = {}
    for column, rule in enumerate(outcomes.rules):
        measured_P, strength_P = outcomes.measured_PR[:, column], outcomes.strength_PR[:, column]
        matrix[rule] = {}
        for law, pairs in by_law.items():
            broken = pairs.impossible[measured_P[pairs.impossible]]
            kept = np.unique(pairs.possible[measured_P[pairs.possible]])
            enough = min(broken.size, kept.size) >= MIN_CROSS
            matrix[rule][law] = auc(strength_P[kept], strength_P[broken]) if enough else None
    return laws, matrix


def null_floor(outcomes: Outcomes) -> Figure:
    """Possible clips against possible ones of the same scene, over all rules: one half, or the suite tells on itself.

    One of each pair is drawn again with other lots, or starts as the other possible scene of its quadruplet.
    """
    won, scenes = [], []
    for row, piece in enumerate(outcomes.pieces):
        twin = piece.null_twin
        other = None if twin is None else outcomes.row_of(twin)
        if other is not None:
            both_R = outcomes.measured_PR[row] & outcomes.measured_PR[other]
            won.append(wins(outcomes.strength_PR[other, both_R], outcomes.strength_PR[row, both_R]))
            scenes.append(np.full(int(both_R.sum()), outcomes.scene_P[row]))
    if not won:
        return Figure(value=None)
    return mean_figure(np.concatenate(won), np.concatenate(scenes))


def _scaled(outcomes: Outcomes, scales: Mapping[str, Scale], *, beyond: bool) -> Floats:
    values_PR = np.full(outcomes.strength_PR.shape, np.nan)
    for rule, scale in scales.items():
        column = outcomes.column(rule)
        strength_P = outcomes.strength_PR[:, column]
        violation_P = np.interp(strength_P, [scale.low, scale.threshold, scale.high], [0.0, 0.5, 1.0])
        if beyond:
            violation_P += 0.5 * np.maximum(strength_P - scale.high, 0) / (scale.high - scale.threshold)
        values_PR[:, column] = np.where(outcomes.measured_PR[:, column], violation_P, np.nan)
    return values_PR


def _known(values: Floats, scene: npt.NDArray[np.intp]) -> Figure:
    known = np.isfinite(values)
    return mean_figure(values[known], scene[known])
