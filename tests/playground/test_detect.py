"""The detector is right on real renders, says no to foreign claims, and never breaks on other pixels."""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from vgen.errors import InputError
from vgen.playground import detect as detect_module
from vgen.playground import see as see_module
from vgen.playground.bars import Spoil, detector_bars, soften
from vgen.playground.caption import Claim, claim_of
from vgen.playground.detect import agrees, detect, digest
from vgen.playground.render import render
from vgen.playground.scene import COLOURS, FLOOR_Y, FPS, Event, Scene, sample_scene
from vgen.playground.simulate import simulate


def scene_of(event: Event, *, seed: int = 0) -> Scene:
    return next(scene for scene in map(sample_scene, range(seed, seed + 300)) if scene.event == event)


def clip_of(scene: Scene, size: int = 96, frames: int = 33) -> npt.NDArray[np.uint8]:
    return render([scene], [simulate(scene, frames)], height=size, width=size)[0].numpy()


def rates(bars: dict[str, object]) -> dict[str, float]:
    return {name: value["rate"] for name, value in bars.items() if isinstance(value, dict)}


@pytest.mark.parametrize(("size", "frames", "spoil"), [(96, 33, None), (96, 33, soften), (128, 65, None)])
def test_held_out_renders_are_read_right(size: int, frames: int, spoil: Spoil | None) -> None:
    measured = rates(detector_bars(40, size=size, frames=frames, spoil=spoil))
    assert measured["colours"] >= 0.975 and measured["event"] >= 0.95 and measured["says_no"] >= 0.975
    assert measured["direction"] >= 0.95 and measured["shapes"] >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("spoil", [None, soften])
def test_the_bars_hold_on_500(spoil: Spoil | None) -> None:
    measured = rates(detector_bars(500, spoil=spoil))
    assert measured["colours"] >= 0.98 and measured["event"] >= 0.95 and measured["says_no"] >= 0.98


def test_a_mirrored_clip_goes_the_other_way() -> None:
    for event in ("roll", "throw", "hit", "hide", "slide", "ramp"):
        clip_FYX3 = clip_of(scene_of(event))
        there, back = detect(clip_FYX3, FPS), detect(clip_FYX3[:, :, ::-1], FPS)
        assert there.event == back.event == event
        assert {there.direction, back.direction} == {"left", "right"}


def test_a_still_clip_has_no_event_and_an_empty_one_no_objects() -> None:
    frozen = np.repeat(clip_of(scene_of("roll"))[:1], 33, axis=0)
    seen = detect(frozen, FPS)
    assert len(seen.objects) == 1 and seen.event is None and seen.direction is None
    for shade in (0, 128, 255):
        assert detect(np.full((33, 64, 64, 3), shade, np.uint8), FPS).event is None
    noise = np.random.default_rng(0).integers(0, 256, (33, 64, 64, 3), np.uint8)
    assert not agrees(detect(noise, FPS), claim_of(scene_of("roll"))).overall


def test_agreement_is_held_part_by_part() -> None:
    scene = scene_of("hit")
    seen, claim = detect(clip_of(scene), FPS), claim_of(scene)
    assert agrees(seen, claim).overall and agrees(seen, Claim()).overall
    swapped = Claim(colours=claim.colours[::-1], shapes=claim.shapes[::-1], event="hit", direction=claim.direction)
    assert agrees(seen, swapped).event and not agrees(seen, swapped).roles, "who hits whom"
    assert not agrees(seen, swapped).overall
    other_way = Claim(event="hit", direction="left" if claim.direction == "right" else "right")
    assert agrees(seen, other_way).event and not agrees(seen, other_way).direction
    absent = next(colour for colour in COLOURS if colour not in claim.colours)
    assert not agrees(seen, Claim(colours=(absent,))).colours


def test_tracks_follow_the_true_states() -> None:
    for event in ("fall", "throw", "swing"):
        scene = scene_of(event)
        run = simulate(scene, 33)
        clip_FYX3 = render([scene], [run], height=96, width=96)[0].numpy()
        (thing,) = detect(clip_FYX3, FPS).objects
        error = np.abs(thing.track_F3[:, 0] - run.states_NF3[0, :, 0].astype(np.float32))
        assert thing.seen_F.all() and error.max() < 0.03


def test_the_digest_names_the_source() -> None:
    sources = [Path(str(module.__file__)).read_bytes() for module in (see_module, detect_module)]
    assert digest() == hashlib.sha256(b"\0".join(sources)).hexdigest()
    assert detect_module.FLOOR_Y == FLOOR_Y


def test_bad_frames_are_refused() -> None:
    with pytest.raises(InputError, match="uint8 frames"):
        detect(np.zeros((8, 64, 64, 3), np.float32), FPS)
    with pytest.raises(InputError, match="at least 4 frames"):
        detect(np.zeros((2, 64, 64, 3), np.uint8), FPS)
    with pytest.raises(InputError, match="at least 2 clips"):
        detector_bars(1)
