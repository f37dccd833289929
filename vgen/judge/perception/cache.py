"""Observations by content: the same pixels at the same rate are looked at once per version of perception.

Kept in memory, the latest few; on request also in a folder, as plain arrays (npz) with one JSON text, no pickle.
"""

import dataclasses
import hashlib
import json
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vgen.files import check_parent, os_errors, partial_path, publish
from vgen.judge.observation import Camera, Event, Liquid, Observation, Track
from vgen.judge.perception.observe import VERSION, observe
from vgen.judge.perception.view import Bytes

__all__ = ["ObservationCache", "content_key"]

_SCALARS = ("num_frames", "fps", "height", "width", "motion_share", "churn", "clutter", "disorder")


def content_key(frames_FYX3: Bytes, fps: float) -> str:
    """sha256, in hex, of the pixels, their shape, the rate and perception's version."""
    digest = hashlib.sha256(json.dumps([VERSION, list(frames_FYX3.shape), float(fps)]).encode())
    digest.update(np.ascontiguousarray(frames_FYX3).data)
    return digest.hexdigest()


class ObservationCache:
    """Looks at a clip, or remembers what was seen in it.

    Args:
        folder: where observations outlive the process; memory alone where None. It must exist.
        size: observations kept in memory.
    """

    def __init__(self, folder: Path | str | None = None, size: int = 8) -> None:
        self._folder = None if folder is None else Path(folder)
        self._size = size
        self._kept: OrderedDict[str, Observation] = OrderedDict()

    def observe(self, frames_FYX3: Bytes, fps: float) -> Observation:
        """As `observe`; a file that cannot be read back is made anew.

        Raises:
            InputError: as `observe`, or the folder cannot be written to.
        """
        key = content_key(frames_FYX3, fps)
        found = self._kept.get(key) or self._load(key)
        if found is None:
            found = observe(frames_FYX3, fps)
            self._save(key, found)
        self._kept[key] = found
        self._kept.move_to_end(key)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return found

    def _load(self, key: str) -> Observation | None:
        path = self._path(key)
        if path is None or not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return _unpacked({name: arrays[name] for name in arrays.files})
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
            return None

    def _save(self, key: str, observation: Observation) -> None:
        path = self._path(key)
        if path is None:
            return
        check_parent(path)
        partial = partial_path(path)
        with os_errors("write", path):
            with partial.open("wb") as file:
                np.savez_compressed(file, **_packed(observation))
            publish(partial, path)

    def _path(self, key: str) -> Path | None:
        return None if self._folder is None else self._folder / f"{key}.npz"


def _packed(observation: Observation) -> dict[str, Any]:
    """Arrays by name; what is no array stands as JSON in `text`."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "camera.to_reference_F33": observation.camera.to_reference_F33,
        "camera.inliers_F": observation.camera.inliers_F,
    }
    for track in observation.tracks:
        for name in _array_fields():
            arrays[f"track{track.id}.{name}"] = getattr(track, name)
    for index, liquid in enumerate(observation.liquids):
        arrays[f"liquid{index}.ends_F22"] = liquid.ends_F22
    for kind in ("gap_px", "front"):
        for (one, other), values in getattr(observation, kind).items():
            arrays[f"{kind}.{one}.{other}"] = values
    if observation.background_YX3 is not None:
        arrays["background_YX3"] = observation.background_YX3
    text = {
        **{name: getattr(observation, name) for name in _SCALARS},
        "cuts": observation.cuts,
        "shot": observation.shot,
        "occluders": observation.occluders,
        "camera": [observation.camera.reference, observation.camera.moving],
        "tracks": [[track.kind, track.sigma_px] for track in observation.tracks],
        "liquids": [[liquid.sigma_px, liquid.width_px] for liquid in observation.liquids],
        "events": [dataclasses.asdict(event) for event in observation.events],
    }
    arrays["text"] = np.frombuffer(json.dumps(text).encode(), np.uint8)
    return arrays


def _array_fields() -> list[str]:
    return [field.name for field in dataclasses.fields(Track) if field.name not in ("id", "kind", "sigma_px")]


def _unpacked(arrays: dict[str, npt.NDArray[Any]]) -> Observation:
    text = json.loads(arrays["text"].tobytes())
    reference, moving = text["camera"]
    pairs: dict[str, dict[tuple[int, int], npt.NDArray[Any]]] = {"gap_px": {}, "front": {}}
    for name, values in arrays.items():
        kind, _, ids = name.partition(".")
        if kind in pairs:
            one, other = (int(part) for part in ids.split("."))
            pairs[kind][one, other] = values
    return Observation(
        **{name: text[name] for name in _SCALARS},
        camera=Camera(
            to_reference_F33=arrays["camera.to_reference_F33"],
            inliers_F=arrays["camera.inliers_F"],
            reference=reference,
            moving=moving,
        ),
        tracks=tuple(
            Track(id=index, kind=kind, sigma_px=sigma, **{n: arrays[f"track{index}.{n}"] for n in _array_fields()})
            for index, (kind, sigma) in enumerate(text["tracks"])
        ),
        liquids=tuple(
            Liquid(ends_F22=arrays[f"liquid{index}.ends_F22"], sigma_px=sigma, width_px=width)
            for index, (sigma, width) in enumerate(text["liquids"])
        ),
        events=tuple(
            Event(**{**event, "tracks": tuple(event["tracks"]), "xy": tuple(event["xy"])}) for event in text["events"]
        ),
        gap_px=pairs["gap_px"],
        front=pairs["front"],
        occluders=tuple(tuple(box) for box in text["occluders"]),
        background_YX3=arrays.get("background_YX3"),
        cuts=tuple(text["cuts"]),
        shot=tuple(text["shot"]),
    )
