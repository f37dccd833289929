"""Small drawings of an observation: where things went, what happened when, and where a motion led."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from vgen.judge.observation import EventKind, Floats, Observation, Sight, Track
from vgen.judge.report.svg import path_of, tag

__all__ = ["EVENT_MARKS", "paths", "timeline", "trajectory"]

EVENT_MARKS: dict[EventKind, str] = {
    "contact": "✕",
    "separation": "↔",
    "bounce": "▾",
    "onset": "▸",
    "stop": "■",
    "appear": "✚",
    "vanish": "⊘",
    "enter": "⇥",
    "exit": "↦",
    "merge": "⊃",
    "split": "⊂",
    "turn": "⟲",
}
LANE_PX, LABEL_PX, END_PX, TIMELINE_PX = 26, 92, 20, 780
PLOT_X, PLOT_Y, MARGIN = 420, 160, 48
MARK_PX = 13
FIT_FRAMES = (9, 7, 5)  # before the breach, for the dashed line; fewer where more make no parabola
FIT_SCATTER = 0.04  # diameters
SIGHTS = {Sight.SEEN: "seen", Sight.PARTLY: "partly", Sight.OCCLUDED: "occluded", Sight.LOST: "lost"}


def timeline(seen: Observation, breaches: Sequence[tuple[int, int]]) -> Markup:
    """A lane per thing: when it was seen, what happened to it; the frames of breaches as bands behind.

    Args:
        seen: the observation.
        breaches: first and last frame of each.
    """
    height = LANE_PX * len(seen.tracks) + 34
    drawn = [_band(_across(seen, a), _across(seen, b + 1), 4, height - 30) for a, b in sorted({*breaches})]
    for lane, track in enumerate(seen.tracks):
        drawn.append(_lane(seen, track, 8 + LANE_PX * lane))
    taken: dict[int, float] = {}
    for event in seen.events:
        for number in event.tracks:
            x = max(_across(seen, event.frame + 0.5), taken.get(number, 0.0) + MARK_PX)  # side by side if at once
            taken[number], y = x, 8 + LANE_PX * number + LANE_PX / 2
            title = f"{event.kind} at frame {event.frame:.1f} of {', '.join(f'#{n}' for n in event.tracks)}"
            mark = tag("text", EVENT_MARKS[event.kind], x=f"{x:.1f}", y=f"{y:.1f}", class_="mark")
            drawn.append(tag("g", tag("title", title), mark))
    drawn.append(_frame_axis(seen, height - 22))
    label = f"timeline of {len(seen.tracks)} things and {len(seen.events)} events"
    size = f"0 0 {TIMELINE_PX} {height}"
    return tag("svg", *drawn, class_="timeline", viewBox=size, role="img", aria_label=label)


def paths(seen: Observation) -> Markup:
    """All that moved, in one picture in reference coordinates."""
    unit = seen.width / 420
    drawn = []
    for track in seen.tracks:
        kind = f"t{track.id % 8}"
        drawn.append(tag("path", d=path_of(track.xy_F2), class_="halo", style=f"stroke-width:{3.6 * unit:.2f}"))
        drawn.append(tag("path", d=path_of(track.xy_F2), class_=f"line {kind}", style=f"stroke-width:{2 * unit:.2f}"))
        found = np.flatnonzero(np.isfinite(track.xy_F2[:, 0]))
        if len(found):
            x, y = track.xy_F2[found[0]]
            drawn.append(tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=f"{3.2 * unit:.2f}", class_=f"start {kind}"))
    return tag("g", *drawn)


def trajectory(seen: Observation, track: Track, breach: tuple[int, int], axis: int) -> Markup:
    """One coordinate of a thing against time, with the line or parabola of the frames before the breach.

    Args:
        seen: the observation.
        track: the thing.
        breach: first and last frame of it.
        axis: 0 across, 1 up (drawn upwards).
    """
    begin, end = _window(seen, breach)
    frames = np.arange(begin, end)
    if not np.isfinite(track.xy_F2[begin:end, axis]).any():
        return Markup()
    value_F = _placed(seen, track, axis)[begin:end]
    fit_F = _carried_on(seen, track, breach[0], frames, axis)
    shown = np.concatenate([value_F[np.isfinite(value_F)], fit_F[np.isfinite(fit_F)]])
    low, high = float(shown.min()), float(shown.max())
    pad = max(0.12 * (high - low), 0.3 - (high - low) / 2)  # noise of a thing at rest stays small
    x_F = MARGIN + (frames - begin + 0.5) / len(frames) * (PLOT_X - MARGIN - 6)

    def up(value: Floats) -> Floats:
        placed: Floats = 18 + (high + pad - value) / (high - low + 2 * pad) * (PLOT_Y - 44)
        return placed

    wide = (PLOT_X - MARGIN - 6) / len(frames)
    left = MARGIN + (breach[0] - begin) * wide
    drawn = [_band(left, left + (breach[1] + 1 - breach[0]) * wide, 4, PLOT_Y - 26)]
    drawn += [_grid_line(level, float(up(np.array(level)))) for level in _levels(low - 0.7 * pad, high + 0.7 * pad)]
    drawn += [tag("path", d=path_of(np.stack([x_F, up(fit_F)], axis=1)), class_="fit")]
    drawn += [tag("path", d=path_of(np.stack([x_F, up(value_F)], axis=1)), class_=f"line t{track.id % 8}")]
    drawn += [
        tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="2.4", class_=f"dot t{track.id % 8}")
        for x, y in zip(x_F, up(value_F), strict=True)
        if np.isfinite(y)
    ]
    drawn += _ticks(begin, end, x_F, PLOT_Y - 8)
    drawn.append(
        tag("text", "up, diameters" if axis else "across, diameters", x=9, y=PLOT_Y / 2 - 8, class_="axis turned")
    )
    drawn.append(tag("text", f"thing {track.id}", x=PLOT_X - 10, y=18, class_=f"axis end name t{track.id % 8}"))
    label = f"thing {track.id}: {'height' if axis else 'place across'} against frames {begin} to {end - 1}"
    return tag("svg", *drawn, class_="plot", viewBox=f"0 0 {PLOT_X} {PLOT_Y}", role="img", aria_label=label)


def _window(seen: Observation, breach: tuple[int, int]) -> tuple[int, int]:
    """Frames around a breach: as long as it on both sides, 12 at least."""
    margin = max(12, breach[1] - breach[0])
    return max(0, breach[0] - margin), min(seen.num_frames, breach[1] + 1 + margin)


def _placed(seen: Observation, track: Track, axis: int) -> Floats:
    """From the left edge, or up from the lower one, in diameters."""
    away_F: Floats = (seen.height - track.xy_F2[:, 1] if axis else track.xy_F2[:, 0]) / track.diameter_px
    return away_F


def _carried_on(seen: Observation, track: Track, at: int, frames: npt.NDArray[np.int_], axis: int) -> Floats:
    """The line or parabola of the frames before `at`, in diameters, carried a few frames on; NaN elsewhere."""
    for count in FIT_FRAMES:
        before = np.arange(max(0, at - count), at)
        before = before[np.isfinite(track.xy_F2[before, axis]) & track.seen_F[before]]
        if len(before) < FIT_FRAMES[-1] - 1:
            break
        value_F = _placed(seen, track, axis)[before]
        for degree in (1, 2):
            line = np.polynomial.Polynomial.fit(before, value_F, deg=degree)
            if np.abs(line(before) - value_F).max() < FIT_SCATTER:
                return np.where((frames >= before[0]) & (frames <= at + count // 2), line(frames), np.nan)
    return np.full(len(frames), np.nan)


def _across(seen: Observation, frame: float) -> float:
    return LABEL_PX + frame / seen.num_frames * (TIMELINE_PX - LABEL_PX - END_PX)


def _lane(seen: Observation, track: Track, top: float) -> Markup:
    codes = track.sight_F.astype(int)
    cuts = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
    kind = f"t{track.id % 8}"
    name = "shadow" if track.kind == "shadow" else "thing"
    drawn = [tag("text", f"{name} {track.id}", x=20, y=top + LANE_PX / 2, class_="label")]
    drawn.append(tag("circle", cx=9, cy=top + LANE_PX / 2, r=5, class_=f"swatch {kind}"))
    for begin, end in pairwise(cuts):
        if codes[begin] in SIGHTS:
            x, wide = _across(seen, begin), _across(seen, end) - _across(seen, begin)
            sight = SIGHTS[Sight(codes[begin])]
            title = tag("title", f"{sight}, frames {begin} to {end - 1}")
            place = {"x": f"{x:.1f}", "y": top + 8, "width": f"{wide:.1f}", "height": LANE_PX - 16}
            drawn.append(tag("rect", title, class_=f"life {sight} {kind}", **place))
    return tag("g", *drawn)


def _band(left: float, right: float, top: float, height: float) -> Markup:
    return tag("rect", x=f"{left:.1f}", y=top, width=f"{right - left:.1f}", height=height, class_="breach")


def _frame_axis(seen: Observation, top: float) -> Markup:
    every = _step(seen.num_frames, 12)
    ticks = [
        tag(
            "text",
            f"{frame} · {frame / seen.fps:.1f} s",
            x=f"{_across(seen, frame + 0.5):.1f}",
            y=top + 12,
            class_="axis",
        )
        for frame in range(0, seen.num_frames, every)
    ]
    line = tag("line", x1=LABEL_PX, x2=TIMELINE_PX - END_PX, y1=top, y2=top, class_="rule")
    return tag("g", line, *ticks)


def _grid_line(level: float, y: float) -> Markup:
    line = tag("line", x1=MARGIN, x2=PLOT_X - 6, y1=f"{y:.1f}", y2=f"{y:.1f}", class_="rule")
    return line + tag("text", f"{level:g}", x=MARGIN - 4, y=f"{y + 3.5:.1f}", class_="axis end")


def _levels(low: float, high: float) -> list[float]:
    """Round values between two others, three or so."""
    rough = (high - low) / 3
    unit = 10.0 ** np.floor(np.log10(rough))
    step = unit * next(factor for factor in (5, 2, 1) if factor * unit <= rough)
    return [round(float(index * step), 6) for index in range(int(np.ceil(low / step)), int(high / step) + 1)]


def _ticks(begin: int, end: int, x_F: Floats, y: float) -> list[Markup]:
    every = _step(end - begin, 9)
    return [
        tag("text", str(frame), x=f"{x_F[frame - begin]:.1f}", y=y, class_="axis")
        for frame in range(begin, end)
        if frame % every == 0
    ]


def _step(frames: int, most: int) -> int:
    """A round number of frames, so that at most so many ticks stand on an axis."""
    return next(
        step for scale in (1, 10, 100, 1000, 10000) for step in (scale, 2 * scale, 5 * scale) if frames <= step * most
    )
