"""Observations made by hand, for tests of what comes after perception: things on given paths, seen perfectly."""

from collections.abc import Sequence

import numpy as np

from vgen.clip import Clip
from vgen.judge.observation import OUTLINE_DIRECTIONS, Camera, Event, Floats, Observation, Sight, Track
from vgen.judge.rule import Group, Measured, Measurement, Rule

__all__ = ["FPS", "HEIGHT", "WIDTH", "falling", "measurement", "observation", "painted", "rule", "track"]

HEIGHT, WIDTH, FPS = 96, 128, 12.0


def track(index: int, xy_F2: Floats, *, radius: float = 6.0, lab: tuple[float, float, float] = (50, 60, 40)) -> Track:
    """A disc on a path; NaN rows are LOST."""
    frames = len(xy_F2)
    lost = np.isnan(xy_F2[:, 0])
    box = np.concatenate([xy_F2 - radius, xy_F2 + radius], axis=1)
    return Track(
        id=index,
        xy_F2=xy_F2,
        sigma_px=0.1,
        sight_F=np.where(lost, Sight.LOST, Sight.SEEN).astype(np.uint8),
        area_px_F=np.where(lost, np.nan, np.pi * radius**2),
        box_F4=box,
        outline_px_FA=np.where(lost[:, None], np.nan, np.full((frames, OUTLINE_DIRECTIONS), radius)),
        angle_F=np.full(frames, np.nan),
        lab_F3=np.where(lost[:, None], np.nan, np.array(lab)),
        surface_px_F=np.where(lost, np.nan, 80 - xy_F2[:, 1] - radius),
    )


def observation(
    tracks: Sequence[Track] = (),
    *,
    frames: int = 24,
    events: Sequence[Event] = (),
    cuts: tuple[int, ...] = (),
    shot: tuple[int, int] | None = None,
    motion_share: float = 0.02,
    churn: float = 0.0,
    clutter: float = 0.0,
    inliers: float = 1.0,
) -> Observation:
    frames = len(tracks[0].xy_F2) if tracks else frames
    return Observation(
        num_frames=frames,
        fps=FPS,
        height=HEIGHT,
        width=WIDTH,
        camera=Camera(
            to_reference_F33=np.tile(np.eye(3), (frames, 1, 1)),
            inliers_F=np.full(frames, inliers),
            reference=0,
            moving=False,
        ),
        tracks=tuple(tracks),
        events=tuple(events),
        cuts=cuts,
        shot=(0, frames) if shot is None else shot,
        motion_share=motion_share,
        churn=churn,
        clutter=clutter,
    )


def falling(*, jump_px: float = 0.0, frames: int = 24) -> Observation:
    """A ball in free flight that jumps to the right at frame 12, and a still box."""
    t = np.arange(frames, dtype=float)
    xy_F2 = np.stack([20 + 3 * t + jump_px * (t >= 12), 20 + 0.1 * t**2], axis=1)
    turn = Event(kind="turn", frame=12, sigma_frames=0.5, tracks=(0,), xy=(56, 34), strength=jump_px)
    still = track(1, np.tile([100.0, 74.0], (frames, 1)), lab=(50, -40, 30))
    return observation([track(0, xy_F2), still], events=[turn] if jump_px else [])


def painted(seen: Observation) -> Clip:
    """A clip that shows the tracks of an observation as squares."""
    pixels = np.full((seen.num_frames, seen.height, seen.width, 3), 200, np.uint8)
    for thing, colour in zip(seen.tracks, ((200, 40, 40), (40, 160, 60), (40, 60, 200)), strict=False):
        for frame, box in enumerate(thing.box_F4):
            if not np.isnan(box).any():
                left, top, right, bottom = np.clip(np.rint(box), 0, 4096).astype(int)
                pixels[frame, top:bottom, left:right] = colour
    return Clip(frames=pixels, fps=seen.fps)


def measurement(
    strength: float, *, frames: tuple[int, int] = (11, 12), objects: tuple[int, ...] = (0,), text: str = "it jumps"
) -> Measurement:
    return Measurement(
        strength=strength,
        frames=frames,
        objects=objects,
        quantity="step, diameters",
        value=strength,
        expected=0.0,
        sigma=0.01,
        text=text,
    )


def rule(name: str, measured: Measured, *, group: Group = "continuity", motion: bool = True) -> Rule:
    """A rule that always measures the same."""
    return Rule(name=name, group=group, statement=f"The law of {name}.", measure=lambda seen: measured, motion=motion)
