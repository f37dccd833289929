"""What only a CUDA device can show: the same answers as on the CPU, in less time. Run with `make gpu`."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.folders import tiny_folder
from vgen.pipeline import VideoPipeline

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


def test_memory_of_a_causal_run_does_not_grow_with_its_length(folder: Path) -> None:
    pipeline = VideoPipeline.from_pretrained(folder, device="cuda")
    peaks = []
    for seconds in (4.0, 16.0):
        torch.cuda.reset_peak_memory_stats()
        for _ in pipeline.stream("a red ball", seconds=seconds, seed=1):
            pass
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] <= peaks[0] * 1.05
