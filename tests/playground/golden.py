"""Digests of the first sixteen scenes of each world, and how to make them anew: `python -m tests.playground.golden`."""

import hashlib
from pathlib import Path

import numpy as np

from vgen.playground.scene import sample_scene
from vgen.playground.scene_rich import sample_rich_scene
from vgen.playground.simulate import simulate
from vgen.playground.worlds import WORLDS

GOLDEN = Path(__file__).with_name("scene_digests.txt")
RICH_GOLDEN = Path(__file__).with_name("rich_scene_digests.txt")
HEADER = "# sha256 of scenes 0 to 15: cast and states to 1/1000; made by `python -m tests.playground.golden`\n"


def scene_digest(seed: int) -> str:
    """sha256 of a scene's cast and of its states, rounded to what every machine agrees on."""
    scene = sample_scene(seed)
    cast = repr((scene.event, scene.direction, scene.palette, [(b.shape, b.colour, b.size) for b in scene.bodies]))
    states = np.rint(simulate(scene).states_NF3.astype(np.float64) * 1000).astype("<i4")
    return hashlib.sha256(cast.encode() + states.tobytes()).hexdigest()


def rich_scene_digest(seed: int) -> str:
    """The same of a rich scene, for its native length."""
    scene = sample_rich_scene(seed)
    bodies = [(b.shape, b.colour, b.size, b.material) for b in scene.bodies]
    cast = repr((scene.event, scene.then, scene.direction, scene.palette, bodies))
    states_NF3 = simulate(scene, WORLDS["rich"].native_frames).states_NF3
    states = np.rint(states_NF3.astype(np.float64) * 1000).astype("<i4")
    return hashlib.sha256(cast.encode() + states.tobytes()).hexdigest()


if __name__ == "__main__":
    for path, digest_of in ((GOLDEN, scene_digest), (RICH_GOLDEN, rich_scene_digest)):
        path.write_text(HEADER + "".join(f"{seed} {digest_of(seed)}\n" for seed in range(16)))
