"""Reading video: mp4, mov, mkv, webm, avi, gif, or a folder of PNG frames, within limits.

Size, pixels, frames and seconds are taken from the file system and the container and checked before anything is
decoded; the decoder is held to them too, since a container may lie.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vgen.errors import InputError, nearest
from vgen.files import check_regular, os_errors
from vgen.frames import Frames
from vgen.images import DAMAGED, load_image
from vgen.video.ffmpeg import VIDEO_KINDS, Ffmpeg, StreamInfo, input_arguments, probe_stream

__all__ = ["Limits", "iter_frames", "probe", "read_video"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The largest video that is read. Raise one by name: `Limits(frames=100_000)`.

    Args:
        file_mib: size of the file; of all files together for a folder.
        frame_px: pixels per frame; the default is that of 4096x2304.
        frames: number of frames.
        duration_s: length in seconds.
        decoded_mib: memory that the frames of the whole clip take.
    """

    file_mib: float = 1024
    frame_px: int = 4096 * 2304
    frames: int = 20_000
    duration_s: float = 1200
    decoded_mib: float = 6144


def probe(path: Path | str, *, fps: float | None = None, limits: Limits | None = None) -> StreamInfo:
    """What a video file or folder of PNG frames holds, without decoding it.

    Args:
        path: the file or folder.
        fps: the frame rate of a folder, where its pictures do not carry one; refused for a file, which does.
        limits: the largest that is accepted.

    Raises:
        InputError: it is missing, of an unknown kind, above a limit, or not a video.
    """
    path, limits = Path(path), limits or Limits()
    if path.is_dir():
        info = _probe_folder(path, fps, limits)
    else:
        demuxer = _demuxer(path)
        if fps is not None:
            raise InputError(f"'{path}' has a frame rate of its own; fps is for a folder of PNG frames")
        _check(path, "MiB", check_regular(path).st_size / 2**20, limits.file_mib, "file_mib")
        info = probe_stream(path, demuxer, max_frames=limits.frames)
    _check(path, "pixels per frame", info.height * info.width, limits.frame_px, "frame_px")
    _check(path, "seconds", info.duration_s, limits.duration_s, "duration_s")
    return info


def iter_frames(path: Path | str, *, limits: Limits | None = None) -> Iterator[Frames]:
    """Yields the frames of a video file or folder of PNG frames one by one, each uint8 [Y, X, 3].

    Raises:
        InputError: as `probe`, or the file is damaged.
    """
    path, limits = Path(path), limits or Limits()
    if path.is_dir():
        return (load_image(picture).pixels_YX3 for picture in _pictures(path, limits))
    return _decode(path, limits)


def read_video(path: Path | str, *, fps: float | None = None, limits: Limits | None = None) -> tuple[Frames, float]:
    """Reads a whole clip: frames uint8 [F, Y, X, 3] and frames per second. Arguments and errors as `probe`."""
    path, limits = Path(path), limits or Limits()
    info = probe(path, fps=fps, limits=limits)
    _check(
        path, "MiB when decoded", info.frames * info.height * info.width * 3 / 2**20, limits.decoded_mib, "decoded_mib"
    )
    frames_FYX3: Frames | None = None
    made = 0
    for frame_YX3 in iter_frames(path, limits=limits):
        if frames_FYX3 is None:  # the container may give the size before a rotation
            frames_FYX3 = np.empty((info.frames, *frame_YX3.shape), np.uint8)
        if frame_YX3.shape != frames_FYX3.shape[1:]:
            raise InputError(f"cannot read '{path}': frame {made} differs in size from the first")
        if made == info.frames:
            raise InputError(f"cannot read '{path}': it holds more frames than its {info.frames} packets")
        frames_FYX3[made] = frame_YX3
        made += 1
    if frames_FYX3 is None:
        raise InputError(f"cannot read '{path}': no frame could be decoded")
    return frames_FYX3[:made], info.fps


def _decode(path: Path, limits: Limits) -> Iterator[Frames]:
    """Frames as ffmpeg hands them over in PPM, whose header says the size of each."""
    coded_px = 2 * limits.frame_px + 128 * 128  # a codec works on whole blocks and cuts its picture to size after that
    arguments = [
        "-xerror",  # a damaged file is refused, not patched up
        *input_arguments(path, _demuxer(path), max_px=coded_px),
        *("-map", "0:v:0", "-fps_mode", "passthrough", "-frames:v", str(limits.frames)),
        *(
            "-vf",
            "scale=flags=bicubic+accurate_rnd+full_chroma_int,format=rgb24",
            "-c:v",
            "ppm",
            "-f",
            "image2pipe",
            "-",
        ),
    ]
    with Ffmpeg(arguments, task=f"read '{path}'") as run:
        while (magic := run.output.readline()) == b"P6\n":
            width, height = (int(side) for side in run.output.readline().split())
            run.output.readline()  # the largest value, 255
            _check(path, "pixels per frame", height * width, limits.frame_px, "frame_px")
            data = run.output.read(height * width * 3)
            if len(data) < height * width * 3:
                break
            yield np.frombuffer(data, np.uint8).reshape(height, width, 3)
        run.finish()
    assert magic in (b"", b"P6\n"), f"expected a PPM picture, got {magic!r}"


def _probe_folder(path: Path, fps: float | None, limits: Limits) -> StreamInfo:
    pictures = _pictures(path, limits)
    size_mib = sum(check_regular(picture).st_size for picture in pictures) / 2**20
    _check(path, "MiB", size_mib, limits.file_mib, "file_mib")
    with os_errors("read", path):
        try:
            with Image.open(pictures[0], formats=["PNG"]) as first:
                width, height = first.size
                stored = first.info.get("fps")
        except (Image.DecompressionBombError, *DAMAGED) as error:
            raise InputError(f"cannot read '{pictures[0]}': {error}") from error
    if fps is None and isinstance(stored, str) and re.fullmatch(r"\d{1,4}(\.\d{1,12})?", stored):
        fps = float(stored)
    if fps is None or not fps > 0:
        raise InputError(f"the pictures in '{path}' do not say how fast they follow each other; pass fps=")
    return StreamInfo(height=height, width=width, frames=len(pictures), fps=fps, duration_s=len(pictures) / fps)


def _pictures(path: Path, limits: Limits) -> list[Path]:
    """The PNG files of a folder, in the order of their numbers."""
    pictures = sorted(path.glob("*.png"), key=lambda picture: (len(picture.name), picture.name))
    if not pictures:
        raise InputError(f"the folder '{path}' holds no .png frames")
    _check(path, "frames", len(pictures), limits.frames, "frames")
    return pictures


def _demuxer(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in VIDEO_KINDS:
        raise InputError(f"cannot read '{path}' as video: {nearest(suffix, VIDEO_KINDS)}, or a folder of .png frames")
    return VIDEO_KINDS[suffix]


def _check(path: Path, what: str, value: float, limit: float, name: str) -> None:
    if value > limit:
        raise InputError(f"'{path}' has {value:g} {what}; at most {limit:g} are read: raise Limits.{name}")
