"""A stand-in for CUDA graphs: what a pass dispatches is noted down, tensor by tensor, and done again as it was.

As on the device, nothing that Python decides is decided again, every result goes where it went, and a value that the
host waits for, or brings, is refused.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["Replays"]

HOST = {"aten::_local_scalar_dense", "aten::lift_fresh", "aten::item", "aten::nonzero"}


class Replays:
    """A `Capture`; `operations` counts those of the last recording."""

    operations = 0

    def __call__(self, body: Callable[[], Tensor]) -> Callable[[], Tensor]:
        with _Noted() as noted:
            out = body()
        self.operations = len(noted.done)

        def replay() -> Tensor:
            for call, args, kwargs, results in noted.done:
                again = call(*args, **kwargs)
                for old, new in zip(results, tree_leaves(again), strict=True):
                    if isinstance(old, Tensor):
                        old.copy_(new)
            return out

        return replay


class _Noted(TorchDispatchMode):
    """Operations that compute, in their order. Views are not among them: what they show changes where it stands."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.done: list[tuple[Any, Any, Any, list[Any]]] = []

    def __torch_dispatch__(self, call: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = call._schema.name
        assert name not in HOST, f"{name} is the host's work"
        found = call(*args, **kwargs)
        results = tree_leaves(found)
        given = {x.untyped_storage().data_ptr() for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        shown = [isinstance(x, Tensor) and x.untyped_storage().data_ptr() in given for x in results]
        if call._schema.is_mutable:
            self.done.append((_in_place(call), args, kwargs, []))
        elif not all(shown):
            self.done.append((call, args, kwargs, results))
        return found


def _in_place(call: Any) -> Callable[..., list[Any]]:
    def run(*args: Any, **kwargs: Any) -> list[Any]:
        call(*args, **kwargs)
        return []

    return run
