"""What only a CUDA device can show: the same answers as on the CPU, in less time. Run with `make gpu`."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.folders import tiny_folder
from vgen.attention.kernels import order_for
from vgen.checkpoint import Checkpoint
from vgen.config import merge
from vgen.frames import Frames
from vgen.models.loaded import own_model
from vgen.pipeline import VideoPipeline
from vgen.schema import PerformanceConfig

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("tiny"), layout="playground")


@pytest.mark.parametrize("sampler", ["full", "causal"])
def test_frames_agree_with_the_cpu(folder: Path, sampler: str) -> None:
    """Noise is drawn on the CPU, so the two runs start alike."""
    clips = [
        VideoPipeline.from_pretrained(folder, device=device, dtype="float32")("a red ball", seed=1, sampler=sampler)
        for device in ("cpu", "cuda")
    ]
    assert np.abs(clips[0].frames.astype(int) - clips[1].frames.astype(int)).max() <= 2


def test_the_device_and_dtype_of_auto(folder: Path) -> None:
    pipeline = VideoPipeline.from_pretrained(folder)
    assert (pipeline.device.type, pipeline.dtype) == ("cuda", torch.bfloat16)
    clip = pipeline("a red ball", seed=1)
    assert clip.record["machine"]["device"] == torch.cuda.get_device_name()
    assert 0 < clip.record["peak_mib"] < 4096


@pytest.mark.parametrize("sampler", ["streaming", "fifo"])
def test_a_killed_run_goes_on_to_the_same_frames(folder: Path, tmp_path: Path, sampler: str) -> None:
    pipeline = VideoPipeline.from_pretrained(folder, device="cuda")
    said = {"request.prompt": "a red ball", "request.seed": 1, "request.num_frames": 21, "sampler.name": sampler}

    def frames_of(resume: bool) -> list[Frames]:
        events = pipeline.start(*merge(("test", said))).events(Checkpoint(tmp_path / "a.run"), resume=resume)
        chunks = (event.frames_FYX3 for event in events)
        return [chunk for chunk in chunks if chunk is not None]

    whole, resumed = frames_of(resume=False), frames_of(resume=True)  # from the last chunk
    assert np.array_equal(np.concatenate(whole), np.concatenate(resumed))
    (tmp_path / "a.run" / "state.safetensors").unlink()
    killed = pipeline.start(*merge(("test", said))).events(Checkpoint(tmp_path / "a.run"))
    for _ in range(3):
        next(event for event in killed if event.frames_FYX3 is not None)
    assert np.array_equal(np.concatenate(whole), np.concatenate(frames_of(resume=True)))


@pytest.mark.parametrize("offload", ["model", "group"])
@pytest.mark.parametrize("sampler", ["full", "causal"])
def test_offload_changes_where_weights_are_and_nothing_else(folder: Path, offload: str, sampler: str) -> None:
    placed = VideoPipeline.from_pretrained(
        folder, device="cuda", performance=PerformanceConfig(mode="manual", offload=offload, keep_text_encoder=False)
    )
    assert own_model(placed.model).residence.held_mib == 0
    usual = VideoPipeline.from_pretrained(folder, device="cuda")("a red ball", seed=1, sampler=sampler)
    first, second = (placed("a red ball", seed=1, sampler=sampler) for _ in range(2))
    assert first.sha256() == second.sha256() == usual.sha256()
    home = next(placed.model.dit.blocks.parameters()).device.type
    assert home == "cpu"


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method.:DeprecationWarning")  # of the compiler itself
@pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores:UserWarning")  # which would round what is compared
@pytest.mark.parametrize("sampler", ["full", "causal", "streaming"])
@pytest.mark.parametrize("name", ["cuda_graphs", "compile"])
def test_what_makes_a_run_faster_leaves_its_frames(folder: Path, name: str, sampler: str) -> None:
    torch._dynamo.reset()  # graphs of the sampler before may fit this one
    pipeline = VideoPipeline.from_pretrained(folder, device="cuda", dtype="float32")
    said = {"request.prompt": "a red ball", "request.seed": 1, "request.num_frames": 49, "sampler.name": sampler}
    said |= {"sampler.force": True}
    faster = {f"performance.{name}": True}
    clips = [pipeline.start(*merge(("test", said | more))).clip() for more in ({}, faster)]
    assert np.abs(clips[0].frames.astype(int) - clips[1].frames.astype(int)).max() <= 2
    report = clips[1].record["performance"][name]
    assert report["replayed"] > 0 if name == "cuda_graphs" else report["graphs"] >= 3


def test_the_kernel_of_dense_attention_is_the_rules() -> None:
    """At a head width that all kernels take; a tiny folder's is wide enough for some of them alone."""
    pipeline = VideoPipeline.from_pretrained("playground", device="cuda")
    rule = order_for(torch.cuda.get_device_capability())
    made = {}
    for kernel in ("auto", *rule):
        asked = {"request.prompt": "a red ball", "request.seed": 1, "request.num_inference_steps": 2}
        made[kernel] = pipeline.start(*merge(("test", asked | {"attention.sdpa": kernel}))).clip()
        assert made[kernel].record["attention"][0]["kernel"] == (rule[0] if kernel == "auto" else kernel)
    assert made["auto"].sha256() == made[rule[0]].sha256()


def test_memory_of_a_causal_run_does_not_grow_with_its_length(folder: Path) -> None:
    pipeline = VideoPipeline.from_pretrained(folder, device="cuda")
    peaks = []
    for seconds in (4.0, 16.0):
        torch.cuda.reset_peak_memory_stats()
        for _ in pipeline.stream("a red ball", seconds=seconds, seed=1):
            pass
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] <= peaks[0] * 1.05
