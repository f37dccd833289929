"""Memory that runs out at chosen places of a run: the frames are those of an undisturbed one, and it is told."""

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.folders import tiny_folder
from tests.test_fit import start
from vgen.errors import ResourceError
from vgen.ladder import Ladder
from vgen.models.cache import KVCache
from vgen.models.loaded import own_model
from vgen.pipeline import VideoPipeline
from vgen.placement import Placement
from vgen.schema import PerformanceConfig

GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB")
CPU = RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried to")
RUNGS = ["caches freed", *(f"{words}, text encoder freed after use" for words in ("model offload", "group offload"))]
RUNGS.insert(1, "all on the device, text encoder freed after use")


class Failing:
    """Raises so many times, from a call on."""

    def __init__(self, times: int, at: int = 0, error: Exception = GPU) -> None:
        self.times, self.at, self.error, self.calls = times, at, error, 0

    def __call__(self, *_: object) -> None:
        self.calls += 1
        if self.calls > self.at and self.times:
            self.times -= 1
            raise self.error


@pytest.fixture(scope="module")
def module_pipeline(tmp_path_factory: pytest.TempPathFactory) -> VideoPipeline:
    return VideoPipeline.from_pretrained(tiny_folder(tmp_path_factory.mktemp("tiny"), layout="playground"))


@pytest.fixture
def pipeline(module_pipeline: VideoPipeline) -> Iterator[VideoPipeline]:
    yield module_pipeline
    module_pipeline.performance = PerformanceConfig()
    own_model(module_pipeline.model).residence.settle(Placement())
    own_model(module_pipeline.model)._states.clear()


@pytest.fixture(scope="module")
def usual(module_pipeline: VideoPipeline) -> str:
    return start(module_pipeline, sampler__name="causal").clip().sha256()


PLACES: dict[str, Callable[[VideoPipeline], Any]] = {
    "text": lambda pipe: own_model(pipe.model).prompts.encoder,
    "denoise": lambda pipe: pipe.model.dit.blocks[1].attn2,
    "denoise-late": lambda pipe: pipe.model.dit.blocks[0].ffn,
    "decode": lambda pipe: pipe.model.vae.decoder.up_blocks[-1],
}


@pytest.mark.parametrize(
    ("place", "at", "times", "error"),
    [
        ("text", 0, 1, GPU),
        ("text", 0, 3, CPU),
        ("denoise", 3, 2, CPU),
        ("denoise", 6, 4, GPU),
        ("denoise-late", 7, 3, MemoryError("no room")),
        ("decode", 1, 1, GPU),
        ("decode", 2, 4, CPU),
    ],
)
def test_frames_are_those_of_an_undisturbed_run(
    pipeline: VideoPipeline, usual: str, place: str, at: int, times: int, error: Exception
) -> None:
    attn2 = place == "denoise"
    module = PLACES[place](pipeline)
    module = module.to_q if attn2 else module  # its own forward is never called
    handle = module.register_forward_hook(Failing(times, at, error))
    run = start(pipeline, sampler__name="causal")
    try:
        assert run.clip().sha256() == usual
    finally:
        handle.remove()
    taken = run.record()["performance"]["rungs_taken"]
    assert [row["rung"] for row in taken] == RUNGS[:times]
    assert all(row["at"].startswith(place.partition("-")[0]) and row["error"] == str(error) for row in taken)
    offload = {1: "none", 2: "none", 3: "model", 4: "group"}[times]
    assert run.record()["resolved"]["performance.offload"] == offload


@pytest.mark.parametrize("times", [1, 4])
def test_a_commit_that_fails_is_written_once(
    pipeline: VideoPipeline, usual: str, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    failing, publish = Failing(times, at=1), KVCache.publish

    def fail(cache: KVCache, frames: Any, slots: Any) -> None:
        failing()
        publish(cache, frames, slots)

    monkeypatch.setattr(KVCache, "publish", fail)
    run = start(pipeline, sampler__name="causal")
    assert run.clip().sha256() == usual
    taken = run.record()["performance"]["rungs_taken"]
    assert [row["rung"] for row in taken] == RUNGS[:times]
    assert taken[0]["at"] == "commit of latent frames 1 to 1"


def test_each_rung_is_told_once(pipeline: VideoPipeline, caplog: pytest.LogCaptureFixture) -> None:
    handle = PLACES["denoise-late"](pipeline).register_forward_hook(Failing(2))
    start(pipeline).clip()
    handle.remove()
    assert [record.getMessage() for record in caplog.records if record.name == "vgen"] == [
        "out of memory at denoise of latent frames 0 to 2; going on with: caches freed",
        "out of memory at denoise of latent frames 0 to 2; going on with: " + RUNGS[1],
    ]


def test_the_last_rung_stops_with_the_plan_and_the_flags_that_are_left(pipeline: VideoPipeline) -> None:
    handle = PLACES["denoise-late"](pipeline).register_forward_hook(Failing(100))
    try:
        with pytest.raises(ResourceError, match=r"with group offload.* planned \d+ MiB; possible: --vae-tiling, a"):
            start(pipeline).clip()
        asked = PerformanceConfig(mode="manual", offload="model")
        with pytest.raises(ResourceError, match=r"with model offload: planned .*: --offload group --vae-tiling, a"):
            start(pipeline, asked).clip()
    finally:
        handle.remove()
    assert start(pipeline).clip().sha256()  # the pipeline is as good as before


def test_other_errors_are_not_memory(pipeline: VideoPipeline) -> None:
    handle = PLACES["denoise-late"](pipeline).register_forward_hook(Failing(1, error=RuntimeError("shapes differ")))
    run = start(pipeline)
    with pytest.raises(RuntimeError, match="shapes differ"):
        run.clip()
    handle.remove()
    assert run.record()["performance"]["rungs_taken"] == []


def test_nothing_of_a_failed_step_is_left_when_it_is_tried_again(pipeline: VideoPipeline) -> None:
    failed: list[weakref.ref[Tensor]] = []

    def step() -> bool:
        if failed:
            return failed[0]() is None
        large = torch.zeros(1000)
        failed.append(weakref.ref(large))
        raise torch.OutOfMemoryError(f"no room for {large.numel()}")

    assert Ladder(own_model(pipeline.model).residence, [Placement()], planned_mib=0).attempt("test", step)


def test_a_fork_whose_copy_fails_does_not_write_to_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = KVCache(layers=1, capacity=2)
    ones = torch.ones(1, 2, 1, 4)
    cache.write(0, cache.reserve([0]), ones, ones)
    cache.publish([0], [0])
    twin = cache.fork()
    with monkeypatch.context() as patched:
        patched.setattr(torch.Tensor, "clone", lambda self: Failing(1)())
        with pytest.raises(torch.OutOfMemoryError):
            twin.write(0, [0], 2 * ones, 2 * ones)
    twin.write(0, [0], 2 * ones, 2 * ones)
    past = cache.read(0)
    assert past is not None and torch.equal(past[0], ones)


def test_previews_and_guesses_are_the_same_under_offload(pipeline: VideoPipeline) -> None:
    x0_BCTHW = torch.randn(1, 16, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    shown = []
    for performance in (PerformanceConfig(), PerformanceConfig(mode="memory")):
        run = start(pipeline, performance)
        shown.append((run.preview(x0_BCTHW), run.guess(x0_BCTHW)))
    assert all((a == b).all() for a, b in zip(*shown, strict=True))
