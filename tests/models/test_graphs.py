"""Recorded passes: over whole rollouts they equal passes that are run, though nothing varies but the buffers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.folders import tiny_folder
from tests.models.replays import Replays
from tests.models.tiny import LAYERS, latents, tiny_dit, words
from tests.runs import own_run
from vgen.config import merge
from vgen.errors import ConfigError
from vgen.models.cache import KVCache
from vgen.models.graphs import CudaCapture, Graphs
from vgen.pipeline import VideoPipeline
from vgen.placement import Placement
from vgen.run import Run
from vgen.schema import PerformanceConfig
from vgen.speed import Speed, speed_of

STORY = [{"at": 0, "prompt": "a red ball"}, {"at": 2.0, "prompt": "a blue box falls"}]
ROLLOUTS: dict[str, dict[str, Any]] = {
    "ring": {"sampler.name": "streaming", "sampler.window": 3},
    "sink": {"sampler.name": "streaming", "sampler.window": 4, "sampler.sink": 1},
    "unturned": {"sampler.name": "streaming", "sampler.window": 3, "sampler.sink": 1, "sampler.positions": "cache"},
    "prompts": {"sampler.name": "streaming", "sampler.window": 3, "request.story": STORY, "request.prompt": None},
    "guided": {"sampler.name": "causal", "request.guidance_scale": 3.0},
    "full": {"sampler.name": "full"},
}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> VideoPipeline:
    folder = tiny_folder(tmp_path_factory.mktemp("graphs") / "m", layout="playground", trainings="full, causal")
    return VideoPipeline.from_pretrained(folder, device="cpu")


def start(pipeline: VideoPipeline, asked: dict[str, Any]) -> Run:
    usual = {"request.prompt": "a red ball", "request.seed": 1, "request.num_frames": 49, "sampler.force": True}
    return own_run(pipeline.start(*merge(("test", usual | asked))))


def latents_of(run: Run) -> Tensor:
    return torch.cat([event.latents_BCTHW for event in run if event.latents_BCTHW is not None], dim=2)


@pytest.mark.parametrize("asked", ROLLOUTS.values(), ids=ROLLOUTS)
def test_a_rollout_of_replays_is_the_rollout(pipeline: VideoPipeline, asked: dict[str, Any]) -> None:
    wanted = latents_of(start(pipeline, asked))
    run, graphs = start(pipeline, asked), Graphs(Replays())
    run.speed = Speed(graphs=graphs)
    assert torch.equal(latents_of(run), wanted)
    assert not graphs._known, "a run that has ended holds no recordings"
    assert 0 < graphs.captured < graphs.eager + graphs.captured
    if asked["sampler.name"] != "causal":  # whose context only grows: its layouts come once for each step
        assert graphs.replayed > graphs.captured
    record = run.record()
    assert record["performance"]["cuda_graphs"] == graphs.report()
    assert record["resolved"]["performance.cuda_graphs"] is True


def test_few_are_kept_and_nothing_else_changes(pipeline: VideoPipeline) -> None:
    asked = ROLLOUTS["sink"]
    wanted = latents_of(start(pipeline, asked))
    run, graphs = start(pipeline, asked), Graphs(Replays(), kept=2)
    run.speed = Speed(graphs=graphs)
    known, made = [], []
    for event in run:
        known.append(len(graphs._known))
        made += [] if event.latents_BCTHW is None else [event.latents_BCTHW]
    assert torch.equal(torch.cat(made, dim=2), wanted)
    assert max(known) == 2


def test_a_cache_that_two_share_is_not_recorded() -> None:
    """The first write would copy a layer, and the recording hold the copy."""
    dit, graphs = tiny_dit(), Graphs(Replays())
    cache = KVCache(layers=LAYERS, capacity=4)

    def show(frame: int, *, into: KVCache, commit: bool = False, graphs: Graphs | None = graphs) -> Tensor:
        with torch.no_grad():
            sigma_BT = torch.full((1, 1), 0.5)
            more: dict[str, Any] = {"frames": [frame], "context": into, "commit": commit, "causal_block": 1}
            return dit(latents(1, seed=frame), sigma_BT, dit_text, graphs=graphs, **more).clone()

    dit_text = dit.prepare_text(words())
    show(0, into=cache, commit=True)
    assert cache.layout() is not None
    twin = cache.fork()
    assert cache.layout() is None and twin.layout() is None
    eager = graphs.eager
    assert torch.equal(show(1, into=twin, commit=True), show(1, into=cache, graphs=None))
    assert graphs.eager == eager + 1
    for _ in range(3):
        assert torch.equal(show(2, into=twin), show(2, into=twin, graphs=None))
    assert graphs.captured == 1 and graphs.replayed == 1


def test_a_pool_is_shared_while_one_of_its_graphs_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """The allocator refuses the handle of a pool whose graphs are all gone."""
    pools: list[object] = []

    class Graph:
        of: object

        def pool(self) -> object:
            return self.of

        def replay(self) -> None: ...

    @contextmanager
    def recording(graph: Any, pool: object) -> Iterator[None]:
        graph.of = object() if pool is None else pool
        pools.append(graph.of)
        yield

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    capture, x = CudaCapture(), torch.ones(1)
    first = capture(lambda: x)
    second = capture(lambda: x)
    del first
    third = capture(lambda: x)
    assert pools[0] is pools[1] is pools[2]
    del second, third
    assert capture(lambda: x)() is x
    assert pools[3] is not pools[0]


def test_the_stand_in_refuses_what_a_capture_does() -> None:
    x = torch.ones(3)
    bodies: list[Callable[[], Tensor]] = [lambda: x * float(x.sum()), lambda: x + torch.tensor([1.0, 2.0, 3.0])]
    for body in bodies:
        with pytest.raises(AssertionError, match="is the host's work"):
            Replays()(body)


def test_the_stand_in_freezes_what_python_decides() -> None:
    factor, x = [2.0], torch.ones(3)
    replay = Replays()(lambda: (x * factor[0]).view(3, 1))
    factor[0] = 5.0
    x.copy_(torch.arange(3.0))
    assert replay().flatten().tolist() == [0.0, 2.0, 4.0]


def test_refused(pipeline: VideoPipeline) -> None:
    said = r"performance\.cuda_graphs records work of a CUDA device, and the model is on cpu; leave it out"
    with pytest.raises(ConfigError, match=said):
        start(pipeline, {"performance.cuda_graphs": True})


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ({"attention.name": "radial"}, r"attention\.name=radial"),
        ({"step_cache.name": "first-block"}, r"step_cache\.name=first-block"),
        ({"sampler.decay": 0.3}, r"sampler\.decay=0\.3"),
    ],
)
def test_refused_on_any_device(
    pipeline: VideoPipeline, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], what: str
) -> None:
    run, plain = start(pipeline, asked), start(pipeline, {}).job
    config = PerformanceConfig(cuda_graphs=True)
    monkeypatch.setattr(type(run.model), "device", torch.device("cuda"))
    with pytest.raises(ConfigError, match=f"and with {what} they differ"):
        speed_of(config, run.model, run.job, Placement())
    with pytest.raises(ConfigError, match=r"and with performance\.offload=group they differ"):
        speed_of(config, run.model, plain, Placement(offload="group"))
