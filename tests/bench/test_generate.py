"""`vgen bench generate`: both engines are asked for the same, what differs is found, like is compared with like."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.folders import tiny_folder
from vgen.bench import generate
from vgen.bench.drawn import drawn
from vgen.bench.generate import Asked, bench_generate, compared
from vgen.bench.generate_figures import at_published_steps, difference, ratios
from vgen.bench.generate_models import MODELS, Subject, _Shape, stock_of, vgen_of
from vgen.bench.generate_runs import STAGES, Made, stock_clip, vgen_clip
from vgen.bench.recipes import fingerprint, keep, kept
from vgen.cli.bench import app
from vgen.errors import ConfigError, ResourceError
from vgen.models.dit import VideoDiT
from vgen.models.load import load_model
from vgen.models.loaded import LoadedModel, own_model

CPU = torch.device("cpu")
SHAPE = _Shape(
    name="drawn",
    dit={"num_attention_heads": 2, "attention_head_dim": 24, "text_dim": 32, "freq_dim": 32, "ffn_dim": 64}
    | {"num_layers": 3},
    text={"vocab_size": 400, "d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2},
    vae={"base_dim": 8, "num_res_blocks": 1},
    height=32,
    width=48,
    num_frames=9,
)


@pytest.fixture(scope="module", params=["wan2.1", "wan2.2", "drawn"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    if request.param == "drawn":
        return SHAPE(CPU, torch.float32)
    folder = tiny_folder(tmp_path_factory.mktemp("bench") / "model", layout=request.param)
    return own_model(load_model(str(folder), device=CPU, dtype=torch.float32))


@pytest.fixture
def one_model(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bench knows this one alone."""
    subjects = {"one": Subject(load=lambda _device, _dtype: model, steps=2, pairs=2, device="cpu")}
    monkeypatch.setattr(generate, "MODELS", subjects)


@pytest.mark.usefixtures("one_model")
def test_a_row_holds_all_ways_and_stages_and_the_engines_agree(tmp_path: Path) -> None:
    said: list[str] = []
    found = bench_generate(Asked(device="cpu"), say=said.append, results=tmp_path)
    row = found["rows"]["one"]
    assert found["within"] and row["difference"]["latents_rms"] < 1e-5 and row["difference"]["frames"] <= 0.51 / 255
    assert [*row["ways"]] == ["stock", "vgen", "radial"]
    for way, made in row["ways"].items():
        assert [*made["stages_s"]] == list(STAGES) and all(seconds > 0 for seconds in made["stages_s"].values()), way
        guided = row["recipe"]["guidance_scale"] > 1
        assert made["forwards"] == 2 * (1 + guided) and made["forward_s"] * made["forwards"] < 2 * made["whole_s"], way
    for figures in (row["ratio"], row["speedup"]):
        for stage in (*STAGES, "whole"):
            low, high = figures[stage]["interval"]
            assert low <= figures[stage]["median"] <= high
    assert json.loads((tmp_path / "generate-cpu.json").read_text())["rows"][row["fingerprint"]]["ratio"] == row["ratio"]
    assert "first figures" in said[-1] and row["before"] is None


@pytest.mark.parametrize("model", ["drawn"], indirect=True)
@pytest.mark.usefixtures("one_model")
def test_a_second_run_is_compared_with_the_first_and_another_recipe_with_none(tmp_path: Path) -> None:
    asked = Asked(device="cpu", parts=("sparse",), pairs=1)
    said: list[str] = []
    bench_generate(asked, say=said.append, results=tmp_path)
    again = bench_generate(asked, say=said.append, results=tmp_path)["rows"]["one"]
    assert {*again["before"]["whole_over"]} == {"vgen", "radial"} and "same recipe: vgen" in said[-1]
    assert "ratio" not in again and again["difference"] == {}
    other = bench_generate(replace(asked, steps=1), say=said.append, results=tmp_path)["rows"]["one"]
    assert other["before"] is None and other["fingerprint"] != again["fingerprint"]
    assert len(json.loads((tmp_path / "generate-cpu.json").read_text())["rows"]) == 2
    with pytest.raises(AssertionError, match="unlike recipes"):
        compared(other, again)


@pytest.mark.parametrize("model", ["drawn"], indirect=True)
@pytest.mark.usefixtures("one_model")
def test_engines_that_differ_fail_the_bench_and_leave_no_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(stock: Any, request: Any) -> Made:
        return stock_clip(stock, replace(request, prompt="a blue box falls", guidance=3.0))

    monkeypatch.setattr(generate, "stock_clip", wrong)
    monkeypatch.setattr(generate, "RESULTS", tmp_path)
    done = CliRunner().invoke(app, ["generate", "--parts", "dense", "--pairs", "1", "--device", "cpu", "--write"])
    assert done.exit_code == 1 and "BEYOND" in done.stdout
    assert not (tmp_path / "generate-cpu.json").exists()


@pytest.mark.parametrize("model", ["drawn"], indirect=True)
def test_both_engines_share_their_weights_and_stay_as_they_were(model: LoadedModel) -> None:
    stock = stock_of(model)
    ours = dict(model.dit.named_parameters())
    assert all(weights.data_ptr() == ours[name].data_ptr() for name, weights in stock.transformer.named_parameters())
    assert stock.vae is model.vae and stock.text_encoder is model.prompts.encoder
    request = generate._request(model, 1)
    stock_clip(stock, request), vgen_clip(vgen_of(model), request, {})
    assert "decode" not in vars(model.vae) and "encode_prompt" not in vars(stock)
    assert not stock.transformer._forward_hooks and not model.dit._forward_hooks


def test_bf16_is_within_its_tolerance_and_a_wrong_guidance_is_not() -> None:
    model = SHAPE(CPU, torch.bfloat16)
    request = generate._request(model, 4)
    stock = stock_clip(stock_of(model), request)
    near = difference(stock, vgen_clip(vgen_of(model), request, {}), "bfloat16")
    far = difference(stock, vgen_clip(vgen_of(model), replace(request, guidance=1.5), {}), "bfloat16")
    assert near["within"] and not far["within"], (near, far)


def test_drawn_weights_are_alive_and_in_the_dtypes_of_a_loaded_model() -> None:
    dit = drawn(lambda: VideoDiT(**SHAPE.dit), CPU, torch.bfloat16)
    dtypes = {name: weights.dtype for name, weights in dit.named_parameters()}
    assert dtypes["blocks.0.attn1.to_q.weight"] == torch.bfloat16
    assert dtypes["blocks.0.norm2.weight"] == dtypes["scale_shift_table"] == torch.float32
    assert torch.equal(dit.blocks[0].attn1.norm_q.weight, torch.ones(48, dtype=torch.bfloat16))
    x = torch.randn(1, 16, 2, 4, 4, dtype=torch.bfloat16)
    out = dit(x, torch.full((1, 1), 0.5), torch.randn(1, 8, 32, dtype=torch.bfloat16))
    assert out.isfinite().all() and out.float().std() > 1e-3
    twins = [drawn(lambda: VideoDiT(**SHAPE.dit), CPU, torch.float32, seed=seed) for seed in (1, 1, 2)]
    q = [twin.blocks[1].attn1.to_q.weight for twin in twins]
    assert torch.equal(q[0], q[1]) and not torch.equal(q[0], q[2])


def made(seconds: float, forward_s: list[float]) -> Made:
    spent = dict.fromkeys(STAGES, seconds)
    nothing = torch.zeros(0)
    return Made(
        stages_s=spent,
        busy_s={stage: 2 * seconds for stage in STAGES},
        forward_s=forward_s,
        peak_mib=None,
        latents_BCTHW=nothing,
        frames_FYX3=nothing.numpy(),
        attention=[],
    )


@given(st.lists(st.tuples(st.floats(0.1, 9), st.floats(0.1, 9)), min_size=1, max_size=7))
def test_ratios_are_of_pairs_and_their_median_lies_among_them(pairs: list[tuple[float, float]]) -> None:
    turns = [{"vgen": made(a, []), "stock": made(b, [])} for a, b in pairs]
    for on_cpu in (True, False):
        found = ratios(turns, "vgen", "stock", on_cpu)
        low, high = found["whole"]["interval"]
        each = [a / b for a, b in pairs]
        assert low == pytest.approx(min(each)) and high == pytest.approx(max(each))
        assert low <= found["whole"]["median"] <= high


def test_the_published_clip_is_counted_from_each_kind_of_pass() -> None:
    """4 steps, of which one is dense: 50 steps with 12 dense, each of two passes, beside 2 s of text and decode."""
    request = replace(generate._request(SHAPE(CPU, torch.float32), 4), guidance=5.0)
    turns = [{"vgen": made(1.0, [4.0] * 8), "radial": made(1.0, [4.0] * 2 + [1.0] * 6)}]
    ways = {"vgen": {"stages_s": dict.fromkeys(STAGES, 1.0), "forward_s": 4.0}}
    found = at_published_steps(ways, turns, request)
    assert found["whole"] == pytest.approx((2 + 100 * 4) / (2 + 24 * 4 + 76 * 1))


@given(st.dictionaries(st.text(max_size=3), st.integers() | st.lists(st.integers(), max_size=2), max_size=4))
def test_fingerprints_are_of_what_a_recipe_says(recipe: dict[str, Any]) -> None:
    assert fingerprint(recipe) == fingerprint(dict(reversed(recipe.items())))
    assert fingerprint(recipe) != fingerprint(recipe | {"steps": "other"})


def test_results_are_kept_by_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "results" / "file.json"
    assert kept(path, "a") is None
    for row in ({"fingerprint": "a", "n": 1}, {"fingerprint": "b", "n": 2}, {"fingerprint": "a", "n": 3}):
        keep(path, row)
    assert [kept(path, of) for of in "ab"] == [{"fingerprint": "a", "n": 3}, {"fingerprint": "b", "n": 2}]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"models": ("tny",)}, ConfigError, "did you mean 'tiny'?"),
        ({"parts": ("spars",)}, ConfigError, "did you mean 'sparse'?"),
        ({"steps": 0}, ConfigError, "--steps is at least 1, got 0"),
        ({"pairs": -1}, ConfigError, "--pairs is at least 1, got -1"),
        ({"dtype": "float16"}, ConfigError, "possible: float32, bfloat16"),
        ({"models": ("wan-14b-720p",)}, ResourceError, "needs a CUDA device, this is cpu; possible: embedded, tiny"),
        ({"device": "cuda:99"}, ResourceError, "is not there"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_runs(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        bench_generate(Asked(**({"device": "cpu"} | changes)), say=pytest.fail)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_wan_models_have_the_shapes_of_the_published_ones() -> None:
    """Tokens and TFLOP of a pass, as counted by hand from Wan's configs."""
    wanted = {"wan-1b3-480p": (32_760, 283), "wan-1b3-720p": (75_600, 1250)}
    wanted |= {"wan-14b-480p": (32_760, 1678), "wan-14b-720p": (75_600, 6523)}
    assert {*wanted} == {name for name, subject in MODELS.items() if subject.device == "cuda"}
    for name, (tokens, tflop) in wanted.items():
        shape = MODELS[name].load
        assert isinstance(shape, _Shape)
        with torch.device("meta"):
            config = VideoDiT(**shape.dit).config
        from vgen.bench.sampler_costs import Pass, flops

        per_frame = (shape.height // 16) * (shape.width // 16)
        one = Pass(frames=tuple(range(21)), past=0, block=None, tokens=per_frame, levels=1)
        assert 21 * per_frame == tokens and flops(one, config, 512) / 1e12 == pytest.approx(tflop, rel=0.01)
