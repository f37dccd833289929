"""`vgen attention`: figures of patterns, pictures, comparisons, and what is refused."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.folders import tiny_folder
from vgen.attention.executors import EXECUTORS
from vgen.cli import _run
from vgen.schema import EXECUTORS as NAMES


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = _run(["attention", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_published_rule_of_radial_attention(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("decay=0.2", "adjacent=half", "sink=1", "fidelity=block", "dense_first_steps=12", "num_inference_steps=50")
    code, out, _ = run(capsys, "show", "radial", "--grid", "18x48x80", "--json", *words)
    found = json.loads(out)
    assert code == 0
    assert set(found) >= {"pattern", "grid", "blocks", "kept_blocks", "density", "flops", "speedup_bound"}
    assert (found["grid"], found["blocks"], found["kept_blocks"]) == ("18x48x80", 540, 76798)
    assert found["density"]["block"] == pytest.approx(0.263368, abs=5e-7)
    effective = 0.24 + 0.76 * found["density"]["block"]
    assert found["density"]["effective"] == pytest.approx(effective)
    assert found["speedup_bound"] == pytest.approx(1 / effective)
    assert found["flops"] == pytest.approx(4 * found["density"]["block"] * 69120**2 * 12 * 128)


def test_every_pattern_and_preset_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "list")
    assert code == 0
    for name in ("radial:", "vmoba:", "decay=0.2", "radial-wan2.1:"):
        assert name in out


def test_a_picture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "window.png"
    code, out, _ = run(capsys, "show", "window", "--grid", "5x6x7", "frames=1", "rows=2", "--png", str(path))
    assert code == 0 and str(path) in out and "of blocks" in out
    with Image.open(path) as picture:
        colours = picture.convert("RGB").getcolors(1 << 24)
    assert colours is not None and len(colours) > 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("radail", "--grid", "3x4x5"), "did you mean 'radial'"),
        (("radial", "--grid", "3x4"), "FRAMESxROWSxCOLUMNS"),
        (("radial", "--grid", "0x4x5"), "FRAMESxROWSxCOLUMNS"),
        (("radial", "--grid", "999999x999x999"), "at most 4,194,304"),
        (("radial", "--grid", "3x4x5", "decya=1"), "did you mean 'decay'"),
        (("radial", "--grid", "3x4x5", "decay=-1"), "above 0"),
        (("radial", "--grid", "3x4x5", "decay"), "not key=value"),
        (("radial", "--grid", "3x4x5", "--block", "61"), "larger than the 60 tokens"),
        (("radial", "--grid", "3x4x5", "--png", "a.jpg"), "writes a .png"),
        (("radial", "--grid", "3x4x5", "--png", "nowhere/a.png"), "does not exist"),
        (("radial", "--grid", "3x4x5", "dense_first_steps=2"), "num_inference_steps"),
        (("moba", "--grid", "3x4x5"), "queries and keys"),
        (("vmoba", "--grid", "3x4x5"), "differs by layer"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    code, out, err = run(capsys, "show", *words)
    assert code == 2 and not out and message in err and len(err.splitlines()) == 1


def test_a_comparison_on_a_prompt(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = str(tiny_folder(tmp_path / "model", layout="playground"))
    path = tmp_path / "compared.png"
    words = ("a red ball", "frames=1", "attention.block=2", "--model", model, "--seed", "2", "--png", str(path))
    code, out, err = run(capsys, "compare", "window", *words, "--json")
    found = json.loads(out)
    assert code == 0 and "with the pattern" in err and path.is_file()
    errors = found["layer_errors"]
    assert len(errors) == 4 and {len(row) for row in errors} == {2}
    assert all(0 < error < 2 for row in errors for error in row)
    assert 0 < found["effective_density"] < 1 and found["frames"]["psnr_db"] < 100
    code, out, _ = run(
        capsys, "compare", "window", "a red ball", "frames=100", "--model", model, "--seed", "2", "--json"
    )
    found = json.loads(out)
    assert max(max(row) for row in found["layer_errors"]) < 1e-5 and found["frames"]["largest"] <= 1


def test_dense_is_not_compared_with_itself(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "compare", "dense", "a red ball")
    assert code == 2 and "name another" in err


def test_the_config_names_every_executor() -> None:
    assert set(NAMES) == {"auto", *EXECUTORS}
