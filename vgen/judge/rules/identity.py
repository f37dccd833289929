"""identity: what comes out from behind something looks like what went in.

Formula: sqrt((dE / 20)^2 + (df / .1)^2 + (ds / .25)^2) with dE the CIE 1976 difference of the median colours before and
after, df the distance between the outlines' harmonics 2..7 as shares of the mean radius (a square differs from a disc
by about .14), ds the change of the logarithm of the diameter; from each term its own noise is taken off: three
standard errors, and what a tracker never sees (dE 2.3, df .02, ds .03).
Source: shape and colour constancy of hidden objects (IntPhys, arXiv:1803.07616, block O2; IntPhys2, arXiv:2506.09849,
condition immutability).
Strength: 1 is a colour that is off by 20 Delta-E. In full view these are `colour`, `size` and `rigid_deform`.
Abstains where nothing goes behind something and comes out again, or where it is not wholly seen on both sides.
"""

import numpy as np

from vgen.judge.observation import Observation
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.lives import Passage, passages
from vgen.judge.rules.looks import JND, Look, delta_e, form_gap, look

__all__ = ["RULE"]

FRAMES = 12  # on either side
CLEAR_LAB, CLEAR_FORM, CLEAR_SIZE = 20.0, 0.1, 0.25
FORM_FLOOR, SIZE_FLOOR = 0.02, 0.03


def measure(observation: Observation) -> Measured:
    whole = [p for p in passages(observation) if p.entering is not None and p.leaving is not None]
    if not whole:
        return Abstention(status="not_applicable", reason="nothing goes behind something and comes out again")
    found = tuple(m for p in whole if (m := _of(p)) is not None)
    return found or Abstention(
        status="undecidable", reason="what went in and came out is not wholly seen on both sides"
    )


def _of(passage: Passage) -> Measurement | None:
    assert passage.entering and passage.leaving and passage.last is not None and passage.first is not None
    before = look(passage.entering, np.arange(max(0, passage.last - FRAMES + 1), passage.last + 1))
    end = min(passage.first + FRAMES, len(passage.leaving.sight_F))
    after = look(passage.leaving, np.arange(passage.first, end))
    if before is None or after is None:
        return None
    terms = _terms(before, after)
    worst = max(terms, key=lambda name: terms[name][0])
    _, value, sigma = terms[worst]
    return Measurement(
        strength=float(np.sqrt(sum(share**2 for share, _, _ in terms.values()))),
        frames=(passage.last, passage.first),
        objects=tuple(sorted({passage.entering.id, passage.leaving.id})),
        quantity=f"change of {worst}",
        value=value,
        expected=0.0,
        sigma=sigma,
        text=f"what comes out at frame {passage.first} differs from what went in at frame {passage.last} most in "
        f"{worst}: {value:.3g}",
    )


def _terms(before: Look, after: Look) -> dict[str, tuple[float, float, float]]:
    """By quantity: the share of a clear change, the value, its standard error."""
    lab, lab_sigma = delta_e(before, after)
    form, form_sigma = form_gap(before, after)
    size = abs(after.log_size - before.log_size)
    size_sigma = float(
        np.hypot(before.log_size_scatter / np.sqrt(before.frames), after.log_size_scatter / np.sqrt(after.frames))
    )
    return {
        "colour, Delta-E": (max(0.0, lab - JND - 3 * lab_sigma) / CLEAR_LAB, lab, lab_sigma),
        "form, shares of the radius": (max(0.0, form - FORM_FLOOR - 3 * form_sigma) / CLEAR_FORM, form, form_sigma),
        "size, logarithm of the diameter": (
            max(0.0, size - SIZE_FLOOR - 3 * size_sigma) / CLEAR_SIZE,
            size,
            size_sigma,
        ),
    }


RULE = Rule(
    name="identity",
    group="permanence",
    statement="What comes out from behind something looks like what went in.",
    measure=measure,
    motion=False,
)
