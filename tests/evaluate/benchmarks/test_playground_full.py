"""What only a full run asks: objects kept, long clips, seams and speed, the VAE; and bars that find each figure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgen.bench.accept import _at, read_bars
from vgen.clip import Clip
from vgen.evaluate.benchmark import Item, ItemError, Measures, Sample
from vgen.evaluate.benchmarks.playground import PLAYGROUND_RICH
from vgen.evaluate.benchmarks.playground.items import drawn
from vgen.evaluate.benchmarks.playground.keeping import census, keeps_first, keeps_going
from vgen.evaluate.benchmarks.playground.looks import FAMILIES
from vgen.evaluate.benchmarks.playground.seams import borders_of, run_of, seam_db
from vgen.evaluate.jury import Jury
from vgen.evaluate.runner import Outcome, Task, selected
from vgen.evaluate.sources import FolderSource
from vgen.evaluate.tables import as_dict
from vgen.frames import Frames
from vgen.playground.scene import COLOURS
from vgen.playground.see import see

SIDE_PX = 96
FPS = 16.0
RECORD = {
    "resolved": {
        "sampler.name": "streaming",
        "sampler.block": 3,
        "request.num_inference_steps": 4,
        "request.guidance_scale": 1.0,
        "request.fps": 16,
    },
    "chunks": [1, *[4] * 48],
    "frames": {"made": 193},
    "wall_s": 6.0,
    "machine": {"device": "a CPU", "threads": 2},
}
BORDERS = [*range(9, 193, 12)]


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    return [*PLAYGROUND_RICH.items(tmp_path_factory.mktemp("first"))]


def of_task(items: list[Item], task: str) -> list[Item]:
    return [item for item in items if item.data["task"] == task]


def scored(item: Item, clip: Clip) -> Measures:
    return PLAYGROUND_RICH.score(item, Sample(path=Path("clip.mkv"), made=clip), Jury())


# Items.


def test_a_full_run_adds_long_clips_and_the_vae_and_a_part_never_does(items: list[Item]) -> None:
    assert {task: len(of_task(items, task)) for task in ("text", "image", "long", "vae")} == {
        "text": 100,
        "image": 100,
        "long": 32,
        "vae": 24,
    }
    assert len({item.id for item in items}) == len({item.file for item in items}) == 256
    assert not any(item.only_full for item in selected(items, 256)) and len(selected(items, 256)) == 200
    long = of_task(items, "long")
    assert {round(item.seconds * FPS) for item in long if item.seconds} == {193}
    assert [item.values["sampler.name"] for item in long[:3]] == ["causal", "streaming", "causal"]
    prompts = {item.data["scene"].seed for item in items if not item.only_full}
    assert not prompts & {item.data["scene"].seed for item in long}  # no clip is counted twice


def test_what_takes_long_is_spread_so_that_the_rest_can_be_told(items: list[Item]) -> None:
    for share in (0.25, 0.5, 0.75):
        done = items[: round(share * len(items))]
        for task in ("text", "image", "long", "vae"):
            whole = len(of_task(items, task))
            assert abs(len(of_task(done, task)) - share * whole) <= 2, (share, task)


# Objects kept.


@pytest.fixture(scope="module")
def crowd(items: list[Item]) -> tuple[Item, Frames]:
    """A clip of several things."""
    item = next(item for item in of_task(items, "image") if len(item.data["scene"].bodies) >= 3)
    return item, drawn(item.data["scene"], SIDE_PX, SIDE_PX, 49)


def without(frames: Frames, colour: str, first: int) -> Frames:
    """As if a thing had vanished from a frame on: it has the backdrop's grey."""
    thing = next(thing for thing in see(frames) if thing.colour == colour)
    out = frames.copy()
    for frame in range(first, len(frames)):
        x, y, _ = thing.track_F3[frame]
        if np.isfinite(x):
            place = round(float(x) * SIDE_PX), round((1 - float(y)) * SIDE_PX)
            cv2.circle(out[frame], place, round(2.2 * thing.radius * SIDE_PX), (90, 90, 90), cv2.FILLED)
    return out


def kept(item: Item, frames: Frames) -> set[str]:
    found = keeps_first(frames, see(frames), item.data["scene"].bodies, FPS)
    return {name for name, held in found.items() if held}


def test_a_render_keeps_its_objects_and_each_fault_is_told(crowd: tuple[Item, Frames]) -> None:
    item, frames = crowd
    every = {"in_first_frame", "as_they_are", "at_the_end", "nothing_new"}
    assert kept(item, frames) == every
    main = item.data["scene"].bodies[0]
    assert kept(item, without(frames, main.colour, 30)) == every - {"at_the_end"}
    assert kept(item, without(frames, main.colour, 0)[:1].repeat(4, 0)) == {"nothing_new"}
    late = frames.copy()
    new = next(colour for colour in COLOURS if colour not in {body.colour for body in item.data["scene"].bodies})
    rgb = {"red": (200, 30, 30), "green": (40, 170, 40), "blue": (30, 60, 220), "yellow": (230, 210, 30)}
    rgb |= {"purple": (150, 40, 200), "white": (235, 235, 235)}
    late[-16:, 4:20, 4:20] = rgb[new]
    assert kept(item, late) == every - {"nothing_new"}


def test_a_thing_of_another_shape_is_another_thing(crowd: tuple[Item, Frames]) -> None:
    item, frames = crowd
    things = see(frames)
    bodies = item.data["scene"].bodies
    other = {"ball": "box", "box": "ball"}
    turned = [type(b)(shape=other[b.shape], colour=b.colour, size=b.size, material=b.material) for b in bodies]
    assert not keeps_first(frames, things, turned, FPS)["as_they_are"]


def test_a_census_counts_what_the_detector_takes_for_one(crowd: tuple[Item, Frames]) -> None:
    _, frames = crowd
    counted = census(frames)
    assert set(counted) == {thing.colour for thing in see(frames)} and set(counted.values()) == {1}
    twice = np.concatenate([frames, frames], axis=2)  # the same beside itself
    assert census(twice) == {colour: 2 for colour in counted}
    assert census(np.full((8, 96, 96, 3), 90, np.uint8)) == {}


COUNTS = st.dictionaries(st.sampled_from(COLOURS), st.integers(1, 3))


@given(COUNTS, COUNTS)
def test_what_is_kept_is_kept_and_what_is_not_is_not(before: dict[str, int], after: dict[str, int]) -> None:
    assert all(keeps_going(before, before).values()) == bool(before)
    found = keeps_going(before, after)
    if all(found.values()):
        assert before.keys() <= after.keys() and sum(before.values()) == sum(after.values())
    assert not any(keeps_going({}, after).values())
    if before:
        assert not keeps_going(before, after | {"pink": 1 + sum(before.values())})["count"]


# Seams and speed.


def test_borders_come_from_the_record() -> None:
    assert borders_of(RECORD) == BORDERS and BORDERS[:2] == [9, 21]
    assert borders_of(RECORD | {"resolved": {}}) == borders_of({}) == []
    assert borders_of(RECORD | {"chunks": [1, 4, 4]}) == []


def walk(jump: int, still: bool = False) -> Frames:
    """Grey whose brightness changes by 4 from frame to frame, and by `jump` more at a border; `still` there instead."""
    steps = np.full(193, 4)
    steps[BORDERS] = 0 if still else 4 + jump
    levels = 120 + np.cumsum(steps * (-1) ** np.arange(193))
    return np.repeat(levels.astype(np.uint8), 3).reshape(193, 1, 1, 3) * np.ones((1, 8, 8, 1), np.uint8)


def test_a_jump_at_borders_is_told_in_decibels() -> None:
    assert seam_db(walk(0), BORDERS) == pytest.approx(0)
    assert seam_db(walk(4), BORDERS) == pytest.approx(20 * np.log10(2), abs=1e-6)  # twice the change
    standing = seam_db(walk(0, still=True), BORDERS)
    assert standing is not None and standing < -20
    assert seam_db(walk(0), []) is None and seam_db(walk(0)[:1].repeat(193, 0), BORDERS) == 0
    assert seam_db(walk(0)[:2], [1]) is None  # nothing inside to hold it against


def test_motion_that_dies_down_is_no_seam() -> None:
    change = np.maximum(1, np.round(60 * 0.97 ** np.arange(193))) * (-1.0) ** np.arange(193)
    frames = np.clip(128 + change, 0, 255).astype(np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    seam = seam_db(frames, BORDERS)
    assert seam is not None and abs(seam) < 0.3


def test_speed_is_told_with_what_it_was_measured_on() -> None:
    run = run_of(RECORD)
    assert run["real_time"] == pytest.approx(193 / 6 / 16) and run["machine"] == "a CPU, 2 threads"


# Rows and scores.


def test_a_long_render_keeps_its_things_and_half_of_it_does_not_count(items: list[Item]) -> None:
    item = next(item for item in of_task(items, "long") if item.data["scene"].event != "hide")
    frames = drawn(item.data["scene"], SIDE_PX, SIDE_PX, 193)
    row = scored(item, Clip(frames=frames, fps=FPS, record=RECORD))
    assert row["kept"] == row["real"]["kept"] == {"colours": True, "count": True}
    assert row["seam_db"] == row["real"]["seam_db"] is not None and row["run"]["sampler"] == "streaming"
    lost = np.concatenate([frames[:100], np.full((93, SIDE_PX, SIDE_PX, 3), 90, np.uint8)])
    row = scored(item, Clip(frames=lost, fps=FPS))
    assert row["kept"] == {"colours": False, "count": False} and row["seam_db"] is None and row["run"] is None
    with pytest.raises(ItemError, match=r"6\.25 s; 12\.06 s were asked for"):
        scored(item, Clip(frames=frames[:100], fps=FPS))


def test_a_clip_through_a_vae_is_held_against_the_clip_itself(items: list[Item]) -> None:
    item = of_task(items, "vae")[0]
    assert item.redrawn is not None
    frames = item.redrawn(48, 64)
    assert frames.shape == (49, 48, 64, 3)
    assert scored(item, Clip(frames=frames, fps=FPS))["psnr_db"] == 100
    spoilt = np.where(frames < 128, frames + 10, frames - 10).astype(np.uint8)
    assert scored(item, Clip(frames=spoilt, fps=FPS))["psnr_db"] == pytest.approx(20 * np.log10(25.5))


def seen(item: Item) -> dict[str, Any]:
    """What a detector should say of a scene."""
    scene = item.data["scene"]
    moments = [[event, float(place)] for place, event in enumerate((scene.event, scene.then)) if event is not None]
    bodies = [[body.colour, body.shape] for body in scene.bodies]
    return {"things": bodies, "event": scene.event, "direction": scene.direction, "moments": moments}


def perfect(item: Item) -> dict[str, Any]:
    """The row of a clip that is as it should be."""
    going = {"kept": {"colours": True, "count": True}, "seam_db": 0.0}
    if item.data["task"] == "long":
        run = run_of(RECORD) | {"sampler": item.values["sampler.name"]}
        return going | {"real": going, "run": run}
    if item.data["task"] == "vae":
        return {"psnr_db": 35.0}
    names = ("in_first_frame", "as_they_are", "at_the_end", "nothing_new")
    looked = {"families": dict.fromkeys(FAMILIES, 1.0), "plausibility": 0.9, "seen": seen(item)}
    looked |= {} if item.image is None else {"kept": dict.fromkeys(names, True)}
    return looked | {"real": looked}


def figures(items: list[Item], rows: Mapping[str, Measures]) -> dict[str, Any]:
    """What a run prints as JSON."""
    task = Task(
        benchmark=PLAYGROUND_RICH,
        root=None,
        items=items,
        asked=items,
        source=FolderSource(folder=Path()),
        jury=Jury(),
    )
    scores = PLAYGROUND_RICH.aggregate(items, rows, Jury())
    assert PLAYGROUND_RICH.remarks is not None
    return as_dict(Outcome(task=task, rows={}, scores=scores, remarks=PLAYGROUND_RICH.remarks(items, rows)))


def test_every_bar_of_a_full_run_finds_its_figure(items: list[Item]) -> None:
    told = figures(items, {item.id: perfect(item) for item in items})
    full = ("vgen", "evaluate", "playground")
    bars = [bar for bar in read_bars() if bar.area == "playground" and bar.command[:3] == full]
    assert len(bars) == 10
    for bar in bars:
        value, interval = _at(told, bar.quantity), _at(told, bar.interval or "")
        assert value is not None and bar.met_by(value) and len(interval) == 2, bar.name
    assert told["remarks"] == [
        f"Long clips, {sampler}: 4 steps, guidance 1, on a CPU, 2 threads." for sampler in ("causal", "streaming")
    ]


def test_a_figure_is_of_its_own_task_alone(items: list[Item]) -> None:
    rows = {item.id: perfect(item) for item in items}
    for item in of_task(items, "image"):
        rows[item.id] |= {"seen": {"things": [], "event": None, "direction": None, "moments": []}}
    told = figures(items, rows)
    for name in ("objects", "event_and_direction", "order"):
        assert _at(told, f"scores.from text: {name}.value") == 1
        assert _at(told, f"scores.from image: {name}.value") == 0
        assert _at(told, f"scores.from image: {name}.beside.renders") == 1
    assert _at(told, "scores.from text: objects.beside.chance") < 0.2
    assert _at(told, "scores.from text: order.clips") == sum(bool(i.data["scene"].then) for i in of_task(items, "text"))


def test_who_is_no_model_is_told_what_is_left_out(items: list[Item], tmp_path: Path) -> None:
    others = [item for item in items if item.redrawn is None]
    rows = {item.id: perfect(item) | ({"run": None, "seam_db": None} if item.only_full else {}) for item in others}
    told = figures(others, rows)
    assert told["remarks"] == [
        "Left out, since only --model can be asked: seams and speed of long clips and the VAE's PSNR."
    ]
    assert _at(told, "scores.long clips: colours_and_count.value") == 1
    assert _at(told, "scores.long clips: seam_db") is None and _at(told, "scores.vae: psnr_db") is None
    short = [item for item in items if not item.only_full]
    assert figures(short, {item.id: perfect(item) for item in short})["remarks"] == []
    (tmp_path / "000.mkv").write_bytes(b"x")
    task = Task.of(PLAYGROUND_RICH, root=tmp_path / "first", source=FolderSource(folder=tmp_path), jury=Jury(), limit=0)
    assert task.left_out == 24 and len(task.asked) == 232
