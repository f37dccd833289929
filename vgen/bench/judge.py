"""What the judge is worth: the test split held against the card that ships, and the seconds of a clip.

    python -m vgen.bench.judge [--size quick|full] [--jobs N] [--work DIR] [--resume] [--only-seconds]

Prints one JSON object; `figures` are those of `vgen.judge.calibration.card.assess`. Nothing is fitted here.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vgen.bench.cold import machine
from vgen.bench.stamp import commit
from vgen.clip import Clip
from vgen.judge.calibration.calibrate import gathered, measured
from vgen.judge.calibration.card import assess, plain
from vgen.judge.calibration.run import Step
from vgen.judge.calibration.suite import SIZES
from vgen.judge.card import load_card
from vgen.judge.judging import judge, versions
from vgen.playground.twins.film import WORLDS, World
from vgen.playground.twins.nuisance import NUISANCES, draw_with
from vgen.playground.twins.suite import take

__all__ = ["main", "seconds_per_clip"]

HEIGHT, WIDTH, FPS, SECONDS = 480, 854, 24, 5
TIMED = (("throw", "none"), ("two_behind", "h264"), ("row", "phone"))  # family and nuisance of the clips that are timed
TURNS = 3
SAY_EVERY = 100  # clips


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m vgen.bench.judge")
    parser.add_argument("--size", choices=sorted(SIZES), default="full")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path(".cache/calibration"))
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--only-seconds", action="store_true")
    asked = parser.parse_args(argv)
    card = load_card()
    told: dict[str, Any] = {
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        "card": card.digest,
        "seconds": seconds_per_clip(),
    }
    if not asked.only_seconds:
        store = asked.work / f"test-{asked.size}.jsonl"
        steps = measured("test", asked.size, jobs=asked.jobs, store=store, resume=asked.resume)
        outcomes = gathered((step.outcome for step in _watched(steps)), "test", asked.size)
        found = assess(outcomes, card.rules)
        told |= {
            "figures": plain(found.figures),
            "rules": {rule: plain(figures) for rule, figures in found.rules.items()},
            "least": found.details["least"],
            "clips": len(outcomes.pieces),
        }
    print(json.dumps(told))


def seconds_per_clip() -> dict[str, Any]:
    """Seconds of judging a clip of 5 s at 854x480 after warm-up, the best of several turns; several clips, both worlds.

    Returns:
        per clip, and the slowest of them.
    """
    best = {}
    for world in WORLDS:
        for family, nuisance in TIMED:
            clip = _long_clip(family, world, nuisance)
            judge(clip)
            turns = []
            for _ in range(TURNS):
                since = time.perf_counter()
                judge(clip)
                turns.append(time.perf_counter() - since)
            best[f"{family}, {world}, {nuisance}"] = round(min(turns), 3)
    return {"clips": best, "slowest": max(best.values()), "frames": FPS * SECONDS, "size": f"{WIDTH}x{HEIGHT}"}


def _watched(steps: Iterable[Step]) -> Iterator[Step]:
    """Passes steps through and says where they stand, on stderr."""
    for step in steps:
        if step.done % SAY_EVERY == 0 or step.done == step.total:
            print(f"{step.stage}: {step.done}/{step.total}", file=sys.stderr, flush=True)
        yield step


def _long_clip(family: str, world: World, nuisance: str) -> Clip:
    """A scene in slow motion, so that it fills the time."""
    slow = NUISANCES["very_slow"].takes[0](take(family, 0), 0)
    frames_FYX3, _, _ = draw_with(slow, world, NUISANCES[nuisance], height=HEIGHT, width=WIDTH, seed=0)
    assert len(frames_FYX3) >= FPS * SECONDS, f"{family} has {len(frames_FYX3)} frames"
    return Clip(frames=frames_FYX3[: FPS * SECONDS], fps=float(FPS))


if __name__ == "__main__":
    main()
