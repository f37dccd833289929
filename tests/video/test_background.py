"""Writing beside the caller: the same file, errors that surface, nothing left over; and time that is not waited for."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.moving import moving_frames
from vgen.clip import Clip
from vgen.errors import InputError
from vgen.frames import Frames
from vgen.video.background import WAITING, in_background
from vgen.video.write import open_writer


def chunks(count: int) -> list[Frames]:
    return [np.full((1, 2, 2, 3), number, np.uint8) for number in range(count)]


@pytest.mark.parametrize("name", ["clip.mkv", "clip"])
def test_the_file_is_the_one_that_is_written_directly(tmp_path: Path, name: str) -> None:
    clip = Clip(frames=moving_frames(10), fps=12)
    with (
        open_writer(tmp_path / name, fps=12, height=32, width=48) as writer,
        in_background(writer.write, keep=lambda: False) as beside,
    ):
        for chunk_FYX3 in np.split(clip.frames, [1, 2, 5]):
            beside.write(chunk_FYX3)
    assert Clip.read(tmp_path / name).sha256() == clip.sha256()
    assert beside.busy_s > 0


def test_chunks_keep_their_order_and_few_of_them_wait() -> None:
    """A slow writer holds the caller back, so that a long clip needs no more memory than a short one."""
    seen: list[int] = []
    ahead = []

    def write(frames_FYX3: Frames) -> None:
        time.sleep(0.005)
        seen.append(int(frames_FYX3[0, 0, 0, 0]))

    with in_background(write, keep=lambda: False) as beside:
        for number, chunk_FYX3 in enumerate(chunks(20)):
            beside.write(chunk_FYX3)
            ahead.append(number + 1 - len(seen))
    assert seen == list(range(20))
    assert max(ahead) <= WAITING


def test_the_caller_goes_on_while_a_chunk_is_written() -> None:
    going_on = threading.Event()

    def write(frames_FYX3: Frames) -> None:
        assert going_on.wait(10), "the caller was held up"

    with in_background(write, keep=lambda: False) as beside:
        beside.write(chunks(1)[0])
        going_on.set()


@pytest.mark.parametrize("at", [0, 2, 4])
def test_an_error_surfaces_once_and_nothing_behind_it_is_written(at: int) -> None:
    """At a later write, or at the end where it was one of the last."""
    seen: list[int] = []

    def write(frames_FYX3: Frames) -> None:
        number = int(frames_FYX3[0, 0, 0, 0])
        if number == at:
            raise InputError("cannot write 'a.mp4': the disk is full")
        seen.append(number)

    with pytest.raises(InputError, match="the disk is full"), in_background(write, keep=lambda: True) as beside:
        for chunk_FYX3 in chunks(5):
            beside.write(chunk_FYX3)
    assert seen == list(range(at))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("vgen-writer")]


@pytest.mark.parametrize("keep", [True, False])
def test_a_block_that_fails_writes_what_waits_where_it_is_to_be_kept(keep: bool) -> None:
    seen: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def write(frames_FYX3: Frames) -> None:
        begun.set()
        go_on.wait(10)
        seen.append(int(frames_FYX3[0, 0, 0, 0]))

    def stop() -> None:
        begun.wait(10)
        threading.Timer(0.05, go_on.set).start()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), in_background(write, keep=lambda: keep) as beside:
        beside.write(chunks(2)[0])
        beside.write(chunks(2)[1])
        stop()
    assert seen == ([0, 1] if keep else [0])


def test_an_encoder_that_dies_is_one_line_and_leaves_no_file(tmp_path: Path) -> None:
    clip = Clip(frames=moving_frames(10), fps=12)
    with pytest.raises(InputError, match=r"cannot write '.*clip\.mkv'"):  # noqa: SIM117
        with (
            open_writer(tmp_path / "clip.mkv", fps=12, height=32, width=48) as writer,
            in_background(writer.write, keep=lambda: writer.keep_partial) as beside,
        ):
            writer._sink._run._process.kill()  # type: ignore[attr-defined]
            for _ in range(50):
                beside.write(clip.frames)
    assert not list(tmp_path.iterdir())
