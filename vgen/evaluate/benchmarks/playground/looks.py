"""What is measured on one short clip: families of checks, plausibility, what the detector saw, and what was kept.

Families as RULER-Bench has them (arXiv:2512.02622), each the share of its checks that hold:

    instruction following   named colours, shapes, events, their order and direction, by the world's frozen detector
    visual consistency      no law of permanence is broken; what the first frame shows is there
    visual fidelity         the background stands still, edges are as sharp as the world's own, something is seen
    rule coherence          something happens, and no law of cause, mechanics, continuity, matter or light is broken,
                            group by group

A check that cannot be decided is left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vgen.clip import Clip
from vgen.evaluate.benchmark import Item
from vgen.evaluate.benchmarks.playground.keeping import keeps_first
from vgen.frames import Frames
from vgen.judge.judging import report_on
from vgen.judge.perception.observe import observe
from vgen.judge.verdict import Report
from vgen.playground.caption import Claim
from vgen.playground.detect import MIN_MOVE
from vgen.playground.detect_rich import RichAgreement, RichDetection
from vgen.playground.detectors import DETECTORS, AnyDetection, agreement_of
from vgen.playground.scene import Scene
from vgen.playground.worlds import WORLDS

__all__ = ["FAMILIES", "flicker", "looked_at", "steepness"]

FLICKER = 3.0  # of 255: change from frame to frame of the pixel in the middle of all
SHARP = 0.6  # of the steepness of real edges at that size
PERMANENCE = ("permanence",)
COHERENCE = ("causal", "mechanics", "continuity", "materials", "optics")
FAMILIES = ("instruction_following", "visual_consistency", "visual_fidelity", "rule_coherence")

Checks = Mapping[str, bool | None]


def looked_at(clip: Clip, item: Item, real: Frames) -> dict[str, Any]:
    """Everything that is measured on one clip.

    Args:
        clip: of an item from a text or an image.
        item: what was asked for.
        real: the world's own render of its scene, whose edges are as steep as they should be.
    """
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
    kept = {}
    if item.image is not None:
        kept = {"kept": keeps_first(clip.frames, detection.objects, scene.bodies, clip.fps)}
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
    } | kept


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
