"""What is put on a model together: LoRA, placements, stored and quantised weights, step caches, and plans of them."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.folders import layout_transformer, tiny_folder
from tests.loras import random_pairs, write_pairs
from tests.runs import own_run
from vgen.config import merge
from vgen.errors import ConfigError
from vgen.models.loaded import own_model
from vgen.pipeline import VideoPipeline
from vgen.schema import PerformanceConfig

quantised = pytest.mark.skipif(find_spec("torchao") is None, reason="torchao is not installed")
OFFLOADED = [PerformanceConfig(mode="manual", offload=offload) for offload in ("model", "group")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("together") / "model", layout="playground")


@pytest.fixture(scope="module")
def lora(folder: Path) -> str:
    return str(write_pairs(folder.parent / "a.safetensors", random_pairs(layout_transformer("playground")), kind="wan"))


def latents_of(pipeline: VideoPipeline, **more: Any) -> Tensor:
    asked = {"request.prompt": "a red ball", "request.seed": 1, "request.num_frames": 9}
    run = own_run(pipeline.start(*merge(("test", asked | more))))
    return torch.cat([event.latents_BCTHW for event in run if event.latents_BCTHW is not None], dim=2)


@pytest.mark.parametrize("performance", OFFLOADED, ids=["model", "group"])
@pytest.mark.parametrize("sampler", ["full", "causal"])
def test_lora_go_where_their_weights_go(folder: Path, lora: str, performance: PerformanceConfig, sampler: str) -> None:
    asked = {"sampler.name": sampler}
    plain = VideoPipeline.from_pretrained(folder, device="cpu")
    here = VideoPipeline.from_pretrained(folder, device="cpu", lora=[lora])
    away = VideoPipeline.from_pretrained(folder, device="cpu", lora=[lora], performance=performance)
    wanted = latents_of(here, **asked)
    assert not torch.equal(wanted, latents_of(plain, **asked))
    assert torch.equal(latents_of(away, **asked), wanted)
    assert torch.equal(latents_of(away, **asked), wanted)  # once more from where they rest


@pytest.mark.parametrize("performance", OFFLOADED, ids=["model", "group"])
def test_lora_of_weights_that_are_away_are_left_as_they_are(
    folder: Path, lora: str, performance: PerformanceConfig
) -> None:
    away = VideoPipeline.from_pretrained(folder, device="cpu", lora=[lora], performance=performance)
    for change in (away.fuse_lora, away.unload_lora, lambda: away.load_lora(lora)):
        with pytest.raises(ConfigError, match="load the pipeline with them, or without offload"):
            change()


def test_a_fused_lora_outlives_a_rest(folder: Path, lora: str) -> None:
    pipeline = VideoPipeline.from_pretrained(folder, device="cpu", lora=[lora])
    residence = own_model(pipeline.model).residence
    residence.rest()
    residence.use("transformer")
    pipeline.fuse_lora()
    wanted = latents_of(pipeline)
    residence.rest()
    assert torch.equal(latents_of(pipeline), wanted)


def test_lora_act_on_stored_weights_as_on_whole_ones(folder: Path, lora: str) -> None:
    narrow = PerformanceConfig(mode="manual", storage="bfloat16")
    stored = VideoPipeline.from_pretrained(folder, device="cpu", lora=[lora], performance=narrow)
    both = latents_of(stored)
    assert not torch.equal(both, latents_of(VideoPipeline.from_pretrained(folder, device="cpu", performance=narrow)))
    assert (both - latents_of(VideoPipeline.from_pretrained(folder, device="cpu", lora=[lora]))).abs().max() < 0.2


@pytest.mark.parametrize("performance", OFFLOADED, ids=["model", "group"])
def test_a_step_cache_skips_the_same_wherever_weights_are(folder: Path, performance: PerformanceConfig) -> None:
    asked = {"step_cache.name": "first-block", "step_cache.threshold": 0.5, "request.num_inference_steps": 6}
    here = latents_of(VideoPipeline.from_pretrained(folder, device="cpu"), **asked)
    away = latents_of(VideoPipeline.from_pretrained(folder, device="cpu", performance=performance), **asked)
    assert torch.equal(away, here)


@quantised
def test_quantised_weights_are_neither_moved_nor_changed(folder: Path, lora: str) -> None:
    with pytest.raises(ConfigError, match=r"a LoRA on weights that are quantised \(int8wo\) is not supported"):
        VideoPipeline.from_pretrained(folder, device="cpu", quantization="int8wo", lora=[lora])
    for performance in (
        *OFFLOADED,
        PerformanceConfig(mode="memory"),
        PerformanceConfig(mode="manual", storage="bfloat16"),
    ):
        with pytest.raises(ConfigError, match=r"quantised \(int8wo\) is not supported; possible: --performance auto"):
            VideoPipeline.from_pretrained(folder, device="cpu", quantization="int8wo", performance=performance)
    assert latents_of(VideoPipeline.from_pretrained(folder, device="cpu", quantization="int8wo")).isfinite().all()


def test_a_plan_counts_lora_and_what_a_step_cache_keeps(folder: Path, lora: str) -> None:
    def plan(**more: Any) -> Any:
        asked = {"request.prompt": "a red ball", "request.num_frames": 9}
        given = {"lora": more.pop("lora", ())}
        skeleton = VideoPipeline.without_weights(
            folder, device="cpu", dtype="float32", performance=PerformanceConfig(), **given
        )
        said = asked | more | ({"model.lora": [str(one) for one in given["lora"]]} if given["lora"] else {})
        return own_run(skeleton.start(*merge(("test", said)))).plan

    plain = plan()
    assert plan(lora=[lora]).weights == pytest.approx(plain.weights + Path(lora).stat().st_size / (1 << 20))
    assert plan(**{"step_cache.name": "first-block"}).denoise > plain.denoise
    real = own_run(
        VideoPipeline.from_pretrained(folder, device="cpu", lora=[lora]).start(
            *merge(("test", {"request.prompt": "a red ball", "request.num_frames": 9}))
        )
    )
    assert real.plan.weights == pytest.approx(plan(lora=[lora]).weights, rel=0.05)
