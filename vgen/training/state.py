"""`training.json`: the small committed file, beside the weights, that a later run goes on from."""

import json
from pathlib import Path
from typing import Any

from vgen.errors import ModelError
from vgen.training.loop import Learner

__all__ = ["MAX_SHARD", "read_training_state", "write_training_state"]

MAX_SHARD = "15MB"  # of any weight file
STATE_FILE = "training.json"


def read_training_state(folder: Path, stage: str) -> dict[str, Any]:
    """One stage's step, next data index, seed, recipe digest, validation values.

    Raises:
        ModelError: the stage has left nothing to resume from.
    """
    state = _read(folder)
    if stage not in state:
        raise ModelError(
            f"{folder}: no {STATE_FILE} with stage '{stage}' to resume from; leave --resume out to train from scratch"
        )
    return dict(state[stage])


def write_training_state(
    folder: Path, stage: str, learner: Learner, *, seed: int, digest: str, values: dict[str, float]
) -> None:
    """Replaces one stage's entry and leaves the others."""
    path = folder / STATE_FILE
    state = _read(folder)
    state[stage] = {
        "step": learner.step,
        "next_index": learner.next_index,
        "seed": seed,
        "recipe": digest,
        "values": {name: round(value, 5) for name, value in values.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{STATE_FILE}.partial")
    partial.write_text(json.dumps(state, indent=1, sort_keys=True) + "\n")
    partial.replace(path)


def _read(folder: Path) -> dict[str, Any]:
    path = folder / STATE_FILE
    return dict(json.loads(path.read_text())) if path.is_file() else {}
