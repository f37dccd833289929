"""Rich scenes: the same everywhere, of the promised shares, every chain shown in time, and bystanders never touched."""

import math
from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.playground.golden import RICH_GOLDEN, rich_scene_digest
from vgen.errors import InputError
from vgen.playground.parts import MATERIALS, Material
from vgen.playground.scene import (
    COLOURS,
    EVENTS,
    FLOOR_Y,
    HELD_OUT_COMBINATIONS,
    HELD_OUT_FROM_SEED,
    SPLITS,
    WALL_X,
    Body,
    Scene,
    Start,
)
from vgen.playground.scene_rich import CHAINS, HELD_OUT_THEN, rich_split_of, sample_rich_scene
from vgen.playground.simulate import Trajectory, laws_of, simulate
from vgen.playground.worlds import WORLDS

RICH = WORLDS["rich"]
RUNS = [(scene, simulate(scene, RICH.frames)) for scene in map(RICH.sample, range(300))]
ROUNDING = 0.012  # float16, and how deep one substep may sink in

Chain = tuple[str, str]


def runs_of(*chains: Chain) -> list[tuple[Scene, Trajectory]]:
    chosen = [(scene, run) for scene, run in RUNS if (scene.event, scene.then) in chains]
    assert len(chosen) >= 12 * len(chains)
    return chosen


def first(run: Trajectory, kind: str, *bodies: int) -> int:
    return next(moment.frame for moment in run.moments if moment.kind == kind and moment.bodies == bodies)


def states(run: Trajectory) -> npt.NDArray[np.float64]:
    return run.states_NF3.astype(np.float64)


def forward(scene: Scene) -> int:
    return -1 if scene.direction == "left" else 1


def test_sixteen_scenes_are_the_committed_ones() -> None:
    lines = [line.split() for line in RICH_GOLDEN.read_text().splitlines() if not line.startswith("#")]
    assert [int(seed) for seed, _ in lines] == list(range(16))
    assert [rich_scene_digest(int(seed)) for seed, _ in lines] == [digest for _, digest in lines]


@settings(max_examples=150, derandomize=True, deadline=None)
@given(seed=st.integers(0, 2**63 - 1))
def test_a_scene_is_well_made(seed: int) -> None:
    scene = sample_rich_scene(seed)
    assert scene == sample_rich_scene(seed) and scene.fps == 16
    assert 1 <= len(scene.bodies) <= 4 and len(scene.starts) == len(scene.bodies)
    assert len({body.colour for body in scene.bodies}) == len(scene.bodies)
    assert len(scene.bystanders) == len(scene.bodies) - (2 if "hit" in (scene.event, scene.then) else 1)
    assert (scene.then is None) or (scene.event, scene.then) in CHAINS
    if "hit" in (scene.event, scene.then):
        assert scene.bodies[1].mass <= scene.bodies[0].mass
    for body, start in zip(scene.bodies, scene.starts, strict=True):
        assert WALL_X + body.radius <= start.x <= 1 - WALL_X - body.radius
        assert FLOOR_Y + body.radius <= start.y + 1e-9 and start.y <= 1 - body.radius


def test_shares_of_chains_events_and_bystanders() -> None:
    scenes = [scene for scene, _ in RUNS]
    assert sum(scene.then is not None for scene in scenes) / 300 == pytest.approx(0.45, abs=0.09)
    assert sum(bool(scene.bystanders) for scene in scenes) / 300 == pytest.approx(0.5, abs=0.09)
    assert {len(scene.bystanders) for scene in scenes} == {0, 1, 2} and max(len(s.bodies) for s in scenes) == 4
    chains = Counter((scene.event, scene.then) for scene in scenes if scene.then)
    singles = Counter(scene.event for scene in scenes if not scene.then)
    assert set(chains) == set(CHAINS) and set(singles) == set(EVENTS)
    assert min(*chains.values(), *singles.values()) >= 8
    assert {body.material for scene in scenes for body in scene.bodies} == set(MATERIALS)


def test_splits_keep_apart_what_must_not_meet_and_leave_everything_to_training() -> None:
    seeds = {}
    for split in SPLITS:
        members = list(RICH.scenes(split, 60))
        assert [rich_split_of(scene) for scene in members] == [split] * 60
        assert all((scene.seed >= HELD_OUT_FROM_SEED) == (split != "train") for scene in members)
        held = [
            (scene.bodies[0].colour, scene.event) in HELD_OUT_COMBINATIONS
            or (scene.then is not None and (scene.bodies[0].colour, scene.then) in HELD_OUT_THEN)
            for scene in members
        ]
        assert all(held) if split == "held_out_combination" else not any(held)
        seeds[split] = {scene.seed for scene in members}
    assert len(set.union(*seeds.values())) == 180
    for event, then in CHAINS:
        trained = {c for c in COLOURS if (c, event) not in HELD_OUT_COMBINATIONS and (c, then) not in HELD_OUT_THEN}
        assert len(trained) >= 4


def test_nothing_leaves_and_bystanders_never_move() -> None:
    for scene, run in RUNS:
        for index, body in enumerate(scene.bodies):
            x, y = states(run)[index, :, 0], states(run)[index, :, 1]
            reach = body.radius - ROUNDING
            assert (x >= WALL_X + reach).all() and (x <= 1 - WALL_X - reach).all(), scene.seed
            assert (y >= FLOOR_Y + reach).all() and (y <= 1 - reach).all(), scene.seed
        for index in range(len(scene.bodies) - len(scene.bystanders), len(scene.bodies)):
            moved = np.abs(states(run)[index] - states(run)[index, :1])
            assert moved.max() < 0.003, (scene.seed, index)


def test_bystanders_keep_away_from_all_that_moves_and_change_nothing() -> None:
    for scene, run in [(scene, run) for scene, run in RUNS if scene.bystanders][:60]:
        actors = len(scene.bodies) - len(scene.bystanders)
        for index in range(actors, len(scene.bodies)):
            for other in range(actors):
                apart = np.hypot(*(states(run)[index, :, :2] - states(run)[other, :, :2]).T)
                assert apart.min() > scene.bodies[index].radius + scene.bodies[other].radius + 0.02, scene.seed
        moments = [m for m in run.moments if min(m.bodies) >= actors]
        assert not moments, scene.seed


def test_a_ramp_or_pillar_comes_before_a_hit_that_pushes() -> None:
    for scene, run in runs_of(("ramp", "hit"), ("hide", "hit"), ("swing", "hit")):
        contact = first(run, "hits", 0, 1)
        x = states(run)[:, : RICH.native_frames, 0] * forward(scene)
        assert 12 <= contact <= 30
        assert np.abs(x[1, :contact] - x[1, 0]).max() < 0.003, scene.seed
        assert (x[1] - x[1, 0]).max() > 0.08, scene.seed
        assert x[0, contact] - x[0, 0] > 0.15
        if scene.event == "ramp":
            assert scene.starts[0].y - states(run)[0, contact, 1] > 0.09
            assert first(run, "touches_floor", 0) < contact
        if scene.event == "hide":
            assert 3 < first(run, "hidden", 0) < first(run, "reappears", 0) < contact
        if scene.event == "swing":
            assert scene.pivot is not None
            away = np.hypot(*(states(run)[0, :, :2] - (scene.pivot.x, scene.pivot.y)).T)
            assert np.ptp(away) < 0.01 and scene.bodies[0].radius + 0.03 < states(run)[0, :, 1].min() - FLOOR_Y


def test_a_ramp_comes_before_a_pillar() -> None:
    for scene, run in runs_of(("ramp", "hide")):
        slab = scene.occluder
        assert slab is not None
        hidden, shown = first(run, "hidden", 0), first(run, "reappears", 0)
        assert 6 < first(run, "touches_floor", 0) + 1 < hidden < shown < RICH.native_frames - 6
        out = (states(run)[0, : RICH.native_frames, 0] - slab.x) * forward(scene)
        assert out.max() > slab.half_width + scene.bodies[0].radius, scene.seed


def test_a_fall_comes_before_a_ramp() -> None:
    for scene, run in runs_of(("fall", "ramp")):
        x, y = states(run)[0, :, 0] * forward(scene), states(run)[0, :, 1]
        landing, foot = first(run, "touches_ramp", 0), first(run, "touches_floor", 0)
        assert abs(x[landing - 1] - x[0]) < 0.02 and y[0] - y[landing - 1] > 0.15
        assert landing + 6 < foot < 30 and x[foot] - x[landing] > 0.2, scene.seed


def test_a_roll_along_a_ledge_comes_before_a_fall() -> None:
    for scene, run in runs_of(("roll", "fall")):
        x, y = states(run)[0, :, 0] * forward(scene), states(run)[0, :, 1]
        assert scene.ledge is not None
        landing = first(run, "touches_floor", 0)
        off = int(np.flatnonzero(y < y[0] - 0.01)[0])
        assert off >= 8 and x[off] - x[0] > 0.1 and np.ptp(y[: off - 1]) < 0.012
        assert 5 < landing - off < 14 and landing < 34, scene.seed
        assert y[0] - y[landing] > 0.15


def test_single_events_are_over_in_time_as_in_the_first_world() -> None:
    alone = [(scene, run) for scene, run in RUNS if scene.then is None]
    for scene, run in alone:
        x = states(run)[0, : RICH.native_frames, 0]
        match scene.event:
            case "slide":
                assert first(run, "rests", 0) < RICH.native_frames
            case "hide":
                assert first(run, "hidden", 0) < first(run, "reappears", 0) < RICH.native_frames
            case "roll":
                assert ((np.diff(x) * forward(scene)) > 0).all(), scene.seed
            case "hit":
                assert first(run, "hits", 0, 1) < 16
            case "throw" | "fall":
                assert first(run, "touches_floor", 0) < 24


def dropped(material: Material) -> Trajectory:
    body = Body(shape="ball", colour="red", size="medium", material=material)
    start = (Start(x=0.5, y=0.8),)
    scene = Scene(
        seed=0, event="fall", direction=None, bodies=(body,), starts=start, palette=0, friction=0.3, restitution=0.7
    )
    return simulate(scene, 40)


def test_materials_bounce_as_they_are_said_to() -> None:
    peaks = {}
    for material in MATERIALS:
        y = states(dropped(material))[0, :, 1]
        landing = int(y[:14].argmin())
        peaks[material] = float(y[landing:].max() - FLOOR_Y - 0.085)
        bounce = 0.7 * MATERIALS[material].bounce  # height goes with the square of the speed that is given back
        assert peaks[material] == pytest.approx(bounce**2 * (0.8 - FLOOR_Y - 0.085), rel=0.2)
    assert peaks["rubber"] > peaks["plain"] > peaks["wooden"] > peaks["metal"]


def test_mass_decides_who_yields_in_a_hit() -> None:
    def pushed(material: Material) -> float:
        mover = Body(shape="ball", colour="red", size="medium", material="plain")
        target = Body(shape="ball", colour="blue", size="medium", material=material)
        starts = (Start(x=0.3, y=FLOOR_Y + 0.085, vx=0.4), Start(x=0.5, y=FLOOR_Y + 0.085))
        scene = Scene(
            seed=0, event="hit", direction="right", bodies=(mover, target), starts=starts, palette=0,
            friction=0.0, restitution=0.0,
        )  # fmt: skip
        x = states(simulate(scene, 12))[:, :, 0]
        speeds = (x[:, 9] - x[:, 7]) * 6
        # momentum before and after, whatever the elasticity
        assert mover.mass * speeds[0] + target.mass * speeds[1] == pytest.approx(mover.mass * 0.4, rel=0.03)
        elastic = 0.9 * MATERIALS[material].bounce
        assert speeds[1] - speeds[0] == pytest.approx(0.4 * elastic, rel=0.05)
        return float(speeds[1])

    assert pushed("wooden") > pushed("plain") > pushed("metal")
    assert Body(shape="box", colour="red", size="small").mass == pytest.approx(0.13**2)
    assert Body(shape="ball", colour="red", size="small", material="metal").mass == pytest.approx(
        MATERIALS["metal"].density * math.pi * 0.065**2
    )


def test_laws_are_of_both_events() -> None:
    chain = next(scene for scene, _ in RUNS if (scene.event, scene.then) == ("hide", "hit"))
    assert {"momentum", "permanence"} <= set(laws_of(chain))


def test_a_bad_seed_is_refused() -> None:
    with pytest.raises(InputError, match="seed -1 is out of range"):
        sample_rich_scene(-1)
