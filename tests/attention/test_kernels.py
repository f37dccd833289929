"""The kernels of dense attention: the rule, the one that is named, and the one that ran."""

import warnings

import pytest
import torch

from tests.folders import tiny_folder
from tests.runs import own_run
from vgen.attention import Dense
from vgen.attention.kernels import AUTO, KERNELS, check_kernel, dense_kernel, order_for
from vgen.config import merge
from vgen.errors import ConfigError, ResourceError
from vgen.pipeline import VideoPipeline
from vgen.schema import KERNELS as NAMED
from vgen.shapes import TokenGrid

CPU = torch.device("cpu")
GRID = TokenGrid(frames=(0, 1), height=2, width=3)


def qkv(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, 12, 2, 16, generator=generator).to(dtype) for _ in range(3)]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> VideoPipeline:
    return VideoPipeline.from_pretrained(tiny_folder(tmp_path_factory.mktemp("k") / "m", layout="playground"))


def test_every_kernel_can_be_named() -> None:
    assert sorted(NAMED) == sorted([AUTO, *KERNELS])


@pytest.mark.parametrize(("capability", "first"), [((7, 5), "flash"), ((8, 9), "flash"), ((9, 0), "cudnn")])
def test_the_rule_is_of_the_device_alone(capability: tuple[int, int], first: str) -> None:
    order = order_for(capability)
    assert order[0] == first and order[-1] == "math" and len({*order}) == len(order)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kernels_of_a_cpu_agree_and_say_what_they_are(dtype: torch.dtype) -> None:
    made = {}
    for kernel in (AUTO, "flash", "math"):
        dense = Dense(kernel)
        made[kernel] = dense(*qkv(dtype), query=GRID, key=GRID, layer=0)
        assert dense.ran == {"flash" if kernel == AUTO else kernel: 1}
    assert made[AUTO].equal(made["flash"])
    torch.testing.assert_close(made["flash"], made["math"], atol=1e-5 if dtype == torch.float32 else 2e-2, rtol=0)


def test_what_ran_is_what_torch_ran() -> None:
    """By the profiler, which knows nothing of the choice."""
    for kernel, operator in (("flash", "flash_attention_for_cpu"), ("math", "attention_math")):
        q_BNLK, k_BNMK, v_BNMK = (x.transpose(1, 2) for x in qkv())
        with torch.profiler.profile() as seen:
            _, name = dense_kernel(q_BNLK, k_BNMK, v_BNMK, kernel)
        assert name == kernel
        assert f"aten::_scaled_dot_product_{operator}" in {event.key for event in seen.key_averages()}


@pytest.mark.parametrize("kernel", ["cudnn", "efficient"])
def test_a_kernel_of_another_device_is_refused(pipeline: VideoPipeline, kernel: str) -> None:
    said = rf"attention\.sdpa={kernel} cannot run on cpu in float32 with heads of \d+; possible: auto, flash, math"
    with pytest.raises(ResourceError, match=said):
        check_kernel(kernel, CPU, torch.float32, 16)
    with pytest.raises(ResourceError, match=said):
        pipeline.start(*merge(("test", {"request.prompt": "a red ball", "attention.sdpa": kernel})))


def test_a_refusal_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """On CUDA torch warns, kernel by kernel, before it raises."""

    def as_on_cuda(*_: torch.Tensor) -> int:
        warnings.warn("CuDNN attention kernel not used because:", stacklevel=2)
        raise RuntimeError("No viable backend")

    monkeypatch.setattr(torch, "_fused_sdp_choice", as_on_cuda)
    with pytest.raises(ResourceError, match="cudnn cannot run"):
        check_kernel("cudnn", CPU, torch.float16, 24)


@pytest.mark.parametrize(
    "more",
    [
        {"attention.name": "radial"},
        {"sampler.name": "full", "sampler.decay": 0.5},
    ],
    ids=["nowhere", "bias"],
)
def test_a_kernel_of_what_is_not_computed_is_refused(pipeline: VideoPipeline, more: dict[str, object]) -> None:
    asked = {"request.prompt": "a red ball", "attention.sdpa": "math", "attention.dense_first_steps": None}
    with pytest.raises(ConfigError, match=r"attention\.sdpa=math is of dense attention"):
        pipeline.start(*merge(("test", asked | more)))


@pytest.mark.parametrize("name", ["dense", "radial"])
def test_what_ran_stands_in_the_record(pipeline: VideoPipeline, name: str) -> None:
    asked = {"request.prompt": "a red ball", "attention.sdpa": "math", "attention.name": name}
    sparse: dict[str, object] = {"attention.dense_first_steps": 1, "attention.executor": "gather"}
    run = own_run(pipeline.start(*merge(("test", asked | (sparse if name == "radial" else {})))))
    list(run)
    record = run.record()
    assert record["resolved"]["attention.sdpa"] == "math"
    assert [row["kernel"] for row in record["attention"] if row["executor"] == "sdpa"] == ["math"]
