"""Weights that do not fit on one device: a process keeps a share of each block, and the whole of it while it runs.

FSDP2 (`fully_shard` of torch): Zhao et al. 2023, arXiv:2304.11277. What is computed is the same to the bit. All that
share have to run the same blocks in the same order, and prepare as many texts: each time is a meeting of all.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from vgen.models.dit import VideoDiT
from vgen.parallel.peers import Peers

__all__ = ["SharedWeights"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedWeights:
    """Splits the weights of transformers over some processes, for good; as `load_model` takes it.

    Args:
        peers: the processes, more than one.
        device: this one's.
    """

    peers: Peers
    device: torch.device

    @property
    def ranks(self) -> int:
        """How many share them."""
        return self.peers.size

    def __call__(self, dit: VideoDiT) -> None:
        """Moves this process's share to its device, a block at a time, and lets go of the rest.

        So the device never holds more than shares and one block, and the transformer may be larger than it.

        Args:
            dit: with all its weights, on the CPU; LoRA are put on before.
        """
        assert self.peers.group is not None, "a process by itself has nobody to share with"
        mesh = DeviceMesh.from_group(self.peers.group, self.device.type)
        dit.requires_grad_(False)  # weights of several dtypes are gathered together where none is trained
        for block in dit.blocks:
            _share(block, mesh, "text_kv")
        _share(dit, mesh, "prepare_text")


def _share(module: nn.Module, mesh: DeviceMesh, method: str) -> None:
    """Gathers the weights that a module has itself around its `forward`, and around a method that uses them too."""
    fully_shard(module, mesh=mesh, reshard_after_forward=True)
    register_fsdp_forward_method(module, method)
