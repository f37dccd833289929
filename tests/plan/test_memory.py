"""What a plan says of memory, against closed forms; `vgen.bench.memory` holds it against what is measured."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.folders import tiny_folder
from tests.runs import own_run
from vgen.config import merge
from vgen.models.load import load_skeleton
from vgen.models.loaded import own_model
from vgen.parallel.degrees import Degrees
from vgen.performance import fit
from vgen.pipeline import VideoPipeline
from vgen.placement import Placement
from vgen.plan import plan_of, with_holes
from vgen.plan.ledger import dry
from vgen.plan.memory import cached_bytes, text_bytes
from vgen.plan.pieces import pieces_of
from vgen.run import Run
from vgen.schema import PerformanceConfig

CPU = torch.device("cpu")
MIB = 1 << 20


@pytest.fixture(scope="module")
def planners(tmp_path_factory: pytest.TempPathFactory) -> dict[str, VideoPipeline]:
    """Without weights, by layout."""
    at = tmp_path_factory.mktemp("models")
    folders = {layout: tiny_folder(at / layout, layout=layout) for layout in ("playground", "t2v-a14b")}
    return {
        layout: VideoPipeline(load_skeleton(str(folder), device=CPU, dtype=torch.float32))
        for layout, folder in folders.items()
    }


def start(planner: VideoPipeline, **asked: Any) -> Run:
    dotted = {key.replace("__", "."): value for key, value in asked.items()}
    return own_run(planner.start(*merge(("test", {"request.prompt": "a red ball"} | dotted))))


def test_a_computation_takes_what_lives_at_once() -> None:
    def twice() -> torch.Tensor:
        a = torch.empty(1000, device="meta")
        b = a + 1
        del a
        return b.view(1, 1000) @ b.new_empty(1000, 1)

    cost = dry(twice, "cuda")
    assert cost.peak == 4 * (1000 + 1000 + 1) and cost.kept == 4 and cost.flops == 2 * 1000


def test_what_was_there_before_counts_nothing() -> None:
    a = torch.empty(1000, device="meta")
    assert dry(lambda: a[:10].add_(1), "cpu").peak == 0


@pytest.mark.parametrize("size", [(1, 8, 3, 8, 8), (1, 64, 8, 64, 80)])
def test_convolutions_take_columns_or_a_copy_beside_their_output(size: tuple[int, ...]) -> None:
    """The smaller one is left to torch's own kernel; measured by the bench."""
    x, weight = torch.empty(size, device="meta"), torch.empty(4, size[1], 3, 3, 3, device="meta")
    cost, out = (
        dry(lambda: torch.nn.functional.conv3d(x, weight), "cpu"),
        4 * 4 * (size[2] - 2) * (size[3] - 2) * (size[4] - 2),
    )
    own = size[1] * 27 * out // 4
    assert cost.peak - out == (own if size[1] == 8 else 4 * x.numel())


def test_the_cache_is_layers_by_frames_by_tokens_by_width(planners: dict[str, VideoPipeline]) -> None:
    run = start(planners["playground"], **{"sampler__name": "causal", "request__num_frames": 61})
    dit, frames = run.model.dit.config, run.job.sampling.cache_frames
    assert cached_bytes(run.job, run.model) == 2 * dit.num_layers * frames * 6 * 48 * 4
    guided = start(planners["playground"], **{"sampler__name": "causal", "request__guidance_scale": 3.0})
    assert cached_bytes(guided.job, guided.model) == 2 * cached_bytes(run.job, run.model)


def test_both_experts_and_branches_read_texts_of_their_own(planners: dict[str, VideoPipeline]) -> None:
    one, two = planners["playground"], planners["t2v-a14b"]
    read = text_bytes(start(one).job, own_model(one.model))
    assert read == 2 * 2 * 48 * 16 * 4
    guided = start(two, request__guidance_scale=3.0)
    assert text_bytes(guided.job, own_model(two.model)) == 4 * read


def test_a_search_that_redoes_holds_both_paths(planners: dict[str, VideoPipeline]) -> None:
    asked = {"sampler__name": "causal", "request__num_frames": 29}
    plain, redone = start(planners["playground"], **asked), start(planners["playground"], **asked, search__redo=1)
    assert pieces_of(redone.job) == redone.job.frames  # in blocks of one
    more = (redone.plan.denoise - plain.plan.denoise) * MIB
    assert more > (2 * redone.job.frames - 1) * cached_bytes(plain.job, plain.model)


def test_placements_take_less_on_the_device(planners: dict[str, VideoPipeline]) -> None:
    run = start(planners["t2v-a14b"])
    parts = run.model.residence.parts_mib
    peaks = [
        plan_of(run.job, run.model, placement)
        for placement in (Placement(), Placement(offload="model"), Placement(offload="group"))
    ]
    needed = [plan.weights + plan.more for plan in peaks]
    assert needed[0] > needed[1] >= needed[2]
    assert peaks[0].weights == pytest.approx(sum(parts.values()))
    freed = plan_of(run.job, run.model, Placement(keep_text_encoder=False))
    assert freed.weights == pytest.approx(sum(parts.values()) - parts["text_encoder"])


def test_processes_that_share_a_clip_take_less_each(planners: dict[str, VideoPipeline]) -> None:
    asked = {"sampler__name": "causal", "request__num_frames": 29, "request__guidance_scale": 3.0}
    run = start(planners["playground"], **asked)
    alone = plan_of(run.job, run.model)
    shared = {
        what: plan_of(run.job, run.model, degrees=degrees)
        for what, degrees in {"cfg": Degrees(cfg=2), "ulysses": Degrees(ulysses=2)}.items()
    }
    assert all(plan.denoise < alone.denoise and plan.weights == alone.weights for plan in shared.values())
    cached = cached_bytes(run.job, run.model)
    assert cached_bytes(run.job, run.model, Degrees(cfg=2)) == cached_bytes(run.job, run.model, Degrees(ulysses=2))
    assert cached_bytes(run.job, run.model, Degrees(cfg=2, ulysses=2)) == cached // 4
    assert text_bytes(run.job, run.model, Degrees(cfg=2)) == text_bytes(run.job, run.model) // 2


def test_processes_with_a_part_of_the_frames_take_less_for_a_pass(planners: dict[str, VideoPipeline]) -> None:
    run = start(planners["playground"], request__num_frames=257)
    knobs = {"clips": 4, "reach": 1, "count": 2}
    job = replace(run.job, attention=replace(run.job.attention, pattern="dual_scope", knobs=knobs))
    alone, shared = (plan_of(job, run.model, degrees=degrees) for degrees in (Degrees(), Degrees(clips=4)))
    assert shared.denoise < 0.75 * alone.denoise


def test_freed_memory_is_kept_where_there_is_room(planners: dict[str, VideoPipeline]) -> None:
    run = start(planners["playground"])
    lean = plan_of(run.job, run.model)
    roomy = with_holes(lean)
    assert 60 < roomy.holes <= 220 and roomy.more == lean.more + roomy.holes
    needed = [plan.weights + plan.more - run.model.residence.held_mib for plan in (lean, roomy)]
    for free, mode, holes in (
        (needed[1] + 1, "auto", roomy.holes),
        (needed[1] - 1, "auto", 0.0),
        (1e6, "memory", 0.0),
        (needed[0] + 1, "speed", 0.0),
    ):
        assert fit(run.job, run.model, PerformanceConfig(mode=mode), free, "it").plan.holes == holes


def test_a_plan_without_weights_is_that_with_them(planners: dict[str, VideoPipeline]) -> None:
    planner = planners["playground"]
    loaded = VideoPipeline.from_pretrained(planner.model.id, device="cpu")
    skeleton, real = start(planner).plan, start(loaded).plan
    assert replace(skeleton, weights=real.weights, stages=real.stages) == real
    assert skeleton.weights == pytest.approx(real.weights, rel=0.01)
    assert all(value.is_meta for value in planner.model.dit.parameters())


def test_nothing_is_computed_at_a_size_that_no_machine_holds(planners: dict[str, VideoPipeline]) -> None:
    job = start(planners["playground"]).job
    big = replace(job, height=8192, width=8192, latent_shape=(16, 1024, 1024))
    assert plan_of(big, own_model(planners["playground"].model), Placement(vae_tiling=True)).peak > 10_000


def test_half_precision_halves_weights_and_activations(tmp_path: Path) -> None:
    folder = str(tiny_folder(tmp_path / "m", layout="playground"))
    full, half = (
        start(VideoPipeline(load_skeleton(folder, device=CPU, dtype=dtype))).plan
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert half.weights < full.weights and half.denoise < full.denoise and half.decode <= full.decode
