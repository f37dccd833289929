"""The flow shift of a folder's scheduler: read, and set to another for a size that asks for it.

sigma -> s sigma / (1 + (s - 1) sigma) moves steps towards noise, which larger pictures need (Esser et al. 2024,
arXiv:2403.03206, section 5.3.2).
"""

from typing import Any

__all__ = ["shift_of", "with_shift"]

KEYS = {"FlowMatchEulerDiscreteScheduler": "shift", "UniPCMultistepScheduler": "flow_shift"}


def shift_of(scheduler: Any) -> float:
    """The flow shift that a scheduler is set to."""
    return float(scheduler.config[KEYS[type(scheduler).__name__]])


def with_shift(scheduler: Any, shift: float) -> Any:
    """A scheduler of the same settings with another flow shift; the one given stays as it is."""
    return type(scheduler).from_config(dict(scheduler.config) | {KEYS[type(scheduler).__name__]: shift})
