"""Reading: limits before decoding, damaged files refused, no file opened but the one that was named."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.moving import moving_frames
from vgen.clip import Clip
from vgen.errors import InputError
from vgen.video.ffmpeg import VIDEO_KINDS, Ffmpeg
from vgen.video.read import Limits, iter_frames, probe, read_video


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """clip.mp4, clip.mkv, clip.gif and clip/ with 24 frames of 48x32 at 12 fps."""
    folder = tmp_path_factory.mktemp("clips")
    clip = Clip(frames=moving_frames(24), fps=12)
    for name in ("clip.mp4", "clip.mkv", "clip.gif", "clip"):
        clip.save(folder / name)
    return folder


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.gif", "clip"])
@pytest.mark.parametrize(
    ("limits", "field"),
    [
        (Limits(file_mib=1e-4), "file_mib"),
        (Limits(frame_px=48 * 32 - 1), "frame_px"),
        (Limits(frames=23), "frames"),
        (Limits(duration_s=1.9), "duration_s"),
        (Limits(decoded_mib=0.1), "decoded_mib"),
    ],
)
def test_limits_hold_before_decoding(
    folder: Path, name: str, limits: Limits, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vgen.video.read.iter_frames", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(InputError, match=f"at most .* are read: raise Limits.{field}|has more than 23 frames"):
        read_video(folder / name, limits=limits)


def test_a_video_at_the_limits_is_read(folder: Path) -> None:
    limits = Limits(frame_px=48 * 32, frames=24, duration_s=2)
    for name in ("clip.mp4", "clip.mkv", "clip"):
        assert read_video(folder / name, limits=limits)[0].shape == (24, 32, 48, 3)


def test_the_decoder_is_held_to_the_limits_too(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1536 pixels per frame"):
        next(iter_frames(folder / "clip.mp4", limits=Limits(frame_px=100)))
    large = Clip(frames=moving_frames(2, 160, 160), fps=12).save(tmp_path / "large.mp4")
    with pytest.raises(InputError, match="exceeds specified max pixel count"):
        next(iter_frames(large, limits=Limits(frame_px=100)))


def test_stopping_early_ends_the_decoder(folder: Path) -> None:
    frames = iter_frames(folder / "clip.mkv")
    assert np.array_equal(next(frames), moving_frames(24)[0])
    frames.close()  # type: ignore[attr-defined] # an open process would be reported as a ResourceWarning
    with pytest.raises(StopIteration):
        next(frames)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.gif"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_a_cut_file_is_refused_or_read_short(folder: Path, tmp_path: Path, name: str, keep: float) -> None:
    data = (folder / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * keep)])
    try:
        frames, _ = read_video(tmp_path / name)
    except InputError as error:
        assert str(error).startswith(f"cannot read '{tmp_path / name}': ")
        assert "\n" not in str(error)
    else:
        assert len(frames) < 24


@pytest.mark.parametrize("suffix", sorted(VIDEO_KINDS))
def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"notes{suffix}"
    path.write_text("these are only words\n" * 50)
    with pytest.raises(InputError, match="cannot read") as caught:
        read_video(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", sorted(VIDEO_KINDS))
def test_a_playlist_in_disguise_opens_no_other_file(folder: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"list{suffix}"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2.0,\nfile://{folder / 'clip.mp4'}\n#EXT-X-ENDLIST\n")
    with pytest.raises(InputError, match="cannot read"):
        read_video(path)


def test_wrong_paths_say_what_is_possible(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No such file"):
        read_video(tmp_path / "none.mp4")
    with pytest.raises(InputError, match=r"did you mean '\.mp4'\?"):
        read_video(tmp_path / "clip.mp3")
    with pytest.raises(InputError, match=r"holds no \.png frames"):
        read_video(tmp_path)
    with pytest.raises(InputError, match="a frame rate of its own"):
        read_video(folder / "clip.mp4", fps=5)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with Ffmpeg(["-f", "lavfi", "-i", "sine=duration=0.2", "-f", "mp4", str(path)], task="make a tone") as run:
        run.finish()
    with pytest.raises(InputError, match="cannot read"):
        probe(path)


def test_a_turned_video_is_read_upright(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "turned.mp4"
    turn = ["-display_rotation", "90", "-i", str(folder / "clip.mp4"), "-c", "copy", str(path)]
    with Ffmpeg(turn, task="turn") as run:
        run.finish()
    assert read_video(path)[0].shape == (24, 48, 32, 3)


def test_pictures_of_others_need_a_rate(tmp_path: Path) -> None:
    frames = moving_frames(11)
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"{index}.png")
    with pytest.raises(InputError, match="pass fps="):
        Clip.read(tmp_path)
    clip = Clip.read(tmp_path, fps=7)
    assert clip.fps == 7
    assert np.array_equal(clip.frames, frames)  # 10.png behind 9.png


def test_pictures_of_several_sizes_are_refused(tmp_path: Path) -> None:
    for index, size in enumerate([(8, 8), (8, 8), (9, 8)]):
        Image.new("RGB", size).save(tmp_path / f"{index}.png")
    with pytest.raises(InputError, match="frame 2 differs in size"):
        Clip.read(tmp_path, fps=7)


def test_a_picture_cannot_claim_a_strange_rate(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    for rate in ("0", "nan", "1e999", "-3", json.dumps({"fps": 3})):
        info = PngInfo()
        info.add_text("fps", rate)
        Image.new("RGB", (8, 8)).save(tmp_path / "0.png", pnginfo=info)
        with pytest.raises(InputError, match="pass fps="):
            Clip.read(tmp_path)
