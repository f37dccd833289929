"""Compiled regions: what they compute is what the block computes, and one graph of each serves every block."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.folders import layout_transformer, tiny_folder
from tests.loras import random_pairs, write_pairs
from tests.models.tiny import LAYERS, latents, tiny_dit, words
from tests.runs import own_run
from vgen.config import merge
from vgen.errors import ConfigError
from vgen.models import regions as regions_module
from vgen.models.cache import KVCache
from vgen.models.dit import DENSE, VideoDiT
from vgen.models.passes import TextPerFrame
from vgen.models.regions import EAGER, Compiler, Regions, compile_problem
from vgen.pipeline import VideoPipeline
from vgen.schema import PerformanceConfig

CPU = torch.device("cpu")
SIGMA_BT = torch.tensor([[0.9, 0.5, 0.1]])
compiles = pytest.mark.skipif(compile_problem(CPU) is not None, reason="nothing can be compiled here")


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Graphs are made and guarded as ever, and run without a compiler."""
    torch._dynamo.reset()
    monkeypatch.setattr(regions_module, "compile_problem", lambda device: None)
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    yield
    torch._dynamo.reset()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("compiled") / "model", layout="playground")


def velocity_of(dit: VideoDiT, regions: Regions, *, shown: int = 3, **more: Any) -> Tensor:
    with torch.no_grad():
        found: Tensor = dit(latents(shown), SIGMA_BT[:, :shown], words(), regions=regions, **more)
    return found


def latents_of(pipeline: VideoPipeline, **more: Any) -> tuple[Tensor, dict[str, Any]]:
    asked = {"request.prompt": "a red ball", "request.seed": 1, "request.num_frames": 9}
    run = own_run(pipeline.start(*merge(("test", asked | more))))
    made = torch.cat([event.latents_BCTHW for event in run if event.latents_BCTHW is not None], dim=2)
    return made, run.record()


@compiles
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method.:DeprecationWarning")  # of the compiler itself
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-5), (torch.bfloat16, 0.06)])
def test_compiled_equals_eager(dtype: torch.dtype, atol: float) -> None:
    torch._dynamo.reset()
    dit, compiler = tiny_dit().to(dtype), Compiler(CPU)
    with torch.no_grad():
        given = (latents(3).to(dtype), SIGMA_BT, words().to(dtype))
        eager, compiled = dit(*given), dit(*given, regions=compiler.regions)
    assert torch.allclose(eager, compiled, atol=atol, rtol=0)
    assert compiler.report()["graphs"] == 3
    assert compiler.compile_s > 0.01


def test_one_graph_of_each_region_serves_all_blocks_and_runs(traced: None) -> None:
    assert LAYERS > 1
    dit, first, second = tiny_dit(), Compiler(CPU), Compiler(CPU)
    for _ in range(2):
        velocity_of(dit, first.regions)
    assert first.graphs == 3
    velocity_of(dit, second.regions)
    assert (second.graphs, second.compile_s) == (0, 0.0)
    velocity_of(dit, first.regions, shown=2)
    assert first.graphs == 6


def test_more_shapes_and_strides_than_torch_takes(traced: None) -> None:
    def heads_first(*given: Any, **more: Any) -> Tensor:
        return DENSE(*given, **more).transpose(1, 2).contiguous().transpose(1, 2)

    dit, compiler = tiny_dit(), Compiler(CPU)
    for attention, graphs in ((DENSE, 27), (heads_first, 36)):  # `between` alone is given what attention found
        with torch.no_grad():
            for frames in range(1, 10):
                given = (latents(frames), torch.full((1, 1), 0.5), words())
                compiled = dit(*given, attention=attention, regions=compiler.regions)
                assert torch.allclose(dit(*given), compiled, atol=1e-5)
        assert compiler.graphs == graphs


def test_texts_per_frame_need_no_graphs_of_their_own(traced: None) -> None:
    dit, compiler = tiny_dit(), Compiler(CPU)
    a, b = dit.prepare_text(words(1)), dit.prepare_text(words(2))
    with torch.no_grad():
        for texts in ((a, a, b), (a, b, b), (b, a, b)):
            given = (latents(3), SIGMA_BT, TextPerFrame(texts, early=(a, a, a)))
            assert torch.allclose(dit(*given), dit(*given, regions=compiler.regions), atol=1e-5)
    assert compiler.graphs == 3


@pytest.mark.parametrize("turned", [True, False])
def test_a_cache_that_grows_needs_no_graphs_of_its_own(traced: None, turned: bool) -> None:
    dit, compiler = tiny_dit(), Compiler(CPU)
    both = [KVCache(layers=LAYERS, capacity=3, turned=turned) for _ in range(2)]
    for chunk in range(4):
        more: list[dict[str, Any]] = [{"context": cache, "frames": [chunk], "commit": True} for cache in both]
        for cache in both:
            cache.drop(range(chunk - 1))
        eager = velocity_of(dit, EAGER, shown=1, **more[0])
        assert torch.allclose(eager, velocity_of(dit, compiler.regions, shown=1, **more[1]), atol=1e-5)
    assert compiler.graphs == 3


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"sampler.name": "causal"},
        {"step_cache.name": "first-block", "step_cache.threshold": 0.1},
        {"attention.name": "radial", "attention.executor": "gather"},
    ],
    ids=["full", "causal", "step-cache", "sparse"],
)
def test_runs_agree_and_the_record_says_so(traced: None, folder: Path, asked: dict[str, Any]) -> None:
    pipeline = VideoPipeline.from_pretrained(folder, device="cpu")
    eager, usual = latents_of(pipeline, **asked)
    compiled, record = latents_of(pipeline, **asked, **{"performance.compile": True})
    assert torch.allclose(eager, compiled, atol=1e-4)
    assert (usual["performance"]["compile"], "performance.compile" in usual["resolved"]) == (None, False)
    assert record["performance"]["compile"]["graphs"] >= 3
    assert record["performance"]["compile"]["compile_s"] > 0
    assert record["resolved"]["performance.compile"] is True


@pytest.mark.parametrize("offload", ["model", "group"])
def test_lora_and_offload(traced: None, folder: Path, tmp_path: Path, offload: str) -> None:
    lora = str(write_pairs(tmp_path / "a.safetensors", random_pairs(layout_transformer("playground")), kind="wan"))
    performance = PerformanceConfig(mode="manual", offload=offload)
    pipeline = VideoPipeline.from_pretrained(folder, device="cpu", lora=[lora], performance=performance)
    eager, _ = latents_of(pipeline)
    compiled, _ = latents_of(pipeline, **{"performance.compile": True})
    assert torch.allclose(eager, compiled, atol=1e-4)


def test_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = PerformanceConfig(mode="manual", storage="float8_e4m3fn", compile=True)
    pipeline = VideoPipeline.from_pretrained(folder, device="cpu", performance=stored)
    with pytest.raises(ConfigError, match=r"compile with weights stored in float8_e4m3fn.*leave one of them out"):
        pipeline("a red ball")
    monkeypatch.setattr(regions_module, "compiler_problem", lambda: "no C++ compiler")
    usual = VideoPipeline.from_pretrained(folder, device="cpu", performance=PerformanceConfig(compile=True))
    with pytest.raises(ConfigError, match=r"performance\.compile cannot compile for cpu: no C\+\+ compiler"):
        usual("a red ball")
