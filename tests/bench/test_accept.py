"""Bars against measured figures: the rows are sound, and a miss, a crash or a foreign machine cannot pass as met."""

import json
from pathlib import Path

import pytest

from vgen.bench import accept
from vgen.bench.accept import MACHINES, Bar, read_bars
from vgen.errors import ConfigError


def row(**changes: object) -> dict[str, object]:
    scores = [
        {"group": "from text", "name": "order", "value": 0.9, "interval": [0.8, 0.95]},
        {"group": "", "name": "order", "value": 0.5},
    ]
    printed = {"score": {"mean": 0.9, "interval": [0.8, 0.95]}, "text": "fast", "scores": scores}
    return {
        "area": "a",
        "name": "score",
        "command": ["python", "-c", f"print({json.dumps(json.dumps(printed))})"],
        "quantity": "score.mean",
        "bound": ">= 0.9",
        "machine": "any",
        **changes,
    }


def write(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text(json.dumps(rows))  # JSON is YAML
    return path


def test_the_shipped_bars_are_sound() -> None:
    bars = read_bars()
    assert {"engine"} <= {bar.area for bar in bars}
    for bar in bars:
        if bar.command[:2] == ("python", "-m"):
            module = bar.command[2]
            assert (Path(accept.__file__).parents[2] / (module.replace(".", "/") + ".py")).exists(), module


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bounds": "<= 1"}, "row 1: unknown field 'bounds'; did you mean 'bound'?"),
        ({"bound": "< 1"}, "bound is like"),
        ({"bound": "<= nan"}, "bound is like"),
        ({"command": "python -c 1"}, "command is a list of strings"),
        ({"command": ["sleep", 3]}, "command is a list of strings"),
        ({"machine": "cud"}, "did you mean 'cuda'?"),
    ],
)
def test_malformed_rows_are_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_bars(write(tmp_path / "bars.yaml", row(**changes)))
    assert message in str(caught.value)


def test_missing_fields_and_equal_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="missing area, bound, command, machine, quantity"):
        read_bars(write(tmp_path / "bars.yaml", {"name": "score"}))
    with pytest.raises(ConfigError, match="two bars 'score'"):
        read_bars(write(tmp_path / "bars.yaml", row(), row()))


@pytest.mark.parametrize(
    ("changes", "met", "shown"),
    [
        ({}, True, "0.9"),
        ({"bound": "<= 0.9"}, True, "0.9"),
        ({"interval": "score.interval"}, True, "0.8 to 0.95"),
        ({"bound": ">= 0.91"}, False, "0.9"),
        ({"quantity": "scores.from text: order.value", "interval": "scores.from text: order.interval"}, True, "0.9"),
        ({"quantity": "scores.order.value", "bound": "<= 0.5"}, True, "0.5"),
        ({"quantity": "scores.from text.value"}, False, "'scores.from text.value' is None"),
        ({"quantity": "score.median"}, False, "'score.median' is None"),
        ({"quantity": "text"}, False, "'text' is 'fast', not a finite number"),
        ({"interval": "score.mean"}, False, "not [low, high]"),
        ({"command": ["python", "-c", "print(1)"]}, False, "printed no JSON object but int"),
        ({"command": ["python", "-c", ""]}, False, "printed no JSON; exit code 0"),
        ({"command": ["python", "-c", "print('{}'); exit(3)"]}, False, "exit code 3"),
        ({"command": ["no-such-program"]}, False, "cannot be run"),
        (
            {"command": ["python", "-c", "import time; time.sleep(9)"], "timeout_s": 0.2},
            False,
            "no answer within 0.2 s",
        ),
    ],
)
def test_only_a_figure_within_its_bound_is_met(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    met: bool,
    shown: str,
) -> None:
    bars = read_bars(write(tmp_path / "bars.yaml", row(**changes)))
    monkeypatch.setattr(accept, "read_bars", lambda: bars)
    assert accept.main(["a"]) == (0 if met else 1)
    printed = capsys.readouterr().out
    assert shown in printed
    assert ("yes" in printed, "NO" in printed) == (met, not met)


def test_equal_commands_run_once(tmp_path: Path) -> None:
    path = tmp_path / "runs"
    script = f"open({str(path)!r}, 'a').write('x'); print('{{\"n\": 1}}')"
    command = ["python", "-c", script]
    rows = [row(name=str(n), command=command, quantity="n") for n in range(3)]
    results = accept.accept(read_bars(write(tmp_path / "bars.yaml", *rows)))
    assert [result.met for result in results] == [True] * 3
    assert path.read_text() == "x"


def test_what_needs_another_machine_is_shown_and_does_not_pass_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(accept, "MACHINES", {**MACHINES, "cuda": lambda: False})
    here, elsewhere = read_bars(write(tmp_path / "bars.yaml", row(), row(name="fast", machine="cuda")))
    for bars, code in [([here, elsewhere], 0), ([elsewhere], 1)]:
        monkeypatch.setattr(accept, "read_bars", lambda bars=bars: bars)
        assert accept.main(["a"]) == code
        assert "not run: needs cuda" in capsys.readouterr().out


def test_an_unknown_area_lists_the_areas(capsys: pytest.CaptureFixture[str]) -> None:
    for asked in ([], ["engin"], ["engine", "speed"]):
        assert accept.main(asked) == 2
        assert "engine" in capsys.readouterr().err


def test_bounds_include_their_limit() -> None:
    bar = Bar(area="a", name="n", command=("x",), quantity="q", bound="<= 2", machine="any")
    assert bar.met_by(2.0) and not bar.met_by(2.001)
