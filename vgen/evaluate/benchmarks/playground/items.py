"""What the playground's benchmarks ask for: short clips of held-out prompts, and for a full run more.

    text, image   200 prompts; every other pair begins with a first frame
    long          32 prompts beyond those, four native lengths each, by the causal sampler and streamed in turns
    vae           the first 24 scenes as they really are, to be put through the model's own VAE

The last two stand evenly among the others, so that what is left of a run can be told from what is done.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from PIL import Image

from vgen.evaluate.benchmark import Item
from vgen.files import os_errors, replacing
from vgen.frames import Frames
from vgen.playground.render import render
from vgen.playground.scene import Scene, Split
from vgen.playground.score import HELD_OUT, held_out_turns
from vgen.playground.simulate import simulate
from vgen.playground.worlds import WORLDS

__all__ = ["Drawn", "drawn", "items_of"]

PROMPTS = 200
LONG = 32
LONG_TIMES = 4  # of the native length
LONG_SAMPLERS = ("causal", "streaming")
REDRAWN = 24
FIRST_FRAME_PX = 384


@dataclass(frozen=True, slots=True)
class Drawn:
    """The real clip of a scene, so many frames long; called with its height and width in pixels."""

    scene: Scene
    frames: int

    def __call__(self, height: int, width: int) -> Frames:
        return drawn(self.scene, height, width, self.frames)


def drawn(scene: Scene, height: int, width: int, frames: int) -> Frames:
    """A scene as it really goes, uint8 [F, Y, X, 3]."""
    return render([scene], [simulate(scene, frames)], height=height, width=width)[0].numpy()


def items_of(world: str, root: Path | None) -> Sequence[Item]:
    """All items; first frames are drawn to `root` where they are not there yet.

    Raises:
        InputError: the folder cannot be written.
    """
    assert root is not None, "the caller names a folder for first frames"
    turns = held_out_turns(PROMPTS + LONG, world)
    kinds = (
        [_short(number, world, *turn, root) for number, turn in enumerate(turns[:PROMPTS])],
        [_long(number, world, *turn) for number, turn in enumerate(turns[PROMPTS:])],
        [_redrawn(number, world, *turn) for number, turn in enumerate(turns[:REDRAWN])],
    )
    placed = [((number + 1) / len(kind), item) for kind in kinds for number, item in enumerate(kind)]
    return [item for _, item in sorted(placed, key=itemgetter(0))]


def _short(number: int, world: str, split: Split, scene: Scene, prompt: str, root: Path) -> Item:
    image = _first_frame(scene, root / f"{number:03d}.png") if number // len(HELD_OUT) % 2 else None
    task = "text" if image is None else "image"
    return Item(
        id=f"{number:03d}",
        prompt=prompt,
        file=f"{number:03d}.mp4",
        pattern=f"{number:03d}.*",
        stratum=f"{task}/{scene.event}" + (f"-{scene.then}" if scene.then else ""),
        image=image,
        number=number,
        data={"world": world, "scene": scene, "split": split, "task": task},
    )


def _long(number: int, world: str, split: Split, scene: Scene, prompt: str) -> Item:
    sampler = LONG_SAMPLERS[number % len(LONG_SAMPLERS)]
    frames = 1 + LONG_TIMES * (WORLDS[world].native_frames - 1)
    return Item(
        id=f"long/{number:02d}",
        prompt=prompt,
        file=f"long/{number:02d}.mp4",
        pattern=f"long/{number:02d}.*",
        stratum=f"long/{sampler}",
        seconds=frames / scene.fps,
        number=PROMPTS + number,
        only_full=True,
        values={"sampler.name": sampler},
        data={"world": world, "scene": scene, "split": split, "task": "long"},
    )


def _redrawn(number: int, world: str, split: Split, scene: Scene, prompt: str) -> Item:
    return Item(
        id=f"vae/{number:02d}",
        prompt=prompt,
        file=f"vae/{number:02d}.mkv",
        stratum=f"vae/{split}",
        number=number,
        only_full=True,
        redrawn=Drawn(scene, WORLDS[world].native_frames),
        data={"world": world, "scene": scene, "split": split, "task": "vae"},
    )


def _first_frame(scene: Scene, path: Path) -> Path:
    if not path.exists():
        with os_errors("make", path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        frames = drawn(scene, FIRST_FRAME_PX, FIRST_FRAME_PX, 1)
        with replacing(path) as partial:
            Image.fromarray(frames[0]).save(partial, format="PNG")
    return path
