"""Weights that do not fit on one device: each rank keeps a share of every block and borrows the rest while it runs.

FSDP2 (`fully_shard` of torch): Zhao et al. 2023, arXiv:2304.11277. What is computed is the same to the bit. Every rank
of the mesh has to run the same passes in the same order, for each one is a meeting of all of them.
"""

from dataclasses import dataclass

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from vgen.models.dit import VideoDiT

__all__ = ["SharedWeights"]


@dataclass(frozen=True, slots=True)
class SharedWeights:
    """Splits the weights of transformers over the ranks of a mesh, for good; as `load_model` takes it.

    Args:
        mesh: of one dimension.
    """

    mesh: DeviceMesh

    def __post_init__(self) -> None:
        assert self.mesh.ndim == 1, f"weights are split over one dimension, got {self.mesh}"

    @property
    def ranks(self) -> int:
        """How many share them."""
        return self.mesh.size()

    def __call__(self, dit: VideoDiT) -> None:
        """Moves this rank's share to the mesh's device, a block at a time, and lets go of the rest.

        So the device never holds more than shares and one block, and the transformer may be larger than it.

        Args:
            dit: with all its weights, on the CPU; LoRA are put on before.
        """
        dit.requires_grad_(False)  # weights of several dtypes are gathered together where none is trained
        for block in dit.blocks:
            self._share(block, "text_kv")
        self._share(dit, "prepare_text")

    def _share(self, module: nn.Module, method: str) -> None:
        """Gathers the weights that a module has itself around its `forward`, and around a method that uses them too."""
        fully_shard(module, mesh=self.mesh, reshard_after_forward=True)
        register_fsdp_forward_method(module, method)
