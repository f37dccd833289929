"""`vgen bench samplers`: what each sampler costs and what becomes of its picture, part by part.

presets    a clip of each at several lengths: seconds per stage, passes, memory, drift (sampler_clips.py)
memory     peak memory of very long clips over that of shorter ones (sampler_clips.py)
cache      a key-value cache against computing all again, held to the count of FLOPs (sampler_costs.py)
freenoise  against the same windows one by one, disjoint ones, and one full pass (sampler_costs.py)
colours    how often the first frame's objects are still there in the last second (sampler_colours.py)
stream     frames per second on a GPU, with random weights (samplers_cuda.py); what `--device cuda` measures

Figures are written after each finished row. Rows that were not measured again stay, where machine and versions are the
same; every row names its commit.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vgen.bench.sampler_clips import LENGTHS, clip_rows, memory_growth
from vgen.bench.sampler_colours import colour_rows, real_share
from vgen.bench.sampler_costs import cache_cost, freenoise_cost
from vgen.bench.stamp import commit
from vgen.errors import ConfigError, ResourceError, nearest
from vgen.files import replacing
from vgen.machine import machine, pick_device, versions
from vgen.models.folder import EMBEDDED
from vgen.pipeline import VideoPipeline
from vgen.presets import sampler_presets

__all__ = ["PARTS", "RESULTS", "Asked", "bench_samplers"]

RESULTS = Path(__file__).with_name("results")
COUNT = 20
COLOUR_LENGTHS = (10,)
HOW_MANY = {"memory": 2, "cache": 1, "freenoise": 1}  # lengths that a part takes; the others any number
JUDGED = ("causal", "streaming")  # one of which must keep its colours

# part -> the options that mean something to it
PARTS: dict[str, frozenset[str]] = {
    "presets": frozenset({"presets", "lengths", "steps"}),
    "memory": frozenset({"lengths", "steps"}),
    "cache": frozenset({"lengths", "steps"}),
    "freenoise": frozenset({"lengths", "steps"}),
    "colours": frozenset({"presets", "lengths", "steps", "count"}),
    "stream": frozenset({"device"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is measured; None is what each part takes by default.

    Args:
        parts: of PARTS.
        presets: of configs/sampler.
        lengths: multiples of the model's own length.
        steps: of the sampler.
        count: prompts of `colours`.
        device: of `stream`.
        model: name or folder.
    """

    parts: tuple[str, ...] = ("presets",)
    presets: tuple[str, ...] | None = None
    lengths: tuple[int, ...] | None = None
    steps: int | None = None
    count: int | None = None
    device: str | None = None
    model: str = EMBEDDED

    def check(self) -> None:
        """Refuses unknown names, numbers that cannot be, and options that no part uses.

        Raises:
            ConfigError: one of these.
        """
        for part in self.parts:
            if part not in PARTS:
                raise ConfigError(f"--parts: unknown part '{part}'; {nearest(part, PARTS)}")
        for preset in self.presets or ():
            if preset not in sampler_presets():
                raise ConfigError(f"--presets: unknown sampler '{preset}'; {nearest(preset, sampler_presets())}")
        for name, least in (("steps", 1), ("count", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"--{name} is at least {least}, got {value}")
        if any(times < 1 for times in self.lengths or ()):
            raise ConfigError(
                f"--lengths are multiples of the model's own, 1 and above, got {list(self.lengths or ())}"
            )
        for part, number in HOW_MANY.items():
            if part in self.parts and self.lengths is not None and len(self.lengths) != number:
                raise ConfigError(f"--lengths: the part {part} takes {number}, got {len(self.lengths)}")
        for name in ("presets", "lengths", "steps", "count", "device"):
            able = sorted(part for part, uses in PARTS.items() if name in uses)
            if getattr(self, name) is not None and not {*able} & {*self.parts}:
                raise ConfigError(f"--{name} means something to {', '.join(able)} alone, got {', '.join(self.parts)}")
        if self.device is not None and not self.device.startswith("cuda"):
            raise ConfigError(f"--device is cuda or cuda:N, for the part stream, got '{self.device[:20]}'")
        if "stream" in self.parts and not torch.cuda.is_available():
            raise ResourceError(
                "the part stream needs a CUDA device, and there is none; all other parts run on the CPU"
            )

    @property
    def command(self) -> str:
        """What asks for this."""
        words = ["vgen bench samplers", "--parts", ",".join(self.parts)]
        for name in ("presets", "lengths"):
            values = getattr(self, name)
            words += [f"--{name}", ",".join(map(str, values))] if values is not None else []
        for name in ("steps", "count", "device"):
            value = getattr(self, name)
            words += [f"--{name}", str(value)] if value is not None else []
        return " ".join([*words, *(["--model", self.model] if self.model != EMBEDDED else [])])


def bench_samplers(asked: Asked, *, results: Path | None = None) -> dict[str, Any]:
    """Measures the parts asked for; progress goes to stderr.

    Args:
        asked: what.
        results: a folder that keeps the figures as they come, `stream` apart from what runs on a CPU.

    Returns:
        part -> figures, of this call alone; ready for JSON.

    Raises:
        VgenError: something cannot be measured, or not here.
    """
    asked.check()
    figures: dict[str, Any] = {}
    for part in asked.parts:
        device = pick_device(asked.device or "cuda") if part == "stream" else torch.device("cpu")
        stamp = {"command": asked.command, "commit": commit(), "machine": machine(device), "versions": versions()}
        for measured in _measured(part, asked):
            figures[part] = stamp | measured
            if results is not None:
                _keep(results / f"samplers-{device.type}.json", part, figures[part])
    return figures


def _measured(part: str, asked: Asked) -> Iterable[dict[str, Any]]:
    """The figures of a part, more of them each time."""
    steps, lengths = asked.steps, asked.lengths
    match part:
        case "presets":
            presets = asked.presets or tuple(sorted(sampler_presets()))
            rows = clip_rows(presets, lengths or LENGTHS, steps=steps, model=asked.model, say=_say)
            yield from ({"rows": so_far} for so_far in _gathered(rows, asked))
        case "memory":
            yield memory_growth(steps=steps, model=asked.model, say=_say, lengths=lengths)
        case "cache" | "freenoise":
            pipeline = VideoPipeline.from_pretrained(asked.model, device="cpu")
            measure = cache_cost if part == "cache" else freenoise_cost
            yield measure(pipeline, times=lengths[0] if lengths else None, steps=steps, say=_say)
        case "colours":
            yield from _colours(asked)
        case "stream":
            from vgen.bench.samplers_cuda import bench_stream

            yield bench_stream(asked.device or "cuda")


def _colours(asked: Asked) -> Iterable[dict[str, Any]]:
    pipeline = VideoPipeline.from_pretrained(asked.model, device="cpu")
    card, count = pipeline.model.card, asked.count or COUNT
    presets, lengths = asked.presets or JUDGED, asked.lengths or COLOUR_LENGTHS
    real = {
        str(times): real_share(times * card.num_frames, count=count, height=card.height, width=card.width, fps=card.fps)
        for times in lengths
    }
    found = colour_rows(pipeline, presets, lengths, count=count, steps=asked.steps, say=_say)
    for rows in _gathered(found, asked):
        yield {"real": real, "best": _best(rows), "rows": rows}


def _best(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The better of JUDGED, at the greatest length."""
    judged = [row for row in rows if row["preset"] in JUDGED]
    best = max(judged, key=lambda row: (row["times"], row["kept"]["rate"]), default=None)
    return None if best is None else {"preset": best["preset"], "times": best["times"]} | best["kept"]


def _gathered(rows: Iterable[dict[str, Any]], asked: Asked) -> Iterable[list[dict[str, Any]]]:
    """The rows so far, each with the command that it came from."""
    so_far: list[dict[str, Any]] = []
    for row in rows:
        so_far.append(row | {"command": asked.command})
        yield list(so_far)


def _keep(path: Path, part: str, figures: dict[str, Any]) -> None:
    """Puts a part into the file, beside the others and its own rows that were not measured again."""
    held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    before = held.get(part, {})
    if part in ("presets", "colours"):
        same = all(before.get(key) == figures[key] for key in ("machine", "versions"))
        new = {_key(row) for row in figures["rows"]}
        rows = [row for row in before["rows"] if _key(row) not in new] if same else []
        figures = figures | {"rows": sorted(rows + figures["rows"], key=_key)}
        if part == "colours":
            real = (before["real"] if same else {}) | figures["real"]
            figures |= {"real": real, "best": _best(figures["rows"])}
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(json.dumps(held | {part: figures}, indent=1) + "\n", encoding="utf-8")


def _key(row: dict[str, Any]) -> tuple[int, str]:
    return row["times"], row["preset"]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
