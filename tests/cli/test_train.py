"""`vgen train travl` with good and bad input: stdout, stderr, the disk, the exit code."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.evaluate.critics.folders import dino_folder, noise_clip
from vgen.cli import _run
from vgen.evaluate.critics.travl import open_travl
from vgen.evaluate.judges import open_judge

Run = Callable[..., tuple[int, str, str]]
SMALL = ("--pairs", "4", "--steps", "6", "--laws", "vanish,teleport")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vgen.cli.train_travl.HELD_OUT", 4)

    def call(*words: str) -> tuple[int, str, str]:
        code = _run(["train", "travl", *words])
        return code, *capsys.readouterr()

    return call


def test_a_critic_is_trained_checked_and_can_judge(run: Run) -> None:
    code, out, err = run("-o", "mine/critic", *SMALL)
    assert code == 0 and re.fullmatch(
        r"held-out twins ordered rightly: [01]\.\d\d \[0\.\d\d, [01]\.\d\d\] of 4; chance 0\.50\n", out
    )
    assert err.startswith("4 pairs of scenes, whose features take up to 1 MiB\n")
    assert all(line in err for line in ("draw: 4/4", "train: 6/6", "check: 4/4", "--judge travl:mine/critic"))
    critic = open_judge("travl:mine/critic").critic
    assert critic is not None and critic.opinion(noise_clip(8)).value is not None
    assert {path.name for path in Path("mine/critic").iterdir()} == {"travl.json", "travl.safetensors"}
    assert run("-o", "same", *SMALL)[1] == out and open_travl("same").name == critic.name


def test_a_critic_that_stands_there_is_left_or_gone_on_with(run: Run) -> None:
    assert run("-o", "critic", *SMALL)[0] == 0
    before = open_travl("critic").name
    code, out, err = run("-o", "critic", *SMALL)
    assert code == 2 and not out and "holds a critic already; go on with it (--resume), or name another folder" in err
    assert open_travl("critic").name == before
    assert run("-o", "critic", *SMALL, "--resume")[0] == 0 and open_travl("critic").name != before


def test_an_encoder_is_linked_beside_the_weights(run: Run, tmp_path: Path) -> None:
    dino_folder(tmp_path / "dino")
    code, _, err = run("-o", "critic", *SMALL, "--encoder", "dino", "--layer", "2")
    assert code == 0 and "encoder: critic/encoder leads to" in err
    assert json.loads(Path("critic/travl.json").read_text())["features"] == {"kind": "encoder", "layer": 2}
    assert Path("critic/encoder").resolve() == tmp_path / "dino"
    assert open_travl("critic").opinion(noise_clip(8)).value is not None
    assert run("-o", "critic", *SMALL, "--resume")[0] == 0
    dino_folder(tmp_path / "other" / "encoder")
    code, _, err = run("-o", "other", *SMALL, "--encoder", "dino")
    assert code == 2 and "'other/encoder' is another encoder than 'dino'" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--laws", "vanis"), "did you mean 'vanish'"),
        (("--laws", ","), "no law was named"),
        (("--seed", "200"), "possible: 0 to 199"),
        (("--pairs", "0"), "--pairs"),
        (("--layer", "2"), "--layer is that of --encoder"),
        (("--encoder", "none"), "no folder 'none'"),
        (("--resume",), "no folder 'critic'"),
        (("--resume", "--encoder", "none"), "leave out --encoder"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(run: Run, words: tuple[str, ...], message: str) -> None:
    code, out, err = run("-o", "critic", *words)
    assert code == 2 and not out and message in err and len(err.splitlines()) == 1
    assert not Path("critic").exists()
