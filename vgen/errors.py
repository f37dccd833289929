"""What can go wrong for a user, as a small tree; programming mistakes are `assert`s instead.

    VgenError               base: one line that says what was asked, what was got, what is possible
    ├── InputError          the request: prompt, image, size, length, output path
    ├── ConfigError         a configuration: unknown key, bad value, contradiction
    ├── ModelError          a model folder: missing, incomplete, not allowed, does not fit the request
    ├── ResourceError       the machine: too little memory, missing device, missing extra
    ├── NumericalError      the run: a non-finite tensor, with its name and step
    └── ParallelError       its processes: they have come to something else
        └── PeerLostError   one has ended or does not answer

The command line turns each into one line on stderr and exit code 2 (`NumericalError`, `ParallelError`: 1).
"""

import difflib
from collections.abc import Iterable, Sequence

__all__ = [
    "ConfigError",
    "InputError",
    "ModelError",
    "NumericalError",
    "ParallelError",
    "PeerLostError",
    "ResourceError",
    "VgenError",
    "listed",
    "nearest",
]

LONG_LIST = 12


class VgenError(Exception):
    """Base of every error that vgen raises for its user's mistake."""


class InputError(VgenError):
    """The request cannot be served as it stands."""


class ConfigError(VgenError):
    """A configuration names an unknown key, a bad value, or contradicts itself."""


class ModelError(VgenError):
    """A model folder is missing, incomplete, not allowed, or does not fit the request."""


class ResourceError(VgenError):
    """The machine lacks what the request needs."""


class NumericalError(VgenError):
    """A tensor became non-finite during a run."""


class ParallelError(VgenError):
    """The processes of a run have come to something else."""


class PeerLostError(ParallelError):
    """Another process of the run has ended, or does not answer."""


def nearest(asked: str, possible: Iterable[str]) -> str:
    """A hint for a misspelt name: `did you mean 'x'? possible: a, b, x`; a long list only where nothing is close."""
    names = sorted(possible)
    close = difflib.get_close_matches(asked, names, n=1)
    if close and len(names) > LONG_LIST:
        return f"did you mean '{close[0]}'?"
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}possible: {', '.join(names)}"


def listed(names: Sequence[str], most: int = 10) -> str:
    """The first few names, and how many more there are: `a, b and 7 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
