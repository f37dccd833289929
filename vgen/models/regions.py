"""The parts of a Wan block between its attentions, as pure functions of tensors: the regions that are compiled.

`before` ends in front of self-attention, `between` behind it and in front of cross-attention, `after` behind that.
Attention itself, the cache and texts per frame stay outside, so that one graph of each region serves all blocks,
whatever they attend to. A `Regions` says whether they run as they stand (`EAGER`) or compiled (`Compiler`).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._triton import has_triton

from vgen.attention.executors.flex import compiler_problem
from vgen.errors import ConfigError
from vgen.models.rope import Rotation, apply_rotation

__all__ = ["EAGER", "Compiler", "Regions", "compile_problem", "modulate"]

MANY = 1 << 16  # shapes


def modulate(x_BLD: Tensor, shift_BTD: Tensor, scale_BTD: Tensor) -> Tensor:
    """x * (1 + scale) + shift with one shift and scale per frame; T divides L."""
    x_BTPD = x_BLD.unflatten(1, (shift_BTD.shape[1], -1))
    return (x_BTPD * (1 + scale_BTD.unsqueeze(2)) + shift_BTD.unsqueeze(2)).flatten(1, 2)


def _gated(x_BLD: Tensor, update_BLD: Tensor, gate_BTD: Tensor) -> Tensor:
    update_BTPD = update_BLD.float().unflatten(1, (gate_BTD.shape[1], -1)) * gate_BTD.unsqueeze(2)
    return (x_BLD.float() + update_BTPD.flatten(1, 2)).type_as(x_BLD)


def _before(
    block: Any, x_BLD: Tensor, modulation_BT6D: Tensor, by: Rotation
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The block's modulation, and of self-attention queries and keys, turned; the keys unturned; the values."""
    table_BT6D = block.scale_shift_table.unsqueeze(1) + modulation_BT6D.float()
    attn, (shift_BTD, scale_BTD) = block.attn1, table_BT6D[:, :, :2].unbind(2)
    normed_BLD = modulate(block.norm1(x_BLD.float()), shift_BTD, scale_BTD).type_as(x_BLD)
    q_BLNK = attn.norm_q(attn.to_q(normed_BLD)).unflatten(2, (attn.heads, -1))
    k_BMNK = attn.norm_k(attn.to_k(normed_BLD)).unflatten(2, (attn.heads, -1))
    v_BMNK = attn.to_v(normed_BLD).unflatten(2, (attn.heads, -1))
    return table_BT6D, apply_rotation(q_BLNK, by), apply_rotation(k_BMNK, by), k_BMNK, v_BMNK


def _between(block: Any, x_BLD: Tensor, out_BLNK: Tensor, table_BT6D: Tensor) -> tuple[Tensor, Tensor]:
    """The sequence with what self-attention found, and the queries of cross-attention."""
    update_BLD = block.attn1.to_out[0](out_BLNK.flatten(2).type_as(x_BLD))
    x_BLD, attn = _gated(x_BLD, update_BLD, table_BT6D[:, :, 2]), block.attn2
    q_BLD = attn.norm_q(attn.to_q(block.norm2(x_BLD.float()).type_as(x_BLD)))
    return x_BLD, q_BLD.unflatten(2, (attn.heads, -1))


def _after(block: Any, x_BLD: Tensor, read_BLD: Tensor, table_BT6D: Tensor) -> Tensor:
    """The sequence with what cross-attention read, through the feed-forward."""
    x_BLD = x_BLD + block.attn2.to_out[0](read_BLD)
    shift_BTD, scale_BTD, gate_BTD = table_BT6D[:, :, 3:].unbind(2)
    normed_BLD = modulate(block.norm3(x_BLD.float()), shift_BTD, scale_BTD).type_as(x_BLD)
    return _gated(x_BLD, block.ffn(normed_BLD), gate_BTD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Regions:
    """How the regions run; each takes the `VideoDiTBlock` that it is of."""

    before: Callable[[Any, Tensor, Tensor, Rotation], tuple[Tensor, Tensor, Tensor, Tensor, Tensor]] = _before
    between: Callable[[Any, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]] = _between
    after: Callable[[Any, Tensor, Tensor, Tensor], Tensor] = _after


EAGER = Regions()


class Compiler:
    """Compiles the regions when they are first called, for each shape, and knows what that took.

    A graph is of the process: a second run of the same shapes finds it.

    Raises:
        ConfigError: nothing can be compiled for the device; says why.
    """

    def __init__(self, device: torch.device) -> None:
        problem = compile_problem(device)
        if problem is not None:
            raise ConfigError(f"performance.compile cannot compile for {device}: {problem}; leave it out")
        self.graphs, self.compile_s = 0, 0.0
        self.regions = Regions(
            before=self._compiled(_before), between=self._compiled(_between), after=self._compiled(_after)
        )

    def report(self) -> dict[str, float]:
        """For the record: graphs that were compiled, and the seconds of the calls that did."""
        return {"graphs": self.graphs, "compile_s": round(self.compile_s, 3)}

    def _compiled(self, region: Callable[..., Any]) -> Callable[..., Any]:
        call = torch.compile(region, fullgraph=True, dynamic=False)
        stats = torch._dynamo.utils.counters["stats"]
        seen: set[tuple[Any, ...]] = set()  # blocks and layouts; to raise a limit takes longer than a small block

        def timed(*given: Any) -> Any:
            name = (id(given[0]), *((x.shape, x.stride(), x.dtype) for x in given[1:3]))
            if name in seen:
                return call(*given)
            known, began = stats["unique_graphs"], time.perf_counter()
            # torch gives a function up after eight shapes; more are wanted here, and are the caller's to bound
            with torch._dynamo.config.patch(recompile_limit=MANY, accumulated_recompile_limit=MANY):
                found = call(*given)
            seen.add(name)
            if stats["unique_graphs"] > known:
                self.graphs += stats["unique_graphs"] - known
                self.compile_s += time.perf_counter() - began
            return found

        return timed


def compile_problem(device: torch.device) -> str | None:
    """Why nothing can be compiled for a device; None where it can."""
    if device.type == "cpu":
        return compiler_problem()
    if device.type == "cuda" and has_triton():
        return None
    return "Triton is missing" if device.type == "cuda" else "it needs a CPU or a CUDA device"
