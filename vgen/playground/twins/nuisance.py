"""What may lie between a take and its clip without breaking a law: other timing, clutter, cameras, worse pictures.

A nuisance is a value put together from parts of three kinds; `draw_with` applies them in the order in which they would
come about: on the take, in front of the camera, on the picture. To add one: its entry in `NUISANCES`.
"""

import zlib
from dataclasses import dataclass
from typing import Protocol

from vgen.frames import Frames
from vgen.playground.twins.camera import STILL, Camera, margin_px, moved
from vgen.playground.twins.clutter import distracted, half_hidden
from vgen.playground.twins.draw import draw
from vgen.playground.twins.film import Take, Truth, World
from vgen.playground.twins.picture import H264, Blur, Light, Noise, PictureChange
from vgen.playground.twins.timing import at_fps, slowed

__all__ = [
    "NUISANCES",
    "Distractors",
    "FrameRate",
    "HalfHidden",
    "Nuisance",
    "SlowMotion",
    "TakeChange",
    "combined",
    "draw_with",
]


class TakeChange(Protocol):
    """Makes another take with the same truth, moved in time where need be; the same for the same seed."""

    def __call__(self, take: Take, seed: int) -> Take: ...


@dataclass(frozen=True, slots=True)
class SlowMotion:
    """`factor` of the speed at the same frame rate, 0.3 to 1."""

    factor: float

    def __call__(self, take: Take, seed: int) -> Take:
        return slowed(take, self.factor)


@dataclass(frozen=True, slots=True)
class FrameRate:
    """`factor` times as many frames per second."""

    factor: float

    def __call__(self, take: Take, seed: int) -> Take:
        return at_fps(take, take.film.fps * self.factor)


@dataclass(frozen=True, slots=True)
class Distractors:
    """`count` more things, away from the action."""

    count: int

    def __call__(self, take: Take, seed: int) -> Take:
        return distracted(take, self.count, seed)


@dataclass(frozen=True, slots=True)
class HalfHidden:
    """A narrow slab in front of an early part of the path."""

    def __call__(self, take: Take, seed: int) -> Take:
        return half_hidden(take, seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nuisance:
    """Several things that disturb, none of which breaks a law.

    Args:
        takes: changes of the take, in their order.
        grain: standard deviation of a texture on what stands still, as a share of its colour.
        camera: how the camera moves.
        pictures: changes of the finished frames, in their order.
    """

    takes: tuple[TakeChange, ...] = ()
    grain: float = 0.0
    camera: Camera = STILL
    pictures: tuple[PictureChange, ...] = ()


def combined(*nuisances: Nuisance) -> Nuisance:
    """All of them at once, in their order; the strongest grain and the largest moves of the camera count."""
    return Nuisance(
        takes=tuple(change for nuisance in nuisances for change in nuisance.takes),
        grain=max(nuisance.grain for nuisance in nuisances),
        camera=Camera(
            pan=max(nuisance.camera.pan for nuisance in nuisances),
            shake=max(nuisance.camera.shake for nuisance in nuisances),
            roll_deg=max(nuisance.camera.roll_deg for nuisance in nuisances),
        ),
        pictures=tuple(change for nuisance in nuisances for change in nuisance.pictures),
    )


_SHAKE = Nuisance(grain=0.06, camera=Camera(shake=0.012, roll_deg=0.3))  # a camera's motion shows on texture alone
_CRF_28 = Nuisance(pictures=(H264(28),))
_NOISE = Nuisance(pictures=(Noise(6.0),))

NUISANCES: dict[str, Nuisance] = {
    "none": Nuisance(),
    "grain": Nuisance(grain=0.08),
    "blur": Nuisance(pictures=(Blur(0.008),)),
    "noise": _NOISE,
    "dark": Nuisance(pictures=(Light(brightness=-0.12, contrast=0.75),)),
    "bright": Nuisance(pictures=(Light(brightness=0.10, contrast=1.1),)),
    "gamma": Nuisance(pictures=(Light(gamma=0.7),)),
    "h264": _CRF_28,
    "h264_hard": Nuisance(pictures=(H264(35),)),
    "fewer_frames": Nuisance(takes=(FrameRate(0.75),)),
    "more_frames": Nuisance(takes=(FrameRate(1.5),)),
    "slow": Nuisance(takes=(SlowMotion(0.6),)),
    "very_slow": Nuisance(takes=(SlowMotion(0.3),)),
    "pan": Nuisance(grain=0.06, camera=Camera(pan=0.12)),
    "shake": _SHAKE,
    "distractors": Nuisance(takes=(Distractors(2),)),
    "half_hidden": Nuisance(takes=(HalfHidden(),)),
    "phone": combined(_SHAKE, _NOISE, _CRF_28),
}


def draw_with(
    take: Take, world: World, nuisance: Nuisance, *, height: int, width: int, seed: int
) -> tuple[Frames, float, Truth]:
    """Draws a take with a nuisance.

    Args:
        take: what happens; twins drawn with the same seed are disturbed alike.
        world: how it looks.
        nuisance: one of `NUISANCES`, or put together by `combined`.
        height, width: pixels.
        seed: of all that the nuisance draws by lot, 0 to 2^63 - 1.

    Returns:
        clip_FYX3 uint8, its frames per second, and the truth in frames of this clip.

    Raises:
        InputError: as `draw`, or the take does not allow the nuisance (no room, no motion).
    """
    for index, change in enumerate(nuisance.takes):
        take = change(take, _key(seed, f"take {index}"))
    film = take.film
    margin = 0 if nuisance.camera == STILL else margin_px(nuisance.camera, height, width)
    frames_FYX3 = draw(
        film,
        world=world,
        height=height + 2 * margin,
        width=width + 2 * margin,
        px=min(height, width),
        grain=nuisance.grain,
        seed=_key(seed, "grain"),
    )
    if margin:
        frames_FYX3 = moved(
            frames_FYX3, nuisance.camera, height=height, width=width, fps=film.fps, seed=_key(seed, "camera")
        )
    for index, picture in enumerate(nuisance.pictures):
        frames_FYX3 = picture(frames_FYX3, _key(seed, f"picture {index}"))
    return frames_FYX3, film.fps, take.truth


def _key(seed: int, purpose: str) -> int:
    """A key of its own for each lot that is drawn."""
    return zlib.crc32(purpose.encode()) << 64 | seed
