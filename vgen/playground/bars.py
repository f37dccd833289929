"""Is a detector fit to score with? Its hit rates on real renders of held-out scenes, whose truth is known."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from vgen.errors import InputError
from vgen.playground.detect_rich import RichDetection
from vgen.playground.detectors import DETECTORS, AnyDetection, Detector, agreement_of
from vgen.playground.render import render
from vgen.playground.scene import Scene
from vgen.playground.score import Case, Rate, score
from vgen.playground.simulate import simulate
from vgen.playground.worlds import world_named

__all__ = ["Spoil", "detector_bars", "soften"]

Frames = npt.NDArray[np.uint8]
Spoil = Callable[[Frames, int], Frames]  # (clip_FYX3, index of the clip) -> clip_FYX3

_SCENES_PER_BATCH = 16


def detector_bars(
    count: int = 500, *, size: int = 96, frames: int | None = None, spoil: Spoil | None = None, world: str = "first"
) -> dict[str, object]:
    """Measures a world's detector on `count` held-out renders, half of held-out seeds, half of held-out combinations.

    Args:
        count: clips; at least 2.
        size: pixels, square.
        frames: per clip; the world's native length where None.
        spoil: applied to each clip before the detector sees it, such as `soften`.
        world: a key of `WORLDS`.

    Returns:
        `detector_sha256`, and as `Rate.as_dict` gives them: `colours` (exactly the true ones), `shapes`, `event`,
        `direction`, `overall`, and `says_no` (to the claim of another clip, the next one in the list that differs). Of
        the rich world also `first_event` and `second_event` (exactly the true one, or none where there is none),
        `order` (of both, where there are two), and `chance`: shares of agreement with all other clips' claims.

    Raises:
        InputError: for fewer than 2 clips, or an unknown world.
    """
    place = world_named(world)
    frames = frames or place.native_frames
    if count < 2:
        raise InputError(f"the detector is measured on at least 2 clips, got {count}")
    cast = [*place.scenes("held_out_seed", count - count // 2), *place.scenes("held_out_combination", count // 2)]
    detector = DETECTORS[world]
    detections = _detect_all(cast, detector, size, frames, spoil)
    claims = [place.claim_of(scene) for scene in cast]
    own = [agreement_of(detection, claim) for detection, claim in zip(detections, claims, strict=True)]
    foreign = []
    for index, detection in enumerate(detections):
        rest = claims[index + 1 :] + claims[:index]
        other = next((claim for claim in rest if claim != claims[index]), None)
        foreign += [agreement_of(detection, other)] if other else []
    exact = [
        {thing.colour for thing in detection.objects} == set(claim.colours)
        for detection, claim in zip(detections, claims, strict=True)
    ]
    answers = {
        "colours": exact,
        "shapes": [agreement.shapes for agreement in own],
        "event": [agreement.event for agreement in own],
        "direction": [agreement.direction for agreement in own],
        "overall": [agreement.overall for agreement in own],
        "says_no": [not agreement.overall for agreement in foreign],
    }
    chance: dict[str, object] = {}
    if world == "rich":
        answers |= _chains(cast, detections)
        cases = [
            Case(split=place.split_of(scene), claim=claim, detection=detection)
            for scene, claim, detection in zip(cast, claims, detections, strict=True)
        ]
        chance = {"chance": score(cases, world).scores["all"].chance}
    rates = {name: Rate(sum(right), len(right)).as_dict() for name, right in answers.items()}
    return {"detector_sha256": detector.digest(), "size": size, "frames": frames, **rates, **chance}


def soften(clip_FYX3: Frames, index: int) -> Frames:
    """What a small VAE and a video codec do, roughly: blur of 1 pixel at 96 rows, then noise of 4/255."""
    from scipy.ndimage import gaussian_filter

    blur_px = clip_FYX3.shape[1] / 96
    blurred = gaussian_filter(clip_FYX3.astype(np.float32), (0, blur_px, blur_px, 0))
    noise = np.random.Generator(np.random.Philox(key=index)).normal(0, 4, blurred.shape)
    return (blurred + noise).round().clip(0, 255).astype(np.uint8)


def _chains(cast: Sequence[Scene], detections: Sequence[AnyDetection]) -> dict[str, list[bool]]:
    """Whether each event of rich scenes is exactly the true one."""
    seen = [
        (scene, detection)
        for scene, detection in zip(cast, detections, strict=True)
        if isinstance(detection, RichDetection)
    ]
    return {
        "first_event": [detection.event == scene.event for scene, detection in seen],
        "second_event": [detection.then == scene.then for scene, detection in seen],
        "order": [(detection.event, detection.then) == (s.event, s.then) for s, detection in seen if s.then],
    }


def _detect_all(
    cast: Sequence[Scene], detector: Detector, size: int, frames: int, spoil: Spoil | None
) -> list[AnyDetection]:
    detections = []
    for first in range(0, len(cast), _SCENES_PER_BATCH):
        batch = cast[first : first + _SCENES_PER_BATCH]
        clips = render(batch, [simulate(scene, frames) for scene in batch], height=size, width=size).numpy()
        for index, clip_FYX3 in enumerate(clips, start=first):
            spoilt_FYX3 = clip_FYX3 if spoil is None else spoil(clip_FYX3, index)
            detections.append(detector.detect(spoilt_FYX3, cast[index].fps))
    return detections
