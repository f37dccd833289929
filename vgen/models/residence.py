"""Which weights of a model are on the device, and where the others rest: a `Residence`.

One for each loaded model. Who is about to run a component asks for it with `use`; what the placement does not keep on
the device beside it goes away first. Weights rest in the host's memory, or where the device is a CPU in files of a
temporary folder (shelf.py). Streaming to a GPU is diffusers' group offloading, casting between layers is its layerwise
casting; what is here is only when.
"""

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.hooks import HookRegistry, apply_group_offloading
from torch import Tensor, nn

from vgen.errors import ConfigError, ResourceError
from vgen.heap import give_back
from vgen.models.quantization import stored_bytes
from vgen.models.shelf import FROM_FILE, FromFile, Shelf
from vgen.placement import ENCODERS, TRANSFORMERS, Placement

__all__ = ["Residence", "at_hand", "release_cached"]

MIB = 1 << 20
GROUP = "group_offloading"  # diffusers' name of its hook
ON, REST, STREAMED, DROPPED = "on the device", "at rest", "streamed", "dropped"


class Residence:
    """Moves the weights of one model.

    Args:
        device: where components run.
        placement: in force from the start.
        read: reads a component's weights anew, by its name.
        shared: whether transformers hold a share of their weights alone, and other processes the rest.
    """

    def __init__(
        self, device: torch.device, placement: Placement, read: Callable[[str], nn.Module], *, shared: bool = False
    ) -> None:
        self.device, self.placement, self.shared, self._read = device, placement, shared, read
        self.parts_mib: dict[str, float] = {}
        self._modules: dict[str, nn.Module] = {}
        self._at: dict[str, str] = {}
        self._shelves: dict[str, list[Shelf]] = {}  # the first holds a component as a whole, unless it is streamed
        self._folder: str | None = None

    @property
    def held_mib(self) -> float:
        """Weights of components that are on the device as a whole."""
        return sum(self.parts_mib[part] for part, at in self._at.items() if at == ON)

    def where(self, part: str) -> str:
        """Where a component's weights are."""
        return self._at[part]

    def admit(self, part: str, module: nn.Module) -> None:
        """Takes a component in as it is read, so that weights never all stand where the placement forbids it."""
        self._modules[part] = module
        self.parts_mib[part] = sum(map(stored_bytes, module.parameters())) / MIB
        self._at[part] = ON if self.device.type == "cpu" else REST
        if part == "vae":
            self._tile()
        if self.placement.offload == "group" and part in TRANSFORMERS:
            self._stream(part)
        elif self.placement.offload != "none" or self._encoders_alone:
            self._put_away(part)
        else:
            self._bring(part)

    def settle(self, placement: Placement) -> None:
        """Puts another placement in force; what it offloads leaves the device at once, encoders once `encoded`."""
        if placement == self.placement:
            return
        assert placement.storage == self.placement.storage, "weights are cast as they are loaded"
        self.placement = placement
        if placement.offload != "group":
            for part in self._all(STREAMED):
                self._gather(part)
        if placement.offload != "none":
            self.rest()
        self._tile()

    def use(self, part: str) -> None:
        """Brings a component's weights to the device, or what is streamed to where it can be called."""
        if self._at[part] in (ON, STREAMED):
            return
        if self.placement.offload != "none" or (part in ENCODERS and self._encoders_alone):
            self.rest()
        if self._at[part] == DROPPED:
            self._revive(part)
        if self.placement.offload == "group" and part in TRANSFORMERS:
            self._stream(part)
        else:
            self._bring(part)

    def weights_change(self) -> None:
        """Before weights are changed in place: copies of them that rest in files are given up.

        Raises:
            ConfigError: some are not on the device, where a change would not reach them.
        """
        if self.shared:
            raise ConfigError(
                "LoRA are put on before several processes share the weights (parallel.fsdp), and stay as they are; "
                "load the pipeline with them, or without parallel.fsdp"
            )
        away = [part for part in TRANSFORMERS if self._at.get(part, ON) != ON]
        if away:
            raise ConfigError(
                f"LoRA are put on and taken off where the transformer is on the device; this one is not, with "
                f"{self.placement}; load the pipeline with them, or without offload"
            )
        for part in TRANSFORMERS:
            self._clear(part)

    def encoded(self) -> None:
        """Prompts and images are encoded: frees their encoders where the placement says so."""
        if not self.placement.keep_text_encoder:
            self._drop_encoders()
            release_cached()

    def rest(self) -> None:
        """Takes everything off the device that can be brought back."""
        for part in self._all(ON):
            self._put_away(part)
        release_cached()

    @property
    def _encoders_alone(self) -> bool:
        """Whether the others wait off the device until the encoders are freed; on a CPU that would be files."""
        return not self.placement.keep_text_encoder and self.device.type != "cpu"

    def _all(self, at: str) -> list[str]:
        return [part for part, is_at in self._at.items() if is_at == at]

    def _bring(self, part: str) -> None:
        for shelf in self._shelves.get(part, ()):
            shelf.take()
        self._modules[part].to(self.device)
        self._at[part] = ON

    def _put_away(self, part: str) -> None:
        if self.device.type != "cpu":
            self._modules[part].to("cpu")
        else:
            if part not in self._shelves:
                self._shelves[part] = [Shelf(_tensors(self._modules[part]), self._room(part) / "whole.safetensors")]
            self._shelves[part][0].put()
        self._at[part] = REST

    def _room(self, part: str) -> Path:
        """The folder of a component's files, with room for them."""
        if self._folder is None:
            self._folder = tempfile.mkdtemp(prefix="vgen-weights-")
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        free = shutil.disk_usage(self._folder).free / MIB
        if self.parts_mib[part] > free:
            raise ResourceError(
                f"offload on a CPU keeps weights in files: {part} takes {self.parts_mib[part]:,.0f} MiB, "
                f"{tempfile.gettempdir()} has {free:,.0f} MiB free; set TMPDIR to a folder on a larger disk"
            )
        return Path(self._folder, part)

    def _clear(self, part: str) -> None:
        """Removes a component's files, whose weights are in memory."""
        self._shelves.pop(part, None)
        if self._folder is not None:
            shutil.rmtree(f"{self._folder}/{part}", ignore_errors=True)  # there may be none

    def _stream(self, part: str) -> None:
        """Block by block from now on. Without a stream of its own for the copies: calls of a block out of the order
        of a pass, as for the text's keys, would find weights that are still under way."""
        module = self._modules[part]
        if self.device.type == "cpu":
            self._bring(part)
            self._clear(part)
            self._shelves[part] = _streamed_from_files(module, self._room(part))
        else:
            apply_group_offloading(
                module,
                onload_device=self.device,
                offload_device=torch.device("cpu"),
                offload_type="block_level",
                num_blocks_per_group=1,
            )
        self._at[part] = STREAMED

    def _gather(self, part: str) -> None:
        """Ends streaming."""
        module = self._modules[part]
        registry = HookRegistry.check_if_exists_or_initialize(module)
        if self.device.type == "cpu":
            self._bring(part)
            self._clear(part)
            registry.remove_hook(FROM_FILE, recurse=True)
        else:
            registry.remove_hook(GROUP, recurse=True)
            self._put_away(part)  # a block that ran out of memory halfway is still on the device

    def _drop_encoders(self) -> None:
        for part in ENCODERS:
            if self._at.get(part, DROPPED) != DROPPED:
                self._modules[part].to("meta")
                self._clear(part)
                self._at[part] = DROPPED

    def _revive(self, part: str) -> None:
        """Reads dropped weights into the module that others hold."""
        for mine, fresh in zip(self._modules[part].modules(), self._read(part).modules(), strict=True):
            mine._parameters.update(fresh._parameters)
            mine._buffers.update(fresh._buffers)

    def _tile(self) -> None:
        vae: Any = self._modules.get("vae")
        if vae is not None:
            (vae.enable_tiling if self.placement.vae_tiling else vae.disable_tiling)()


def release_cached() -> None:
    """Gives memory back that is held for later, by torch or the C library; so that what is free can be asked for."""
    give_back()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _streamed_from_files(module: nn.Module, folder: Path) -> list[Shelf]:
    """A shelf for each block and one for what belongs to none, taken from while they run."""
    blocks = list(module.get_submodule("blocks").children())
    inside = {id(tensor) for block in blocks for tensor in _tensors(block)}
    parts = {module: [tensor for tensor in _tensors(module) if id(tensor) not in inside]}
    parts |= {block: _tensors(block) for block in blocks}
    shelves = []
    for number, (owner, tensors) in enumerate(parts.items()):
        shelf = Shelf(tensors, folder / f"{number}.safetensors")
        shelf.put()
        HookRegistry.check_if_exists_or_initialize(owner).register_hook(FromFile(shelf), FROM_FILE)
        shelves.append(shelf)
    return shelves


@contextmanager
def at_hand(module: nn.Module) -> Iterator[None]:
    """Within, weights of a streamed module are there to be used; its hooks only know calls of `forward`."""
    registry = getattr(module, "_diffusers_hook", None)
    group = None if registry is None else registry.get_hook(GROUP)
    from_file = None if registry is None else registry.get_hook(FROM_FILE)
    if group is not None:
        group.group.onload_()
    if from_file is not None:
        from_file.shelf.take()
    try:
        yield
    finally:
        if group is not None:
            group.group.offload_()
        if from_file is not None:
            from_file.shelf.put()
