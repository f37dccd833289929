"""The work of a plan against torch's own counter over the real run, and against published figures."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.folders import tiny_folder
from tests.runs import own_run
from vgen.attention import SparseAttention
from vgen.config import merge
from vgen.models.load import load_skeleton
from vgen.models.loaded import own_model
from vgen.pipeline import VideoPipeline
from vgen.plan.flops import pass_flops, prepare_flops, work_of

CPU = torch.device("cpu")
PICTURE = np.zeros((32, 48, 3), dtype=np.uint8)
CASES: dict[str, tuple[str, bool, dict[str, Any]]] = {
    "text": ("playground", False, {}),
    "guidance": ("playground", False, {"request.guidance_scale": 3.0}),
    "first latent": ("playground", True, {}),
    "channels": ("i2v", True, {"request.guidance_scale": 3.0}),
    "two experts": ("t2v-a14b", False, {"request.guidance_scale": 3.0}),
    "causal, cached": ("playground", False, {"sampler.name": "causal", "request.num_frames": 29}),
    "causal, guided": ("playground", False, {"sampler.name": "causal", "request.guidance_scale": 3.0}),
    "windows fused": (
        "playground",
        False,
        {"sampler.name": "freenoise", "request.num_frames": 29, "sampler.window": 4, "sampler.stride": 2},
    ),
    "queue": ("playground", False, {"sampler.name": "fifo", "sampler.force": True, "request.num_frames": 29}),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    at = tmp_path_factory.mktemp("models")
    return {layout: tiny_folder(at / layout, layout=layout) for layout in {case[0] for case in CASES.values()}}


@pytest.mark.parametrize("name", CASES)
def test_work_is_what_torch_counts_over_the_run(name: str, folders: dict[str, Path]) -> None:
    layout, pictured, asked = CASES[name]
    folder, image = str(folders[layout]), PICTURE if pictured else None
    config, said = merge(("test", {"request.prompt": "a red ball", "request.seed": 0, "model.id": folder} | asked))
    planner = VideoPipeline(load_skeleton(folder, device=CPU, dtype=torch.float32))
    work = work_of(own_run(planner.start(config, said, image)).job, own_model(planner.model))
    run = VideoPipeline.from_pretrained(folder, device="cpu").start(config, said, image)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        for _ in run:
            pass
    assert work.total == pytest.approx(counter.get_total_flops(), rel=1e-9)


def test_sparse_attention_is_counted_as_it_runs(folders: dict[str, Path]) -> None:
    """Against what the run says it computed: torch counts no kernel that gathers blocks."""
    asked = {"attention.name": "window", "attention.frames": 2, "attention.block": 6, "request.num_frames": 29}
    folder = str(folders["playground"])
    pipeline = VideoPipeline.from_pretrained(folder, device="cpu")
    run = own_run(pipeline.start(*merge(("test", {"request.prompt": "a red ball"} | asked))))
    work = work_of(run.job, run.model)
    for _ in run:
        pass
    attention = run.attention
    assert isinstance(attention, SparseAttention)
    pairs = sum(row.block_density * row.pairs for row in attention.explain())
    assert work.self_attention == pytest.approx(4 * 48 * pairs) and work.density is not None and work.density < 0.6


def wan(width: int, ffn: int, layers: int, heads: int) -> SimpleNamespace:
    return SimpleNamespace(
        num_attention_heads=heads,
        attention_head_dim=width // heads,
        num_layers=layers,
        ffn_dim=ffn,
        freq_dim=256,
        text_dim=4096,
        patch_size=(1, 2, 2),
        in_channels=16,
        out_channels=16,
    )


@pytest.mark.parametrize(
    ("config", "tokens", "linear", "attention", "total"),
    [
        (wan(1536, 8960, 30, 12), 32_760, 82, 198, 283),
        (wan(1536, 8960, 30, 12), 75_600, 189, 1054, 1250),
        (wan(5120, 13824, 40, 40), 32_760, 785, 879, 1678),
        (wan(5120, 13824, 40, 40), 75_600, 1810, 4682, 6523),
    ],
)
def test_one_pass_of_wan_is_as_reckoned_elsewhere(
    config: Any, tokens: int, linear: int, attention: int, total: int
) -> None:
    """In TFLOP, reckoned by hand for 81 frames at 480p and 720p; those of the text are in the linear part there."""
    cost = pass_flops(config, tokens=tokens, frames=21, keys=tokens**2, text=512)
    texts = prepare_flops(config, text=512, images=0)
    assert (cost.linear + texts) / 1e12 == pytest.approx(linear, rel=0.01)
    assert cost.dense_attention / 1e12 == pytest.approx(attention, rel=0.01)
    assert (cost.linear + texts + cost.cross_attention + cost.dense_attention) / 1e12 == pytest.approx(total, rel=0.01)
