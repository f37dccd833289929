"""What a causal rollout remembers: keys and values of clean frames, per layer, in a ring of slots.

Keys are held un-rotated, so that a frame's position is a choice of each reader; or `turned`, for positions that never
change, which spares every pass the rotation of all that it remembers. A frame is written once, when it is clean, and
never moved: dropping it only frees its slot. Slots stand in no particular order; attention does not care, because every
key carries its position.
"""

from collections.abc import Container, Sequence
from functools import cache
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor

__all__ = ["KVCache"]

FREE = torch.iinfo(torch.int64).min  # no frame; frames in front of a clip have negative indices


class _Ring:
    """One layer's slots, and the caches that hold it; S is the number of slots, P tokens per frame."""

    def __init__(self, k_BSPNK: Tensor, v_BSPNK: Tensor, owner: "KVCache") -> None:
        self.k_BSPNK, self.v_BSPNK = k_BSPNK, v_BSPNK
        self.owners = WeakSet((owner,))


class KVCache:
    """Keys and values of at most `capacity` latent frames for each of `layers` layers.

    Filled by `VideoDiT.forward(..., context=cache, commit=True)`. Memory is allocated at the first write and does not
    grow: 2 * layers * capacity * tokens_per_frame * width values per item of the batch. Forks share it until one of
    them writes, which then goes on with a copy of the layer that it writes to.

    Args:
        layers: of the model.
        capacity: latent frames.
        turned: hold keys with their rotary embedding applied: no reader may place a frame elsewhere.
    """

    def __init__(self, *, layers: int, capacity: int, turned: bool = False) -> None:
        assert layers >= 1 and capacity >= 1, f"a cache needs layers and room, got {layers} and {capacity}"
        self.capacity, self.turned = capacity, turned
        self._rings: list[_Ring | None] = [None] * layers
        self._frame_of_slot = [FREE] * capacity
        self._held: list[int] = []  # slots with a frame, rising

    @property
    def frames(self) -> tuple[int, ...]:
        """Absolute indices of the frames held, in the order in which `read` returns them."""
        return tuple(frame for frame in self._frame_of_slot if frame != FREE)

    def read(self, layer: int) -> tuple[Tensor, Tensor] | None:
        """Keys and values of one layer, each [B, len(frames) * P, N, K]; None while empty."""
        ring, slots = self._rings[layer], self._held
        if ring is None or not slots:
            return None
        if self._in_a_row:  # the usual case needs no copy
            k_BSPNK, v_BSPNK = ring.k_BSPNK[:, : len(slots)], ring.v_BSPNK[:, : len(slots)]
        else:
            at = _index(tuple(slots), ring.k_BSPNK.device)
            k_BSPNK, v_BSPNK = ring.k_BSPNK[:, at], ring.v_BSPNK[:, at]
        return k_BSPNK.flatten(1, 2), v_BSPNK.flatten(1, 2)

    def join(self, layer: int, k_BMNK: Tensor, v_BMNK: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        """What `read` returns, followed by keys and values of a pass's own `frames`.

        Where the free slots behind those held have room, the own ones are put there and nothing held is copied; they
        are invisible to `read`, and the next pass or `write` may go over them.
        """
        held = len(self._held)
        room = self._in_a_row and held + frames <= self.capacity
        if room and not (k_BMNK.requires_grad or v_BMNK.requires_grad):
            self.write(layer, range(held, held + frames), k_BMNK, v_BMNK)
            ring = self._rings[layer]
            assert ring is not None, "written just now"
            joined = slice(held + frames)
            return ring.k_BSPNK[:, joined].flatten(1, 2), ring.v_BSPNK[:, joined].flatten(1, 2)
        past = self.read(layer)
        if past is None:
            return k_BMNK, v_BMNK
        return torch.cat((past[0], k_BMNK), dim=1), torch.cat((past[1], v_BMNK), dim=1)

    def reserve(self, frames: Sequence[int]) -> list[int]:
        """Free slots for frames that are about to be written; they stay invisible until `publish`."""
        assert not set(frames) & set(self.frames), f"frames are written once, got {list(frames)} again"
        free = [slot for slot, frame in enumerate(self._frame_of_slot) if frame == FREE]
        assert len(free) >= len(frames), f"{len(frames)} frames need slots, {len(free)} of {self.capacity} are free"
        return free[: len(frames)]

    def write(self, layer: int, slots: Sequence[int], k_BMNK: Tensor, v_BMNK: Tensor) -> None:
        """Copies keys (turned or not, as the cache holds them) and values of whole frames, in the order of `slots`."""
        per_frame = k_BMNK.shape[1] // len(slots)
        ring = self._writable(layer, k_BMNK, per_frame)
        first, last = slots[0], slots[-1]
        row = list(slots) == list(range(first, last + 1))
        # a slice is copied several times faster
        at = slice(first, last + 1) if row else _index(tuple(slots), k_BMNK.device)
        ring.k_BSPNK[:, at] = k_BMNK.unflatten(1, (len(slots), per_frame))
        ring.v_BSPNK[:, at] = v_BMNK.unflatten(1, (len(slots), per_frame))

    def publish(self, frames: Sequence[int], slots: Sequence[int]) -> None:
        """Makes written frames visible, once every layer has them."""
        taken = dict(zip(slots, frames, strict=True))
        self._hold([taken.get(slot, frame) for slot, frame in enumerate(self._frame_of_slot)])

    def drop(self, frames: Container[int]) -> None:
        """Forgets frames; those not held are none of its business."""
        self._hold([FREE if frame in frames else frame for frame in self._frame_of_slot])

    def fork(self) -> "KVCache":
        """An independent copy, which takes no memory before one of the two writes."""
        twin = KVCache(layers=len(self._rings), capacity=self.capacity, turned=self.turned)
        twin._hold(self._frame_of_slot)
        twin._rings = list(self._rings)
        for ring in self._rings:
            if ring is not None:
                ring.owners.add(twin)
        return twin

    def layout(self) -> tuple[tuple[Any, ...], tuple[object, ...]] | None:
        """What a recorded pass fixes of it, and the memory which that names; None where a pass would allocate some."""
        rings = [ring for ring in self._rings if ring is not None and len(ring.owners) == 1]
        if len(rings) < len(self._rings):
            return None
        return (self.turned, tuple(self._held), *map(id, rings)), tuple(rings)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything as tensors, ready for safetensors; the tensors are shared, not copied."""
        state = {"frame_of_slot": torch.tensor(self._frame_of_slot)}
        for layer, ring in enumerate(self._rings):
            if ring is not None:
                state[f"{layer}.k"], state[f"{layer}.v"] = ring.k_BSPNK, ring.v_BSPNK
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """The inverse of `state_dict`; copies, and asserts that the capacity agrees."""
        slots = [int(frame) for frame in state["frame_of_slot"]]
        assert len(slots) == self.capacity, f"the state has {len(slots)} slots, this cache {self.capacity}"
        self._hold(slots)
        for layer in range(len(self._rings)):
            held = f"{layer}.k" in state
            self._rings[layer] = _Ring(state[f"{layer}.k"].clone(), state[f"{layer}.v"].clone(), self) if held else None

    @property
    def _in_a_row(self) -> bool:
        """Whether the first slots are those held."""
        return not self._held or self._held[-1] == len(self._held) - 1

    def _hold(self, frame_of_slot: list[int]) -> None:
        self._frame_of_slot = frame_of_slot
        self._held = [slot for slot, frame in enumerate(frame_of_slot) if frame != FREE]

    def _writable(self, layer: int, like_BMNK: Tensor, per_frame: int) -> _Ring:
        """The ring of a layer, allocated or copied so that no other cache sees what is written."""
        ring = self._rings[layer]
        if ring is None:
            shape = (like_BMNK.shape[0], self.capacity, per_frame, *like_BMNK.shape[2:])
            ring = _Ring(like_BMNK.new_zeros(shape), like_BMNK.new_zeros(shape), self)
        elif len(ring.owners) > 1:
            own = _Ring(ring.k_BSPNK.clone(), ring.v_BSPNK.clone(), self)
            ring.owners.discard(self)  # once there is memory for a copy: a write that is tried again must not go there
            ring = own
        self._rings[layer] = ring
        return ring


@cache
def _index(slots: tuple[int, ...], device: torch.device) -> Tensor:
    """Slots as a tensor that is there already when a pass is recorded; a ring has few sets of them."""
    return torch.tensor(slots, device=device)
