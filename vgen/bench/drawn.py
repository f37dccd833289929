"""Models with random weights, drawn where they run: for benches of shapes whose weights are not at hand.

Nothing of them stands in the host's memory, so that a model of 14 billion weights is there in seconds.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from vgen.models.files import cast_weights

__all__ = ["PEAK", "PEAK_FLOPS", "drawn"]

PEAK_FLOPS = 790e12
PEAK = "790 TFLOP/s, what large bf16 matrix products were measured to reach on an H200"


def drawn(build: Callable[[], nn.Module], device: torch.device, dtype: torch.dtype, *, seed: int = 0) -> Any:
    """A model in the dtypes that it would be loaded in, with weights that keep what it computes finite and alive.

    Matrices are normal and keep the size of what they are given, norms are ones, what is added is zero.

    Args:
        build: makes the module; called on the meta device.
        device: where its weights are drawn.
        dtype: of the weights, but for those that its class keeps in fp32.
        seed: of the weights.
    """
    with torch.device("meta"):
        model = build()
    assert not [*model.buffers()], f"what {type(model).__name__} keeps in buffers is no weight, and would be lost"
    model = cast_weights(model, dtype).to_empty(device=device).eval()
    if isinstance(model, PreTrainedModel):
        model.tie_weights()  # what is one tensor under two names became two
    generator = torch.Generator(device).manual_seed(seed)
    for name, weights in model.named_parameters():
        _draw(name, weights.data, generator)
    return model


def _draw(name: str, weights: Tensor, generator: torch.Generator) -> None:
    kind = name.rpartition(".")[2]
    if kind == "scale_shift_table":
        weights.normal_(std=weights.shape[-1] ** -0.5, generator=generator)
    elif kind == "gamma" or (kind == "weight" and weights.ndim == 1):  # of norms; Wan's VAE calls it gamma
        weights.fill_(1.0)
    elif weights.ndim > 1:
        weights.normal_(std=weights[0].numel() ** -0.5, generator=generator)
    else:
        weights.zero_()
