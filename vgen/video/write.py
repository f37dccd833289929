"""Writing video: mp4, gif, lossless mkv, or a folder of PNG frames; in chunks, so that long clips need little memory.

While it grows, a clip stands beside its final name as `clip.partial.mp4` (`partial.py`). An unfinished mp4 or mkv can
be played and read; it lags what was written by about two seconds of video (mp4: the encoder looks ahead) or one (mkv).
A folder holds every frame at once. An unfinished gif is there too, but need not play.

The final name appears only when everything is written, read back for size and number of frames, and on the disk. A new
kind that ffmpeg writes is a row of KINDS.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from PIL import Image, PngImagePlugin

from vgen.errors import InputError, nearest
from vgen.files import check_file, check_parent, os_errors, publish, replacing
from vgen.frames import Frames, FramesDigest, check_frames
from vgen.video.ffmpeg import VIDEO_KINDS, Ffmpeg, input_arguments, probe_stream
from vgen.video.partial import claimed, growing_path

__all__ = ["KINDS", "MAX_FPS", "MIN_FPS", "Kind", "VideoWriter", "check_output", "open_writer"]

MIN_FPS = 0.1
MAX_FPS = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How ffmpeg writes one kind of file.

    Args:
        muxer: ffmpeg's name of the container.
        codec: arguments that choose and set the codec.
        growing: arguments of the muxer that keep an unfinished file playable.
        final: arguments of the muxer that copies the finished file, with its comment, into the final one; None where
            the finished file is the final one, which then carries no comment.
        keyframes: a frame that needs no other every second, since the unfinished file grows by what lies between two.
        even: height and width must be even.
        max_fps: the highest frame rate that the container can say.
    """

    muxer: str
    codec: tuple[str, ...]
    growing: tuple[str, ...] = ()
    final: tuple[str, ...] | None = None
    keyframes: bool = False
    even: bool = False
    max_fps: float = MAX_FPS


_BT709 = "colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"

KINDS: Mapping[str, Kind] = {
    ".mp4": Kind(  # yuv420p plays everywhere; without tags, players guess the colours
        muxer="mp4",
        codec=(
            *("-vf", f"scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd,setparams={_BT709}"),
            *("-c:v", "libx264", "-preset", "medium", "-crf", "16", "-pix_fmt", "yuv420p"),
        ),
        growing=("-movflags", "frag_keyframe+delay_moov+default_base_moof", "-flush_packets", "1"),
        final=("-movflags", "+faststart"),
        keyframes=True,
        even=True,
    ),
    ".gif": Kind(  # a palette per frame, since one for the whole clip would have to hold the clip
        muxer="gif",
        codec=("-vf", "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1"),
        max_fps=50.0,  # viewers slow a frame of one hundredth of a second down to a tenth
    ),
    ".mkv": Kind(  # lossless; FFV1 of level 1, since level 3 spoils or refuses the smallest sizes
        muxer="matroska",
        codec=("-c:v", "ffv1", "-level", "1", "-pix_fmt", "bgr0"),
        growing=("-cluster_time_limit", "1000", "-flush_packets", "1"),
        final=(),
    ),
}


class _Sink(Protocol):
    """Takes frames one after another and leaves them at the path it was made with."""

    def write(self, frame_YX3: Frames) -> None: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...


class VideoWriter:
    """Takes a clip in chunks; made by `open_writer`. Set `comment` at any time before the block ends.

    Args:
        path: the final name; as `check_output` returns it.
        fps, height, width: as `open_writer`.
    """

    def __init__(self, path: Path, *, fps: float, height: int, width: int) -> None:
        self.path = path
        self.partial = growing_path(path)
        self.comment = ""
        self.keep_partial = False
        self.frames_written = 0
        self._published = False
        self._size = (height, width)
        self._digest = FramesDigest(height=height, width=width)
        self._kind = _kind(path)
        self._sink: _Sink
        if self._kind is None:
            self._sink = _PictureSink(self.partial, fps=fps)
        else:
            self._sink = _FfmpegSink(self._kind, self.partial, path, fps=fps, height=height, width=width)

    @property
    def sha256(self) -> str:
        """Digest of the frames written so far; equals `Clip.sha256()` of the same frames."""
        return self._digest.hexdigest()

    def write(self, frames_FYX3: Frames) -> None:
        """Appends a chunk, uint8 [F, Y, X, 3].

        Raises:
            InputError: the system or the encoder refuses; the old file stays as it is.
        """
        check_frames(frames_FYX3)
        assert frames_FYX3.shape[1:3] == self._size, f"a chunk of {frames_FYX3.shape[1:3]} in a clip of {self._size}"
        with os_errors("write", self.path):
            for frame_YX3 in frames_FYX3:
                self._sink.write(frame_YX3)
        self._digest.update(frames_FYX3)
        self.frames_written += len(frames_FYX3)

    def finish(self) -> None:
        """Completes the file, reads back its size and number of frames, and gives it its name."""
        assert self.frames_written, "a clip needs at least one frame"
        with os_errors("write", self.path):
            self._sink.finish()
            if self._kind is None or self._kind.final is None:
                self._check(self.partial)
                publish(self.partial, self.path)
            else:
                with replacing(self.path) as whole:
                    _copy(self._kind, self.partial, whole, comment=self.comment, task=f"write '{self.path}'")
                    self._check(whole)
        self._published = True

    def close(self) -> bool:
        """Ends the encoder; returns whether what it wrote so far stays, which it then has brought to the disk."""
        keep = self.keep_partial and self.frames_written > 0 and not self._published
        if keep:
            with suppress(InputError):  # an encoder that has failed leaves what it wrote before
                self._sink.finish()
        self._sink.close()
        return keep

    def _check(self, made: Path) -> None:
        if self._kind is None:
            got = (*self._size, len(list(made.iterdir())))
        else:
            info = probe_stream(made, VIDEO_KINDS[self.path.suffix.lower()], max_frames=self.frames_written)
            got = (info.height, info.width, info.frames)
        wanted = (*self._size, self.frames_written)
        assert got == wanted, f"'{self.path}' came back as (height, width, frames) {got}, written were {wanted}"


@contextmanager
def open_writer(
    path: Path | str, *, fps: float, height: int, width: int, keep_partial: bool = False
) -> Iterator[VideoWriter]:
    """Opens a video for writing; it appears at `path` when the block ends, and not at all when the block fails.

        with open_writer("clip.mp4", fps=12, height=96, width=96) as writer:
            for chunk_FYX3 in chunks:
                writer.write(chunk_FYX3)

    Args:
        path: its suffix picks the kind: .mp4, .gif, .mkv (lossless); none or .png makes a folder of PNG frames.
        fps: frames per second.
        height, width: of the frames, in pixels.
        keep_partial: what was written so far stays as `writer.partial` when the block fails, as the attribute of that
            name says by then. It stays in any case when the process is killed, until the next writer of the same path
            replaces it.

    Raises:
        InputError: as `check_output`, another run is writing the same clip, or the system refuses.
    """
    path = check_output(path, fps=fps, height=height, width=width)
    with claimed(growing_path(path), path, folder=_kind(path) is None) as claim:
        writer = VideoWriter(path, fps=fps, height=height, width=width)
        writer.keep_partial = keep_partial
        try:
            yield writer
            writer.finish()
        finally:
            claim.keep = writer.close()


def check_output(path: Path | str, *, fps: float, height: int, width: int) -> Path:
    """Checks before a long run that a clip of this size can be written to `path`; returns it as a Path.

    Raises:
        InputError: the kind is unknown or cannot hold such a clip, nothing can be made there (`check_parent`), or
            what stands there, or where the growing clip goes, is a folder with anything but PNG frames in it.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    assert height >= 1 and width >= 1, f"no frame is {width}x{height}"
    if path.name.lower() in {*KINDS, ".png"}:
        raise InputError(f"cannot write '{path}': a kind alone is no name; give one, such as clip{path.name}")
    if suffix not in {*KINDS, "", ".png"}:
        raise InputError(f"cannot write '{path}': {nearest(suffix, KINDS)}, or a folder of PNG frames (no suffix)")
    if path.stem.endswith(".partial"):
        final = path.with_stem(path.stem.removesuffix(".partial"))
        raise InputError(f"cannot write '{path}': that is the name of '{final.name}' while it grows; give another name")
    kind = _kind(path)
    max_fps = kind.max_fps if kind else MAX_FPS
    if not MIN_FPS <= fps <= max_fps:
        raise InputError(f"cannot write {fps:g} frames per second to '{path}'; possible: {MIN_FPS:g} to {max_fps:g}")
    if kind is None:
        check_parent(path)
        _check_folder(path)
        _check_folder(growing_path(path))
        return path
    check_file(path)
    check_file(growing_path(path))
    if kind.even and (height % 2 or width % 2):
        raise InputError(
            f"cannot write {width}x{height} as {suffix}, whose sizes are even; nearest: {_even(width, height)}; "
            "any size fits .mkv, .gif or a folder of PNG frames"
        )
    return path


class _FfmpegSink:
    """Pipes raw frames through ffmpeg."""

    def __init__(self, kind: Kind, partial: Path, path: Path, *, fps: float, height: int, width: int) -> None:
        rate = Fraction(fps).limit_denominator(1001)  # 23.976 and its like are whole numbers over 1001
        arguments = [
            *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(rate), "-i", "pipe:0"),
            *kind.codec,
            *(("-g", str(max(1, round(fps)))) if kind.keyframes else ()),
            *("-fps_mode", "passthrough", "-flags:v", "+bitexact"),
            *_output(kind, partial, kind.growing),
        ]
        with os_errors("write", path):
            self._run = Ffmpeg(arguments, task=f"write '{path}'", feed=True)

    def write(self, frame_YX3: Frames) -> None:
        self._run.feed(frame_YX3.tobytes())

    def finish(self) -> None:
        self._run.finish()

    def close(self) -> None:
        self._run.close()


class _PictureSink:
    """Saves every frame as `frame_00000.png`, with the frame rate as a text in it; the record stands in the .json."""

    def __init__(self, partial: Path, *, fps: float) -> None:
        self._folder = partial
        self._made = 0
        self._info = PngImagePlugin.PngInfo()
        self._info.add_text("fps", f"{fps:.12g}")

    def write(self, frame_YX3: Frames) -> None:
        picture = self._folder / f"frame_{self._made:05d}.png"
        Image.fromarray(frame_YX3).save(picture, pnginfo=self._info)
        self._made += 1

    def finish(self) -> None:
        """Every picture is finished by itself."""

    def close(self) -> None:
        """Nothing is held open."""


def _kind(path: Path) -> Kind | None:
    """How ffmpeg writes it; None for a folder of PNG frames."""
    return KINDS.get(path.suffix.lower())


def _copy(kind: Kind, source: Path, target: Path, *, comment: str, task: str) -> None:
    """Copies the stream, undecoded, into the final container with the comment, known only when the last frame is."""
    assert kind.final is not None, f"a {kind.muxer} file is final as it is"
    arguments = [
        *input_arguments(source, VIDEO_KINDS[source.suffix.lower()]),
        *("-map", "0:v:0", "-c", "copy", *(("-metadata", f"comment={comment}") if comment else ())),
        *_output(kind, target, kind.final),
    ]
    with Ffmpeg(arguments, task=task) as run:
        run.finish()


def _output(kind: Kind, path: Path, options: tuple[str, ...]) -> list[str]:
    """Bit-exact: no version or time in the file, so that the same frames give the same bytes."""
    return ["-fflags", "+bitexact", *options, "-f", kind.muxer, f"file:{path}"]


def _check_folder(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise InputError(f"cannot write PNG frames to '{path}': a file of that name exists")
    if path.is_dir():
        foreign = sorted(inner.name for inner in path.iterdir() if not inner.match("frame_*.png"))
        if foreign:
            raise InputError(
                f"cannot replace the folder '{path}': it holds '{foreign[0]}', which is no frame of a clip"
            )


def _even(width: int, height: int) -> str:
    down = f"{max(2, width - width % 2)}x{max(2, height - height % 2)}"
    up = f"{width + width % 2}x{height + height % 2}"
    return down if down == up else f"{down} or {up}"
