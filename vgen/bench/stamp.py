"""Which state of the checkout a figure belongs to."""

import subprocess
from pathlib import Path

__all__ = ["commit"]


def commit() -> str:
    """The commit of the checkout, with a mark where files differ from it."""
    git = ["git", "-C", str(Path(__file__).parent)]
    described = subprocess.run([*git, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return described.stdout.strip() or "unknown"
