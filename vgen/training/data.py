"""Clips of the playground for training, drawn when they are needed: a scene costs a few milliseconds.

The data index is a scene seed: a batch takes the next seeds that belong to the training split, so that a run which goes
on from committed weights goes on in the data too.
"""

from itertools import count

import torch
from torch import Tensor

from vgen.playground.render import render
from vgen.playground.scene import Scene
from vgen.playground.simulate import Trajectory, simulate
from vgen.playground.worlds import world_named

__all__ = ["crops", "held_out_clips", "next_scenes", "to_model_range"]

_FOLLOW = 0.75  # share of crops that are centred near a body; the rest falls anywhere


def next_scenes(index: int, batch: int, world: str = "first") -> tuple[list[Scene], int]:
    """The next training scenes of a world from seed `index` on, and the seed to go on from."""
    place = world_named(world)
    found: list[Scene] = []
    for seed in count(index):
        scene = place.sample(seed)
        if place.split_of(scene) == "train":
            found.append(scene)
        if len(found) == batch:
            return found, seed + 1
    raise AssertionError("unreachable: seeds do not end")


def crops(
    index: int, *, batch: int, frames: int, size: int, crop: int, generator: torch.Generator, world: str = "first"
) -> tuple[Tensor, int]:
    """Square crops of training clips, most of them with a body in sight.

    Args:
        index: seed of the first scene.
        batch: B.
        frames: F; one stretch of the clip, the same for the whole batch.
        size: rows and columns of the whole picture.
        crop: rows and columns of a crop; `size` for whole pictures.
        generator: of places and stretch.
        world: a key of `WORLDS`.

    Returns:
        video_BCFYX in -1..1, and the seed to go on from.
    """
    whole = world_named(world).frames
    drawn, index = next_scenes(index, batch, world)
    start = int(torch.randint(whole - frames + 1, (), generator=generator))
    trajectories = [simulate(scene, whole) for scene in drawn]
    clip_BFYX3 = render(drawn, trajectories, height=size, width=size, frames=slice(start, start + frames))
    corners = [_corner(t, start + frames // 2, size, crop, generator) for t in trajectories]
    cut = [clip[:, y : y + crop, x : x + crop] for clip, (y, x) in zip(clip_BFYX3, corners, strict=True)]
    return to_model_range(torch.stack(cut)), index


def held_out_clips(
    split: str, count: int, *, size: int, frames: int, world: str = "first"
) -> tuple[list[Scene], Tensor]:
    """The first scenes of a world's held-out split, and their clips, uint8 [B, F, Y, X, 3]."""
    place = world_named(world)
    drawn = list(place.scenes(split, count))  # type: ignore[arg-type]  # `scenes` refuses an unknown split itself
    moved = [simulate(scene, place.frames) for scene in drawn]
    return drawn, render(drawn, moved, height=size, width=size, frames=slice(0, frames))


def to_model_range(clip_BFYX3: Tensor) -> Tensor:
    """uint8 pictures as video_BCFYX in -1..1."""
    return clip_BFYX3.permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def _corner(trajectory: Trajectory, frame: int, size: int, crop: int, generator: torch.Generator) -> tuple[int, int]:
    """Top and left of a crop."""
    room = size - crop
    u, jitter_y, jitter_x = torch.rand(3, generator=generator).tolist()
    if u > _FOLLOW:
        return round(jitter_y * room), round(jitter_x * room)
    x, y = (float(v) for v in trajectory.states_NF3[0, frame, :2])
    top = (1 - y) * size - crop / 2 + (jitter_y - 0.5) * crop
    left = x * size - crop / 2 + (jitter_x - 0.5) * crop
    return min(max(round(top), 0), room), min(max(round(left), 0), room)
