"""Pixels depend on the scene alone: not on batch, chunk or slice; and sizes agree with each other."""

import pytest
import torch

from vgen.errors import InputError
from vgen.playground.render import PAINTS, PALETTES, render
from vgen.playground.scene import EVENTS, NUM_PALETTES, Scene, sample_scene
from vgen.playground.simulate import Trajectory, simulate


def one_of_each_event() -> list[Scene]:
    first: dict[str, Scene] = {}
    for scene in map(sample_scene, range(200)):
        first.setdefault(scene.event, scene)
    return [first[event] for event in EVENTS]


SCENES = one_of_each_event()
RUNS: list[Trajectory] = [simulate(scene, 16) for scene in SCENES]


def test_a_batch_equals_its_clips_drawn_alone() -> None:
    scenes, runs = [*SCENES, *SCENES], [*RUNS, *RUNS]  # more than one chunk
    batch = render(scenes, runs, height=48, width=48)
    assert batch.shape == (16, 16, 48, 48, 3) and batch.dtype == torch.uint8
    for index, (scene, run) in enumerate(zip(scenes, runs, strict=True)):
        alone = render([scene], [run], height=48, width=48)[0]
        assert (alone.int() - batch[index].int()).abs().max() <= 1


def test_a_slice_of_frames_equals_those_frames() -> None:
    whole = render(SCENES, RUNS, height=40, width=40)
    part = render(SCENES, RUNS, height=40, width=40, frames=slice(3, 12, 4))
    assert (part.int() - whole[:, 3:12:4].int()).abs().max() <= 1


def test_half_the_size_is_the_picture_shrunk() -> None:
    large = render(SCENES, RUNS, height=128, width=128).float()
    small = render(SCENES, RUNS, height=64, width=64).float()
    shrunk = torch.nn.functional.avg_pool2d(large.flatten(0, 1).movedim(-1, 1), 2).movedim(1, -1).view_as(small)
    error = (shrunk - small).square().mean((1, 2, 3, 4))
    assert (10 * torch.log10(255**2 / error)).min() > 34  # dB


def test_a_wide_picture_shows_the_square_in_its_middle() -> None:
    square = render(SCENES, RUNS, height=48, width=48)
    wide = render(SCENES, RUNS, height=48, width=80)
    assert wide.shape[2:4] == (48, 80)
    assert (wide[:, :, :, 16:64].int() - square.int()).abs().max() <= 1


def test_a_body_shows_its_paint_where_it_is() -> None:
    size = 64
    clips = render(SCENES, RUNS, height=size, width=size).float() / 255
    for scene, run, clip_FYX3 in zip(SCENES, RUNS, clips, strict=True):
        for body, state_F3 in zip(scene.bodies, run.states_NF3, strict=True):
            x, y = float(state_F3[0, 0]), float(state_F3[0, 1])
            right_low = clip_FYX3[0, int((1 - y + 0.3 * body.radius) * size), int((x + 0.3 * body.radius) * size)]
            paint = torch.tensor(PAINTS[body.colour])
            assert torch.nn.functional.cosine_similarity(right_low, paint, dim=0) > 0.97, (scene.seed, body)


def test_the_occluder_hides_and_nothing_else_changes_the_background() -> None:
    scene = next(scene for scene in map(sample_scene, range(200)) if scene.event == "hide")
    run = simulate(scene)
    hidden = next(moment.frame for moment in run.moments if moment.kind == "hidden")
    clip_FYX3 = render([scene], [run], height=64, width=64)[0].int()
    chroma_FYX = clip_FYX3.amax(-1) - clip_FYX3.amin(-1)
    assert chroma_FYX[0].max() > 60 or scene.bodies[0].colour == "white"
    assert chroma_FYX[hidden].max() < 40 and clip_FYX3[hidden].max() < 170


def test_a_body_outside_the_picture_is_simply_not_there() -> None:
    scene, run = SCENES[0], RUNS[0]
    states_NF3 = run.states_NF3.copy()
    states_NF3[:, :, 0] = 7.0
    clip_FYX3 = render([scene], [Trajectory(states_NF3, ())], height=32, width=32)[0]
    assert (clip_FYX3 == clip_FYX3[:1]).all()


def test_palettes_are_as_many_as_scenes_use() -> None:
    assert len(PALETTES) == NUM_PALETTES


def test_bad_requests_are_refused() -> None:
    with pytest.raises(InputError, match="at least 8x8"):
        render(SCENES, RUNS, height=4, width=64)
    with pytest.raises(InputError, match="8 scenes, 1 trajectories"):
        render(SCENES, RUNS[:1], height=32, width=32)
    with pytest.raises(InputError, match="one length"):
        render(SCENES[:2], [RUNS[0], simulate(SCENES[1], 3)], height=32, width=32)
