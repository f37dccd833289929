"""Step caches: equal to stock diffusers' and, where nothing is skipped, to none; refused where passes differ."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanPipeline
from diffusers.hooks import FirstBlockCacheConfig, MagCacheConfig, TaylorSeerCacheConfig
from diffusers.utils import logging as diffusers_logging

from tests.folders import tiny_folder
from tests.runs import own_run
from vgen.config import merge
from vgen.errors import ConfigError
from vgen.models.step_cache import CacheMethod, StepCache
from vgen.pipeline import VideoPipeline
from vgen.presets import sampler_presets
from vgen.run import Run

PROMPT, NEGATIVE, STEPS = "a red ball rolls", "blue box", 12
LATENT = (16, 3, 4, 6)
RATIOS = [1.0, *[1.01] * (STEPS - 1)]
FIRST = {"step_cache.name": "first-block", "step_cache.threshold": 0.2}
TAYLOR = {"step_cache.name": "taylorseer", "step_cache.cache_interval": 3}
MAG = {"step_cache.name": "mag", "step_cache.mag_ratios": RATIOS}
STOCK: dict[str, Callable[[], Any]] = {
    "first-block": lambda: FirstBlockCacheConfig(threshold=0.2),
    "taylorseer": lambda: TaylorSeerCacheConfig(
        cache_interval=3, use_lite_mode=True, taylor_factors_dtype=torch.float32
    ),
    "mag": lambda: MagCacheConfig(mag_ratios=RATIOS, num_inference_steps=STEPS),
}
every_cache = pytest.mark.parametrize("cache", [FIRST, MAG, TAYLOR], ids=lambda cache: cache["step_cache.name"])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    diffusers_logging.disable_progress_bar()
    place = tmp_path_factory.mktemp("cached")
    return {name: tiny_folder(place / name, layout=name) for name in ("wan2.1", "playground", "t2v-a14b")}


@pytest.fixture(scope="module")
def pipelines(folders: dict[str, Path]) -> dict[str, VideoPipeline]:
    return {name: VideoPipeline.from_pretrained(folder, device="cpu") for name, folder in folders.items()}


def run_of(pipeline: VideoPipeline, *, initial: bool = True, guidance: float = 5.0, **groups: Any) -> Run:
    values = {
        "request.prompt": PROMPT,
        "request.negative_prompt": NEGATIVE if guidance > 1 else None,
        "request.num_inference_steps": STEPS,
        "request.guidance_scale": guidance,
        "request.num_frames": 9,
        "request.seed": 0,
    } | {key: value for group in groups.values() for key, value in group.items()}
    return own_run(pipeline.start(*merge(("test", values)), initial_CTHW=start() if initial else None))


def start() -> torch.Tensor:
    return torch.randn(LATENT, generator=torch.Generator().manual_seed(3))


def latents_of(run: Run) -> torch.Tensor:
    return torch.cat([event.latents_BCTHW for event in run if event.latents_BCTHW is not None], dim=2)


def stock_latents(folder: Path, name: str) -> torch.Tensor:
    stock = WanPipeline.from_pretrained(folder, dtype=torch.float32)
    stock.set_progress_bar_config(disable=True)
    for transformer in (stock.transformer, stock.transformer_2):
        if transformer is not None:
            transformer.enable_cache(STOCK[name]())
    return stock(
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        height=32,
        width=48,
        num_frames=9,
        num_inference_steps=STEPS,
        guidance_scale=5.0,
        latents=start()[None],
        max_sequence_length=16,
        output_type="latent",
    ).frames


@pytest.mark.parametrize(
    ("layout", "cache"),
    # not with mag on two transformers: diffusers counts the second one's steps from 0, with ratios of the whole
    [(layout, cache) for layout in ("wan2.1", "t2v-a14b") for cache in (FIRST, TAYLOR)] + [("playground", MAG)],
)
def test_latents_equal_stock_with_the_same_cache(
    folders: dict[str, Path], pipelines: dict[str, VideoPipeline], layout: str, cache: dict[str, Any]
) -> None:
    run = run_of(pipelines[layout], cache=cache)
    ours, theirs = latents_of(run), stock_latents(folders[layout], cache["step_cache.name"])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    reports = run.record()["step_cache"]
    assert len(reports) == (2 if layout == "t2v-a14b" else 1)
    assert all(report["skipped"] > 0 for report in reports)


@pytest.mark.parametrize(
    "cache",
    [
        {"step_cache.name": "first-block", "step_cache.threshold": 0},
        {"step_cache.name": "taylorseer", "step_cache.cache_interval": 1},
        MAG | {"step_cache.threshold": 0},
    ],
    ids=["first-block", "taylorseer", "mag"],
)
@pytest.mark.parametrize("sampler", ["full", "causal"])
def test_where_nothing_is_skipped_nothing_changes(
    pipelines: dict[str, VideoPipeline], cache: dict[str, Any], sampler: str
) -> None:
    axis = {"sampler.name": sampler}
    run = run_of(pipelines["playground"], cache=cache, axis=axis)
    assert torch.equal(latents_of(run), latents_of(run_of(pipelines["playground"], axis=axis)))
    (report,) = run.record()["step_cache"]
    passes = STEPS * 2 * (1 if sampler == "full" else 3)
    assert (report["passes"], report["blocks"], report["skipped"]) == (passes, 2 * passes, 0)


@every_cache
def test_every_chunk_begins_anew(pipelines: dict[str, VideoPipeline], cache: dict[str, Any]) -> None:
    run = run_of(pipelines["playground"], cache=cache, axis={"sampler.name": "causal"}, guidance=1.0)
    latents_of(run)
    (report,) = run.record()["step_cache"]
    assert [row["passes"] for row in report["steps"]] == [3] * STEPS
    assert report["steps"][0]["skipped"] == 0 < report["skipped"]


@every_cache
def test_a_chunk_is_cached_as_it_would_be_alone(pipelines: dict[str, VideoPipeline], cache: dict[str, Any]) -> None:
    """The first of three chunks, and a clip of that chunk alone."""
    axis = {"sampler.name": "causal"}
    whole = latents_of(run_of(pipelines["playground"], cache=cache, axis=axis, initial=False))
    alone = latents_of(
        run_of(pipelines["playground"], cache=cache, axis=axis, size={"request.num_frames": 1}, initial=False)
    )
    assert torch.equal(whole[:, :, :1], alone)


def test_repeated_falls_begin_anew(pipelines: dict[str, VideoPipeline]) -> None:
    run = run_of(pipelines["wan2.1"], cache=TAYLOR, axis={"sampler.name": "freeinit"}, guidance=1.0)
    latents_of(run)
    assert [row["passes"] for row in run.record()["step_cache"][0]["steps"]] == [3] * STEPS


def test_prompts_begin_anew(pipelines: dict[str, VideoPipeline]) -> None:
    """Frames of one chunk see other prompts from some step on, as cues say; such a pass is compared with none."""
    dit = pipelines["wan2.1"].model.dit
    cache = StepCache(dit, CacheMethod(name="first-block", threshold=10.0))
    branch, x = cache.branch("cond"), torch.randn(1, 16, 3, 4, 6)
    texts = torch.randn(1, 16, 32)

    def a_pass(sigma: float, cues: tuple[Any, ...]) -> None:
        with torch.no_grad(), branch.step((0, 1, 2), cues, sigma):
            dit(x, torch.full((1, 1), sigma), texts)

    for sigma, cues in ((0.9, ("a",)), (0.8, ("a",)), (0.7, ("b",)), (0.6, ("b",)), (0.6, ("b",))):
        a_pass(sigma, cues)
    cache.release()
    assert [(row.passes, row.skipped) for row in cache.rows] == [(3, 0), (2, 2)]


def test_one_that_is_gone_on_with_another_is_refused(pipelines: dict[str, VideoPipeline]) -> None:
    one, other = (iter(run_of(pipelines["wan2.1"], cache=cache)) for cache in (FIRST, {}))
    next(one), next(one), next(other), next(other)
    with pytest.raises(ConfigError, match="was taken off by another run of the same pipeline"):
        next(one)


def test_two_that_take_turns_do_not_see_each_other(pipelines: dict[str, VideoPipeline]) -> None:
    alone = latents_of(run_of(pipelines["wan2.1"], cache=FIRST))
    runs = [run_of(pipelines["wan2.1"], cache=FIRST), run_of(pipelines["wan2.1"], cache=FIRST, guidance=1.0)]
    events = [list(pair) for pair in zip(*runs, strict=True)]
    assert torch.equal(torch.cat([e.latents_BCTHW for e, _ in events if e.latents_BCTHW is not None], dim=2), alone)


def test_the_next_run_without_a_cache_has_none(pipelines: dict[str, VideoPipeline]) -> None:
    plain = latents_of(run_of(pipelines["wan2.1"]))
    latents_of(run_of(pipelines["wan2.1"], cache=FIRST))
    again = run_of(pipelines["wan2.1"])
    assert torch.equal(latents_of(again), plain) and again.record()["step_cache"] == []
    assert not pipelines["wan2.1"].model.dit.is_cache_enabled


def test_it_can_be_asked_for_from_python(pipelines: dict[str, VideoPipeline]) -> None:
    clip = pipelines["wan2.1"](PROMPT, num_frames=9, seed=0, step_cache={"name": "taylorseer", "cache_interval": 2})
    assert clip.record["resolved"]["step_cache.cache_interval"] == 2
    assert clip.record["step_cache"][0]["cache"] == "taylorseer"


def test_nothing_is_kept_after_a_run(pipelines: dict[str, VideoPipeline]) -> None:
    dit = pipelines["wan2.1"].model.dit
    for finish in (True, False):
        events = iter(run_of(pipelines["wan2.1"], cache=FIRST))
        next(events), next(events), next(events)
        assert _states(dit)
        if finish:
            list(events)
        del events
        assert not _states(dit)


def test_a_cache_that_somebody_else_has_set_is_not_run_over(folders: dict[str, Path]) -> None:
    pipeline = VideoPipeline.from_pretrained(folders["wan2.1"], device="cpu")
    pipeline.model.dit.enable_cache(FirstBlockCacheConfig(threshold=0.1))
    with pytest.raises(ConfigError, match="has diffusers' FirstBlockCacheConfig enabled; call disable_cache"):
        list(run_of(pipeline))


@every_cache
def test_a_record_asks_for_the_same(pipelines: dict[str, VideoPipeline], cache: dict[str, Any]) -> None:
    run = run_of(pipelines["playground"], cache=cache, initial=False)
    latents = latents_of(run)
    resolved = {k: v for k, v in run.record()["resolved"].items() if not k.startswith("run.")}
    again = own_run(pipelines["playground"].start(*merge(("record", resolved))))
    assert torch.equal(latents_of(again), latents) and again.job.step_cache == run.job.step_cache


def test_what_is_kept_is_in_the_plan(pipelines: dict[str, VideoPipeline]) -> None:
    plain, cached = run_of(pipelines["wan2.1"]), run_of(pipelines["wan2.1"], cache=FIRST)
    events = iter(cached)
    next(events), next(events), next(events)
    kept = {id(value): value for state in _states(cached.model.dit) for value in _tensors(vars(state))}
    measured = sum(value.numel() * value.element_size() for value in kept.values()) / (1 << 20)
    assert measured <= cached.plan.denoise - plain.plan.denoise <= 1.1 * measured


def _states(dit: Any) -> list[Any]:
    hooks = [hook for m in dit.modules() if hasattr(m, "_diffusers_hook") for hook in m._diffusers_hook.hooks.values()]
    managers = [hook.state_manager for hook in hooks if hasattr(hook, "state_manager")]
    return [state for manager in managers for state in manager._state_cache.values()]


def _tensors(values: Any) -> list[torch.Tensor]:
    if isinstance(values, torch.Tensor):
        return [values]
    parts = values.values() if isinstance(values, dict) else values if isinstance(values, tuple | list) else ()
    return [tensor for part in parts for tensor in _tensors(part)]


ALLOWED = {"full", "freeinit", "freenoise", "story", "causal", "streaming"}


@pytest.mark.parametrize("name", sorted({*sampler_presets()} - {"tic"}))  # which begins from a picture
def test_samplers_whose_passes_cannot_be_compared_are_refused(pipelines: dict[str, VideoPipeline], name: str) -> None:
    axis = {"sampler.name": name, "sampler.force": True, "request.num_frames": 41}
    if name in ALLOWED:
        assert run_of(pipelines["playground"], cache=FIRST, axis=axis, initial=False).job.step_cache.methods
        return
    with pytest.raises(ConfigError, match=f"'first-block' cannot run with sampler '{name}' as it is set: (one|every)"):
        run_of(pipelines["playground"], cache=FIRST, axis=axis, initial=False)


def test_it_is_the_schedule_that_decides(pipelines: dict[str, VideoPipeline]) -> None:
    """A pyramid of whole blocks is causal, and causal with a small lag is a pyramid."""
    lag = {"sampler.name": "causal", "sampler.lag": 3, "sampler.force": True}
    with pytest.raises(ConfigError, match="one pass carries frames at several noise levels"):
        run_of(pipelines["playground"], cache=FIRST, axis=lag)
    whole = {"sampler.name": "rolling-forcing", "sampler.lag": "num_steps", "sampler.force": True}
    assert run_of(pipelines["playground"], cache=FIRST, axis=whole).job.step_cache.methods


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"step_cache.threshold": 0.1}, "step_cache.threshold needs a cache; name one with --step-cache: first-block"),
        (
            TAYLOR | {"step_cache.threshold": 0.1},
            "threshold means nothing to step cache 'taylorseer'; it uses: cache_i",
        ),
        ({"step_cache.name": "mag"}, "needs step_cache.mag_ratios, measured for the model: vgen bench step-cache"),
        (MAG | {"step_cache.mag_ratios": [1.0] * 5}, "has 5 numbers, and this run takes 12 steps"),
        (MAG | {"sampler.name": "freeinit", "sampler.fast": True}, "its falls take 4, 8, 12 steps"),
    ],
)
def test_knobs_are_used_or_refused(pipelines: dict[str, VideoPipeline], values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run_of(pipelines["wan2.1"], values=values)


@pytest.mark.parametrize("value", [{"step_cache.name": "tea"}, {"step_cache.threshold": -1}])
def test_values_out_of_range_are_refused(value: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="is not possible"):
        merge(("test", value))


def test_ratios_are_measured_without_skipping(pipelines: dict[str, VideoPipeline]) -> None:
    """Against the same ratios from the blocks' own inputs and outputs."""
    pipeline = pipelines["wan2.1"]
    run = run_of(pipeline, guidance=1.0)
    cache = StepCache(pipeline.model.dit, CacheMethod(name="mag", calibrate=True))
    run.step_caches = [cache]
    residuals: list[torch.Tensor] = []
    seen: list[torch.Tensor] = []
    blocks = pipeline.model.dit.blocks
    handles = [
        blocks[0].register_forward_pre_hook(lambda module, args: seen.append(args[0])),
        blocks[-1].register_forward_hook(lambda module, args, out: residuals.append(out - seen[-1])),
    ]
    events = iter(run)
    for event in events:
        if event.stage == "denoise" and event.done == STEPS:
            break
    ratios = cache.ratios("cond")
    for handle in handles:
        handle.remove()
    norms = [r.norm(dim=-1) for r in residuals]
    expected = [1.0, *[float((b / a).mean()) for a, b in itertools.pairwise(norms)]]
    assert ratios == pytest.approx(expected, rel=1e-5)
    assert cache.report()["skipped"] == 0
