"""Trajectories survive a file bit by bit, and stay small."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from vgen.errors import InputError
from vgen.playground.archive import load_trajectories, save_trajectories
from vgen.playground.scene import FRAMES, scenes
from vgen.playground.simulate import simulate

SCENES = list(scenes("train", 60))
RUNS = [simulate(scene) for scene in SCENES]


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    save_trajectories(tmp_path / "runs.safetensors", SCENES, RUNS)
    loaded_scenes, loaded_runs = load_trajectories(tmp_path / "runs.safetensors")
    assert loaded_scenes == SCENES
    for run, loaded in zip(RUNS, loaded_runs, strict=True):
        assert loaded.states_NF3.dtype == np.float16 and np.array_equal(loaded.states_NF3, run.states_NF3)
        assert loaded.moments == run.moments


def test_twenty_thousand_clips_of_full_length_fit_in_32_mib(tmp_path: Path) -> None:
    path = tmp_path / "runs.safetensors"
    save_trajectories(path, SCENES, RUNS)
    assert RUNS[0].frames == FRAMES == 65
    assert path.stat().st_size / len(SCENES) * 20_000 < 32 * 2**20


def test_other_files_and_other_worlds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs.safetensors"
    with pytest.raises(InputError, match="cannot read"):
        load_trajectories(path)
    path.write_text("no tensors")
    with pytest.raises(InputError, match="cannot read"):
        load_trajectories(path)
    save_file({"x": np.zeros(3)}, path)
    with pytest.raises(InputError, match="is no archive"):
        load_trajectories(path)
    save_trajectories(path, SCENES, RUNS)
    tensors = load_file(path)
    save_file(tensors | {"states_NF3": tensors["states_NF3"] + np.float16(0.25)}, path)
    with pytest.raises(InputError, match="does not fit scene"):
        load_trajectories(path)
    save_file(tensors | {"states_NF3": tensors["states_NF3"][:-1]}, path)
    with pytest.raises(InputError, match="does not fit the scenes"):
        load_trajectories(path)


def test_unequal_counts_and_lengths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one trajectory per scene"):
        save_trajectories(tmp_path / "x", SCENES, RUNS[:1])
    with pytest.raises(InputError, match="different lengths"):
        save_trajectories(tmp_path / "x", SCENES[:2], [RUNS[0], simulate(SCENES[1], 5)])
