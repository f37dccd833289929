"""The growing clip: it can be read meanwhile, stays where asked, goes otherwise, and belongs to one run at a time."""

import errno
import fcntl
import itertools
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.moving import moving_frames
from vgen.clip import Clip
from vgen.errors import InputError
from vgen.files import remove
from vgen.frames import Frames
from vgen.video.ffmpeg import Ffmpeg
from vgen.video.partial import claimed, growing_path
from vgen.video.read import iter_frames
from vgen.video.write import KINDS, VideoWriter, open_writer

ALL_KINDS = ["clip.mp4", "clip.gif", "clip.mkv", "clip", "clip.png"]
FPS = 12


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def readable(path: Path) -> Frames:
    """What a reader makes of the clip as it is now; no frame where it cannot be opened yet."""
    try:
        return np.array(list(iter_frames(path)))
    except InputError:
        return np.empty(0, np.uint8)


@pytest.mark.parametrize(("name", "behind", "error"), [("a.mp4", 24, 2), ("a.mkv", 12, 0), ("a", 0, 0)])
def test_what_was_written_can_be_read_meanwhile(tmp_path: Path, name: str, behind: int, error: float) -> None:
    """Behind by the frames that encoder and container hold back; x264 holds one more for each further thread."""
    frames = moving_frames(72)
    with open_writer(tmp_path / name, fps=FPS, height=32, width=48) as writer:
        for chunk in np.split(frames, 6):
            writer.write(chunk)
        until = time.monotonic() + 20
        while len(got := readable(writer.partial)) < len(frames) - behind - 24 * (error > 0):
            assert time.monotonic() < until, f"{len(got)} of {len(frames)} frames can be read"
            time.sleep(0.1)
        assert np.abs(got.astype(int) - frames[: len(got)]).mean() <= error
        assert not writer.path.exists()
    assert names(tmp_path) == [name]
    assert len(Clip.read(tmp_path / name).frames) == len(frames)


def test_an_mp4_holds_a_keyframe_for_every_second(tmp_path: Path) -> None:
    """A player may begin at any second of it, and the growing file grows by seconds."""
    path = Clip(frames=moving_frames(60), fps=FPS).save(tmp_path / "a.mp4")
    command = ["-i", str(path), "-vf", "select=eq(pict_type\\,I)", "-fps_mode", "passthrough", "-f", "framecrc", "-"]
    with Ffmpeg(command, task="count") as run:
        times = [int(line.split(b",")[2]) for line in run.output if not line.startswith(b"#")]
        run.finish()
    assert max(np.diff([*times, 60])) <= FPS


@pytest.mark.parametrize("name", ALL_KINDS)
def test_a_failed_run_keeps_what_it_was_asked_to_keep(tmp_path: Path, name: str) -> None:
    def fail_after(frames: Frames, *, keep: bool) -> VideoWriter:
        with (
            pytest.raises(KeyboardInterrupt),
            open_writer(tmp_path / name, fps=FPS, height=32, width=48, keep_partial=keep) as writer,
        ):
            writer.write(frames)
            raise KeyboardInterrupt
        return writer

    fail_after(moving_frames(7), keep=False)
    assert names(tmp_path) == []
    kept = fail_after(moving_frames(7), keep=True)
    assert names(tmp_path) == [kept.partial.name] == [growing_path(tmp_path / name).name]
    assert len(Clip.read(kept.partial).frames) == 7  # all that was written, not only what the encoder had let go
    fail_after(moving_frames(7)[:0], keep=True)
    assert names(tmp_path) == []


def test_a_finished_clip_leaves_nothing_to_keep(tmp_path: Path) -> None:
    for name in ALL_KINDS:
        with open_writer(tmp_path / name, fps=FPS, height=32, width=48, keep_partial=True) as writer:
            writer.write(moving_frames(3))
        assert names(tmp_path) == [name]
        remove(tmp_path / name)


def test_an_encoder_that_fails_is_the_error_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = replace(KINDS[".mkv"], codec=("-c:v", "no_such_codec"))
    monkeypatch.setattr("vgen.video.write.KINDS", {**KINDS, ".mkv": broken})
    with (
        pytest.raises(InputError, match="no_such_codec"),
        open_writer(tmp_path / "a.mkv", fps=FPS, height=64, width=64, keep_partial=True) as writer,
    ):
        while True:
            writer.write(moving_frames(50, 64, 64))


WAITING = """
import sys
from tests.moving import moving_frames
from vgen.video.write import open_writer

with open_writer(sys.argv[1], fps=12, height=32, width=48) as writer:
    writer.write(moving_frames(40))
    print("written", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("name", ["a.mp4", "a"])
def test_a_second_run_is_refused_until_the_first_is_dead(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    command = [sys.executable, "-c", WAITING, str(path)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline()
        with pytest.raises(InputError, match=f"another run is writing it, to '{growing_path(path).name}'"):
            Clip(frames=moving_frames(3), fps=FPS).save(path)
        assert growing_path(path).exists()
        first.kill()
    assert names(tmp_path) == [growing_path(path).name]
    Clip(frames=moving_frames(3), fps=FPS).save(path)  # at once: the encoder of the first may still be at work
    assert names(tmp_path) == [name]
    assert len(Clip.read(path).frames) == 3


def test_what_a_killed_run_had_written_can_be_read(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WAITING, str(tmp_path / "a.mp4")]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline()
        run.kill()
    until = time.monotonic() + 20
    while len(got := readable(tmp_path / "a.partial.mp4")) < 40:  # the encoder ends by itself when its input does
        assert time.monotonic() < until, f"{len(got)} frames"
        time.sleep(0.05)


@pytest.mark.parametrize("folder", [False, True])
def test_of_many_claims_at_once_one_holds(tmp_path: Path, folder: bool) -> None:
    """Threads that claim, then drop, keep or rename what they hold, again and again: never two inside, and what one
    holds nobody else takes away."""
    partial, inside, faults = tmp_path / "a.partial", [0], list[str]()
    held, stop = itertools.count(1), time.monotonic() + 1.0

    def hold(number: int) -> None:
        with claimed(partial, tmp_path / "a", folder=folder) as claim:
            inside[0] += 1
            time.sleep(0.0005 * number)
            if inside[0] != 1 or not partial.exists():
                faults.append(f"{inside[0]} inside, {names(tmp_path)}")
            inside[0] -= 1
            turn = next(held)
            claim.keep = turn % 3 == 0
            if turn % 3 == 1:
                partial.rename(tmp_path / f"whole {turn}")
                time.sleep(0.002)  # the name is free; another may have it by the end of this block

    def work(number: int) -> None:
        while time.monotonic() < stop:
            with suppress(InputError):
                hold(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert next(held) > 20


def test_a_link_in_the_place_of_the_growing_clip_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "a.partial.mp4").symlink_to("mine")
    with pytest.raises(InputError, match=r"cannot write '.*a\.mp4': Too many levels of symbolic links"):
        Clip(frames=moving_frames(3), fps=FPS).save(tmp_path / "a.mp4")
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize(("code", "works"), [(errno.ENOLCK, True), (errno.ENOSYS, True), (errno.EIO, False)])
def test_a_file_system_without_locks_still_takes_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, works: bool
) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError(code, "refused")

    monkeypatch.setattr(fcntl, "flock", refuse)
    if works:
        Clip(frames=moving_frames(3), fps=FPS).save(tmp_path / "a.mkv")
        assert names(tmp_path) == ["a.mkv"]
    else:
        with pytest.raises(InputError, match="refused"):
            Clip(frames=moving_frames(3), fps=FPS).save(tmp_path / "a.mkv")
