"""Which weights of a model are on the device, and where the others rest: a `Residence`.

One for each loaded model. Who is about to run a component asks for it with `use`; what the placement does not keep on
the device beside it goes away first. Weights rest in the host's memory, or where the device is a CPU in files of a
temporary folder. Streaming block by block and the files are diffusers' group offloading, casting between layers is
its layerwise casting; what is here is only when.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.hooks import HookRegistry, apply_group_offloading
from diffusers.hooks.group_offloading import ModuleGroup
from torch import nn

from vgen.errors import ResourceError
from vgen.placement import ENCODERS, TRANSFORMERS, Placement

__all__ = ["Residence", "at_hand", "release_cached"]

MIB = 1 << 20
HOOK = "group_offloading"  # diffusers' name of it
ON, REST, STREAMED, DROPPED = "on the device", "at rest", "streamed", "dropped"


class Residence:
    """Moves the weights of one model.

    Args:
        device: where components run.
        placement: in force from the start.
        read: reads a component's weights anew, by its name.
    """

    def __init__(self, device: torch.device, placement: Placement, read: Callable[[str], nn.Module]) -> None:
        self.device, self.placement, self._read = device, placement, read
        self.parts_mib: dict[str, float] = {}
        self._modules: dict[str, nn.Module] = {}
        self._at: dict[str, str] = {}
        self._files: dict[str, ModuleGroup] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None

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
        self.parts_mib[part] = sum(p.numel() * p.element_size() for p in module.parameters()) / MIB
        self._at[part] = ON if self.device.type == "cpu" else REST
        if part == "vae":
            self._tile()
        late = self.device.type != "cpu" and not self.placement.keep_text_encoder  # after the encoder has gone
        if self.placement.offload == "group" and part in TRANSFORMERS:
            self._stream(part)
        elif self.placement.offload != "none" or late:
            self._put_away(part)
        else:
            self._bring(part)

    def settle(self, placement: Placement) -> None:
        """Puts another placement in force; what it does not keep on the device leaves it at once."""
        if placement == self.placement:
            return
        assert placement.storage == self.placement.storage, "weights are cast as they are loaded"
        self.placement = placement
        if placement.offload != "group":
            for part in self._all(STREAMED):
                self._gather(part)
        if placement.offload != "none":
            self.rest()
        if not placement.keep_text_encoder:
            self._drop_encoders()
        self._tile()

    def use(self, part: str) -> None:
        """Brings a component's weights to the device, or what is streamed to where it can be called."""
        if self._at[part] in (ON, STREAMED):
            return
        if self.placement.offload != "none":
            self.rest()
        if self._at[part] == DROPPED:
            self._revive(part)
        if self.placement.offload == "group" and part in TRANSFORMERS:
            self._stream(part)
        else:
            self._bring(part)

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

    def _all(self, at: str) -> list[str]:
        return [part for part, is_at in self._at.items() if is_at == at]

    def _bring(self, part: str) -> None:
        if part in self._files:
            self._files[part].onload_()
        else:
            self._modules[part].to(self.device)
        self._at[part] = ON

    def _put_away(self, part: str) -> None:
        if self.device.type != "cpu":
            self._modules[part].to("cpu")
        else:
            if part not in self._files:
                self._files[part] = self._file(part)
            self._files[part].offload_()
        self._at[part] = REST

    def _file(self, part: str) -> ModuleGroup:
        module = self._modules[part]
        return ModuleGroup(
            modules=[module],
            offload_device=self.device,
            onload_device=self.device,
            offload_leader=module,
            onload_leader=module,
            offload_to_disk_path=self._room(part),
            group_id=part,
        )

    def _room(self, part: str) -> str:
        """The folder of a component's files, with room for them."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="vgen-weights-")
        free = shutil.disk_usage(self._folder.name).free / MIB
        if self.parts_mib[part] > free:
            raise ResourceError(
                f"offload on a CPU keeps weights in files: {part} takes {self.parts_mib[part]:,.0f} MiB, "
                f"{tempfile.gettempdir()} has {free:,.0f} MiB free; set TMPDIR to a folder on a larger disk"
            )
        return f"{self._folder.name}/{part}"

    def _clear(self, part: str) -> None:
        """Removes a component's files, whose weights are in memory."""
        self._files.pop(part, None)
        if self._folder is not None:
            shutil.rmtree(f"{self._folder.name}/{part}", ignore_errors=True)  # there may be none

    def _stream(self, part: str) -> None:
        """Block by block from now on. Without a stream of its own for the copies: calls of a block out of the order
        of a pass, as for the text's keys, would find weights that are still under way."""
        on_cpu = self.device.type == "cpu"
        if part in self._files:
            self._files[part].onload_()
            self._clear(part)
        apply_group_offloading(
            self._modules[part],
            onload_device=self.device,
            offload_device=torch.device("cpu"),
            offload_type="block_level",
            num_blocks_per_group=1,
            offload_to_disk_path=self._room(part) if on_cpu else None,
        )
        self._at[part] = STREAMED

    def _gather(self, part: str) -> None:
        """Ends streaming."""
        module = self._modules[part]
        if self.device.type == "cpu":
            for hook in map(_group_hook, module.modules()):
                if hook is not None:
                    hook.group.onload_()
        HookRegistry.check_if_exists_or_initialize(module).remove_hook(HOOK, recurse=True)
        self._clear(part)
        if self.device.type != "cpu":
            module.to("cpu")  # a block that ran out of memory halfway is still on the device
        self._at[part] = ON if self.device.type == "cpu" else REST

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
    """Gives memory back that torch holds for later; so that what is free can be asked for."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _group_hook(module: nn.Module) -> Any:
    registry = getattr(module, "_diffusers_hook", None)
    return None if registry is None else registry.get_hook(HOOK)


@contextmanager
def at_hand(module: nn.Module) -> Iterator[None]:
    """Within, weights of a streamed module are on the device; its hook only knows calls of `forward`."""
    hook = _group_hook(module)
    if hook is None:
        yield
        return
    hook.group.onload_()
    try:
        yield
    finally:
        hook.group.offload_()
