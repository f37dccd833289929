"""What a prompt says, looked for in what the judge sees of the world's own renders."""

import numpy as np
import pytest

from vgen.judge.observation import Observation
from vgen.judge.perception.observe import observe
from vgen.judge.signs import SIGNS, kept
from vgen.playground.caption import caption
from vgen.playground.render import render
from vgen.playground.scene import EVENTS, FPS, NATIVE_FRAMES, Event, Scene, scenes
from vgen.playground.simulate import simulate

CAST: dict[Event, Scene] = {scene.event: scene for scene in scenes("train", 60)}


def seen(scene: Scene, frames: slice = slice(None), turned: bool = False) -> Observation:
    clip = render([scene], [simulate(scene, NATIVE_FRAMES)], height=96, width=96)[0].numpy()[frames]
    return observe(np.ascontiguousarray(clip[:, :, ::-1]) if turned else clip, float(FPS))


@pytest.mark.parametrize("event", EVENTS)
def test_a_render_shows_all_that_its_caption_says(event: Event) -> None:
    scene = CAST[event]
    assert kept(caption(scene, 0), seen(scene)) == 1.0


@pytest.mark.parametrize("event", sorted(event for event in EVENTS if event not in ("fall", "swing")))
def test_a_clip_that_goes_the_other_way_shows_less(event: Event) -> None:
    scene = CAST[event]
    share = kept(caption(scene, 0), seen(scene, turned=True))
    assert share is not None and share < 1


def test_another_colour_shows_less() -> None:
    scene = CAST["roll"]
    body = scene.bodies[0]
    other = "green" if body.colour != "green" else "red"
    assert kept(f"a {other} {body.shape}", seen(scene)) == 0.0


@pytest.mark.parametrize("event", EVENTS)
def test_most_other_events_are_not_seen(event: Event) -> None:
    scene = CAST[event]
    found = seen(scene)
    colour = scene.bodies[0].colour
    words = {"fall": "falls", "roll": "rolls", "throw": "is thrown", "hit": "hits", "hide": "passes behind",
             "slide": "slides", "ramp": "is on a ramp", "swing": "swings"}  # fmt: skip
    shown = [other for other in SIGNS if kept(f"a {colour} {words[other]}", found) == 1.0]
    assert event in shown
    assert len(shown) <= 3, shown


def test_words_that_say_nothing_have_no_signs() -> None:
    assert kept("something wonderful", seen(CAST["fall"])) is None


def test_nothing_that_moves_shows_nothing() -> None:
    still = observe(np.full((12, 64, 64, 3), 90, np.uint8), 12.0)
    assert kept("a red ball rolls to the right", still) == 0.0
