"""Rotary positions: frequencies as published, RIFLEx where it applies and nowhere else (research number P31)."""

import math
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.models.tiny import latents, tiny_dit, words
from vgen.errors import ConfigError
from vgen.models.rope import Riflex, Rope, apply_rotation, intrinsic_frequency, rotation

WAN = 128  # head width


def angles(position: int, riflex: Riflex | None = None, head_width: int = WAN) -> torch.Tensor:
    """Of one token, one per pair of channels; for positions below half a turn of the fastest."""
    by = rotation(torch.tensor([position]), 1, 1, head_width, riflex)
    return torch.atan2(by.sin_LNP, by.cos_LNP).flatten()


def published_k(theta: float, width: int, repeat: int) -> tuple[int, int]:
    """`identify_k` of RIFLEx's repository, said anew: 1-based, over periods rounded to frames."""
    periods = [round(2 * math.pi * theta ** (2 * j / width)) for j in range(width // 2)]
    k = min(range(len(periods)), key=lambda j: (abs(periods[j] - repeat), j))
    return k + 1, periods[k]


def test_the_formula_gives_the_published_frequencies() -> None:
    """HunyuanVideo k = 4 with N_k = 50 (16 temporal channels, theta 256), CogVideoX k = 2 with 20 (16, 10000)."""
    assert published_k(256.0, 16, 50) == (4, 50)
    assert published_k(10000.0, 16, 20) == (2, 20)


@given(st.integers(1, 2000), st.sampled_from([24, 48, 64, 128]))
def test_ours_is_that_formula(repeat: int, head_width: int) -> None:
    width = head_width - 4 * (head_width // 6)
    assert intrinsic_frequency(repeat, head_width) == published_k(10000.0, width, repeat)


def test_wan_has_the_frequency_in_use_for_repetitions_at_43_to_64() -> None:
    assert {intrinsic_frequency(n, WAN) for n in range(43, 65)} == {(6, 51)}
    assert intrinsic_frequency(42, WAN) != (6, 51) != intrinsic_frequency(65, WAN)


@pytest.mark.parametrize(("length", "changed"), [(1, False), (51, False), (52, True), (200, True)])
def test_p31_one_frequency_falls_only_where_the_clip_is_longer_than_its_period(length: int, changed: bool) -> None:
    plain, riflex = angles(1), angles(1, Riflex(k=6, length=length))
    differs = (plain != riflex).nonzero().flatten().tolist()
    assert differs == ([5] if changed else [])
    if changed:
        assert float(riflex[5]) == pytest.approx(0.9 * 2 * math.pi / length, rel=1e-5)
        assert float(riflex[5]) * length < 2 * math.pi


def test_a_frequency_that_the_model_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="k=23, possible for this model: 1 to 22"):
        angles(1, Riflex(k=23, length=100))


@torch.no_grad()
def test_p31_in_the_model() -> None:
    dit, x, sigma, text = tiny_dit(), latents(9), torch.full((1, 1), 0.5), words()
    k, period = intrinsic_frequency(6, dit.config.attention_head_dim)
    assert (k, period) == (1, 6)
    plain = dit(x, sigma, text)
    assert torch.equal(dit(x, sigma, text, rope=Rope(riflex=Riflex(k=k, length=6))), plain)
    assert (dit(x, sigma, text, rope=Rope(riflex=Riflex(k=k, length=9))) - plain).abs().max() > 1e-3


def test_a_scheme_sees_all_frames_rising_and_once() -> None:
    asked = []

    def note(visible: tuple[int, ...]) -> tuple[int, ...]:
        asked.append(visible)
        return tuple(range(10, 10 + len(visible)))

    assert Rope(positions=note).places((7, 0, -2, 8, 7)) == {-2: 10, 0: 11, 7: 12, 8: 13}
    assert asked == [(-2, 0, 7, 8)]
    assert Rope().places((7, 0, -2)) == {-2: -2, 0: 0, 7: 7}
    with pytest.raises(ValueError, match="zip"):
        Rope(positions=lambda visible: visible[1:]).places((0, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_compiled_rotation_is_the_same(dtype: torch.dtype) -> None:
    by = rotation(torch.arange(3), 2, 4, 16)
    x_BLNK = torch.randn(2, 24, 3, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    with patch("torch.compiler.is_compiling", return_value=True):
        written_out = apply_rotation(x_BLNK, by)
    assert torch.equal(apply_rotation(x_BLNK, by), written_out)
