"""Does a clip obey cause and physics, with evidence. Takes any clip, knows nothing of how it was made.

    from vgen.judge import judge
    report = judge("clip.mp4")

Perception (`perception/`) sees, rules (`rules/`) measure, `scoring` decides by the calibration card, `report/` shows.
The public names load on first use (PEP 562): the parts import each other's contracts through this package.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vgen.judge.judging import Examination, examine, judge
    from vgen.judge.verdict import Report, Verdict

__all__ = ["Examination", "Report", "Verdict", "examine", "judge"]

_HOME = {
    "Examination": "vgen.judge.judging",
    "Report": "vgen.judge.verdict",
    "Verdict": "vgen.judge.verdict",
    "examine": "vgen.judge.judging",
    "judge": "vgen.judge.judging",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'vgen.judge' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
