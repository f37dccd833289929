"""Writing: what comes back, what is refused, and that a name never holds half a file."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.moving import moving_frames
from vgen.clip import Clip
from vgen.errors import InputError
from vgen.video import write
from vgen.video.ffmpeg import Ffmpeg, input_arguments
from vgen.video.partial import growing_path
from vgen.video.read import probe, read_video
from vgen.video.write import KINDS, Kind, open_writer

ALL_KINDS = ["clip.mp4", "clip.gif", "clip.mkv", "clip", "clip.png"]


def partials(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if ".partial" in path.name]


@pytest.mark.parametrize("name", ALL_KINDS)
@pytest.mark.parametrize("fps", [12, 8.5, 24000 / 1001])
def test_every_kind_returns_size_count_and_rate(tmp_path: Path, name: str, fps: float) -> None:
    frames = moving_frames(frames=24)
    Clip(frames=frames, fps=fps).save(tmp_path / name)
    info = probe(tmp_path / name)
    assert (info.frames, info.height, info.width) == frames.shape[:3]
    assert info.fps == pytest.approx(fps, rel=2e-3 if name.endswith(".gif") else 1e-6)  # gif counts hundredths
    assert info.duration_s == pytest.approx(24 / fps, abs=0.011)


# mean error out of 255: mp4 pays for 4:2:0 and crf 16, gif for 256 colours
@pytest.mark.parametrize(("name", "mean_error"), [("clip.mp4", 2), ("clip.gif", 4), ("clip.mkv", 0), ("clip", 0)])
def test_colours_come_back(tmp_path: Path, name: str, mean_error: float) -> None:
    frames = moving_frames(height=64, width=96)
    Clip(frames=frames, fps=12).save(tmp_path / name)
    got, _ = read_video(tmp_path / name)
    assert np.abs(got.astype(int) - frames).mean() <= mean_error


@settings(deadline=None, max_examples=8, derandomize=True)
@given(seed=st.integers(0, 99), frames=st.integers(1, 4), height=st.integers(1, 20), width=st.integers(1, 20))
def test_lossless_kinds_are_exact_at_any_size(
    tmp_path_factory: pytest.TempPathFactory, seed: int, frames: int, height: int, width: int
) -> None:
    folder = tmp_path_factory.mktemp("exact")
    noise = np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), np.uint8)
    for name in ("clip.mkv", "clip"):
        clip = Clip(frames=noise, fps=12)
        clip.save(folder / name)
        assert Clip.read(folder / name).sha256() == clip.sha256()


def test_mp4_says_its_colours(tmp_path: Path) -> None:
    """Untagged H.264 is shown in other colours by one player than by the next."""
    Clip(frames=moving_frames(), fps=12).save(tmp_path / "clip.mp4")
    show = [*input_arguments(tmp_path / "clip.mp4", "mov"), "-vf", "showinfo", "-f", "null", "-", "-v", "info"]
    with Ffmpeg(show, task="look") as run:
        run.finish()
        run._messages.seek(0)
        text = run._messages.read().decode()
    assert re.search(r"h264 \(High\).*yuv420p\(tv, bt709", text)
    assert re.search(r"color_range:tv color_space:bt709 color_primaries:bt709 color_trc:bt709", text)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.gif"])
def test_same_frames_same_bytes(tmp_path: Path, name: str) -> None:
    clip = Clip(frames=moving_frames(), fps=12, record={"seed": 1})
    once, again = (clip.save(tmp_path / name).read_bytes() for _ in range(2))
    assert once == again


@settings(deadline=None, max_examples=6, derandomize=True)
@given(cuts=st.lists(st.integers(1, 9), max_size=4, unique=True).map(sorted))
def test_chunking_does_not_matter(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    folder = tmp_path_factory.mktemp("chunks")
    clip = Clip(frames=moving_frames(10), fps=12)
    with open_writer(folder / "clip.mkv", fps=12, height=32, width=48) as writer:
        for chunk in np.split(clip.frames, cuts):
            writer.write(chunk)
    assert writer.sha256 == clip.sha256() == Clip.read(folder / "clip.mkv").sha256()
    assert writer.frames_written == 10


@pytest.mark.parametrize(
    ("name", "size", "fps", "message"),
    [
        ("clip.mp4", (33, 48), 12, r"nearest: 48x32 or 48x34.*\.mkv"),
        ("clip.mp4", (1, 1), 12, r"nearest: 2x2"),
        ("clip.gif", (32, 48), 60, "possible: 0.1 to 50"),
        ("clip.mp4", (32, 48), 0, "possible: 0.1 to 1000"),
        ("clip.mp4", (32, 48), float("nan"), "nan frames per second"),
        ("clip.mpg", (32, 48), 12, r"did you mean '\.mp4'\?"),
        ("missing/clip.mp4", (32, 48), 12, "'.*missing' does not exist"),
        ("folder.mp4", (32, 48), 12, "a folder of that name exists"),
        ("file", (32, 48), 12, "a file of that name exists"),
        ("foreign", (32, 48), 12, "it holds 'diary.txt'"),
        (".mp4", (32, 48), 12, r"a kind alone is no name; give one, such as clip\.mp4"),
        ("c" * 252 + ".mp4", (32, 48), 12, "File name too long"),
        ("clip.partial.mp4", (32, 48), 12, r"the name of 'clip\.mp4' while it grows"),
        ("taken.mkv", (32, 48), 12, r"taken\.partial\.mkv': a folder of that name exists"),
        ("own", (32, 48), 12, r"own\.partial': it holds 'diary.txt'"),
    ],
)
def test_refusals_name_what_is_possible_and_write_nothing(
    tmp_path: Path, name: str, size: tuple[int, int], fps: float, message: str
) -> None:
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "diary.txt").write_text("mine")
    (tmp_path / "taken.partial.mkv").mkdir()
    (tmp_path / "own.partial").mkdir()
    (tmp_path / "own.partial" / "diary.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with (
        pytest.raises(InputError, match=message),
        open_writer(tmp_path / name, fps=fps, height=size[0], width=size[1]),
    ):
        pytest.fail("the block must not start")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ALL_KINDS)
def test_a_block_that_fails_leaves_the_old_clip(tmp_path: Path, name: str) -> None:
    old = Clip.read(Clip(frames=moving_frames(), fps=12).save(tmp_path / name))
    with (
        pytest.raises(KeyError),
        open_writer(tmp_path / name, fps=12, height=32, width=48) as writer,
    ):
        writer.write(255 - moving_frames())
        raise KeyError("stop")
    assert Clip.read(tmp_path / name).sha256() == old.sha256()
    assert not partials(tmp_path)


@pytest.mark.parametrize("name", ALL_KINDS)
def test_replacing_leaves_only_the_new_clip(tmp_path: Path, name: str) -> None:
    Clip(frames=moving_frames(9), fps=12).save(tmp_path / name)
    Clip(frames=moving_frames(4), fps=12).save(tmp_path / name)
    assert len(Clip.read(tmp_path / name).frames) == 4
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_encoder_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "KINDS", {**KINDS, ".mkv": Kind(muxer="matroska", codec=("-c:v", "no_such_codec"))})
    with pytest.raises(InputError, match=r"cannot write '.*clip\.mkv': .*no_such_codec"):
        Clip(frames=moving_frames(200, 64, 64), fps=12).save(tmp_path / "clip.mkv")
    assert not list(tmp_path.iterdir())


def test_a_signal_that_ends_the_encoder_is_named() -> None:
    with Ffmpeg(["-f", "lavfi", "-re", "-i", "testsrc", "-f", "null", "-"], task="wait") as run:
        run._process.send_signal(signal.SIGXFSZ)
        with pytest.raises(InputError, match=rf"cannot wait: ffmpeg was ended by signal {signal.SIGXFSZ.value} \(File"):
            run.finish()


FOREVER = """
import sys
from tests.moving import moving_frames
from vgen.video.write import open_writer

frames = 255 - moving_frames()
with open_writer(sys.argv[1], fps=12, height=32, width=48) as writer:
    while True:
        writer.write(frames)
        print("chunk", flush=True)
"""

OVER_AND_OVER = """
import sys
from tests.moving import moving_frames
from vgen.clip import Clip

clips = [Clip(frames=moving_frames(count), fps=12, record={"frames": count}) for count in (3, 5)]
while True:
    for clip in clips:
        clip.save(sys.argv[1])
        print("saved", flush=True)
"""


def killed(script: str, path: Path, *, lines: int, wait_s: float = 0) -> None:
    """Runs a script until it has printed some lines, waits, and kills it as a power cut would."""
    root = Path(__file__).parents[2]
    run = subprocess.Popen([sys.executable, "-c", script, str(path)], cwd=root, stdout=subprocess.PIPE)
    assert run.stdout is not None
    with run.stdout:
        for _ in range(lines):
            assert run.stdout.readline()
        time.sleep(wait_s)
        os.kill(run.pid, signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL


@pytest.mark.parametrize("name", ["clip.mp4", "clip"])
def test_kill_while_writing_leaves_the_old_clip(tmp_path: Path, name: str) -> None:
    old = Clip.read(Clip(frames=moving_frames(), fps=12).save(tmp_path / name))
    killed(FOREVER, tmp_path / name, lines=3)
    assert Clip.read(tmp_path / name).sha256() == old.sha256()
    assert partials(tmp_path) == [growing_path(tmp_path / name).name]


def test_kill_at_any_moment_leaves_a_whole_clip(tmp_path: Path) -> None:
    for wait_s in (0.0, 0.013, 0.029, 0.041):
        killed(OVER_AND_OVER, tmp_path / "clip.mp4", lines=2, wait_s=wait_s)
        assert len(Clip.read(tmp_path / "clip.mp4").frames) in (3, 5)
