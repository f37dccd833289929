"""Guidance within an interval of noise levels: what runs is what the plan counts, and what is refused."""

from typing import Any

import pytest
import torch

from tests.folders import tiny_folder
from tests.runs import own_run
from vgen.bench.sampler_costs import Counted
from vgen.config import merge
from vgen.errors import ConfigError
from vgen.models.loaded import own_model
from vgen.pipeline import VideoPipeline
from vgen.plan.passes import passes_of
from vgen.run import Run


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> VideoPipeline:
    folder = tiny_folder(tmp_path_factory.mktemp("interval") / "model", layout="playground")
    return VideoPipeline.from_pretrained(folder, device="cpu")


def start(pipeline: VideoPipeline, interval: list[float] | None, **more: Any) -> Run:
    asked = {"request.prompt": "a red ball", "request.seed": 1, "request.guidance_scale": 4.0}
    asked |= {"request.guidance_interval": interval}
    return own_run(pipeline.start(*merge(("test", asked | more))))


@pytest.mark.parametrize("sampler", ["full", "causal", "rolling-forcing"])
@pytest.mark.parametrize("interval", [None, [0.0, 1.0], [0.3, 0.9]])
def test_the_plan_counts_the_passes_that_run(
    pipeline: VideoPipeline, sampler: str, interval: list[float] | None
) -> None:
    run = start(
        pipeline, interval, **{"sampler.name": sampler, "sampler.force": True, "request.num_inference_steps": 6}
    )
    model = own_model(pipeline.model)
    with Counted(model.dit) as counted:
        list(run)
    assert len(counted.passes) == passes_of(run.job, model)[0].total()


def test_fewer_passes_and_other_frames_and_a_record_that_says_it(pipeline: VideoPipeline) -> None:
    clips, passes = [], []
    for interval in (None, [0.0, 1.0], [0.3, 0.9]):
        run = start(pipeline, interval)
        with Counted(own_model(pipeline.model).dit) as counted:
            clips.append(torch.cat([event.latents_BCTHW for event in run if event.latents_BCTHW is not None], dim=2))
        passes.append(len(counted.passes))
        assert run.record()["resolved"].get("request.guidance_interval") == interval
    assert torch.equal(clips[0], clips[1]) and not torch.equal(clips[0], clips[2])
    inside = sum(0.3 < level <= 0.9 for level in run.job.levels)
    assert passes == [2 * run.job.num_steps, 2 * run.job.num_steps, run.job.num_steps + inside]


@pytest.mark.parametrize(
    ("interval", "more", "said"),
    [
        ([0.9, 0.2], {}, r"guidance_interval=\[0.9, 0.2\] is not possible; possible: \[low, high\]"),
        ([0.2], {}, "is not possible"),
        ([0.2, 1.5], {}, "is not possible"),
        ([float("nan"), 0.5], {}, "is not possible"),
        ([0.2, 0.9], {"request.guidance_scale": 1.0}, "bounds guidance, and there is none"),
        ([0.001, 0.002], {}, "holds none of the steps, which are at 1,"),
        ([0.2, 0.9], {"step_cache.name": "taylorseer"}, "step cache 'taylorseer' counts the steps"),
    ],
)
def test_refused(pipeline: VideoPipeline, interval: list[float], more: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        start(pipeline, interval, **more)
