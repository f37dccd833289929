"""A run that is killed at any moment goes on to the very same frames, and nothing else passes for such a run."""

import json
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.folders import tiny_folder
from vgen.checkpoint import OURS, Checkpoint
from vgen.clip import Clip
from vgen.config import merge
from vgen.errors import InputError
from vgen.frames import digest_of
from vgen.pipeline import Run, VideoPipeline
from vgen.samplers import RolloutState

PROMPT = "a red ball rolls"
STORY = [{"at": 0, "prompt": PROMPT}, {"at": 0.8, "prompt": "a blue box falls"}]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> VideoPipeline:
    folder = tiny_folder(tmp_path_factory.mktemp("tiny"), layout="playground", trainings="full, causal, forcing")
    return VideoPipeline.from_pretrained(folder)


def start(pipeline: VideoPipeline, image: Any = None, base: Any = None, **values: object) -> Run:
    usual = {"request.seed": 1, "request.num_inference_steps": 3, "request.num_frames": 17}
    words = {} if "request.story" in values else {"request.prompt": PROMPT}
    run = pipeline.start(*merge(("test", usual | words | values)), image, base=base)
    assert isinstance(run, Run)
    return run


def frames_of(run: Run, checkpoint: Checkpoint | None = None, *, resume: bool = False) -> str:
    """Digest of the frames that a run yields, which its record must have too."""
    events = run.events(checkpoint, resume=resume, output={"suffix": ".mkv"})
    frames = np.concatenate([event.frames_FYX3 for event in events if event.frames_FYX3 is not None])
    assert run.record()["frames"]["sha256"] == digest_of(frames)
    return digest_of(frames)


def killed(run: Run, folder: Path) -> list[Path]:
    """What a kill would have left of the run's folder after each file that was put into it, a chunk being two."""
    copies: list[Path] = []
    real = Checkpoint._write

    def write(checkpoint: Checkpoint, name: str, tensors: Any) -> None:
        real(checkpoint, name, tensors)
        copies.append(shutil.copytree(folder, folder.with_name(f"killed-{len(copies):03d}.run")))

    with patch.object(Checkpoint, "_write", write):
        frames_of(run, Checkpoint(folder))
    return copies


CASES: dict[str, dict[str, Any]] = {
    "streaming": {"sampler.name": "streaming", "request.guidance_scale": 3.0},
    "a story, recached": {
        "sampler.name": "streaming",
        "sampler.window": 3,  # of 7 frames, so that what is seen under the second prompt expires too
        "sampler.on_prompt": "recache",
        "sampler.context_noise": 0.1,
        "request.story": STORY,
        "request.num_frames": 25,
    },
    "rolling-forcing": {"sampler.name": "rolling-forcing"},
    "ar-diffusion": {"sampler.name": "ar-diffusion"},
    "fifo": {"sampler.name": "fifo"},
    "ouroboros": {"sampler.name": "ouroboros"},
    "sparse attention": {"sampler.name": "streaming", "sampler.window": 5, "attention.name": "radial"},
    "multistep": {"sampler.name": "causal", "sampler.solver": "multistep"},
    "a story in clips": {"sampler.name": "story", "request.story": STORY, "sampler.on_prompt": "flush"},
    "an image": {"sampler.name": "causal"},
    "a clip": {"sampler.name": "streaming", "request.num_frames": 12},
}


@pytest.mark.parametrize("case", CASES)
def test_killed_at_any_chunk_a_run_goes_on_to_the_same_frames(
    pipeline: VideoPipeline, tmp_path: Path, case: str
) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (32, 48, 3), dtype=np.uint8) if case == "an image" else None
    base = Clip(frames=rng.integers(0, 256, (9, 32, 48, 3), dtype=np.uint8), fps=8) if case == "a clip" else None
    whole = frames_of(start(pipeline, image, base, **CASES[case]))
    gone_on = []
    copies = killed(start(pipeline, image, base, **CASES[case]), tmp_path / "a.run")
    for copy in copies if case == "streaming" else [*copies[:3], *copies[3::2]]:
        checkpoint = Checkpoint(copy)
        if not checkpoint.begun:  # killed within the first chunk
            with pytest.raises(InputError, match="had not finished its first chunk; generate it again"):
                checkpoint.record()
            checkpoint.check()
            continue
        run = start(pipeline, image, base, **CASES[case])
        assert frames_of(run, checkpoint, resume=True) == whole
        gone_on.append(run.record()["resumed_at"])
        assert json.loads((copy / "record.json").read_text())["seed"] == 1
    frames = start(pipeline, image, base, **CASES[case]).job.frames
    assert gone_on == sorted(gone_on) and gone_on[-1] == frames and len(set(gone_on)) >= 2


def test_killed_twice_and_left_in_the_middle_of_a_loop(pipeline: VideoPipeline, tmp_path: Path) -> None:
    values = {"sampler.name": "streaming"}
    whole = frames_of(start(pipeline, **values))
    for resume, chunks in ((False, 2), (True, 4)):
        events = start(pipeline, **values).events(Checkpoint(tmp_path / "a.run"), resume=resume, output=None)
        for _ in range(chunks):
            next(event for event in events if event.frames_FYX3 is not None)
        events.close()  # type: ignore[attr-defined]
    assert frames_of(start(pipeline, **values), Checkpoint(tmp_path / "a.run"), resume=True) == whole


@pytest.fixture
def folder(pipeline: VideoPipeline, tmp_path: Path) -> Path:
    """Of a run that was left when it had finished two latent frames."""
    path = tmp_path / "a.run"
    events = start(pipeline, **{"sampler.name": "streaming"}).events(Checkpoint(path), output=None)
    for _ in range(2):
        next(event for event in events if event.frames_FYX3 is not None)
    return path


def test_a_folder_holds_data_alone(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "latents-00000000.safetensors",
        "latents-00000001.safetensors",
        "record.json",
        "state.safetensors",
    ]
    assert not any("ache" in key or key.endswith((".k", ".v")) for key in load_file(folder / "state.safetensors"))


def go_on(pipeline: VideoPipeline, folder: Path) -> None:
    checkpoint = Checkpoint(folder)
    checkpoint.record()
    frames_of(start(pipeline, **{"sampler.name": "streaming"}), checkpoint, resume=True)


@pytest.mark.parametrize("name", ["latents-00000000.safetensors", "latents-00000001.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "cut", "empty", "foreign", "renamed"])
def test_damaged_latents_get_one_line(pipeline: VideoPipeline, folder: Path, name: str, damage: str) -> None:
    spoil(folder / name, damage)
    with pytest.raises(InputError, match=r"lacks latent frame [01]; generate it again|is damaged") as caught:
        go_on(pipeline, folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["missing", "cut", "empty", "foreign", "renamed"])
def test_a_damaged_state_gets_one_line(pipeline: VideoPipeline, folder: Path, damage: str) -> None:
    spoil(folder / "state.safetensors", damage)
    with pytest.raises(InputError, match=r"had not finished its first chunk|is damaged") as caught:
        go_on(pipeline, folder)
    assert "\n" not in str(caught.value)


def spoil(path: Path, damage: str) -> None:
    data = path.read_bytes()
    match damage:
        case "missing":
            path.unlink()
        case "renamed":
            path.rename(path.with_name("latents-x.safetensors"))
        case "cut":
            path.write_bytes(data[:-8])
        case "empty":
            path.write_bytes(b"")
        case "foreign":
            save_file({"weights": torch.ones(2, 2)}, path)


@pytest.mark.parametrize(
    "state",
    [
        {"step": torch.ones(2), "front": torch.tensor(1), "since": torch.tensor(0)},
        {"step": torch.tensor(1), "front": torch.tensor(1)},
        {"step": torch.tensor(1), "front": torch.tensor(1), "since": torch.tensor(0), "latent.x": torch.ones(1)},
    ],
)
def test_tensors_that_are_no_state_are_damage(folder: Path, state: dict[str, torch.Tensor]) -> None:
    save_file(state, folder / "state.safetensors")
    with pytest.raises(InputError, match="is damaged: it holds no state of a run"):
        Checkpoint(folder).state(None, CPU)


@pytest.mark.parametrize("text", [None, "", "[]", '{"a": NaN}'])
def test_a_damaged_record_gets_one_line(folder: Path, text: str | None) -> None:
    (folder / "record.json").unlink()
    if text is not None:
        (folder / "record.json").write_text(text)
    with pytest.raises(InputError, match=r"is no unfinished run|is not a record") as caught:
        Checkpoint(folder).record()
    assert "\n" not in str(caught.value)


def test_a_run_takes_the_place_of_nothing_that_must_stay(folder: Path, tmp_path: Path) -> None:
    unfinished, free = Checkpoint(folder), Checkpoint(tmp_path / "free.run")
    with pytest.raises(InputError, match=r"holds an unfinished run of this name; go on with it \(--resume .*a\.run\)"):
        unfinished.check()
    with pytest.raises(InputError, match="holds an unfinished run"):
        unfinished.begin({}, image_YX3=None, base=None)
    free.check()
    (tmp_path / "free.run").mkdir()
    free.check()
    (tmp_path / "free.run" / "notes.txt").write_text("mine")
    (tmp_path / "file.run").write_text("mine")
    (tmp_path / "link.run").symlink_to(tmp_path / "nowhere")
    for name in ("free", "file", "link"):
        with pytest.raises(InputError, match="it exists and is no run of vgen"):
            Checkpoint.beside(tmp_path / f"{name}.mp4").begin({}, image_YX3=None, base=None)
    assert (tmp_path / "free.run" / "notes.txt").read_text() == (tmp_path / "file.run").read_text() == "mine"


def test_a_run_that_had_nothing_yet_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.run"
    path.mkdir()
    for name in ("record.json", "image.png.partial-0a1b2c3d", "latents-00000000.safetensors", "base.partial.mkv"):
        (path / name).write_text("old")
    checkpoint = Checkpoint(path)
    base = Clip(frames=np.zeros((3, 16, 16, 3), np.uint8), fps=8, record={"schema": 2})
    checkpoint.begin({"schema": 2}, image_YX3=np.zeros((16, 16, 3), np.uint8), base=base)
    assert sorted(inner.name for inner in path.iterdir()) == ["base.mkv", "image.png", "record.json"]
    assert all(OURS.fullmatch(inner.name) for inner in path.iterdir())
    assert Clip.read(path / "base.mkv").sha256() == base.sha256()
    checkpoint.drop()
    assert not path.exists()


def test_finished_frames_come_back_in_any_portions(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "a.run")
    checkpoint.begin({}, image_YX3=None, base=None)
    latents = torch.randn(1, 4, 7, 2, 3)
    for first, stop in ((0, 1), (1, 4), (4, 7)):
        checkpoint.add(RolloutState(step=stop, front=stop), first, latents[:, :, first:stop])
    reader = Checkpoint(tmp_path / "a.run")
    for portion in (range(7), range(2, 5), range(6, 7), range(1)):
        assert torch.equal(reader.finished(portion), latents[:, :, portion.start : portion.stop])
    with pytest.raises(InputError, match="lacks latent frame 7"):
        reader.finished(range(6, 8))
    assert reader.state(None, CPU).front == 7
