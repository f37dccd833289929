"""The embedded benchmark on clips of its own world: what was promised is there, and each fault is found where it is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from vgen.clip import Clip
from vgen.evaluate.benchmark import Item, ItemError, Measures, Sample
from vgen.evaluate.benchmarks.playground import PLAYGROUND, PLAYGROUND_RICH
from vgen.evaluate.benchmarks.playground.looks import flicker, steepness
from vgen.evaluate.jury import Jury
from vgen.evaluate.runner import Task, evaluate, outcome_of, selected
from vgen.evaluate.sources import FolderSource
from vgen.evaluate.store import Shard, Store
from vgen.frames import Frames
from vgen.playground.detect_rich import rich_digest
from vgen.playground.render import render
from vgen.playground.scene import FPS, NATIVE_FRAMES
from vgen.playground.simulate import simulate

FAMILIES = ("instruction_following", "visual_consistency", "visual_fidelity", "rule_coherence")
SIDE_PX = 96


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    """Those of which a part is taken."""
    return [item for item in PLAYGROUND.items(tmp_path_factory.mktemp("first")) if not item.only_full]


def drawn(item: Item, frames: int = NATIVE_FRAMES) -> Frames:
    scene = item.data["scene"]
    return render([scene], [simulate(scene, frames)], height=SIDE_PX, width=SIDE_PX)[0].numpy()


def scored(item: Item, frames: Frames) -> Measures:
    clip = Clip(frames=frames, fps=float(FPS))
    return PLAYGROUND.score(item, Sample(path=Path("clip.mkv"), made=clip), Jury())


def broken(measures: Measures) -> dict[str, list[str]]:
    """Per family the checks that do not hold."""
    found = {name: [check for check, held in measures["checks"][name].items() if held is False] for name in FAMILIES}
    return {name: checks for name, checks in found.items() if checks}


def test_the_prompts_are_those_of_two_splits_with_first_frames_for_half(items: list[Item]) -> None:
    assert len(items) == 200 and len({item.id for item in items}) == 200 == len({item.file for item in items})
    assert {item.data["split"] for item in items} == {"held_out_seed", "held_out_combination"}
    assert sum(item.image is not None for item in items) == 100
    for split in ("held_out_seed", "held_out_combination"):
        assert sum(item.image is not None for item in items if item.data["split"] == split) == 50
    chosen = selected(items, 40)
    assert {item.stratum for item in chosen} == {item.stratum for item in items}


def test_a_first_frame_is_the_scene_s_and_is_drawn_once(items: list[Item]) -> None:
    one = next(item for item in items if item.image)
    assert one.image is not None
    small = cv2.resize(np.asarray(Image.open(one.image)), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - drawn(one, 1)[0]).mean() < 2
    stamp = one.image.stat().st_mtime_ns
    again = PLAYGROUND.items(one.image.parent)
    assert [item for item in again if not item.only_full] == items and one.image.stat().st_mtime_ns == stamp


def test_real_renders_are_perfect(items: list[Item], tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    chosen = selected(items, 200)[1:4]  # two from text or image, three events
    for one in chosen:
        Clip(frames=drawn(one), fps=float(FPS)).save(videos / f"{one.id}.mkv")
    source = FolderSource(folder=videos)
    task = Task(benchmark=PLAYGROUND, root=None, items=chosen, asked=chosen, source=source, jury=Jury())
    store = Store(tmp_path / "run", task.header, Shard())
    assert all(step.row.measures["exact"] for step in evaluate(task, store, shard=Shard(), resume=False))
    outcome = outcome_of(task, store.rows())
    found = {score.name: score for score in outcome.scores if not score.group}
    assert outcome.whole and outcome.scores[0].name == "average" and {*FAMILIES} < {*found}
    plausibility = found.pop("plausibility")  # of no law broken, which is not yet 1
    assert plausibility.figure.value is not None and plausibility.figure.value > 0.9
    assert plausibility.beside == {"renders": plausibility.figure.value}
    over_renders = found.pop("plausibility_over_renders").figure
    assert over_renders.value == 1 and over_renders.interval == (1, 1) and over_renders.count == 3
    for score in found.values():
        assert score.figure.value == 1 and score.figure.count == 3 and score.beside == {"renders": 1}
    for group in ("from text", "from image"):
        by_name = {score.name: score for score in outcome.scores if score.group == group}
        for name in ("overall", "objects", "event_and_direction"):
            assert by_name[name].figure.value == 1 == by_name[name].beside["renders"], (group, name)
        assert by_name["overall"].beside["chance"] in (0, None)  # None of a single clip
    assert {score.group for score in outcome.scores} == {"", "from text", "from image"} and not outcome.remarks


def shuffled(frames: Frames) -> Frames:
    return frames[np.random.default_rng(0).permutation(len(frames))]


def blurred(frames: Frames) -> Frames:
    return np.stack([cv2.GaussianBlur(frame, (0, 0), 3) for frame in frames])


def flickering(frames: Frames) -> Frames:
    steps = 10 * (-1) ** np.arange(len(frames))
    return np.clip(frames.astype(int) + steps[:, None, None, None], 0, 255).astype(np.uint8)


def vanishing(frames: Frames) -> Frames:
    empty = np.median(frames, axis=0, keepdims=True).astype(np.uint8)
    return np.concatenate([frames[:12], np.repeat(empty, len(frames) - 12, axis=0)])


FAULTS: dict[str, tuple[Callable[[Frames], Frames], dict[str, list[str]]]] = {
    "frozen": (
        lambda frames: np.repeat(frames[:1], len(frames), 0),
        {"instruction_following": ["event", "direction"], "rule_coherence": ["something_happens"]},
    ),
    "shuffled": (shuffled, {"rule_coherence": ["continuity"]}),
    "blurred": (blurred, {"visual_fidelity": ["sharp"]}),
    "another colour": (lambda frames: frames[..., ::-1].copy(), {"instruction_following": ["colours", "shapes"]}),
    "mirrored": (lambda frames: frames[:, :, ::-1].copy(), {"instruction_following": ["direction"]}),
    "flickering": (flickering, {"visual_fidelity": ["still_background"]}),
    "vanishing": (vanishing, {"visual_consistency": ["permanence"]}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_lowers_the_family_that_it_is_of_and_no_other(items: list[Item], fault: str) -> None:
    spoil, expected = FAULTS[fault]
    measures = scored(items[0], spoil(drawn(items[0])))  # a small red ball rolls to the right
    assert broken(measures) == expected
    for name in FAMILIES:
        share = measures["families"][name]
        assert share < 1 if name in expected else share in (1, None)
    assert broken(measures["real"]) == {}


def test_what_cannot_be_decided_is_left_out(items: list[Item]) -> None:
    frames = drawn(items[0])
    frozen = scored(items[0], np.repeat(frames[:1], len(frames), 0))
    assert frozen["checks"]["rule_coherence"]["mechanics"] is None and frozen["plausibility"] is None
    moving = scored(items[0], frames)
    asked, rows = items[:2], {items[0].id: frozen, items[1].id: moving}
    scores = {(s.group, s.name): s for s in PLAYGROUND.aggregate(asked, rows, Jury())}
    assert scores["", "plausibility"].figure.count == 1
    assert scores["", "rule_coherence"].figure.count == scores["", "average"].figure.count == 2


def test_a_first_frame_that_is_not_kept(items: list[Item]) -> None:
    other = next(item for item in items if item.image and item.data["scene"].bodies[0].colour == "red")
    blue = drawn(other)[..., ::-1].copy()
    assert "first_frame" in broken(scored(other, blue))["visual_consistency"]


@pytest.mark.parametrize(("shape", "said"), [((3, 96, 96), "3 frames"), ((8, 24, 96), "96x24")])
def test_a_clip_that_is_too_small_is_no_number(items: list[Item], shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(ItemError, match=f"{said}.*at least 4 of 32x32"):
        scored(items[0], np.zeros((*shape, 3), np.uint8))


def test_flicker_and_steepness_by_hand() -> None:
    still: Any = np.zeros((4, 32, 32, 3), np.uint8)
    assert flicker(still) == 0
    moving = still.copy()
    moving[1::2, :, :10] = 255  # less than half of the pixels change
    assert flicker(moving) == 0
    still[1::2] = 7
    assert flicker(still) == 7
    edge = np.zeros((2, 32, 32, 3), np.uint8)
    edge[:, :, 16:] = 100  # central differences: 50 on either side of the edge
    assert steepness(edge, (32, 32)) == pytest.approx(50)
    assert steepness(edge, (32, 32)) > steepness(blurred(edge), (32, 32))


def test_real_renders_of_the_rich_world_are_perfect_too(tmp_path: Path) -> None:
    rich = [*PLAYGROUND_RICH.items(tmp_path / "first")]
    assert len(rich) == 256 and sum(item.image is not None for item in rich) == 100
    chosen = [next(item for item in rich if item.data["scene"].then == then) for then in ("hit", "fall", None)]
    videos = tmp_path / "videos"
    videos.mkdir()
    for one in chosen:
        scene = one.data["scene"]
        frames = render([scene], [simulate(scene, 49)], height=SIDE_PX, width=SIDE_PX)[0].numpy()
        Clip(frames=frames, fps=float(scene.fps)).save(videos / f"{one.id}.mkv")
    task = Task(
        benchmark=PLAYGROUND_RICH,
        root=None,
        items=chosen,
        asked=chosen,
        source=FolderSource(folder=videos),
        jury=Jury(),
    )
    assert task.header["versions"]["detector"] == rich_digest()[:16]
    store = Store(tmp_path / "run", task.header, Shard())
    list(evaluate(task, store, shard=Shard(), resume=False))
    scores = {(score.group, score.name): score for score in outcome_of(task, store.rows()).scores}
    for (group, name), score in scores.items():
        if group.startswith("from") and "plausibility" not in name and score.figure.count:
            assert score.figure.value == 1 == score.beside["renders"], (group, name)
    for aspect, clips in (("order", 2), ("then", 2), ("colours", 3), ("event", 3), ("overall", 3)):
        assert sum(score.figure.count for (_, name), score in scores.items() if name == aspect) == clips, aspect
    followed = scores["", "instruction_following"]
    assert followed.figure.value == 1 and followed.beside == {"renders": 1}
