"""One schema: layers, ranges, unknown keys, and what a stranger's YAML may not do."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgen import images, schema
from vgen.config import merge, parse_assignments, read_config
from vgen.errors import ConfigError
from vgen.models.card import TRAININGS
from vgen.presets import sampler_presets
from vgen.schema import GenerateConfig, flat, keys_of


def test_later_layers_win_and_what_was_said_is_kept() -> None:
    config, said = merge(
        ("a", {"request.prompt": "a ball", "request.fps": 8}), ("b", {"request.fps": 9, "request.seed": None})
    )
    assert (config.request.fps, said) == (9, ["request.fps", "request.prompt"])


def test_defaults_alone_are_the_schema() -> None:
    assert flat(merge()[0]) == flat(GenerateConfig())
    assert set(flat(GenerateConfig())) == set(keys_of())


@given(st.text(max_size=40))
def test_text_is_taken_as_it_stands(text: str) -> None:
    config, _ = merge(("test", {"request.prompt": text}))
    assert config.request.prompt == text
    if "\n" not in text:
        assert parse_assignments([f"request.prompt={text}"]) == {"request.prompt": text}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"request.secnds": 1.0}, "did you mean 'request.seconds'"),
        ({"request.secnds": None}, "did you mean 'request.seconds'"),
        ({"abc": None}, "unknown key 'abc'"),
        ({"request.seed": 2**63}, "possible: 0 to 9223372036854775807$"),
        ({"request.seed": 2**63 - 2, "request.num_videos": 3}, "leaves no seeds for num_videos=3"),
        ({"request.num_frames": 3.5}, "takes int, got 3.5"),
        ({"request.num_frames": 0}, "possible: 1 to 100000 frames"),
        ({"request.seconds": -1.0}, "possible: 0.01 to 3600 s"),
        ({"request.seconds": float("nan")}, "possible: 0.01 to 3600 s"),
        ({"request.guidance_scale": "much"}, "takes float, got 'much'"),
        ({"request.fit": "croop"}, "did you mean 'crop'"),
        ({"run.dtype": "bf16"}, "did you mean 'bfloat16'"),
        ({"sampler.name": "casual"}, "did you mean 'causal'"),
        ({"sampler.lag": "often"}, "possible: 0 to 1000 steps, or num_steps, window"),
        ({"sampler.lag": -1}, "possible: 0 to 1000 steps"),
        ({"sampler.window": "wide"}, "possible: 1 to 100000 latent frames, or block, third"),
        ({"sampler.caps": 3}, "takes list"),
        ({"attention.executor": "flux"}, "did you mean .flex"),
        ({"request.seconds": 1.0, "request.num_frames": 9}, "give one of them"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_is_refused_with_what_can(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        merge(("test", values))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fast"], "neither an option nor key=value"),
        (["sampler.lag=3", "sampler.lag=4"], "given twice"),
        (["sampler.window={"], "not YAML"),
        (["sampler.windw=3"], "did you mean 'sampler.window'"),
        (["request.fps=7\nother: 3"], "more than one value"),
        (["request.fps=" + "[" * 5000], "not YAML"),
    ],
)
def test_assignments_are_checked(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_assignments(words)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("request:\n  prompt: ${oc.env:HOME}\n", "holds an interpolation"),
        ("- 1\n", "a config is a mapping"),
        ("request: {\n", "not YAML"),
    ],
)
def test_a_config_file_is_data_alone(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_config(path)


def test_a_config_file_gives_dotted_keys(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("request:\n  prompt: a ball\n  seconds: 2\nsampler:\n  name: causal\n")
    config, _ = merge(("file", read_config(path)))
    assert (config.request.prompt, config.request.seconds, config.sampler.name) == ("a ball", 2.0, "causal")


def test_an_empty_group_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("request:\n")
    assert merge(("file", read_config(tmp_path / "config.yaml"))) == (GenerateConfig(), [])


def test_fits_are_those_of_images() -> None:
    assert schema.FITS == images.FITS


def test_every_preset_is_valid() -> None:
    presets = sampler_presets()
    assert {"full", "causal"} <= set(presets)
    for name, values in presets.items():
        assert values.pop("sampler.needs") in TRAININGS
        merged, _ = merge(("preset", values | {"sampler.name": name}))
        assert all(getattr(merged.sampler, key.partition(".")[2]) == value for key, value in values.items())
