"""The rich detector is right on real renders, tells order from events, says no to foreign claims, and never breaks."""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from vgen.errors import InputError
from vgen.playground import detect as first_module
from vgen.playground import detect_rich as detect_module
from vgen.playground import see as see_module
from vgen.playground.bars import Spoil, detector_bars, soften
from vgen.playground.caption import Claim
from vgen.playground.detect_rich import RichDetection, agrees_rich, detect_rich, rich_digest
from vgen.playground.render import render
from vgen.playground.scene import COLOURS, FLOOR_Y, Event, Scene
from vgen.playground.scene_rich import CHAINS, FPS
from vgen.playground.see import Thing
from vgen.playground.simulate import simulate
from vgen.playground.worlds import WORLDS

RICH = WORLDS["rich"]


def scene_of(event: Event, then: Event | None = None) -> Scene:
    return next(s for s in map(RICH.sample, range(500)) if (s.event, s.then) == (event, then))


def clip_of(scene: Scene, size: int = 96, frames: int = 49) -> npt.NDArray[np.uint8]:
    return render([scene], [simulate(scene, frames)], height=size, width=size)[0].numpy()


def rates(bars: dict[str, object]) -> dict[str, float]:
    return {name: value["rate"] for name, value in bars.items() if isinstance(value, dict) and "rate" in value}


@pytest.mark.parametrize(("size", "frames", "spoil"), [(96, 49, None), (96, 49, soften), (64, 97, None)])
def test_held_out_renders_are_read_right(size: int, frames: int, spoil: Spoil | None) -> None:
    measured = rates(detector_bars(24, size=size, frames=frames, spoil=spoil, world="rich"))
    assert min(measured.values()) >= 0.95, measured


@pytest.mark.slow
@pytest.mark.parametrize("spoil", [None, soften])
def test_the_bars_hold_on_300(spoil: Spoil | None) -> None:
    bars = detector_bars(300, spoil=spoil, world="rich")
    measured = rates(bars)
    assert measured["colours"] >= 0.98 and measured["says_no"] >= 0.98
    assert min(measured[name] for name in ("first_event", "second_event", "order", "direction")) >= 0.95
    chance = bars["chance"]
    assert isinstance(chance, dict) and chance["overall"] < 0.02 and chance["order"] < 0.15


@pytest.mark.parametrize("chain", CHAINS)
def test_a_mirrored_chain_goes_the_other_way_in_the_same_order(chain: tuple[Event, Event]) -> None:
    clip_FYX3 = clip_of(scene_of(*chain))
    there, back = detect_rich(clip_FYX3, FPS), detect_rich(clip_FYX3[:, :, ::-1], FPS)
    for seen in (there, back):
        assert (seen.event, seen.then) == chain
        assert [moment for _, moment in seen.seen] == sorted(moment for _, moment in seen.seen)
    assert {there.direction, back.direction} == {"left", "right"}


def test_moments_are_those_of_the_simulator() -> None:
    kinds = {"hit": "hits", "hide": "hidden"}
    for event, then in (("ramp", "hit"), ("hide", "hit"), ("swing", "hit"), ("ramp", "hide")):
        scene = scene_of(event, then)  # type: ignore[arg-type]
        moments = simulate(scene, 49).moments
        for seen, frame in detect_rich(clip_of(scene), FPS).seen:
            if seen in kinds:
                true = next(moment.frame for moment in moments if moment.kind == kinds[seen])
                assert abs(frame - true) <= 5, (event, then, seen)


def test_only_one_half_of_a_chain_is_one_event() -> None:
    clip_FYX3 = clip_of(scene_of("ramp", "hit"))
    assert detect_rich(clip_FYX3[:12], FPS).then is None
    rolled = detect_rich(clip_of(scene_of("roll", "fall"))[:14], FPS)
    assert (rolled.event, rolled.then) == ("roll", None)


def test_a_still_clip_has_no_event_and_an_empty_one_no_objects() -> None:
    frozen = np.repeat(clip_of(scene_of("ramp", "hit"))[:1], 49, axis=0)
    seen = detect_rich(frozen, FPS)
    assert len(seen.objects) >= 2 and seen.event is None and seen.then is None and seen.direction is None
    for shade in (0, 128, 255):
        assert detect_rich(np.full((49, 64, 64, 3), shade, np.uint8), FPS).event is None
    noise = np.random.default_rng(0).integers(0, 256, (49, 64, 64, 3), np.uint8)
    assert not agrees_rich(detect_rich(noise, FPS), RICH.claim_of(scene_of("roll"))).overall


def seen_as(*seen: tuple[Event, float]) -> RichDetection:
    nothing = np.zeros((4, 3), np.float32)
    things = tuple(Thing(colour, "ball", nothing, nothing[:, 0]) for colour in COLOURS[:3])
    return RichDetection(objects=things, seen=seen, direction="left")


def test_agreement_is_held_part_by_part() -> None:
    red, yellow, green = COLOURS[:3]
    claim = Claim(colours=(red, yellow), shapes=("ball", "ball"), event="ramp", then="hit", direction="left")
    right = agrees_rich(seen_as(("ramp", 5.0), ("hit", 20.0)), claim)
    assert right.overall
    turned = agrees_rich(seen_as(("hit", 5.0), ("ramp", 20.0)), claim)
    assert turned.event and turned.then and not turned.order and not turned.overall
    half = agrees_rich(seen_as(("ramp", 5.0)), claim)
    assert half.event and not half.then and not half.order
    other = agrees_rich(seen_as(("ramp", 5.0), ("hide", 20.0)), claim)
    assert other.event and not other.then
    swapped = Claim(colours=(yellow, red), event="ramp", then="hit")
    assert not agrees_rich(seen_as(("ramp", 5.0), ("hit", 20.0)), swapped).roles, "who hits whom"
    third = Claim(colours=(red, green), event="ramp", then="hit")
    assert not agrees_rich(seen_as(("ramp", 5.0), ("hit", 20.0)), third).roles, "what is hit, not what stands by"
    alone = Claim(colours=(red,), event="ramp")
    assert agrees_rich(seen_as(("ramp", 5.0)), alone).overall
    assert not agrees_rich(seen_as(("hide", 2.0), ("ramp", 5.0)), alone).event
    assert agrees_rich(seen_as(), Claim()).overall and not agrees_rich(seen_as(), alone).overall


def test_the_digest_names_the_source_and_is_not_the_first_one() -> None:
    sources = [Path(str(module.__file__)).read_bytes() for module in (see_module, detect_module)]
    assert rich_digest() == hashlib.sha256(b"\0".join(sources)).hexdigest() != first_module.digest()
    assert detect_module.FLOOR_Y == FLOOR_Y and round(detect_module.WINDOW_S * RICH.fps) + 1 == RICH.native_frames


def test_bad_frames_are_refused() -> None:
    with pytest.raises(InputError, match="uint8 frames"):
        detect_rich(np.zeros((8, 64, 64, 3), np.float32), FPS)
    with pytest.raises(InputError, match="at least 4 frames"):
        detect_rich(np.zeros((2, 64, 64, 3), np.uint8), FPS)
    with pytest.raises(InputError, match=r"unknown world 'ritch'.*'rich'"):
        detector_bars(2, world="ritch")
