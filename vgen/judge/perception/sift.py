"""Which trails are things, and which of the dark ones are shadows.

A trail of mere darkening is a shadow where some body can throw it; else it is a dark body if it moves, and nothing if
not. A trail that is short, small beside the largest thing, or unsteady in size is a scrap of noise.
"""

import cv2
import numpy as np

from vgen.judge.perception.segment import Blob
from vgen.judge.perception.track import Trail

__all__ = ["MIN_FRAMES", "THROWN_SHARE", "lies_inside", "sift", "throws"]

MIN_FRAMES = 4  # a trail that shows in fewer is noise
THROWN_SHARE = 0.4  # of a shadow's frames in which some body can throw it
HANGING_SHARE = 0.5  # of its frames in which a dark patch touches one body
INSIDE = 1.0  # of a body's radius
THIN_RATIO = 3.0  # of an area to that of the largest disc inside it
SLANT = 1.5  # of the light, at most: aside over down
MOVED_DIAMETERS = 0.7  # that a dark thing must move to be a body of its own
MAX_TRAILS = 24  # of a clip, those that show most
SCRAP_FRAMES, SCRAP_AREA = 12, 0.1  # a trail that is shorter and smaller, in areas of the largest thing, is noise
BUSY_TRAILS = 20  # more bodies than this are mostly scraps
BUSY_FRAMES = 10  # that a trail must last among scraps
MAX_FLICKER, BUSY_FLICKER = 0.4, 0.06  # of the logarithm of the area, from frame to frame


def sift(trails: list[Trail]) -> list[Trail]:
    """The trails that are things or their shadows, those that show most first."""
    trails = _told_from_shadows(trails)
    busy = sum(trail.kind == "body" and len(trail.blobs) >= MIN_FRAMES for trail in trails) > BUSY_TRAILS
    real = [trail for trail in trails if _is_real(trail, busy)]
    largest = max((_size(trail) for trail in real), default=0.0)
    kept = [trail for trail in real if len(trail.blobs) >= SCRAP_FRAMES or _size(trail) >= SCRAP_AREA * largest]
    return sorted(kept, key=_weight, reverse=True)[:MAX_TRAILS]


def _told_from_shadows(trails: list[Trail]) -> list[Trail]:
    """The trails, those of mere darkening that no body throws made bodies where they move and dropped where not."""
    bodies = [trail for trail in trails if trail.kind == "body" and len(trail.blobs) >= MIN_FRAMES]
    kept = []
    for trail in trails:
        if trail.kind == "shadow":
            thrown = np.mean([any(throws(body, frame, blob) for body in bodies) for frame, blob in trail.blobs.items()])
            if lies_inside(trail, bodies):
                continue
            if thrown < THROWN_SHARE:
                places = np.array([blob.xy for blob in trail.blobs.values()])
                size = 2 * np.sqrt(np.median([blob.area for blob in trail.blobs.values()]) / np.pi)
                if np.ptp(places, axis=0).max() < MOVED_DIAMETERS * size or _hangs(trail, bodies) or _is_thin(trail):
                    continue
                trail.kind = "body"
        kept.append(trail)
    return kept


def throws(body: Trail, frame: int, shadow: Blob) -> bool:
    """Whether a body stands above a shadow, straight or at a slant."""
    blob = body.blobs.get(frame)
    if blob is None or blob.xy[1] > shadow.xy[1]:
        return False
    away, high = np.abs(blob.xy - shadow.xy)
    return bool(away < SLANT * high + np.sqrt(blob.area) + np.sqrt(shadow.area))


def _hangs(trail: Trail, bodies: list[Trail]) -> bool:
    """Whether it touches bodies in most of its frames: a rod, a string, or a rim of theirs."""
    return any(
        np.mean([frame in body.blobs and blob.reaches(body.blobs[frame]) for frame, blob in trail.blobs.items()])
        > HANGING_SHARE
        for body in bodies
    )


def lies_inside(trail: Trail, bodies: list[Trail]) -> bool:
    """Whether its centre lies within a body in most of its frames: a part of it that matches what is behind."""
    return any(
        np.mean(
            [
                frame in body.blobs
                and np.hypot(*(blob.xy - body.blobs[frame].xy)) < INSIDE * np.sqrt(body.blobs[frame].area / np.pi)
                for frame, blob in trail.blobs.items()
            ]
        )
        > HANGING_SHARE
        for body in bodies
    )


def _is_thin(trail: Trail) -> bool:
    """Whether it is a rod or a string rather than a thing."""
    blob = sorted(trail.blobs.values(), key=lambda one: one.area)[len(trail.blobs) // 2]
    mask = np.pad((blob.share_YX > 0.5).astype(np.uint8), 1)
    inner = float(cv2.distanceTransform(mask, cv2.DIST_L2, 3).max())
    return blob.area > THIN_RATIO * np.pi * inner**2


def _is_real(trail: Trail, busy: bool) -> bool:
    """Whether it is a thing: it lasts, and neither its size nor its place flickers.

    Where much of the picture differs from the background (foliage, water, a face, a background that could not be
    found), most trails are scraps; then only steady ones count, so that few things are said rather than wrong ones.
    """
    frames = sorted(trail.blobs)
    if len(frames) < (BUSY_FRAMES if busy else MIN_FRAMES):
        return False
    area = np.log([trail.blobs[frame].area for frame in frames])
    limit = BUSY_FLICKER if busy else MAX_FLICKER
    if float(np.median(np.abs(np.diff(area)))) > limit:
        return False
    if not busy:
        return True
    xy = np.array([trail.blobs[frame].xy for frame in frames])
    wander = float(np.median(np.hypot(*np.diff(xy, 2, axis=0).T)))
    return wander < limit * 2 * np.sqrt(np.exp(np.median(area)) / np.pi)


def _size(trail: Trail) -> float:
    return float(np.median([blob.area for blob in trail.blobs.values()]))


def _weight(trail: Trail) -> float:
    return float(sum(blob.area for blob in trail.blobs.values()))
