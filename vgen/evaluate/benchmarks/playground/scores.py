"""How the rows of a playground benchmark add up: per task, beside real renders and chance; and what to know of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np

from vgen.evaluate.benchmark import Item, Measures, Score
from vgen.evaluate.benchmarks.playground.looks import FAMILIES
from vgen.evaluate.jury import Jury
from vgen.evaluate.statistics import mean, mean_share, ratio, share
from vgen.judge.card import Figure
from vgen.playground.caption import Claim
from vgen.playground.detect import Detection
from vgen.playground.detect_rich import RichDetection
from vgen.playground.detectors import DETECTORS, AnyDetection, agreement_of
from vgen.playground.score import Case, score
from vgen.playground.see import Thing
from vgen.playground.worlds import WORLDS

__all__ = ["aggregate", "remarks"]

TASKS = ("text", "image")
LONG, VAE = "long clips", "vae"
LASTING = {"colours_and_count": ("colours", "count"), "colours": ("colours",), "count": ("count",)}
KEPT = ("in_first_frame", "as_they_are", "at_the_end")  # which together are `objects_kept`

Rows = Sequence[Measures]


def aggregate(world: str, items: Sequence[Item], rows: Mapping[str, Measures], jury: Jury) -> Sequence[Score]:
    """Families for all short clips; by task these, what was found and what was kept; then long clips and the VAE."""
    of_task: dict[str, list[Item]] = {}
    for item in items:
        if item.id in rows:
            of_task.setdefault(item.data["task"], []).append(item)
    scores = [*_family_scores([rows[item.id] for task in TASKS for item in of_task.get(task, ())], "")]
    for task in TASKS:
        members = of_task.get(task, [])
        scores += _family_scores([rows[item.id] for item in members], f"from {task}")
        scores += _detected_scores(world, members, rows, f"from {task}")
    scores += _kept_scores([rows[item.id] for item in of_task.get("image", ())], "from image")
    scores += _long_scores([rows[item.id] for item in of_task.get("long", ())])
    return [*scores, *_vae_scores([rows[item.id] for item in of_task.get("vae", ())])]


def remarks(items: Sequence[Item], rows: Mapping[str, Measures]) -> Sequence[str]:
    """What was left out of a full run, and what long clips were made with."""
    tasks = {item.data["task"] for item in items}
    if "long" not in tasks:
        return []
    runs = [row["run"] for row in rows.values() if row.get("run") is not None]
    said = sorted(
        {
            f"Long clips, {run['sampler']}: {run['steps']} steps, guidance {run['guidance']:g}, on {run['machine']}."
            for run in runs
        }
    )
    left_out = ([] if runs else ["seams and speed of long clips"]) + ([] if "vae" in tasks else ["the VAE's PSNR"])
    return [*said, *([f"Left out, since only --model can be asked: {' and '.join(left_out)}."] if left_out else [])]


def _family_scores(rows: Rows, group: str) -> Iterator[Score]:
    """Families and plausibility beside those of renders; and mean plausibility over theirs, where both are decided."""
    if not rows:
        return
    own, real = [_told(row) for row in rows], [_told(row["real"]) for row in rows]
    for name in ("average", *FAMILIES, "plausibility"):
        yield Score(name=name, figure=_mean_of(own, name), group=group, beside={"renders": _mean_of(real, name).value})
    pairs = [(one["plausibility"], other["plausibility"]) for one, other in zip(own, real, strict=True)]
    decided = [(one, other) for one, other in pairs if one is not None and other is not None]
    figure = ratio([one for one, _ in decided], [other for _, other in decided]) if decided else Figure(value=None)
    yield Score(name="plausibility_over_renders", figure=figure, group=group)


def _told(looked: Mapping[str, Any]) -> dict[str, float | None]:
    """The families of a clip, their mean, and its plausibility; None where nothing was decided."""
    families = looked["families"]
    decided = [value for value in families.values() if value is not None]
    average = sum(decided) / len(decided) if decided else None
    return {**families, "average": average, "plausibility": looked["plausibility"]}


def _mean_of(clips: Sequence[Mapping[str, float | None]], name: str) -> Figure:
    return mean_share([value for clip in clips if (value := clip[name]) is not None])


def _detected_scores(world: str, items: Sequence[Item], rows: Mapping[str, Measures], group: str) -> Iterator[Score]:
    """Rates of what the detector finds, each over the clips whose prompts name it, beside renders and chance."""
    if not items:
        return
    own = [_case(item, rows[item.id]) for item in items]
    real = [_case(item, rows[item.id]["real"]) for item in items]
    for name, together in TOGETHER.items():
        rate, theirs = (share([held for case in cases for held in together(case, case.claim)]) for cases in (own, real))
        chance = share([held for one, other in permutations(own, 2) for held in together(one, other.claim)])
        beside = {"renders": theirs.value, "chance": chance.value}
        yield Score(name=name, figure=rate, group=group, beside=beside)
    found, real_found = (score(cases, world).scores["all"] for cases in (own, real))
    for aspect in DETECTORS[world].aspects:
        hits, beside = found.rates[aspect], {"renders": real_found.rates[aspect].value, "chance": found.chance[aspect]}
        figure = share([True] * hits.right + [False] * (hits.total - hits.right))
        yield Score(name=aspect, figure=figure, group=group, beside=beside)


def _objects(case: Case, claim: Claim) -> list[bool]:
    """Whether every named thing is there in its colour and shape; nothing where none is named."""
    agreement = agreement_of(case.detection, claim)
    return [agreement.colours and agreement.shapes] if claim.colours or claim.shapes else []


def _event_and_direction(case: Case, claim: Claim) -> list[bool]:
    """Whether the event that is named first, and the direction where one is named, are both right."""
    agreement = agreement_of(case.detection, claim)
    return [agreement.event and agreement.direction] if claim.event or claim.direction else []


TOGETHER: dict[str, Callable[[Case, Claim], list[bool]]] = {
    "objects": _objects,
    "event_and_direction": _event_and_direction,
}


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


def _kept_scores(rows: Rows, group: str) -> Iterator[Score]:
    """How often the objects of the first frame are kept: altogether, then in each respect."""
    if not rows:
        return
    own, real = [row["kept"] for row in rows], [row["real"]["kept"] for row in rows]

    def all_of(names: Sequence[str], clips: Rows) -> Figure:
        return share([all(clip[name] for name in names) for clip in clips])

    for name, parts in ({"objects_kept": KEPT} | {part: (part,) for part in own[0]}).items():
        beside = {"renders": all_of(parts, real).value}
        yield Score(name=name, figure=all_of(parts, own), group=group, beside=beside)


def _long_scores(rows: Rows) -> Iterator[Score]:
    """What long clips keep, and their seams: of all, then by sampler where it is known, with its speed."""
    yield from _lasting_scores(rows, "")
    by_sampler: dict[str, list[Measures]] = {}
    for row in rows:
        if row["run"] is not None:
            by_sampler.setdefault(row["run"]["sampler"], []).append(row)
    for sampler, members in sorted(by_sampler.items()):
        yield from _lasting_scores(members, f", {sampler}")
        speed = mean([row["run"]["real_time"] for row in members])
        yield Score(name=f"real_time, {sampler}", figure=speed, group=LONG)


def _lasting_scores(rows: Rows, suffix: str) -> Iterator[Score]:
    if not rows:
        return
    for name, parts in LASTING.items():
        own, real = (
            share([all(clip["kept"][part] for part in parts) for clip in clips])
            for clips in (rows, [row["real"] for row in rows])
        )
        yield Score(name=name + suffix, figure=own, group=LONG, beside={"renders": real.value})
    seams = [row["seam_db"] for row in rows if row["seam_db"] is not None]
    theirs = [row["real"]["seam_db"] for row in rows if row["real"]["seam_db"] is not None]
    if seams:
        beside = {"renders": mean(theirs).value}
        yield Score(name="seam_db" + suffix, figure=mean(seams), group=LONG, better="lower", beside=beside)


def _vae_scores(rows: Rows) -> Iterator[Score]:
    if rows:
        yield Score(name="psnr_db", figure=mean([row["psnr_db"] for row in rows]), group=VAE)
