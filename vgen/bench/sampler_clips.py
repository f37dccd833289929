"""One clip of one sampler in a process of its own: seconds per stage, passes of the model, memory, and what it shows.

The process is this command again with `--case`, and writes its clip as `vgen generate` does. Lengths are multiples of
the model's own.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Any

import psutil

from vgen.bench.sampler_costs import Counted
from vgen.bench.stamp import commit
from vgen.config import merge
from vgen.errors import ResourceError
from vgen.frames import Frames
from vgen.job import Job
from vgen.models.folder import EMBEDDED
from vgen.pipeline import VideoPipeline
from vgen.playground.render import render
from vgen.playground.scene import Scene
from vgen.playground.score import held_out_prompts
from vgen.playground.simulate import simulate
from vgen.presets import sampler_presets
from vgen.run import Run
from vgen.schema import OutputConfig
from vgen.shapes import window_starts

__all__ = ["LENGTHS", "Case", "Write", "clip_rows", "memory_growth", "picture_of", "run_case", "start"]

LENGTHS = (1, 4, 10)
GROWTH = {"streaming": (3, 30, 2), "fifo": (10, 30, 9)}  # preset -> times, times, steps: few, but a whole fifo window
_VGEN = (sys.executable, "-c", "from vgen.cli import main; main()")
_SAMPLE_S, _CHILDREN_EVERY = 0.01, 50
_LOADING, _DECODING = 600, 15  # what loading and decoding a latent frame are worth, in latent frames passed

Write = Callable[[Run, Path, OutputConfig], dict[str, Any]]  # what `vgen generate` writes a run with
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One clip to measure, of the first held-out scene.

    Args:
        preset: of configs/sampler.
        times: length over the model's own.
        steps: of the sampler; the model card's where None.
        model: name or folder.
    """

    preset: str
    times: int
    steps: int | None = None
    model: str = EMBEDDED


def start(pipeline: VideoPipeline, scene: Scene, prompt: str, preset: str, times: int, steps: int | None) -> Run:
    """A clip of a scene's prompt, with any preset: with the scene's first frame where it starts from a picture, and by
    force where the model was not trained for it.
    """
    card, options = pipeline.model.card, sampler_presets()[preset]
    values = {
        "request.prompt": prompt,
        "request.num_frames": times * card.num_frames,
        "request.num_inference_steps": steps,
        "request.seed": scene.seed % 2**31,
        "sampler.name": preset,
        "sampler.force": options["sampler.needs"] not in card.samplers,
    }
    image_YX3: Frames | None = None
    if options.get("sampler.schedule") == "capped":
        image_YX3 = render([scene], [simulate(scene, 1)], height=card.height, width=card.width)[0, 0].numpy()
    run = pipeline.start(*merge(("bench", values)), image_YX3)
    assert isinstance(run, Run)
    return run


def run_case(case: Case, write: Write) -> dict[str, Any]:
    """Measures a clip in this process, which should do nothing else.

    Args:
        case: what is made.
        write: what it is made and written with.

    Returns:
        a row, ready for JSON. `idle_mib` is resident once the model is loaded, `peak_mib` the most while it runs,
        encoder included; `frames_shown` sums the latent frames over all passes.
    """
    began = time.perf_counter()
    pipeline = VideoPipeline.from_pretrained(case.model, device="cpu")
    run = _run_of(pipeline, case)
    load_s = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder, Counted(pipeline.model.dit) as counted, _Memory() as memory:
        began = time.perf_counter()
        record = write(run, Path(folder) / "clip.mp4", OutputConfig())
        wall_s = time.perf_counter() - began
    made = record["frames"]["made"]
    return {
        "preset": case.preset,
        "times": case.times,
        "trained": not run.job.sampling.force,
        "commit": commit(),
        "steps": run.job.num_steps,
        "guidance_scale": run.job.guidance_scale,
        "frames": made,
        "latent_frames": run.job.frames,
        "load_s": load_s,
        "wall_s": wall_s,
        "stages_s": record["stages_s"],
        "fps": made / wall_s,
        "passes": len(counted.passes),
        "frames_shown": sum(len(one.frames) for one in counted.passes),
        "idle_mib": memory.idle_mib,
        "peak_mib": memory.peak_mib,
        "picture": picture_of(record["drift"]),
    }


def clip_rows(
    presets: Sequence[str], lengths: Sequence[int], *, steps: int | None, model: str, say: Say
) -> Iterator[dict[str, Any]]:
    """A row for each preset at each length, shortest first; all are checked before the first one runs.

    Raises:
        VgenError: one of them cannot run.
    """
    cases = [Case(preset=p, times=times, steps=steps, model=model) for times in sorted(lengths) for p in presets]
    pipeline = VideoPipeline.from_pretrained(model, device="cpu")
    work = [_work(_run_of(pipeline, case).job) for case in cases]
    del pipeline
    began = time.perf_counter()
    for done, case in enumerate(cases):
        left = (time.perf_counter() - began) * sum(work[done:]) / sum(work[:done]) if done else None
        about = "" if left is None else f"; about {left / 60:.0f} min left"
        say(f"{done + 1}/{len(cases)} {case.preset} {case.times}x{about}")
        yield _alone(case)


def memory_growth(*, steps: int | None, model: str, say: Say, lengths: Sequence[int] | None = None) -> dict[str, Any]:
    """Peak memory of long clips over that of shorter ones, for the samplers whose memory does not grow.

    Args:
        steps: in place of those of GROWTH.
        model: name or folder.
        say: told what begins.
        lengths: in place of those of GROWTH.

    Returns:
        preset -> both rows, `growth` of the peak, and `growth_over_idle` of what the run adds to the loaded model.
    """
    found = {}
    for preset, (short, long, few) in GROWTH.items():
        rows = []
        for times in lengths or (short, long):
            say(f"{preset} {times}x")
            rows.append(_alone(Case(preset=preset, times=times, steps=steps or few, model=model)))
        first, last = rows[0], rows[-1]
        found[preset] = {
            "rows": rows,
            "growth": last["peak_mib"] / first["peak_mib"],
            "growth_over_idle": (last["peak_mib"] - last["idle_mib"]) / (first["peak_mib"] - first["idle_mib"]),
        }
    return found


def picture_of(drift: dict[str, Any]) -> dict[str, Any]:
    """What a clip's record says of its picture, in few figures.

    Returns:
        `change` of each quantity from the first second to the last (None for a clip too short), similarity of
        neighbours and of frames as far apart as was measured, the share of the picture that moves, and warnings.
    """
    ends, gaps = drift["ends"], drift["similarity"]["gaps"]
    moved = [share for share in drift["series"]["motion"] if share is not None]
    far = max(gaps, key=int, default=None)
    return {
        "change": None if ends is None else {name: end["change"] for name, end in ends.items()},
        "adjacent": drift["similarity"]["adjacent"]["mean"],
        "far": None if far is None else gaps[far],
        "far_frames": None if far is None else int(far),
        "motion": sum(moved) / len(moved) if moved else None,
        "warnings": drift["warnings"],
    }


def _run_of(pipeline: VideoPipeline, case: Case) -> Run:
    scene, prompt = held_out_prompts(1, "held_out_seed")[0]
    return start(pipeline, scene, prompt, case.preset, case.times, case.steps)


def _alone(case: Case) -> dict[str, Any]:
    argv = [*_VGEN, "bench", "samplers", "--case", json.dumps(asdict(case))]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise ResourceError(f"{case.preset} at {case.times}x ended with {done.returncode}: {lines[-1]}")
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def _work(job: Job) -> float:
    """How long a job takes, roughly, in latent frames passed through the model; loading and decoding included."""
    sampling = job.sampling
    shown, passes = sampling.shown_frames, sampling.schedule.total(job.frames, known=job.known)
    if sampling.windows is not None:
        passes *= len(window_starts(job.frames, shown, sampling.values["stride"]))
        passes *= 1 + sampling.values.get("iterations", 0)
    return _LOADING + passes * shown * (2 if job.guidance_scale > 1 else 1) + _DECODING * job.frames


class _Memory:
    """Resident memory within a `with` block, of this process and its children, sampled; what they share counts twice.

    `idle_mib` is that at the beginning, `peak_mib` the most.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._done = Event()
        self._watcher = Thread(target=self._watch)
        self._idle = self._peak = 0

    @property
    def idle_mib(self) -> float:
        return self._idle / 2**20

    @property
    def peak_mib(self) -> float:
        return self._peak / 2**20

    def __enter__(self) -> "_Memory":
        self._idle = self._peak = self._process.memory_info().rss
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._watcher.join()

    def _watch(self) -> None:
        """Looks for new children now and then only, because that reads the whole table of processes."""
        children: list[psutil.Process] = []
        samples = 0
        while not self._done.wait(_SAMPLE_S):
            if samples % _CHILDREN_EVERY == 0:
                children = self._process.children(recursive=True)
            samples += 1
            self._peak = max(self._peak, self._process.memory_info().rss + sum(map(_resident, children)))


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
