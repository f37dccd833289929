"""Does sparse training reach what dense does? `python -m vgen.bench.sparse_training CONFIG MODEL WORK NAME ...`.

From the weights of one model folder, the same steps of its recipe under dense attention and under each that is named:
the same data, noise and levels, step by step in turn, so that whatever else the machine does meets all alike. Nothing
is compiled. Held-out losses are taken under the attention that was trained. The folder itself is not written to.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch

from vgen.bench.cold import machine
from vgen.bench.stamp import commit
from vgen.config import merge
from vgen.machine import versions
from vgen.training.config import PlaygroundTraining, read_training_config
from vgen.training.dit import train_dit
from vgen.training.loop import Plan, TrainingRecord

__all__ = ["compare", "main"]

DENSE = "dense"


def compare(config: PlaygroundTraining, folder: Path, work: Path, names: list[str], steps: int) -> dict[str, Any]:
    """Held-out loss and median seconds per step of each attention, and both over those of dense attention.

    Args:
        config: the recipe that the folder was trained by.
        folder: model folder to go on from.
        work: of `vgen train playground`, with the cached latents.
        names: patterns or presets beside dense, each once.
        steps: of each.
    """
    with tempfile.TemporaryDirectory() as scratch:
        runs: dict[str, Iterator[TrainingRecord]] = {}
        for name in [DENSE, *names]:
            place = Path(scratch) / str(len(runs))
            shutil.copytree(folder, place / "model")
            runs[name] = train_dit(
                config,
                folder=place / "model",
                cache=work / "latents",
                checkpoints=place / "checkpoints",
                plan=Plan(minutes=0, steps=steps, warmup_steps=max(1, steps // 10)),
                resume=True,
                device=torch.device("cpu"),
                compiled=False,
                attention=merge((f"attention {name}", {"attention.name": name}))[0].attention,
                report_every=1,
                save_every_s=float("inf"),
            )
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        losses: dict[str, list[float]] = {name: [] for name in runs}
        held_out = {}
        for number in range(steps + 1):  # a record for each step, and one for what was written
            for name, records in runs.items():
                began = time.monotonic()
                record = next(records)
                if number < steps:
                    seconds[name].append(time.monotonic() - began)
                    losses[name].append(record.values["loss"])
                else:
                    held_out[name] = record.values["held_out"]
    rows = {
        name: {
            "held_out": held_out[name],
            "loss": losses[name],
            "step_s": median(seconds[name]),
            "held_out_over_dense": held_out[name] / held_out[DENSE],
            "step_over_dense": median(a / b for a, b in zip(seconds[name], seconds[DENSE], strict=True)),
        }
        for name in runs
    }
    return {
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
        "threads": torch.get_num_threads(),
        "steps": steps,
        "rows": rows,
    }


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="recipe")
    parser.add_argument("model", type=Path, help="model folder")
    parser.add_argument("work", type=Path, help="work folder of vgen train playground, with cached latents")
    parser.add_argument("attention", nargs="+", help="beside dense")
    parser.add_argument("--steps", type=int, default=120)
    asked = parser.parse_args()
    if len({DENSE, *asked.attention}) != 1 + len(asked.attention):
        parser.error("each attention once; dense is there anyway")
    config = read_training_config(asked.config)
    print(json.dumps(compare(config, asked.model, asked.work, asked.attention, asked.steps), indent=1))


if __name__ == "__main__":
    main()
