"""Noise levels of training windows."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vgen.training.levels import MIX_CAUSAL, MIX_FULL, WAYS, draw_sigmas, shifted


def drawn(way: str, count: int = 64, frames: int = 9, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([WAYS[way](frames, 3, generator) for _ in range(count)])


@pytest.mark.parametrize("mix", [MIX_FULL, MIX_CAUSAL])
def test_mixes_are_shares_of_known_ways(mix: dict[str, float]) -> None:
    assert sum(mix.values()) == pytest.approx(1.0)
    assert set(mix) <= set(WAYS)


@given(way=st.sampled_from(sorted(WAYS)), frames=st.integers(1, 12), seed=st.integers(0, 1000))
def test_every_way_leaves_something_to_learn(way: str, frames: int, seed: int) -> None:
    sigma_BT = drawn(way, 8, frames, seed)
    assert sigma_BT.shape == (8, frames)
    assert sigma_BT.min() >= 0 and sigma_BT.max() <= 1
    assert (sigma_BT > 0).any(dim=1).all()


def test_together_is_one_level_and_rising_never_falls() -> None:
    assert (drawn("together").std(dim=1) < 1e-6).all()
    assert (drawn("rising").diff(dim=1) >= 0).all()
    assert (drawn("independent").diff(dim=1) < 0).any()


@pytest.mark.parametrize(("way", "possible"), [("prefix", {0, 3, 6}), ("continued", {3, 6}), ("image", {1})])
def test_clean_frames_lead_in_whole_blocks(way: str, possible: set[int]) -> None:
    sigma_BT = drawn(way)
    clean_B = (sigma_BT == 0).sum(dim=1)
    assert set(clean_B.tolist()) == possible
    for row, clean in zip(sigma_BT, clean_B.tolist(), strict=True):
        assert (row[:clean] == 0).all()
        assert row[clean:].unique().numel() == 1


def test_a_window_from_mid_clip_has_context() -> None:
    generator = torch.Generator().manual_seed(0)
    only_start = {"together": 0.5, "image": 0.5}
    sigma_BT = draw_sigmas([True, False] * 32, frames=9, block=3, mix=only_start, shift=3.0, generator=generator)
    assert (sigma_BT[0::2] == 0).sum(dim=1).max() <= 1
    assert (sigma_BT[1::2, :3] == 0).all()


@given(sigma=st.floats(0, 1), shift=st.floats(1, 8))
def test_shift_keeps_the_ends_and_moves_towards_noise(sigma: float, shift: float) -> None:
    moved = float(shifted(torch.tensor(sigma, dtype=torch.float64), shift))
    assert sigma - 1e-12 <= moved <= 1 + 1e-12
    assert shifted(torch.tensor([0.0, 1.0]), shift).tolist() == pytest.approx([0.0, 1.0])
