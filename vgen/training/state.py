"""`training.json`: the small committed file, beside the weights, that a later run goes on from."""

import json
from pathlib import Path
from typing import Any

from vgen.errors import ModelError

__all__ = ["MAX_SHARD", "read_training_state", "write_training_state"]

MAX_SHARD = "15MB"  # of any weight file
STATE_FILE = "training.json"


def read_training_state(folder: Path) -> dict[str, Any]:
    """By stage: step, next data index, seed, recipe digest, validation values.

    Raises:
        ModelError: there is no such file to resume from.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        raise ModelError(f"{folder}: no {STATE_FILE} to resume from; leave --resume out to train from scratch")
    return dict(json.loads(path.read_text()))


def write_training_state(
    folder: Path, stage: str, *, step: int, next_index: int, seed: int, digest: str, values: dict[str, float]
) -> None:
    """Replaces one stage's entry and leaves the others."""
    path = folder / STATE_FILE
    state = read_training_state(folder) if path.is_file() else {}
    state[stage] = {
        "step": step,
        "next_index": next_index,
        "seed": seed,
        "recipe": digest,
        "values": {name: round(value, 5) for name, value in values.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{STATE_FILE}.partial")
    partial.write_text(json.dumps(state, indent=1, sort_keys=True) + "\n")
    partial.replace(path)
