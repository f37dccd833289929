"""How a command prints its result."""

from enum import StrEnum

__all__ = ["Format"]


class Format(StrEnum):
    """What stands on stdout."""

    HUMAN = "human"
    JSON = "json"
