"""`playground`: the embedded benchmark; 200 held-out prompts of the small world, decided by measurement alone.

`playground` is of the world that the embedded model knows; `playground-rich` is the same of the rich world, where two
events may follow one another. What is asked for stands in `items.py`; what is measured on short
clips in `looks.py`, on their objects and on long clips in `keeping.py` and `seams.py`; how it adds up in `scores.py`.

The same figures of real renders of the same scenes stand beside; of what the detector finds also those of clips held
against other prompts (chance). The count of clips behind each figure says how often it could be decided.
"""

from functools import partial
from typing import Any

from vgen.clip import Clip
from vgen.evaluate.benchmark import Benchmark, Item, ItemError, Measures, Sample
from vgen.evaluate.benchmarks.playground.items import drawn, items_of
from vgen.evaluate.benchmarks.playground.keeping import census, ending, keeps_going
from vgen.evaluate.benchmarks.playground.looks import looked_at
from vgen.evaluate.benchmarks.playground.scores import aggregate, remarks
from vgen.evaluate.benchmarks.playground.seams import borders_of, run_of, seam_db
from vgen.evaluate.jury import Jury
from vgen.frames import Frames, psnr_db
from vgen.judge.perception.observe import MIN_FRAMES, MIN_SIDE_PX
from vgen.playground.scene import Scene
from vgen.playground.worlds import WORLDS

__all__ = ["PLAYGROUND", "PLAYGROUND_RICH"]

LARGEST_RENDER_PX = 480
MIN_CLIP_FRAMES = 4
LEAST_OF_LONG = 0.9  # of the seconds that were asked for


def score_clip(item: Item, sample: Sample, jury: Jury) -> Measures:
    """What a clip shows, and the same of the world's own render of its scene at its size.

    Raises:
        ItemError: there is too little to see.
    """
    clip, task = sample.clip, item.data["task"]
    count, height, width, _ = clip.frames.shape
    if count < max(MIN_CLIP_FRAMES, MIN_FRAMES) or min(height, width) < MIN_SIDE_PX:
        raise ItemError(
            f"{count} frames of {width}x{height}; at least {MIN_CLIP_FRAMES} of {MIN_SIDE_PX}x{MIN_SIDE_PX} are needed"
        )
    if task == "long":
        measured = _long(clip, item)
    elif task == "vae":
        assert item.redrawn is not None
        measured = {"psnr_db": psnr_db(clip.frames, item.redrawn(height, width))}
    else:
        real = _real(item, clip, WORLDS[item.data["world"]].native_frames)
        measured = looked_at(clip, item, real.frames) | {"real": looked_at(real, item, real.frames)}
    return measured | {"task": task, "exact": sample.exact}


def _real(item: Item, clip: Clip, frames: int) -> Clip:
    """The world's own render of a scene, at the clip's size or smaller."""
    scene: Scene = item.data["scene"]
    _, height, width, _ = clip.frames.shape
    shrink = min(1.0, LARGEST_RENDER_PX / min(height, width))
    size = max(8, round(height * shrink)), max(8, round(width * shrink))
    return Clip(frames=drawn(scene, *size, frames), fps=float(scene.fps))


def _long(clip: Clip, item: Item) -> dict[str, Any]:
    """What a long clip keeps, its seams, and how it was made; the last two None where there is no record of it."""
    assert item.seconds is not None
    if clip.duration_s < LEAST_OF_LONG * item.seconds:
        raise ItemError(f"{clip.duration_s:.2f} s; {item.seconds:.2f} s were asked for")
    scene: Scene = item.data["scene"]
    native_s = WORLDS[item.data["world"]].native_frames / scene.fps
    real = _real(item, clip, round(clip.duration_s * scene.fps))
    borders = borders_of(clip.record)
    theirs = borders if real.fps == clip.fps else []
    return {
        **_kept(clip, native_s),
        "seam_db": seam_db(clip.frames, borders),
        "run": run_of(clip.record) if clip.record else None,
        "real": {**_kept(real, native_s), "seam_db": seam_db(real.frames, theirs)},
    }


def _kept(clip: Clip, native_s: float) -> dict[str, Any]:
    """Things by colour in the native part and at the end, and whether they are kept."""
    parts: list[Frames] = [clip.frames[: round(native_s * clip.fps)], ending(clip.frames, clip.fps)]
    before, after = map(census, parts)
    return {"kept": keeps_going(before, after), "things": {"before": before, "after": after}}


def _benchmark(world: str, name: str, title: str) -> Benchmark:
    return Benchmark(
        name=name,
        title=title,
        home="comes with vgen",
        licence="Apache-2.0",
        kind="generator",
        items=partial(items_of, world),
        score=score_clip,
        aggregate=partial(aggregate, world),
        draws_root=True,
        default_limit=40,
        fair_parts=True,
        world=world,
        note="Decided by measurement: the playground's detector and the judge, whose calibration `vgen judge card` "
        "tells. A judge that chose clips while they were made makes its own families circular.",
        remarks=remarks,
    )


PLAYGROUND = _benchmark("first", "playground", "Playground: held-out prompts of a small world with known physics")
PLAYGROUND_RICH = _benchmark(
    "rich", "playground-rich", "Playground, rich: held-out prompts of materials, bystanders and two events in a row"
)
