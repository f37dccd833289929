"""Weights in a file while nobody needs them: where a CPU's offload puts them. A `Shelf` holds those of one module.

diffusers' own offload to disk maps its files, whose pages count beside the copies, and leaves buffers of full size in
place of what it has put away; so on a CPU, where that is the memory to be saved, it is not used.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers.hooks import ModelHook
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

__all__ = ["FROM_FILE", "FromFile", "Shelf"]

FROM_FILE = "vgen_from_file"  # name of the hook
BOUNDARY = 64  # bytes; of a CPU's vectors


class Shelf:
    """Puts tensors away and takes them back.

    What is away is NaN of the same shape, in no memory, so that who forgets to take it cannot miss it. What comes back
    stands as far from a vector's boundary as it did: a CPU's kernels sum in an order that depends on that.

    Args:
        tensors: whose data go to the file, and come back to them.
        path: of the file, which is written once.
    """

    def __init__(self, tensors: Iterable[Tensor], path: Path) -> None:
        self._tensors = {str(i): tensor for i, tensor in enumerate(dict.fromkeys(tensors))}
        self._offsets = {name: tensor.data_ptr() % BOUNDARY for name, tensor in self._tensors.items()}
        self._path, self._away = path, False

    def put(self) -> None:
        """Frees the memory."""
        if self._away:
            return
        if not self._path.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            save_file({name: tensor.data.contiguous() for name, tensor in self._tensors.items()}, self._path)
        for tensor in self._tensors.values():
            nothing = torch.tensor(torch.nan if tensor.is_floating_point() else 0).to(tensor.dtype)
            tensor.data = nothing.expand(tensor.shape)
        self._away = True

    def take(self) -> None:
        """Reads them back, one by one: a file that is open as a whole would count as memory."""
        if not self._away:
            return
        for name, tensor in self._tensors.items():
            with safe_open(self._path, framework="pt") as file:
                tensor.data = _at(file.get_tensor(name), self._offsets[name])
        self._away = False


class FromFile(ModelHook):
    """Has a module's weights at hand while it runs.

    Args:
        shelf: where they are otherwise.
    """

    def __init__(self, shelf: Shelf) -> None:
        super().__init__()
        self.shelf = shelf

    def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """As diffusers' `ModelHook`."""
        self.shelf.take()
        return args, kwargs

    def post_forward(self, module: nn.Module, output: Any) -> Any:
        """As diffusers' `ModelHook`."""
        self.shelf.put()
        return output


def _at(source: Tensor, offset: int) -> Tensor:
    """A copy that stands so many bytes behind a boundary."""
    room = torch.empty(source.nbytes + 2 * BOUNDARY, dtype=torch.uint8)
    start = (offset - room.data_ptr()) % BOUNDARY
    return room[start : start + source.nbytes].view(source.dtype).view(source.shape).copy_(source)
