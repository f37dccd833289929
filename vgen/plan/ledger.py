"""`dry`: what a computation takes, without computing it: memory at its highest, memory that stays, FLOPs.

Runs the real code on torch's meta device, where tensors have a shape and no content, under a mode that counts the bytes
of storages while they live. So a plan cannot drift away from what the models do. What kernels take for themselves is
added where it is known: `WORKSPACES`. FLOPs are torch's own (`torch.utils.flop_counter`): two for each multiply-add.
"""

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

__all__ = ["Cost", "Ledger", "dry"]

_CONVOLUTION = torch.ops.aten.convolution.default
_ONEDNN_FROM = 20480  # values of a clip but for its columns
_ITEM = torch.ops.aten._local_scalar_dense.default


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a computation takes.

    Args:
        peak: bytes at its highest, above what was there before.
        kept: bytes that are still held behind it, its result included.
        flops: two for each multiply-add of matrix products, convolutions and attention.
    """

    peak: int
    kept: int
    flops: int


class Ledger(TorchDispatchMode):
    """Counts the bytes of what is made while it is entered; what was there before counts nothing.

    Args:
        device_type: of the machine that the computation is meant for, whose kernels' own memory is counted.
    """

    def __init__(self, device_type: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = self.flops = 0
        self._workspace = WORKSPACES[device_type]
        self._known: dict[int, int] = {}  # storage -> its bytes; 0 where it was there before

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is _ITEM:  # whether a mask keeps all: a prompt is shorter than what it is padded to
            return False
        for tensor in _tensors((args, kwargs)):
            self._note(tensor, made=False)
        out = func(*args, **(kwargs or {}))
        for tensor in _tensors(out):
            self._note(tensor, made=True)
        self.peak = max(self.peak, self.live + self._workspace(func, args, out))
        if func._overloadpacket in flop_registry:
            self.flops += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out

    def _note(self, tensor: Tensor, *, made: bool) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes() if made else 0
        self._known[key] = size
        self.live += size
        weakref.finalize(storage, self._free, key)

    def _free(self, key: int) -> None:
        self.live -= self._known.pop(key)


class _FusedAttention(TorchFunctionMode):
    """Attention as fused kernels compute it: no matrix of logits. On the meta device torch would take the plain way."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self.ledger = ledger

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is not torch.nn.functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        q_BNLK, k_BNMK, v_BNMK = args[:3] if len(args) >= 3 else ((kwargs or {})[name] for name in _QKV[len(args) :])
        self.ledger.flops += 2 * math.prod(q_BNLK.shape[:-1]) * k_BNMK.shape[-2] * (q_BNLK.shape[-1] + v_BNMK.shape[-1])
        return q_BNLK.new_empty((*q_BNLK.shape[:-1], v_BNMK.shape[-1]))


_QKV = ("query", "key", "value")


def dry(compute: Callable[[], object], device_type: str) -> Cost:
    """What `compute` takes; its tensors must all be of the meta device.

    Args:
        compute: what it returns is what stays.
        device_type: as `Ledger` takes it.
    """
    ledger = Ledger(device_type)
    with torch.no_grad(), _FusedAttention(ledger), ledger:
        kept = compute()
        cost = Cost(peak=ledger.peak, kept=ledger.live, flops=ledger.flops)
    del kept
    return cost


def _tensors(tree: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _cpu_workspace(func: Any, args: tuple[Any, ...], out: Any) -> int:
    """Of a convolution, as measured: oneDNN lays its input out anew, and its output before that is laid back; torch's
    own kernel, which takes the small ones, writes all columns that the filter sees.
    """
    if func is not _CONVOLUTION:
        return 0
    x, weight = args[:2]
    if math.prod(weight.shape[2:]) == 1:
        return 0
    if _is_small(x, weight):
        return int(math.prod(weight.shape[1:]) * out.numel() // out.shape[1] * out.element_size())
    return int(max(x.numel() * x.element_size(), out.numel() * out.element_size()))


def _is_small(x: Tensor, weight: Tensor) -> bool:
    """Whether torch leaves a convolution of one picture or clip to its own kernel (`ConvParams::use_mkldnn`)."""
    wide = min(weight.shape[-2:]) > 3
    return x.shape[0] == 1 and not wide and math.prod(x.shape[:4]) <= _ONEDNN_FROM


# device -> bytes that a kernel takes beside its output, while it runs; cuDNN's own choice is not known beforehand
WORKSPACES: dict[str, Callable[[Any, tuple[Any, ...], Any], int]] = {
    "cpu": _cpu_workspace,
    "cuda": lambda func, args, out: 0,
}
