"""What a process knows of the others: the environment, who speaks first, who is gone, what is handed over."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from vgen.errors import ConfigError, PeerLostError
from vgen.parallel.launch import _verdict
from vgen.parallel.launched import (
    FOLDER,
    SPOKEN,
    Launched,
    await_said,
    claim,
    ended,
    hand_over,
    launched,
    leave,
    register,
)

VARIABLES = {"RANK": "1", "WORLD_SIZE": "3", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "3", "MASTER_PORT": "7"}


@pytest.fixture
def three() -> Iterator[list[Launched]]:
    store = TCPStore("127.0.0.1", 0, None, True, wait_for_workers=False)
    yield [
        Launched(rank=r, size=3, local_rank=r, local_size=3, address="127.0.0.1", port=store.port, attempt="0")
        for r in range(3)
    ]
    del store


def test_the_environment_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    found = launched()
    assert found is not None and (found.rank, found.size, found.port) == (1, 3, 7)
    monkeypatch.setenv("LOCAL_RANK", "first")
    with pytest.raises(ConfigError, match=r"LOCAL_RANK=first is no number; start them with --nproc N"):
        launched()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert launched() is None


def test_one_of_several_speaks(three: list[Launched], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    assert [claim(process, f"{process.rank} failed", process.rank) for process in reversed(three)] == [
        True,
        False,
        False,
    ]
    assert (tmp_path / SPOKEN).read_text() == "2", "and its exit code is that of all"
    with pytest.raises(PeerLostError, match="another process has failed"):
        await_said(three[0], 0)


def test_who_has_nobody_to_ask_speaks() -> None:
    assert claim(Launched(rank=1, size=2, local_rank=1, local_size=2, address="127.0.0.1", port=1, attempt="0"), "", 1)


def test_those_that_ended_or_stand_still_are_named_but_not_who_left(three: list[Launched]) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    register(three[2])
    assert ended(three[0]) is None, "this very process runs"
    _registered(three[1], sleeper.pid)
    assert ended(three[0]) is None
    sleeper.send_signal(signal.SIGSTOP)
    assert ended(three[0]) == "process 1 stands still"
    sleeper.kill()
    assert ended(three[0]) == "process 1 has ended"
    sleeper.wait()
    assert ended(three[0]) == "process 1 has ended"
    with pytest.raises(PeerLostError, match="process 1 has ended"):
        await_said(three[0], 5)
    hand_over(three[2], 5, "a path")
    assert await_said(three[0], 5) == "a path", "what was said before is heard"
    leave(three[1])
    assert ended(three[0]) is None, "who has done its part may go"


def test_who_leaves_while_it_is_looked_at_is_not_missed(three: list[Launched], monkeypatch: pytest.MonkeyPatch) -> None:
    from vgen.parallel import launched as module

    def state(pid: int) -> str:
        leave(three[1])
        return "has ended"

    register(three[1])
    monkeypatch.setattr(module, "_state", state)
    monkeypatch.setattr(module, "NOTICE_S", 0.0)
    assert ended(three[0]) is None


def _registered(process: Launched, pid: int) -> None:
    from vgen.parallel import launched as module

    module._store(process).set(f"{module.PROCESS}/{process.rank}", json.dumps([module._host(), pid]))


@pytest.mark.parametrize(
    ("codes", "spoken", "verdict"),
    [
        ({0: 3, 1: 2}, "2", (2, None)),
        ({0: -15, 1: 2}, "2", (2, None)),
        ({0: -9, 1: -15}, None, (1, "the run was ended: process 0 by SIGKILL, process 1 by SIGTERM")),
        ({1: 1}, None, (1, None)),
    ],
)
def test_the_exit_code_is_that_of_who_spoke(
    tmp_path: Path, codes: dict[int, int], spoken: str | None, verdict: tuple[int, str | None]
) -> None:
    if spoken is not None:
        (tmp_path / SPOKEN).write_text(spoken)
    assert _verdict(codes, tmp_path / SPOKEN) == verdict
    assert os.environ.get(FOLDER) is None
