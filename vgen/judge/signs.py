"""How much of what a prompt says the judge has seen: named colours, the way something goes, what it does.

Shapes are left out: the outlines that perception draws round soft, generated things do not tell a ball from a box.

Read by the playground's grammar, looked for in tracks; an own reading, which shares no line with the playground's
detector, so that a search may choose by one and be reported on by the other. Signs are of the main thing: the one of
the colour that is named first, else the one that goes farthest. A new event is a line of `SIGNS`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vgen.judge.observation import Floats, Observation, Sight, Track
from vgen.playground.caption import parse
from vgen.playground.scene import Colour, Event

__all__ = ["SIGNS", "Path", "kept"]

# CIE L*a*b* hue in degrees of the middle of each colour, and how far from it another colour begins
HUES_DEG: dict[Colour, float] = {"red": 33.0, "yellow": 85.0, "green": 140.0, "blue": 270.0, "purple": 318.0}
HUE_REACH_DEG = 30.0
GREY = 16.0  # chroma below which a colour has no hue
FAR = 0.1  # of the picture's shorter side: a move that is none by chance
STILL = 0.25  # of its fastest speed, below which a thing slows down or stands
ON_GROUND = 0.35  # of its diameter above what it could stand on


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Path:
    """Where the main thing was, in shorter sides of the picture; y grows downwards.

    Args:
        xy_N2: of the frames that show it.
        frames: of those, their numbers.
        above_N: free space below it in its diameters, NaN where that is unknown.
        hidden: whether something stood in front of it between two sights of it.
        others: how far each other thing moved.
    """

    xy_N2: Floats
    frames: Floats
    above_N: Floats
    hidden: bool
    others: tuple[float, ...]

    @property
    def span_2(self) -> Floats:
        """Largest less smallest of x and y."""
        return np.ptp(self.xy_N2, axis=0)

    @property
    def grounded(self) -> float:
        """Share of its frames in which it lies on something, of those that tell."""
        told = self.above_N[np.isfinite(self.above_N)]
        return float(np.mean(told < ON_GROUND)) if told.size else 0.5

    @property
    def speed_N(self) -> Floats:
        """Sideways, per frame, of neighbouring sights."""
        return np.abs(np.diff(self.xy_N2[:, 0])) / np.diff(self.frames)


def kept(prompt: str, seen: Observation) -> float | None:
    """The share of a prompt's signs that a clip shows; None for a prompt without any.

    Args:
        prompt: any words; those that the playground's grammar does not know say nothing.
        seen: what perception made of the clip.

    Returns:
        0..1; 0 too where nothing moves at all, since then nothing of it is shown.
    """
    claim = parse(prompt)
    bodies = [track for track in seen.tracks if track.kind == "body"]
    signs = [any(_has_colour(body, colour) for body in bodies) for colour in claim.colours]
    main = _main(bodies, claim.colours[:1])
    path = None if main is None else _path(seen, main, bodies)
    if claim.event is not None:
        signs.append(path is not None and SIGNS[claim.event](path))
    if claim.direction is not None:
        signs.append(path is not None and _goes(path, +1.0 if claim.direction == "right" else -1.0))
    return float(sum(map(bool, signs)) / len(signs)) if signs else None


def _main(bodies: list[Track], colours: tuple[Colour, ...]) -> Track | None:
    alike = [body for body in bodies if colours and _has_colour(body, colours[0])]
    return max(alike or bodies, key=_travel, default=None)


def _has_colour(track: Track, colour: Colour) -> bool:
    lab_3 = np.nanmedian(track.lab_F3[track.sight_F <= Sight.PARTLY], axis=0)
    chroma = float(np.hypot(lab_3[1], lab_3[2]))
    if colour == "white":
        return bool(chroma < GREY and lab_3[0] > 60)
    hue_deg = float(np.degrees(np.arctan2(lab_3[2], lab_3[1])))
    apart = abs((hue_deg - HUES_DEG[colour] + 180) % 360 - 180)
    return chroma >= GREY and apart < HUE_REACH_DEG


def _travel(track: Track) -> float:
    shown = track.xy_F2[track.sight_F <= Sight.PARTLY]
    return float(np.linalg.norm(np.ptp(shown, axis=0))) if len(shown) else 0.0


def _path(seen: Observation, track: Track, bodies: list[Track]) -> Path | None:
    frames = np.flatnonzero((track.sight_F <= Sight.PARTLY) & np.isfinite(track.xy_F2[:, 0]))
    if len(frames) < 4:
        return None
    side_px = min(seen.height, seen.width)
    between = track.sight_F[frames[0] : frames[-1]]
    return Path(
        xy_N2=track.xy_F2[frames] / side_px,
        frames=frames.astype(np.float64),
        above_N=track.surface_px_F[frames] / track.diameter_px,
        hidden=bool(np.any((between == Sight.OCCLUDED) | (between == Sight.LOST))),
        others=tuple(_travel(body) / side_px for body in bodies if body is not track),
    )


def _goes(path: Path, side: float) -> bool:
    """Whether it gets farthest from its start on a side."""
    away_N = path.xy_N2[:, 0] - path.xy_N2[0, 0]
    farthest = float(away_N[np.abs(away_N).argmax()])
    return abs(farthest) > FAR and np.sign(farthest) == side


def _falls(path: Path) -> bool:
    width, height = path.span_2
    lowest = int(path.xy_N2[:, 1].argmax())
    return bool(height > 2 * FAR and width < height / 2 and path.xy_N2[lowest, 1] - path.xy_N2[0, 1] > 2 * FAR)


def _travels_on_ground(path: Path) -> bool:
    width, height = path.span_2
    return bool(width > 2 * FAR and height < max(0.15 * width, 0.6 * FAR))


def _late_speed(path: Path) -> float:
    """Speed in the last third over that in the first."""
    speed_N = path.speed_N
    third = max(1, len(speed_N) // 3)
    return float(np.mean(speed_N[-third:])) / max(float(np.mean(speed_N[:third])), 1e-6)


def _rolls(path: Path) -> bool:
    return _travels_on_ground(path) and _late_speed(path) > STILL


def _slides(path: Path) -> bool:
    return _travels_on_ground(path) and _late_speed(path) < 2 * STILL


def _is_thrown(path: Path) -> bool:
    y_N = path.xy_N2[:, 1]
    top = int(y_N.argmin())
    return bool(y_N[0] - y_N[top] > 0.7 * FAR and path.span_2[0] > FAR and top > 0)


def _descends(path: Path) -> bool:
    y_N = path.xy_N2[:, 1]
    sinks, rises = np.median(y_N[-4:]) - y_N[0], y_N[0] - y_N.min()
    return bool(sinks > 0.6 * FAR and rises < 0.6 * FAR and path.span_2[0] > 2 * FAR)


def _swings(path: Path) -> bool:
    x_N = path.xy_N2[:, 0]
    width, height = path.span_2
    turns = np.flatnonzero(np.diff(np.sign(np.diff(x_N[:: max(1, len(x_N) // 12)]))))
    return bool(width > FAR and len(turns) >= 1 and height < width and path.grounded < 0.5)


def _hits(path: Path) -> bool:
    return path.span_2[0] > FAR and any(travel > FAR / 2 for travel in path.others)


def _passes_behind(path: Path) -> bool:
    return path.hidden and path.span_2[0] > 2 * FAR


SIGNS: dict[Event, Callable[[Path], bool]] = {
    "fall": _falls,
    "roll": _rolls,
    "throw": _is_thrown,
    "hit": _hits,
    "hide": _passes_behind,
    "slide": _slides,
    "ramp": _descends,
    "swing": _swings,
}
