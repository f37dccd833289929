"""The measurements of samplers: FLOPs against torch's count, colours by hand, and each part once on a tiny model."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from tests.folders import tiny_folder
from tests.models.tiny import LAYERS, TEXT_TOKENS, latents, tiny_dit, words
from vgen.bench import sampler_clips, samplers
from vgen.bench.sampler_clips import Case, clip_rows, memory_growth, run_case
from vgen.bench.sampler_colours import Kept, held, kept_share, real_share
from vgen.bench.sampler_costs import WAYS, Counted, Pass, cache_cost, flops, freenoise_cost
from vgen.bench.sampler_tables import tables
from vgen.bench.samplers import Asked, bench_samplers
from vgen.bench.samplers_cuda import CONTEXTS, Shape, stream
from vgen.cli import _run
from vgen.cli.output import write_run
from vgen.errors import ConfigError, ResourceError
from vgen.models.cache import KVCache
from vgen.models.dit import VideoDiT
from vgen.pipeline import VideoPipeline

TINY = Shape(
    dit={
        "num_attention_heads": 2,
        "attention_head_dim": 24,
        "num_layers": 2,
        "ffn_dim": 32,
        "text_dim": 16,
        "freq_dim": 16,
    },
    vae={"base_dim": 8, "num_res_blocks": 1},
    rows=4,
    columns=6,
    text=8,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_folder(tmp_path_factory.mktemp("model"), layout="playground"))


@pytest.fixture(scope="module")
def pipeline(model: str) -> VideoPipeline:
    return VideoPipeline.from_pretrained(model, device="cpu")


def hush(line: str) -> None:
    """Says nothing."""


@torch.no_grad()
@pytest.mark.parametrize(("shown", "past", "block"), [(3, 0, None), (2, 4, None), (5, 0, 2), (3, 3, 2)])
def test_flops_are_those_that_torch_counts(shown: int, past: int, block: int | None) -> None:
    dit, sigma_BT = tiny_dit(), torch.rand(1, shown, generator=torch.Generator().manual_seed(0))
    text, context = dit.prepare_text(words()), KVCache(layers=LAYERS, capacity=8)
    if past:
        dit(latents(past), sigma_BT[:, :1], text, context=context, commit=True)
    cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with Counted(dit) as counted, FlopCounterMode(display=False, custom_mapping={cpu: _sdpa_flops}) as theirs:
        dit(latents(shown), sigma_BT, text, frames=range(past, past + shown), causal_block=block, context=context)
    (one,) = counted.passes
    assert (len(one.frames), one.past, one.block, one.levels) == (shown, past, block, shown)
    assert flops(one, dit.config, TEXT_TOKENS) == theirs.get_total_flops()


def _sdpa_flops(q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(q, k, v))


@pytest.mark.parametrize(("context", "teraflops"), [("window 21", 40.4), ("window 9 behind a sink of 3", 28.3)])
def test_flops_of_wan_at_480p_are_the_published_bound(context: str, teraflops: float) -> None:
    shape = Shape()
    with torch.device("meta"):
        config = VideoDiT(**shape.dit).config
    seen = sum(CONTEXTS[context])
    tokens = shape.rows * shape.columns // 4
    one = Pass(frames=tuple(range(3)), past=seen - 3, block=None, tokens=tokens, levels=3)
    assert flops(one, config, shape.text) / 1e12 == pytest.approx(teraflops, rel=0.005)


def test_passes_are_noted_within_the_block_alone() -> None:
    dit, text = tiny_dit(), words()
    with Counted(dit) as counted:
        dit(latents(2), torch.ones(1, 1), text)
    dit(latents(2), torch.ones(1, 1), text)
    assert [one.frames for one in counted.passes] == [(0, 1)]


def test_a_cache_makes_the_same_clip_for_fewer_flops(pipeline: VideoPipeline) -> None:
    found = cache_cost(pipeline, times=2, steps=2, repeat=1, say=hush)
    blocks = found["latent_frames"]
    assert found["passes"] == {"cached": blocks * (2 + 1), "recomputed": blocks * 2}
    assert found["flop_ratio"] == found["flops"]["recomputed"] / found["flops"]["cached"] > 1
    assert found["share"] == pytest.approx(found["wall_ratio"] / found["flop_ratio"])
    assert found["largest_difference"] < 1e-4
    assert json.loads(json.dumps(found)) == found


def test_freenoise_passes_once_where_windows_pass_each(pipeline: VideoPipeline) -> None:
    found = freenoise_cost(pipeline, times=2, steps=2, repeat=1, say=hush)
    assert found["latent_frames"] == 6  # in windows of 3: at 0, 1, 2 and 3, and side by side at 0 and 3
    assert found["passes"] == {"freenoise": 2, "newest": 8, "disjoint": 4, "full": 2}
    assert found["over"].keys() == WAYS.keys() - {"freenoise"}
    assert found["over"]["full"] == found["seconds"]["freenoise"] / found["seconds"]["full"]


@pytest.mark.parametrize(
    ("preset", "passes", "shown"),
    [("full", 2, 2 * 6), ("streaming", 6 * 3, 6 * 3), ("tic", 2, 2 * 6)],  # tic: its ramp falls with the others
)
def test_a_clip_becomes_a_row(model: str, preset: str, passes: int, shown: int) -> None:
    row = run_case(Case(preset=preset, times=2, steps=2, model=model), write_run)
    assert json.loads(json.dumps(row)) == row
    assert (row["preset"], row["times"], row["steps"], row["latent_frames"]) == (preset, 2, 2, 6)
    assert row["trained"] is (preset != "tic")
    assert row["stages_s"].keys() == {"text", "denoise", "decode", "write"}
    made_s = [seconds for stage, seconds in row["stages_s"].items() if stage != "write"]  # which goes on beside them
    assert sum(made_s) <= row["wall_s"] + 0.01 and row["stages_s"]["write"] <= row["wall_s"] + 0.01
    assert (row["passes"], row["frames_shown"]) == (passes, shown)
    assert row["frames"] == 21 == pytest.approx(row["fps"] * row["wall_s"])
    assert row["peak_mib"] >= row["idle_mib"] > 50
    assert set(row["picture"]) == {"change", "adjacent", "far", "far_frames", "motion", "warnings"}


def test_clips_run_in_processes_of_their_own_and_say_why_they_cannot(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    (row,) = clip_rows(["full"], [1], steps=1, model=model, say=told.append)
    assert (row["preset"], row["frames"], row["passes"]) == ("full", 9, 1)
    assert told == ["1/1 full 1x"]
    with pytest.raises(ConfigError, match="ramp of 3 latent frames"):
        next(clip_rows(["full", "tic"], [1], steps=1, model=model, say=hush))
    monkeypatch.setattr(sampler_clips, "_VGEN", (sys.executable, "-c", "import sys; sys.exit('too little memory')"))
    with pytest.raises(ResourceError, match="streaming at 3x ended with 1: too little memory"):
        memory_growth(steps=1, model=model, say=hush)


def square(colour: tuple[int, int, int] | None, frames: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    clip = np.full((frames, 96, 96, 3), 110, np.uint8)
    if colour is not None:
        clip[:, 40:64, 40:64] = colour
    return clip


RED, BLUE = (230, 30, 30), (30, 60, 230)


@pytest.mark.parametrize(
    ("begins", "ends", "first", "last", "kept"),
    [
        (RED, RED, ("red",), ("red",), True),
        (RED, BLUE, ("red",), ("blue",), False),
        (RED, None, ("red",), (), False),
        (None, RED, (), ("red",), False),  # nothing to keep is no success
    ],
)
def test_colours_of_the_first_frame_are_looked_for_in_the_last_second(
    begins: Any, ends: Any, first: tuple[str, ...], last: tuple[str, ...], kept: bool
) -> None:
    clip = np.concatenate([square(begins, 1), square(None, 20), square(ends, 12)])
    assert held("words", clip, 12.0) == Kept("words", first, last)
    assert held("words", clip, 12.0).kept is kept


def test_a_share_stands_beside_chance() -> None:
    clips = [Kept("", ("red",), ("red", "blue")), Kept("", ("blue",), ("red",)), Kept("", (), ("red",))]
    share = kept_share(clips)
    assert (share["right"], share["total"], share["empty"]) == (1, 3, 1)
    assert share["chance"] == 3 / 6  # red is in both others, blue in one of them, nothing is never found


def test_the_real_world_keeps_its_colours() -> None:
    assert real_share(60, count=6, height=96, width=96, fps=12)["rate"] == 1


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def figures(model: str, results: Path) -> dict[str, Any]:
    """Every part, on a tiny model."""
    asked = Asked(parts=("colours",), presets=("causal", "full"), lengths=(1,), steps=1, count=2, model=model)
    found = bench_samplers(asked, results=results)
    costs = bench_samplers(Asked(parts=("cache", "freenoise"), lengths=(1,), steps=1, model=model), results=results)
    rows = [
        run_case(Case(preset=preset, times=1, steps=1, model=model), write_run)
        for preset in ("full", "rolling-forcing")
    ]
    stretch = {"rows": rows, "growth": 1.01, "growth_over_idle": 1.02}
    gpu = [stream(torch.device("cpu"), "window 4", 4, 2, chunks=2, shape=TINY)]
    return found | costs | {"presets": {"rows": rows}, "memory": {"fifo": stretch}, "stream": {"rows": gpu}}


def test_every_part_has_figures_and_a_table(figures: dict[str, Any], results: Path) -> None:
    assert json.loads(json.dumps(figures)) == figures
    kept = json.loads((results / "samplers-cpu.json").read_text())
    assert kept == {part: figures[part] for part in ("colours", "cache", "freenoise")}
    assert figures.keys() == samplers.PARTS.keys()
    colours = figures["colours"]
    assert colours["best"]["preset"] == "causal" and 0 <= colours["best"]["rate"] <= 1
    assert len(colours["best"]["interval_95"]) == 2 and colours["real"].keys() == {"1"}
    assert colours["command"].startswith("vgen bench samplers --parts colours --presets causal,full --lengths 1")
    (gpu,) = figures["stream"]["rows"]
    assert gpu["frames_per_chunk"] == 12 and gpu["share_of_bound"] == pytest.approx(gpu["fps"] / gpu["bound_fps"])
    console = Console(width=120, record=True, file=io.StringIO())
    for table in tables(figures):
        console.print(table)
    printed = console.export_text()
    for words_ in ("full", "rolling-forcing *", "causal", "FreeNoise", "recomputed", "the real world", "window 4"):
        assert words_ in printed


def test_rows_that_were_not_measured_again_stay(tmp_path: Path) -> None:
    path = tmp_path / "samplers-cpu.json"

    def keep(machine: str, *rows: tuple[str, int, int]) -> list[tuple[str, int, int]]:
        named = [{"preset": preset, "times": times, "passes": passes} for preset, times, passes in rows]
        samplers._keep(path, "presets", {"machine": machine, "versions": {}, "rows": named})
        kept = json.loads(path.read_text())["presets"]["rows"]
        return [(row["preset"], row["times"], row["passes"]) for row in kept]

    assert keep("a", ("full", 1, 5), ("fifo", 1, 6)) == [("fifo", 1, 6), ("full", 1, 5)]
    assert keep("a", ("full", 1, 7), ("full", 4, 8)) == [("fifo", 1, 6), ("full", 1, 7), ("full", 4, 8)]
    assert keep("b", ("full", 1, 9)) == [("full", 1, 9)]
    samplers._keep(path, "cache", {"share": 0.9})
    assert json.loads(path.read_text()).keys() == {"presets", "cache"}


@pytest.mark.parametrize(
    ("words_", "message"),
    [
        (["--parts", "price"], "unknown part 'price'"),
        (["--presets", "streamin"], "unknown sampler 'streamin'; did you mean 'streaming'?"),
        (["--lengths", "1,x"], "--lengths takes whole numbers"),
        (["--lengths", "0"], "1 and above"),
        (["--parts", "cache", "--lengths", "1,4"], "the part cache takes 1, got 2"),
        (["--steps", "0"], "--steps is at least 1"),
        (["--count", "5"], "--count means something to colours alone, got presets"),
        (["--device", "cpu"], "--device is cuda or cuda:N"),
        (["--parts", "cache", "--device", "cuda"], "--device means something to stream alone, got cache"),
    ],
)
def test_bad_requests_are_refused(words_: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["bench", "samplers", *words_]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="of machines without a GPU")
def test_without_a_gpu_streaming_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["bench", "samplers", "--device", "cuda"]) == 2
    assert "the part stream needs a CUDA device, and there is none" in capsys.readouterr().err


@pytest.mark.gpu
def test_wan_streams_on_a_gpu() -> None:
    (row,) = (stream(torch.device("cuda"), "window 9", 9, 3, chunks=1),)
    assert row["frames_per_chunk"] == 12 and 0 < row["share_of_bound"] < 1
