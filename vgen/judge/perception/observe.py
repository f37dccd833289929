"""The one entry: frames in, `Observation` out. Works on the longest shot, at working size, on the steadied picture."""

from itertools import combinations
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from vgen.errors import InputError
from vgen.judge.observation import OUTLINE_DIRECTIONS, Camera, Floats, Liquid, Observation, Sight, Track
from vgen.judge.perception.background import Background, find_background, without
from vgen.judge.perception.camera import find_camera
from vgen.judge.perception.cuts import find_cuts, longest_shot
from vgen.judge.perception.events import TOUCH_PX, Scenery, find_events, in_order
from vgen.judge.perception.faint import with_faint
from vgen.judge.perception.flow import flow_share
from vgen.judge.perception.gaps import fronts, least_gap, polygon_gap, polygons
from vgen.judge.perception.link import Box, Thing, link
from vgen.judge.perception.liquid import find_liquids, share_in_vessel
from vgen.judge.perception.motion import MIN_SIGMA_PX, Piece, fit_pieces, scatter
from vgen.judge.perception.order import disorder
from vgen.judge.perception.parting import with_partings
from vgen.judge.perception.refine import ANGLES_A, POLAR_ANGLES, POLAR_RINGS, outline, polar, turns
from vgen.judge.perception.segment import segment
from vgen.judge.perception.still import mended, shows, strays, touched
from vgen.judge.perception.surface import Edges, clearance, find_edges, without_passed
from vgen.judge.perception.track import follow
from vgen.judge.perception.view import Bytes, Picture, View, denoised, shrink, steady, to_lab

__all__ = ["MIN_FRAMES", "MIN_SIDE_PX", "VERSION", "observe"]

VERSION = "3"  # names what perception sees; a change that moves any figure needs another
MIN_FRAMES = 2
MIN_SIDE_PX = 32
NEAR_DIAMETERS = 1.5  # pairs that never come nearer have no gap
MOVING_SHARE = 0.9  # quantile of a track's speeds: what stands still for most of a clip still moves in it
SECOND_THOUGHTS = 2  # rounds of mending the background ...
MENDABLE = 12  # ... while there are no more things: where much flickers, mending has no end
IN_PLACE, IN_PASSING = 0.5, 0.9  # share of a thing's frames in a vessel's place that makes it the vessel
COARSE_SIGMA = 0.5  # of pixels: what a track's scatter is where it is too short to tell


def observe(frames_FYX3: Bytes, fps: float) -> Observation:
    """What a clip shows: camera, things, events.

    Coordinates count from the picture's upper left corner: the centre of the first pixel is (0.5, 0.5).

    Args:
        frames_FYX3: uint8 sRGB, at least 2 frames of at least 32x32.
        fps: frames per second.

    Raises:
        InputError: for another dtype or shape, too little to see, or a rate that is not positive.
    """
    if frames_FYX3.dtype != np.uint8 or frames_FYX3.ndim != 4 or frames_FYX3.shape[-1] != 3:
        raise InputError(f"observe needs uint8 frames [F, Y, X, 3], got {frames_FYX3.dtype} {frames_FYX3.shape}")
    frames, height, width, _ = frames_FYX3.shape
    if frames < MIN_FRAMES or min(height, width) < MIN_SIDE_PX or not fps > 0:
        raise InputError(
            f"observe needs at least {MIN_FRAMES} frames of {MIN_SIDE_PX}x{MIN_SIDE_PX} and fps above 0, "
            f"got {frames} of {width}x{height} at {fps} fps"
        )
    small_FYX3, scale = shrink(frames_FYX3)
    cuts = find_cuts(small_FYX3)
    shot = longest_shot(frames, cuts)
    small_FYX3 = denoised(small_FYX3[shot[0] : shot[1]])
    camera = find_camera(small_FYX3)
    rgb_FYX3, inside_FYX, origin = steady(small_FYX3, camera)
    view, background = _lit_evenly(
        View(
            rgb_FYX3=rgb_FYX3,
            lab_FYX3=_smooth_lab(rgb_FYX3),
            inside_FYX=inside_FYX,
            scale=scale,
            origin=origin,
        )
    )
    background, (things, boxes, clutter) = _settled(view, background)
    liquids = find_liquids(view, background.noise, shot, frames)
    things = [thing for thing in things if not _is_vessel(thing, liquids, view, shot)]
    edges = without_passed(find_edges(background), (_way(thing) for thing in things if thing.kind != "shadow"))
    tracks = tuple(_track(index, thing, view, edges, shot, frames) for index, thing in enumerate(things))
    tracks, parted = with_partings(tracks)
    pieces = {track.id: _pieces(track) for track in tracks}
    gap_px = _gaps(tracks)
    scenery = Scenery(edges=edges, scale=scale, origin=origin, touch_px=TOUCH_PX / scale, size=(height, width))
    return Observation(
        num_frames=frames,
        fps=float(fps),
        height=height,
        width=width,
        camera=_in_clip(camera, scale, shot, frames),
        tracks=tracks,
        events=in_order((*find_events(tracks, pieces, gap_px, scenery, shot), *parted)),
        gap_px=gap_px,
        front=_front(things, shot, frames),
        occluders=tuple(_box_in_clip(box, view) for box in boxes),
        background_YX3=_picture(background, view, height, width),
        cuts=cuts,
        shot=shot,
        liquids=liquids,
        motion_share=_motion_share(tracks, small_FYX3, height, width),
        churn=_churn(tracks, shot),
        clutter=clutter,
        disorder=disorder(view),
    )


class _Followed(NamedTuple):
    """What moves before a background, what hides it, and the share of what moves that is neither."""

    things: list[Thing]
    boxes: list[Box]
    clutter: float


def _settled(view: View, background: Background) -> tuple[Background, _Followed]:
    """What moves, after second thoughts about the background."""
    found = _followed(view, background)
    for _ in range(SECOND_THOUGHTS):
        better = mended(background, view, found.things) if len(found.things) <= MENDABLE else None
        if better is None:
            break
        background = better
        found = _followed(view, background)
    still_YX = touched(background, found.things, found.boxes)
    if still_YX is not None:
        freed = without(background, still_YX)
        found_then = _followed(view, freed)
        if shows(found_then.things, still_YX, view.frames):
            return freed, found_then
    return background, found


def _followed(view: View, background: Background) -> _Followed:
    inside_F = [None] * view.frames if view.inside_FYX is None else list(view.inside_FYX)
    frames = zip(view.rgb_FYX3, view.lab_FYX3, inside_F, strict=True)
    blobs_F = [segment(*frame, background) for frame in frames]
    trails = with_faint(view, background, follow(view, background, blobs_F))
    things, boxes = link(view, background, trails)
    moving = sum(blob.area for trail in trails if trail.kind == "body" for blob in trail.blobs.values())
    told = sum(blob.area for thing in things if thing.kind == "body" for blob in thing.blobs.values())
    return _Followed(things, boxes, max(0.0, 1 - told / moving) if moving else 0.0)


def _is_vessel(thing: Thing, liquids: tuple[Liquid, ...], view: View, shot: tuple[int, int]) -> bool:
    """Whether a thing is the vessel of a liquid or a part of one: no body, for one looks into it.

    What goes from its place and lies there at times may just pass, whatever its pattern.
    """
    return share_in_vessel(thing.blobs, liquids, view, shot) > (IN_PASSING if strays(thing.blobs, 1.0) else IN_PLACE)


def _smooth_lab(rgb_FYX3: Bytes) -> Picture:
    lab_FYX3 = to_lab(rgb_FYX3)
    for frame in lab_FYX3:
        cv2.GaussianBlur(frame, (3, 3), 0.7, dst=frame)
    return lab_FYX3


def _lit_evenly(view: View) -> tuple[View, Background]:
    """The view with changes of the whole picture's light taken out, and its background."""
    background = find_background(view.rgb_FYX3, view.lab_FYX3, view.inside_FYX)
    thin = (slice(None), slice(None, None, 3), slice(None, None, 3))
    drift_F3 = np.median((view.lab_FYX3[thin] - background.lab_YX3[thin[1:]]).reshape(view.frames, -1, 3), axis=1)
    if np.abs(drift_F3).max() > background.noise:
        view.lab_FYX3[:] -= drift_F3[:, None, None]
        background = find_background(view.rgb_FYX3, view.lab_FYX3, view.inside_FYX)
    return view, background


def _track(index: int, thing: Thing, view: View, edges: Edges, shot: tuple[int, int], frames: int) -> Track:
    """What a thing's blobs say, in pixels of the clip and rows of the whole clip."""
    xy_F2, box_F4 = np.full((frames, 2), np.nan), np.full((frames, 4), np.nan)
    area_F, surface_F = np.full(frames, np.nan), np.full(frames, np.nan)
    lab_F3, outline_FA = np.full((frames, 3), np.nan), np.full((frames, OUTLINE_DIRECTIONS), np.nan)
    polar_FRA = np.full((frames, len(POLAR_RINGS) + 1, POLAR_ANGLES), np.nan)
    sight_F = np.full(frames, Sight.OUTSIDE, np.uint8)
    sight_F[shot[0] : shot[1]] = thing.sight_F
    for number, blob in thing.blobs.items():
        frame = number + shot[0]
        edge_A = outline(blob)
        xy_F2[frame] = view.to_clip(blob.xy)
        area_F[frame] = blob.area / view.scale**2
        lab_F3[frame] = blob.lab
        outline_FA[frame] = edge_A / view.scale
        surface_F[frame] = clearance(edges, blob.xy, edge_A, ANGLES_A) / view.scale
        rows, columns = np.nonzero(blob.share_YX >= 0.5)
        low = np.array([columns.min() + blob.left, rows.min() + blob.top], np.float64)
        high = np.array([columns.max() + blob.left + 1, rows.max() + blob.top + 1], np.float64)
        box_F4[frame] = np.concatenate([view.to_clip(low), view.to_clip(high)])
        if sight_F[frame] == Sight.SEEN:
            polar_FRA[frame] = polar(blob, view.lab_FYX3[number])
    seen = sight_F == Sight.SEEN
    sigma = scatter(np.where(seen[:, None], xy_F2, np.nan) * view.scale) / view.scale
    return Track(
        id=index,
        kind="shadow" if thing.kind == "shadow" else "body",
        xy_F2=xy_F2,
        sigma_px=max(sigma, MIN_SIGMA_PX / view.scale) if np.isfinite(sigma) else COARSE_SIGMA / view.scale,
        sight_F=sight_F,
        area_px_F=area_F,
        box_F4=box_F4,
        outline_px_FA=outline_FA,
        angle_F=turns(polar_FRA),
        lab_F3=lab_F3,
        surface_px_F=surface_F,
    )


def _way(thing: Thing) -> tuple[Floats, float]:
    """Where the lowest point of a thing went, in the view's pixels, and the thing's diameter."""
    blobs = [blob for _, blob in sorted(thing.blobs.items())]
    lows = [(blob.xy[0], float(np.nonzero(blob.share_YX >= 0.5)[0].max(initial=0) + blob.top + 1)) for blob in blobs]
    return np.array(lows).reshape(-1, 2), 2 * float(np.sqrt(np.median([blob.area for blob in blobs]) / np.pi))


def _pieces(track: Track) -> list[Piece]:
    seen_F2 = np.where(track.seen_F[:, None], track.xy_F2, np.nan)
    return fit_pieces(seen_F2, track.sigma_px)


def _gaps(tracks: tuple[Track, ...]) -> dict[tuple[int, int], Floats]:
    bodies = [track for track in tracks if track.kind == "body"]
    gaps: dict[tuple[int, int], Floats] = {}
    corners = {track.id: polygons(track.xy_F2, track.outline_px_FA) for track in bodies}
    for one, other in combinations(bodies, 2):
        near = NEAR_DIAMETERS * max(one.diameter_px, other.diameter_px)
        if least_gap(corners[one.id], corners[other.id]) < near:
            gap_F = polygon_gap(corners[one.id], corners[other.id])
            if np.nanmin(gap_F, initial=np.inf) < near:
                gaps[one.id, other.id] = gap_F
    return gaps


def _front(things: list[Thing], shot: tuple[int, int], frames: int) -> dict[tuple[int, int], npt.NDArray[np.int8]]:
    """By ids of the pairs of bodies that overlapped, one value per frame of the clip."""
    order: dict[tuple[int, int], npt.NDArray[np.int8]] = {}
    for one, other in combinations(range(len(things)), 2):
        if things[one].kind == things[other].kind == "body":
            found = fronts(things[one], things[other], shot[1] - shot[0])
            if found is not None:
                order[one, other] = np.pad(found, (shot[0], frames - shot[1]))
    return order


def _box_in_clip(box: tuple[float, float, float, float], view: View) -> tuple[float, float, float, float]:
    left, top = view.to_clip(np.array(box[:2]))
    right, low = view.to_clip(np.array(box[2:]))
    return float(left), float(top), float(right), float(low)


def _in_clip(camera: Camera, scale: float, shot: tuple[int, int], frames: int) -> Camera:
    """The camera in pixels and frames of the clip; frames outside the shot do not agree with it."""
    larger = np.diag([1 / scale, 1 / scale, 1.0])
    to_F33 = np.tile(np.eye(3), (frames, 1, 1))
    to_F33[shot[0] : shot[1]] = larger @ camera.to_reference_F33 @ np.linalg.inv(larger)
    inliers_F = np.zeros(frames)
    inliers_F[shot[0] : shot[1]] = camera.inliers_F
    return Camera(
        to_reference_F33=to_F33, inliers_F=inliers_F, reference=camera.reference + shot[0], moving=camera.moving
    )


def _picture(background: Background, view: View, height: int, width: int) -> Bytes:
    """The background as the reference frame shows it, at the clip's size."""
    left, top = (round(-value) for value in view.origin)
    tall, wide = round(height * view.scale), round(width * view.scale)
    part = background.rgb_YX3[top : top + tall, left : left + wide].round().astype(np.uint8)
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _motion_share(tracks: tuple[Track, ...], rgb_FYX3: Bytes, height: int, width: int) -> float:
    speeds = []
    for track in tracks:
        steps = np.hypot(*np.diff(track.xy_F2, axis=0).T)
        if np.isfinite(steps).any():
            speeds.append(float(np.nanquantile(steps, MOVING_SHARE)) / float(np.hypot(height, width)))
    return max(speeds) if speeds else flow_share(rgb_FYX3)


def _churn(tracks: tuple[Track, ...], shot: tuple[int, int]) -> float:
    """Share of bodies that begin or end with nothing to explain it."""
    lost = [
        bool((track.sight_F[[shot[0], shot[1] - 1]] == Sight.LOST).any()) for track in tracks if track.kind == "body"
    ]
    return float(np.mean(lost)) if lost else 0.0
