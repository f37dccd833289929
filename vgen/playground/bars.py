"""Is the detector fit to score with? Its hit rates on real renders of held-out scenes, whose truth is known."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from vgen.errors import InputError
from vgen.playground.caption import claim_of
from vgen.playground.detect import Detection, agrees, detect, digest
from vgen.playground.render import render
from vgen.playground.scene import FPS, NATIVE_FRAMES, Scene, scenes
from vgen.playground.score import Rate
from vgen.playground.simulate import simulate

__all__ = ["Spoil", "detector_bars", "soften"]

Frames = npt.NDArray[np.uint8]
Spoil = Callable[[Frames, int], Frames]  # (clip_FYX3, index of the clip) -> clip_FYX3

_SCENES_PER_BATCH = 16


def detector_bars(
    count: int = 500, *, size: int = 96, frames: int = NATIVE_FRAMES, spoil: Spoil | None = None
) -> dict[str, object]:
    """Measures the detector on `count` held-out renders, half from held-out seeds, half from held-out combinations.

    Args:
        count: clips; at least 2.
        size: pixels, square.
        frames: per clip.
        spoil: applied to each clip before the detector sees it, such as `soften`.

    Returns:
        `detector_sha256`, and as `Rate.as_dict` gives them: `colours` (exactly the true ones), `shapes`, `event`,
        `direction`, `overall`, and `says_no` (to the claim of another clip, the next one in the list that differs).

    Raises:
        InputError: for fewer than 2 clips.
    """
    if count < 2:
        raise InputError(f"the detector is measured on at least 2 clips, got {count}")
    cast = [*scenes("held_out_seed", count - count // 2), *scenes("held_out_combination", count // 2)]
    detections = _detect_all(cast, size, frames, spoil)
    claims = [claim_of(scene) for scene in cast]
    own = [agrees(detection, claim) for detection, claim in zip(detections, claims, strict=True)]
    foreign = []
    for index, detection in enumerate(detections):
        rest = claims[index + 1 :] + claims[:index]
        other = next((claim for claim in rest if claim != claims[index]), None)
        foreign += [agrees(detection, other)] if other else []
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
    rates = {name: Rate(sum(right), len(right)).as_dict() for name, right in answers.items()}
    return {"detector_sha256": digest(), "size": size, "frames": frames, **rates}


def soften(clip_FYX3: Frames, index: int) -> Frames:
    """What a small VAE and a video codec do, roughly: blur of 1 pixel at 96 rows, then noise of 4/255."""
    from scipy.ndimage import gaussian_filter

    blur_px = clip_FYX3.shape[1] / 96
    blurred = gaussian_filter(clip_FYX3.astype(np.float32), (0, blur_px, blur_px, 0))
    noise = np.random.Generator(np.random.Philox(key=index)).normal(0, 4, blurred.shape)
    return (blurred + noise).round().clip(0, 255).astype(np.uint8)


def _detect_all(cast: Sequence[Scene], size: int, frames: int, spoil: Spoil | None) -> list[Detection]:
    detections = []
    for first in range(0, len(cast), _SCENES_PER_BATCH):
        batch = cast[first : first + _SCENES_PER_BATCH]
        clips = render(batch, [simulate(scene, frames) for scene in batch], height=size, width=size).numpy()
        for index, clip_FYX3 in enumerate(clips, start=first):
            detections.append(detect(clip_FYX3 if spoil is None else spoil(clip_FYX3, index), FPS))
    return detections
