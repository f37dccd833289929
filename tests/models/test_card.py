"""What a model card may say."""

from pathlib import Path

import pytest

from tests.folders import CARD
from vgen.errors import ModelError
from vgen.models.card import ModelCard, card_for

GOOD = CARD.format(image="none")


def card_of(folder: Path, content: str | bytes) -> ModelCard:
    (folder / "vgen.yaml").write_bytes(content.encode() if isinstance(content, str) else content)
    return card_for(folder, {})


def with_value(key: str, value: str) -> str:
    lines = [line for line in GOOD.splitlines() if not line.startswith(f"{key}:")]
    return "\n".join([*lines, f"{key}: {value}"])


def test_a_good_card_is_read(tmp_path: Path) -> None:
    card = card_of(tmp_path, with_value("guidance_scale", "5e-1"))
    assert (card.name, card.height, card.guidance_scale, card.samplers) == ("tiny", 32, 0.5, ["full", "causal"])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("height", "0"),
        ("height", "-32"),
        ("width", "15"),
        ("width", "100000"),
        ("num_frames", "-7"),
        ("fps", "0"),
        ("num_inference_steps", "0"),
        ("guidance_scale", ".nan"),
        ("guidance_scale", ".inf"),
        ("text_length", "0"),
        ("causal_block", "0"),
        ("causal_block", "4"),
        ("trained_window", "0"),
        ("samplers", "[wat]"),
        ("samplers", "[]"),
        ("image", "wat"),
        ("sampler", "casual"),
        ("sampler", "rolling-forcing"),
        ("solver", "dpm"),
        ("sigmas", "[1.0, 0.5]"),
        ("sigmas", "[1.0, 0.9, 0.9, 0.1]"),
        ("sigmas", "[1.5, 0.9, 0.5, 0.1]"),
        ("sigmas", "[1.0, 0.9, 0.5, 0.0]"),
        ("sigmas", "[1.0, .nan, 0.5, 0.1]"),
        ("name", "' '"),
    ],
)
def test_values_out_of_range_are_refused_by_name(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(ModelError, match=rf"{key}=.* is not possible in a model card"):
        card_of(tmp_path, with_value(key, value))


def test_defaults_of_sampling_are_read(tmp_path: Path) -> None:
    said = "\nsampler: streaming\nsolver: renoise\nsigmas: [1, 0.9, 0.5, 0.25]"
    card = card_of(tmp_path, GOOD + said)
    assert (card.sampler, card.solver, card.sigmas) == ("streaming", "renoise", [1.0, 0.9, 0.5, 0.25])
    plain = card_of(tmp_path, GOOD)
    assert (plain.sampler, plain.solver, plain.sigmas) == (None, None, [])


@pytest.mark.parametrize("value", ["${oc.env:HOME}", '"\\x24{oc.env:HOME}"', "x${height}"])
def test_interpolation_is_refused_and_not_evaluated(tmp_path: Path, value: str) -> None:
    with pytest.raises(ModelError, match=r"name holds an interpolation .*\$\{"):
        card_of(tmp_path, with_value("name", value))


@pytest.mark.parametrize(
    "content",
    [
        "a: [1",
        "- 1",
        "",
        "text",
        b"name: \xff",
        "[" * 20_000,
        with_value("height", "wide"),
        with_value("height", "null"),
        with_value("name", "{a: b}"),
        with_value("name", "!!timestamp x"),
        with_value("colour", "red"),
        GOOD.replace("height: 32", ""),
        "a: &a [x, x]\nb: &b [*a, *a]",
        "name: x\n" * 10_000,
    ],
)
def test_what_is_no_card_is_refused(tmp_path: Path, content: str | bytes) -> None:
    with pytest.raises(ModelError, match=r"not a model card|are no model card"):
        card_of(tmp_path, content)
