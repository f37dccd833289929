"""Cold-process measurements see the time, the memory and the children of a command."""

import json

import pytest

from vgen.bench import cold
from vgen.bench.cold import measure
from vgen.errors import InputError, ResourceError

HOLD_64_MIB = "import time; held = b'x' * (64 << 20); time.sleep(0.25)"
IN_A_CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLD_64_MIB!r}])"


@pytest.mark.parametrize("script", [HOLD_64_MIB, IN_A_CHILD])
def test_memory_and_time_of_the_whole_tree_are_seen(script: str) -> None:
    idle = measure(["python", "-c", "import time; time.sleep(0.25)"])
    figures = measure(["python", "-c", script], repeat=2)
    assert figures["peak_mib"] > idle["peak_mib"] + 55
    assert figures["wall_s"]["best"] == min(figures["wall_s"]["all"]) >= 0.25
    assert len(figures["wall_s"]["all"]) == 2


def test_each_run_starts_in_an_empty_folder() -> None:
    script = "import os; assert not os.listdir(); open('left', 'w').close()"
    assert measure(["python", "-c", script], repeat=2)["command"] == ["python", "-c", script]


def test_a_failing_or_missing_command_is_no_figure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="ended with 3: told you"):
        measure(["python", "-c", "print('told you'); exit(3)"])
    with pytest.raises(ResourceError, match="'no-such-program' is not installed"):
        measure(["no-such-program"])
    assert cold.main(["--", "no-such-program"]) == 2
    assert capsys.readouterr().out == ""


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cold.main(["--repeat", "2", "--", "python", "-c", "print(1)"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == {"command", "machine", "wall_s", "peak_mib"}
    assert figures["machine"]["cores"] >= 1
