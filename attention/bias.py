"""Additive biases of the logits that depend on two frames: rules, and the table that executors take.

A new rule is a callable as `BiasRule` describes.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vgen.attention.executors.base import FrameBias
from vgen.attention.order import TokenOrder
from vgen.attention.pattern import require
from vgen.shapes import TokenGrid

__all__ = ["BiasRule", "DualScopeBoost", "TemporalDecay", "frame_bias"]


class BiasRule(Protocol):
    """What is added to the logits between two frames."""

    def __call__(self, query_T: Tensor, key_S: Tensor, *, sigma: float | None) -> Tensor:
        """bias_TS, fp32.

        Args:
            query_T, key_S: absolute index of each frame.
            sigma: highest noise level of the query's frames; None where it is not known.
        """
        ...


@dataclass(frozen=True, slots=True)
class TemporalDecay:
    """The further away in time, the less: -rate |t - s|.

    FlexRoPE of FAR (Gu et al. 2025, arXiv:2503.19325), which has it over the past alone; for clips longer than those
    that a model was trained on.

    Args:
        rate: logits per latent frame; at least 0.
    """

    rate: float

    def __post_init__(self) -> None:
        require(self.rate >= 0, f"temporal decay: rate={self.rate}", "0 and more")

    def __call__(self, query_T: Tensor, key_S: Tensor, *, sigma: float | None) -> Tensor:
        return -self.rate * (query_T[:, None] - key_S).abs().float()


@dataclass(frozen=True, slots=True, kw_only=True)
class DualScopeBoost:
    """Far frames first, near ones later: Video-Infinity (Tan et al. 2024, arXiv:2406.16260), for `dual_scope`.

    Args:
        reach: near frames to each side, as the pattern has them.
        boost: logits.
        switch: noise level from which far frames are boosted; below it near ones are.
    """

    reach: int = 8
    boost: float = 10.0
    switch: float = 0.8

    def __call__(self, query_T: Tensor, key_S: Tensor, *, sigma: float | None) -> Tensor:
        assert sigma is not None, "a boost that switches at a noise level needs a caller that says its noise level"
        near_TS = (query_T[:, None] - key_S).abs() <= self.reach
        return self.boost * (near_TS != (sigma >= self.switch)).float()


def frame_bias(
    rule: BiasRule,
    query: TokenGrid,
    key: TokenGrid,
    *,
    order: TokenOrder,
    sigma: float | None,
    device: torch.device,
) -> FrameBias:
    """The table of a rule for two grids, and where each position stands in it; nothing is added for text.

    Args:
        rule: what is added.
        query, key: lattices of the tokens.
        order: of the tokens on both sides.
        sigma: handed to the rule.
        device: of the executor.
    """
    table_TS = rule(torch.tensor(query.frames), torch.tensor(key.frames), sigma=sigma)
    padded = torch.nn.functional.pad(table_TS.float(), (0, 1, 0, 1))
    query_frame_L, key_frame_M = (_frames(grid, order).to(device) for grid in (query, key))
    return FrameBias(padded.to(device), query_frame_L, key_frame_M)


def _frames(grid: TokenGrid, order: TokenOrder) -> Tensor:
    """Index in the grid of the frame at each position; one past the last for text."""
    video = order.permutation(grid) - grid.text_before
    text = (video < 0) | (video >= grid.video_tokens)
    return (video // grid.tokens_per_frame).masked_fill(text, len(grid.frames))
