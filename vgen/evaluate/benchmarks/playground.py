"""`playground`: the embedded benchmark; 200 held-out prompts of the small world, decided by measurement alone.

`playground-rich` is the same of the rich world, where two events may follow one another.

Families as RULER-Bench has them (arXiv:2512.02622), each a mean over clips of the share of its checks that hold:

    instruction following   named colours, shapes, events, their order and direction, by the world's frozen detector
    visual consistency      no law of permanence is broken; what the first frame shows is there
    visual fidelity         the background stands still, edges are as sharp as the world's own, something is seen
    rule coherence          something happens, and no law of cause, mechanics, continuity, matter or light is broken,
                            group by group

A check that cannot be decided is left out, and the count of clips behind each figure says how often. The same figures
of real renders of the same scenes stand beside; of what the detector finds also those of clips held against other
prompts (chance).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from vgen.clip import Clip
from vgen.evaluate.benchmark import Benchmark, Item, ItemError, Measures, Sample, Score
from vgen.evaluate.jury import Jury
from vgen.evaluate.statistics import mean_share
from vgen.files import os_errors, replacing
from vgen.judge.card import Figure
from vgen.judge.judging import report_on
from vgen.judge.perception.observe import MIN_FRAMES, MIN_SIDE_PX, observe
from vgen.judge.verdict import Report
from vgen.playground.caption import Claim
from vgen.playground.detect import MIN_MOVE, Detection
from vgen.playground.detect_rich import RichAgreement, RichDetection
from vgen.playground.detectors import DETECTORS, AnyDetection, agreement_of
from vgen.playground.render import render
from vgen.playground.scene import Scene, Split
from vgen.playground.score import HELD_OUT, Case, held_out_turns, score
from vgen.playground.see import Thing
from vgen.playground.simulate import simulate
from vgen.playground.worlds import WORLDS

__all__ = ["PLAYGROUND", "PLAYGROUND_RICH"]

PROMPTS = 200
FIRST_FRAME_PX = 384
LARGEST_RENDER_PX = 480
MIN_CLIP_FRAMES = 4

FLICKER = 3.0  # of 255: change from frame to frame of the pixel in the middle of all
SHARP = 0.6  # of the steepness of real edges at that size
PERMANENCE = ("permanence",)
COHERENCE = ("causal", "mechanics", "continuity", "materials", "optics")
FAMILIES = ("instruction_following", "visual_consistency", "visual_fidelity", "rule_coherence")

Frames = npt.NDArray[np.uint8]
Checks = Mapping[str, bool | None]


def items(world: str, root: Path | None) -> Sequence[Item]:
    """Every other pair of prompts begins with a first frame, which is drawn to `root` where it is not there yet.

    Raises:
        InputError: the folder cannot be written.
    """
    assert root is not None, "the caller names a folder for first frames"
    return [
        _item(number, world, split, scene, prompt, root)
        for number, (split, scene, prompt) in enumerate(held_out_turns(PROMPTS, world))
    ]


def _item(number: int, world: str, split: Split, scene: Scene, prompt: str, root: Path) -> Item:
    image = _first_frame(scene, root / f"{number:03d}.png") if number // len(HELD_OUT) % 2 else None
    task = "text" if image is None else "image"
    return Item(
        id=f"{number:03d}",
        prompt=prompt,
        file=f"{number:03d}.mp4",
        pattern=f"{number:03d}.*",
        stratum=f"{task}/{scene.event}" + (f"-{scene.then}" if scene.then else ""),
        image=image,
        number=number,
        data={"world": world, "scene": scene, "split": split, "task": task},
    )


def _first_frame(scene: Scene, path: Path) -> Path:
    if not path.exists():
        with os_errors("make", path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        frames = _rendered(scene, FIRST_FRAME_PX, FIRST_FRAME_PX, 1)
        with replacing(path) as partial:
            Image.fromarray(frames[0]).save(partial, format="PNG")
    return path


def _rendered(scene: Scene, height: int, width: int, frames: int) -> Frames:
    return render([scene], [simulate(scene, frames)], height=height, width=width)[0].numpy()


def score_clip(item: Item, sample: Sample, jury: Jury) -> Measures:
    """What a clip shows, and the same of the world's own render of its scene at its size."""
    clip = sample.clip
    count, height, width, _ = clip.frames.shape
    if count < max(MIN_CLIP_FRAMES, MIN_FRAMES) or min(height, width) < MIN_SIDE_PX:
        raise ItemError(
            f"{count} frames of {width}x{height}; at least {MIN_CLIP_FRAMES} of {MIN_SIDE_PX}x{MIN_SIDE_PX} are needed"
        )
    scene: Scene = item.data["scene"]
    shrink = min(1.0, LARGEST_RENDER_PX / min(height, width))
    native = WORLDS[item.data["world"]].native_frames
    real = _rendered(scene, max(8, round(height * shrink)), max(8, round(width * shrink)), native)
    own, theirs = _looked(clip, item, real), _looked(Clip(frames=real, fps=float(scene.fps)), item, real)
    return own | {"real": theirs, "task": item.data["task"], "exact": sample.exact}


def _looked(clip: Clip, item: Item, real: Frames) -> dict[str, Any]:
    """Everything that is measured on one clip."""
    scene: Scene = item.data["scene"]
    world = WORLDS[item.data["world"]]
    detection = DETECTORS[world.name].detect(clip.frames, clip.fps)
    report = report_on(observe(clip.frames, clip.fps))
    families = {
        "instruction_following": _followed(detection, world.claim_of(scene)),
        "visual_consistency": _lawful(report, PERMANENCE) | _first_kept(detection, scene, item),
        "visual_fidelity": _looks(clip.frames, real, detection),
        "rule_coherence": {"something_happens": _moves(detection)} | _lawful(report, COHERENCE),
    }
    return {
        "checks": families,
        "families": {name: _share(checks) for name, checks in families.items()},
        "plausibility": report.plausibility,
        "coverage": round(report.coverage, 4),
        "broken": [verdict.rule for verdict in report.verdicts if verdict.status == "violated"],
        "seen": {
            "things": [[thing.colour, thing.shape] for thing in detection.objects],
            "event": detection.event,
            "direction": detection.direction,
        }
        | ({"moments": [list(seen) for seen in detection.seen]} if isinstance(detection, RichDetection) else {}),
    }


def _followed(detection: AnyDetection, claim: Claim) -> dict[str, bool | None]:
    found = agreement_of(detection, claim)
    order: dict[str, bool | None] = {}
    if isinstance(found, RichAgreement) and claim.then:
        order = {"then": found.then, "order": found.order}
    return order | {
        "colours": found.colours if claim.colours else None,
        "shapes": found.shapes if claim.shapes else None,
        "event": found.event if claim.event else None,
        "direction": found.direction if claim.direction else None,
    }


def _lawful(report: Report, groups: Sequence[str]) -> dict[str, bool | None]:
    """Per group of laws whether none is broken; None where none was decided."""
    checks: dict[str, bool | None] = {}
    for group in groups:
        decided = [
            verdict.status for verdict in report.verdicts if verdict.group == group and verdict.violation is not None
        ]
        checks[group] = "violated" not in decided if decided else None
    return checks


def _moves(detection: AnyDetection) -> bool:
    """Whether anything does; every prompt says that something happens, and a frozen clip breaks no law."""
    return any(np.hypot(*np.ptp(thing.track_F3[thing.seen_F, :2], axis=0)) > MIN_MOVE for thing in detection.objects)


def _first_kept(detection: AnyDetection, scene: Scene, item: Item) -> dict[str, bool | None]:
    """Whether what the first frame shows is in the clip, as what it is."""
    if item.image is None:
        return {}
    shape_of = {thing.colour: thing.shape for thing in detection.objects}
    return {"first_frame": all(shape_of.get(body.colour) == body.shape for body in scene.bodies)}


def _looks(frames_FYX3: Frames, real_FYX3: Frames, detection: AnyDetection) -> dict[str, bool | None]:
    return {
        "still_background": flicker(frames_FYX3) <= FLICKER,
        "sharp": steepness(frames_FYX3, real_FYX3.shape[1:3]) >= SHARP * steepness(real_FYX3, real_FYX3.shape[1:3]),
        "something_seen": bool(detection.objects),
    }


def flicker(frames_FYX3: Frames) -> float:
    """Median over pixels of their mean change from frame to frame, of 255; what moves covers less than half of them."""
    change_YX = np.mean([_change(a, b) for a, b in zip(frames_FYX3[1:], frames_FYX3[:-1], strict=True)], axis=0)
    return float(np.median(change_YX))


def _change(one_YX3: Frames, other_YX3: Frames) -> npt.NDArray[np.float64]:
    return np.abs(one_YX3.astype(np.int16) - other_YX3.astype(np.int16)).mean(axis=-1)


def steepness(frames_FYX3: Frames, size: tuple[int, int]) -> float:
    """How steep edges are at a size: the upper hundredth of a frame's gradients, in the median of the frames."""
    import cv2

    steep = []
    for frame_YX3 in frames_FYX3[:: max(1, len(frames_FYX3) // 8)]:
        grey_YX = cv2.cvtColor(cv2.resize(frame_YX3, size[::-1], interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        down_YX, right_YX = np.gradient(grey_YX.astype(np.float64))
        steep.append(float(np.quantile(np.hypot(down_YX, right_YX), 0.99)))
    return float(np.median(steep))


def _share(checks: Checks) -> float | None:
    """Of the checks that were decided, how many hold."""
    decided = [held for held in checks.values() if held is not None]
    return sum(decided) / len(decided) if decided else None


def aggregate(world: str, items: Sequence[Item], rows: Mapping[str, Measures], jury: Jury) -> Sequence[Score]:
    """Families for all clips and by task, then what stands behind them."""
    scored = [item for item in items if item.id in rows]
    groups = {"": scored} | {
        f"from {task}": [i for i in scored if i.data["task"] == task] for task in ("text", "image")
    }
    scores = [
        made
        for group, members in groups.items()
        if members
        for made in _group_scores([rows[item.id] for item in members], group)
    ]
    return [*scores, *_detected_scores(world, scored, rows)]


def _group_scores(rows: Sequence[Measures], group: str) -> list[Score]:
    own, real = [_told(row) for row in rows], [_told(row["real"]) for row in rows]
    return [
        Score(name=name, figure=_mean_of(own, name), group=group, beside={"renders": _mean_of(real, name).value})
        for name in ("average", *FAMILIES, "plausibility")
    ]


def _told(looked: Mapping[str, Any]) -> dict[str, float | None]:
    """The families of a clip, their mean, and its plausibility; None where nothing was decided."""
    families = looked["families"]
    decided = [value for value in families.values() if value is not None]
    average = sum(decided) / len(decided) if decided else None
    return {**families, "average": average, "plausibility": looked["plausibility"]}


def _mean_of(clips: Sequence[Mapping[str, float | None]], name: str) -> Figure:
    return mean_share([value for clip in clips if (value := clip[name]) is not None])


def _detected_scores(world: str, items: Sequence[Item], rows: Mapping[str, Measures]) -> list[Score]:
    """Rates of what the detector finds, beside renders and chance."""
    own = score([_case(item, rows[item.id]) for item in items], world).scores["all"]
    real = score([_case(item, rows[item.id]["real"]) for item in items], world).scores["all"]
    made = []
    for aspect in DETECTORS[world].aspects:
        rate, beside = own.rates[aspect], {"renders": real.rates[aspect].value, "chance": own.chance[aspect]}
        interval = rate.as_dict()["interval_95"]
        assert isinstance(interval, list)
        figure = Figure(value=rate.value, interval=(interval[0], interval[1]), count=rate.total)
        made.append(Score(name=aspect, figure=figure, group="detector", beside=beside))
    return made


def _case(item: Item, looked: Mapping[str, Any]) -> Case:
    """What was seen, as the detector said it."""
    nothing = np.zeros(0, np.float32)
    things = tuple(Thing(colour, shape, nothing.reshape(0, 3), nothing) for colour, shape in looked["seen"]["things"])
    direction, seen = looked["seen"]["direction"], looked["seen"]
    detection: AnyDetection = Detection(objects=things, event=seen["event"], direction=direction)
    if "moments" in seen:
        moments = tuple((event, float(frame)) for event, frame in seen["moments"])
        detection = RichDetection(objects=things, seen=moments, direction=direction)
    claim = WORLDS[item.data["world"]].claim_of(item.data["scene"])
    return Case(split=item.data["split"], claim=claim, detection=detection)


def _benchmark(world: str, name: str, title: str) -> Benchmark:
    return Benchmark(
        name=name,
        title=title,
        home="comes with vgen",
        licence="Apache-2.0",
        kind="generator",
        items=partial(items, world),
        score=score_clip,
        aggregate=partial(aggregate, world),
        draws_root=True,
        default_limit=40,
        fair_parts=True,
        world=world,
        note="Decided by measurement: the playground's detector and the judge, whose calibration `vgen judge card` "
        "tells. A judge that chose clips while they were made makes its own families circular.",
    )


PLAYGROUND = _benchmark("first", "playground", "Playground: held-out prompts of a small world with known physics")
PLAYGROUND_RICH = _benchmark(
    "rich", "playground-rich", "Playground, rich: held-out prompts of materials, bystanders and two events in a row"
)
