"""The playground's worlds by name: how long their clips are, and who draws, splits and describes their scenes.

`first` is the small world that the embedded model and the judge know; `rich` adds materials, bystanders and two events
in a row. What looks back at clips of a world stands in `score.py`, which needs OpenCV.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from vgen.errors import InputError, nearest
from vgen.playground import caption, caption_rich, scene, scene_rich
from vgen.playground.caption import Claim
from vgen.playground.scene import Scene, Split

__all__ = ["WORLDS", "World", "world_named"]

_KEPT_SCENES = 8192  # training asks for the same few thousand scenes again and again


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A kind of scenes.

    Args:
        name: its key in `WORLDS`.
        fps: frames per second.
        native_frames: within these every event is over or plain to see.
        frames: of a whole clip.
        sample: the scene of a seed.
        split_of: which split a scene belongs to.
        caption, num_variants: texts of a scene, and how many there are.
        claim_of, parse: what a scene's texts claim, and what any text does.
        vocabulary: every word that its captions say, sorted.
    """

    name: str
    fps: int
    native_frames: int
    frames: int
    sample: Callable[[int], Scene]
    split_of: Callable[[Scene], Split]
    caption: Callable[[Scene, int], str]
    num_variants: Callable[[Scene], int]
    claim_of: Callable[[Scene], Claim]
    parse: Callable[[str], Claim]
    vocabulary: tuple[str, ...]

    def scenes(self, split: Split, count: int, start: int = 0) -> Iterator[Scene]:
        """`count` scenes of a split in order of their seeds, as `scene.scenes` gives those of the first world."""
        return scene.scenes_of(self.sample, self.split_of, split, count, start)


def world_named(name: str) -> World:
    """A world by its name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in WORLDS:
        raise InputError(f"unknown world '{name}'; {nearest(name, WORLDS)}")
    return WORLDS[name]


WORLDS: dict[str, World] = {
    "first": World(
        name="first",
        fps=scene.FPS,
        native_frames=scene.NATIVE_FRAMES,
        frames=scene.FRAMES,
        sample=scene.sample_scene,
        split_of=scene.split_of,
        caption=caption.caption,
        num_variants=caption.num_variants,
        claim_of=caption.claim_of,
        parse=caption.parse,
        vocabulary=caption.VOCABULARY,
    ),
    "rich": World(
        name="rich",
        fps=scene_rich.FPS,
        native_frames=scene_rich.NATIVE_FRAMES,
        frames=scene_rich.FRAMES,
        sample=lru_cache(maxsize=_KEPT_SCENES)(scene_rich.sample_rich_scene),
        split_of=scene_rich.rich_split_of,
        caption=caption_rich.rich_caption,
        num_variants=caption_rich.num_rich_variants,
        claim_of=caption_rich.rich_claim_of,
        parse=caption_rich.parse_rich,
        vocabulary=caption_rich.RICH_VOCABULARY,
    ),
}
