"""Many simulated scenes in one small file: safetensors with seeds, float16 states and moments.

Scenes are not stored: their seeds are, and `sample_scene` makes them again. A clip of 65 frames takes about half a
kilobyte.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vgen.errors import InputError
from vgen.playground.scene import Scene, sample_scene
from vgen.playground.simulate import MOMENTS, Moment, Trajectory

__all__ = ["load_trajectories", "save_trajectories"]

_NO_BODY = -1
_KEYS = {"seeds_B", "states_NF3", "moments_per_clip_B", "moments"}


def save_trajectories(path: Path, scenes: Sequence[Scene], trajectories: Sequence[Trajectory]) -> None:
    """Writes scenes and their trajectories, all of one length.

    Raises:
        InputError: for no or unequally many scenes and trajectories, or unequal lengths.
    """
    from safetensors.numpy import save_file

    if not scenes or len(scenes) != len(trajectories):
        raise InputError(
            f"one trajectory per scene is needed, got {len(scenes)} scenes and {len(trajectories)} trajectories"
        )
    if len({trajectory.frames for trajectory in trajectories}) > 1:
        raise InputError("trajectories of different lengths cannot share a file; save them apart")
    rows = [_row_of(moment) for trajectory in trajectories for moment in trajectory.moments]
    tensors = {
        "seeds_B": np.array([scene.seed for scene in scenes], np.int64),
        "states_NF3": np.concatenate([trajectory.states_NF3 for trajectory in trajectories]),
        "moments_per_clip_B": np.array([len(trajectory.moments) for trajectory in trajectories], np.int32),
        "moments": np.array(rows, np.int16).reshape(-1, 4),
    }
    save_file(tensors, path)


def load_trajectories(path: Path) -> tuple[list[Scene], list[Trajectory]]:
    """Reads what `save_trajectories` wrote.

    Raises:
        InputError: where the file is missing, is no such archive, or was made by a version whose scenes differ.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot read trajectories from {path}: {error}") from error
    if set(tensors) != _KEYS:
        raise InputError(f"{path} is no archive of trajectories: it holds {sorted(tensors)}, not {sorted(_KEYS)}")
    scenes = [sample_scene(int(seed)) for seed in tensors["seeds_B"]]
    ends_of_bodies = np.cumsum([len(scene.bodies) for scene in scenes])
    ends_of_moments = np.cumsum(tensors["moments_per_clip_B"])
    if ends_of_bodies[-1] != len(tensors["states_NF3"]) or ends_of_moments[-1] != len(tensors["moments"]):
        raise InputError(f"{path} does not fit the scenes of this version; simulate its seeds anew")
    states = np.split(tensors["states_NF3"], ends_of_bodies[:-1])
    moments = np.split(tensors["moments"], ends_of_moments[:-1])
    trajectories = [
        Trajectory(states_NF3, tuple(_moment_of(row) for row in rows.tolist()))
        for states_NF3, rows in zip(states, moments, strict=True)
    ]
    for scene, trajectory in zip(scenes, trajectories, strict=True):
        start = np.array([(start.x, start.y) for start in scene.starts], np.float16)
        if not np.array_equal(trajectory.states_NF3[:, 0, :2], start):
            raise InputError(f"{path} does not fit scene {scene.seed} of this version; simulate its seeds anew")
    return scenes, trajectories


def _row_of(moment: Moment) -> tuple[int, int, int, int]:
    second = moment.bodies[1] if len(moment.bodies) > 1 else _NO_BODY
    return MOMENTS.index(moment.kind), moment.frame, moment.bodies[0], second


def _moment_of(row: list[int]) -> Moment:
    kind, frame, first, second = row
    return Moment(kind=MOMENTS[kind], frame=frame, bodies=(first,) if second == _NO_BODY else (first, second))
