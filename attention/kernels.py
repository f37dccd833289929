"""Which of torch's kernels computes dense attention: by a rule of the device, or the one that is named; and which ran.

The rule looks at what the device is and never at a clock, so that a run that is made again takes the same kernel.
"""

import warnings
from collections.abc import Hashable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from vgen.errors import ResourceError

__all__ = ["AUTO", "KERNELS", "check_kernel", "dense_kernel", "order_for", "traced_attention"]

AUTO = "auto"
KERNELS = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "math": SDPBackend.MATH,
}
KNOWN = ("cpu", "cuda")  # elsewhere torch does not tell
CHOICES_KEPT = 4096
PLAIN_PAIRS = 1 << 20  # of a query and a key, up to which a CPU trains on the matrix of all pairs
_CHOICES: dict[Hashable, str] = {}  # by all that the answer depends on


def dense_kernel(q_BNLK: Tensor, k_BNMK: Tensor, v_BNMK: Tensor, kernel: str = AUTO) -> tuple[Tensor, str]:
    """Softmax attention of every query to every key, and the name of the kernel that computed it.

    Raises:
        ResourceError: the named kernel cannot run here; says which can.
    """
    name = _ran(kernel, q_BNLK, k_BNMK, v_BNMK)
    with _within(kernel, q_BNLK.device):
        return scaled_dot_product_attention(q_BNLK, k_BNMK, v_BNMK), name


def traced_attention(q_BNLK: Tensor, k_BNMK: Tensor, v_BNMK: Tensor) -> Tensor:
    """Softmax attention as `torch.compile` likes it best.

    That is torch's own, but for short sequences with gradients on a CPU: there the backward pass of the fused kernel
    takes longer than products of matrices with a softmax between them, which are fused with what is around them.
    """
    learns = torch.is_grad_enabled() and q_BNLK.requires_grad and torch.compiler.is_compiling()
    if not learns or q_BNLK.device.type != "cpu" or q_BNLK.shape[2] * k_BNMK.shape[2] > PLAIN_PAIRS:
        return scaled_dot_product_attention(q_BNLK, k_BNMK, v_BNMK)
    scores_BNLM = q_BNLK @ k_BNMK.transpose(2, 3) * q_BNLK.shape[3] ** -0.5
    return scores_BNLM.softmax(-1) @ v_BNMK


def order_for(capability: tuple[int, int]) -> tuple[str, ...]:
    """The kernels that are tried on a CUDA device, best first: cuDNN's leads where it has code of its own (Hopper)."""
    rest = ("flash", "efficient", "math")
    return ("cudnn", *rest) if capability >= (9, 0) else rest


def check_kernel(kernel: str, device: torch.device, dtype: torch.dtype, head_width: int) -> None:
    """Refuses a kernel that cannot run on a device, before anything is computed there.

    Raises:
        ResourceError: says which can.
    """
    if kernel != AUTO:
        probe = torch.empty(1, 1, 128, head_width, dtype=dtype, device=device)
        _ran(kernel, probe, probe, probe)


def _ran(kernel: str, q_BNLK: Tensor, k_BNMK: Tensor, v_BNMK: Tensor) -> str:
    """The kernel that torch runs; asked once for each shape."""
    device, dtype, gradient = q_BNLK.device, q_BNLK.dtype, torch.is_grad_enabled() and q_BNLK.requires_grad
    key = (kernel, device, dtype, gradient, q_BNLK.shape, k_BNMK.shape, v_BNMK.shape, q_BNLK.stride(), k_BNMK.stride())
    if key in _CHOICES:
        return _CHOICES[key]
    name = _choice(kernel, q_BNLK, k_BNMK, v_BNMK)
    if name is None:
        able = ", ".join(sorted(one for one in KERNELS if _choice(one, q_BNLK, k_BNMK, v_BNMK) is not None))
        raise ResourceError(
            f"attention.sdpa={kernel} cannot run on {device} in {str(dtype).removeprefix('torch.')} with heads of "
            f"{q_BNLK.shape[-1]}; possible: auto, {able}"
        )
    if len(_CHOICES) >= CHOICES_KEPT:
        _CHOICES.clear()
    return _CHOICES.setdefault(key, name)


def _choice(kernel: str, q_BNLK: Tensor, k_BNMK: Tensor, v_BNMK: Tensor) -> str | None:
    """The kernel that torch would run; None where none can."""
    if q_BNLK.device.type not in KNOWN:
        return AUTO
    with _within(kernel, q_BNLK.device), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on CUDA torch warns of every kernel that it may not take
        try:
            choice: int = torch._fused_sdp_choice(q_BNLK, k_BNMK, v_BNMK)
        except RuntimeError:  # "No viable backend": what torch has no class for
            return None
    return next((name for name, backend in KERNELS.items() if int(backend) == choice), AUTO)  # type: ignore[call-overload]


def _within(kernel: str, device: torch.device) -> AbstractContextManager[Any]:
    if kernel != AUTO:
        return sdpa_kernel([KERNELS[kernel]])
    if device.type != "cuda":
        return nullcontext()  # a CPU's own order has no better one
    order = order_for(torch.cuda.get_device_capability(device))
    return sdpa_kernel([KERNELS[name] for name in order], set_priority=True)
