"""From `--attention`, and what samplers ask for on top, to what runs, and into the record."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.attention.oracle import draw_qkv, oracle
from tests.folders import tiny_folder
from vgen.attention import Dense, Full, SparseAttention, VideoAttention, Window, WindowFusion
from vgen.config import merge
from vgen.errors import ConfigError
from vgen.pipeline import VideoPipeline
from vgen.presets import attention_presets
from vgen.schema import AttentionConfig
from vgen.shapes import TokenGrid
from vgen.sparsity import record_rows, resolve_attention

SIGMAS = tuple(1 - step / 10 for step in range(10))


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> VideoPipeline:
    return VideoPipeline.from_pretrained(tiny_folder(tmp_path_factory.mktemp("tiny"), layout="playground"))


def resolved(**values: Any) -> Any:
    knobs = values.pop("knobs", {})
    return resolve_attention(AttentionConfig(**values, knobs=knobs), SIGMAS, num_layers=4)


@pytest.mark.parametrize("name", sorted(attention_presets()))
def test_every_preset_resolves_and_scales_its_dense_steps(name: str) -> None:
    settings, notes = resolved(name=name)
    preset = attention_presets()[name]
    first, of = preset.get("attention.dense_first_steps", 0), preset.get("attention.num_inference_steps", 10)
    assert settings.dense_first_steps == round(first * 10 / of)
    assert bool(notes) == (of != 10 and bool(first or preset.get("attention.dense_last_steps")))


def test_what_is_said_wins_over_the_preset() -> None:
    settings, notes = resolved(name="radial-wan2.1", dense_first_steps=1, knobs={"decay": 0.5})
    assert settings.dense_first_steps == 1 and settings.knobs["decay"] == 0.5 and not notes


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "radail"}, "did you mean 'radial'"),
        ({"name": "radial", "knobs": {"decya": 1}}, "did you mean 'decay'"),
        ({"name": "radial", "knobs": {"decay": 0}}, "decay"),
        ({"name": "dense", "knobs": {"decay": 0.2}}, "means nothing to dense"),
        ({"name": "dense", "block": 64}, "means nothing to dense"),
        ({"name": "radial", "dense_layers": 5}, "the model has 4 layers; possible: 0 to 4"),
        ({"name": "radial", "dense_first_steps": 6, "dense_last_steps": 5}, "do not fit into 10 steps"),
    ],
)
def test_what_is_not_possible_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolved(**values)


def test_a_run_records_what_ran_and_can_be_asked_for_again(pipeline: VideoPipeline) -> None:
    window = {"name": "window", "frames": 1, "block": 2, "dense_first_steps": 1}
    clip = pipeline("a red ball", seed=3, attention=window)
    assert clip.sha256() != pipeline("a red ball", seed=3).sha256()
    dense, sparse = clip.record["attention"]
    assert (dense["pattern"], dense["steps"], dense["layers"]) == ("dense", "0", "0-1")
    assert (sparse["steps"], sparse["layers"]) == ("1-3", "0-1")
    assert 0 < sparse["token_density"] <= sparse["density"] < 1
    again = {key: value for key, value in clip.record["resolved"].items() if not key.startswith("run.")}
    assert pipeline.start(*merge(("record", again))).clip().sha256() == clip.sha256()


def test_a_causal_run_attends_sparsely_to_its_memory_too(pipeline: VideoPipeline) -> None:
    clip = pipeline("a red ball", seed=3, sampler="causal", num_frames=17, attention={"name": "window", "frames": 1})
    assert [row["pattern"][:4] for row in clip.record["attention"]] != ["dense"]
    assert any("commits" in row["steps"] for row in clip.record["attention"])


def test_a_pattern_that_keeps_everything_changes_nothing(pipeline: VideoPipeline) -> None:
    full = pipeline("a red ball", seed=3, attention={"name": "window", "frames": 100})
    dense = pipeline("a red ball", seed=3)
    assert int(abs(full.frames.astype(int) - dense.frames).max()) <= 1


def test_a_yaml_of_one_pattern(tmp_path: Path) -> None:
    from vgen.config import read_config

    path = tmp_path / "mine.yaml"
    path.write_text("name: radial\ndecay: 0.3\nblock: 64\n")
    config, _ = merge(("file", read_config(path, group="attention")))
    assert (config.attention.name, config.attention.block, config.attention.knobs) == ("radial", 64, {"decay": 0.3})


GRID = TokenGrid(frames=tuple(range(5)), height=2, width=3)


def attended(attention: VideoAttention, sigma: float = 0.5) -> Tensor:
    return attention(*draw_qkv(GRID, GRID), query=GRID, key=GRID, layer=0, sigma=sigma)


def test_nothing_asked_on_top_is_what_was_settled() -> None:
    assert isinstance(resolved(name="dense")[0].build(1), Dense)
    assert isinstance(resolved(name="window", knobs={"frames": 1})[0].build(1), SparseAttention)


@pytest.mark.parametrize("sigma", [1.0, 0.5])
@pytest.mark.parametrize(
    "values", [{"name": "dense"}, {"name": "window", "knobs": {"frames": 1}, "dense_first_steps": 1}]
)
def test_a_decay_counts_in_every_call_and_is_in_the_record(values: dict[str, Any], sigma: float) -> None:
    """Also in the steps that a pattern leaves dense."""
    attention = resolved(**values)[0].build(1, decay=0.4)
    out = attended(attention, sigma)
    near = values["name"] == "window" and sigma == 0.5
    table_TS = -0.4 * (torch.arange(5)[:, None] - torch.arange(5)).abs().float()
    pattern = Window(frames=1) if near else Full()
    wanted, _ = oracle(pattern, GRID, GRID, *draw_qkv(GRID, GRID), bias_TS=table_TS)
    torch.testing.assert_close(out.double(), wanted, rtol=0, atol=2e-6)
    (row,) = record_rows(attention, SIGMAS)
    assert row["bias"] == "TemporalDecay(rate=0.4)" and row["pattern"].startswith("Window" if near else "dense")
    assert (row["token_density"] < 1) == near


@pytest.mark.parametrize("decay", [0.0, 0.4])
def test_fused_windows_are_outermost_and_in_the_record(decay: float) -> None:
    settings = resolved(name="dense")[0]
    attention = settings.build(1, decay=decay, fusion=(3, 2))
    fused = WindowFusion(inner=settings.build(1, decay=decay), window=3, stride=2)
    assert torch.equal(attended(attention), attended(fused))
    assert not torch.allclose(attended(attention), attended(fused.inner))
    (row,) = record_rows(attention, SIGMAS)
    assert row["fusion"] == {"window": 3, "stride": 2} and row["pattern"] == "dense" and ("bias" in row) == bool(decay)


@pytest.mark.parametrize(
    ("asked", "message"),
    [({"decay": -0.1}, "rate=-0.1"), ({"fusion": (2, 3)}, "stride=3 .* 1 to 2"), ({"fusion": (0, 1)}, "window=0")],
)
def test_a_decay_or_windows_that_make_no_sense_are_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolved(name="dense")[0].build(1, **asked)
