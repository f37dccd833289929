"""Fused windows: weights that add up, nothing beyond a window, all frames covered."""

from dataclasses import dataclass, field, replace
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.attention.oracle import draw_qkv
from vgen.attention import Dense
from vgen.attention.fusion import WindowFusion
from vgen.errors import ConfigError
from vgen.shapes import TokenGrid

GRID = TokenGrid(frames=tuple(range(7)), height=2, width=3)


@dataclass
class Noting:
    """Dense attention that notes what it is asked."""

    asked: list[tuple[TokenGrid, TokenGrid, int, float | None]] = field(default_factory=list)

    def __call__(
        self,
        q_BLNK: Tensor,
        k_BMNK: Tensor,
        v_BMNK: Tensor,
        *,
        query: TokenGrid,
        key: TokenGrid,
        layer: int,
        sigma: float | None = None,
    ) -> Tensor:
        assert (q_BLNK.shape[1], k_BMNK.shape[1]) == (query.tokens, key.tokens)
        self.asked.append((query, key, layer, sigma))
        return Dense()(q_BLNK, k_BMNK, v_BMNK, query=query, key=key, layer=layer)


def run(fusion: WindowFusion, query: TokenGrid, key: TokenGrid, qkv: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    return fusion(*qkv, query=query, key=key, layer=3, sigma=0.5)


@given(st.integers(1, 7), st.integers(1, 7), st.sets(st.integers(0, 6), min_size=1))
def test_some_frames_are_fused_as_they_are_among_all(window: int, stride: int, some: set[int]) -> None:
    """From the keys of their windows alone, in any order."""
    fusion = WindowFusion(inner=Dense(), window=max(window, stride), stride=min(window, stride))
    q, k, v = draw_qkv(GRID, GRID)
    whole = run(fusion, GRID, GRID, (q, k, v)).unflatten(1, (7, -1))
    asking = sorted(some)
    beside = [range(s, s + fusion.window) for s in fusion.starts(7)] if fusion.window < 7 else [range(7)]
    seen = sorted({t for part in beside if some & {*part} for t in part}, reverse=True)
    query, key = replace(GRID, frames=tuple(asking)), replace(GRID, frames=tuple(seen))
    part = tuple(x.unflatten(1, (7, -1))[:, at].flatten(1, 2) for x, at in ((q, asking), (k, seen), (v, seen)))
    out = run(replace(fusion, frames=7), query, key, part)
    torch.testing.assert_close(out.unflatten(1, (len(asking), -1)), whole[:, asking])


@pytest.mark.parametrize("window", [7, 8, 100])
def test_one_window_is_the_inner_attention(window: int) -> None:
    qkv = draw_qkv(GRID, GRID)
    out = run(WindowFusion(inner=Dense(), window=window, stride=2), GRID, GRID, qkv)
    assert out.equal(Dense()(*qkv, query=GRID, key=GRID, layer=3))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 30), st.sampled_from(["triangle", "flat"]))
def test_shares_add_up_and_windows_cover_all(
    window: int, stride: int, more: int, weights: Literal["triangle", "flat"]
) -> None:
    fusion = WindowFusion(inner=Dense(), window=window, stride=min(stride, window), weights=weights)
    frames = window + more
    starts, shares = fusion.starts(frames), fusion.shares(frames)
    torch.testing.assert_close(shares.sum(0), torch.ones(frames))
    assert starts == sorted(set(starts)) and starts[0] == 0 and starts[-1] == frames - window
    assert ((shares > 0).sum(1) == window).all()


def test_triangle_weights_are_freenoises() -> None:
    """Windows of 4 by 2: weights 1, 2, 2, 1, over their sum in each frame."""
    shares = WindowFusion(inner=Dense(), window=4, stride=2).shares(6)
    assert (shares * 3).tolist() == [[3, 3, 2, 1, 0, 0], [0, 0, 1, 2, 3, 3]]
    odd = WindowFusion(inner=Dense(), window=5, stride=5).shares(10)
    assert odd.tolist() == [[1] * 5 + [0] * 5, [0] * 5 + [1] * 5]


def test_a_frame_is_the_weighted_mean_of_its_windows() -> None:
    qkv = draw_qkv(GRID, GRID)
    out = run(WindowFusion(inner=Dense(), window=3, stride=2, weights="flat"), GRID, GRID, qkv)
    alone = []
    for start in (0, 2, 4):
        window = replace(GRID, frames=GRID.frames[start : start + 3])
        tokens = slice(start * 6, start * 6 + 18)
        alone.append(Dense()(*(x[:, tokens] for x in qkv), query=window, key=window, layer=0))
    torch.testing.assert_close(out[:, 0:12], alone[0][:, :12])
    torch.testing.assert_close(out[:, 12:18], (alone[0][:, 12:] + alone[1][:, :6]) / 2)
    torch.testing.assert_close(out[:, 18:24], alone[1][:, 6:12])


@pytest.mark.parametrize("text", [(0, 0), (3, 0), (2, 5)])
def test_constant_values_stay(text: tuple[int, int]) -> None:
    grid = replace(GRID, text_before=text[0], text_after=text[1])
    q, k, _ = draw_qkv(grid, grid)
    out = run(WindowFusion(inner=Dense(), window=3, stride=2), grid, grid, (q, k, torch.full_like(k, 1.5)))
    torch.testing.assert_close(out, torch.full_like(out, 1.5))


def test_windows_see_text_and_context_and_their_own_frames() -> None:
    query = TokenGrid(frames=(8, 9, 10), height=2, width=3, text_after=4)
    key = replace(query, frames=(0, 7, 8, 9, 10))
    inner = Noting()
    run(WindowFusion(inner=inner, window=2, stride=1), query, key, draw_qkv(query, key))
    assert [(q.frames, k.frames) for q, k, _, _ in inner.asked] == [
        ((8, 9), (0, 7, 8, 9)),
        ((9, 10), (0, 7, 9, 10)),
    ]
    assert {(q.text_after, k.text_after, layer, sigma) for q, k, layer, sigma in inner.asked} == {(4, 4, 3, 0.5)}


def test_frames_beyond_every_shared_window_do_not_matter() -> None:
    q, k, v = draw_qkv(GRID, GRID)
    fusion = WindowFusion(inner=Dense(), window=3, stride=2)
    before = run(fusion, GRID, GRID, (q, k, v))
    k, v = k.clone(), v.clone()
    k[:, 30:], v[:, 30:] = 0, 100
    after = run(fusion, GRID, GRID, (q, k, v))
    assert after[:, :24].equal(before[:, :24])
    assert not after[:, 24:].equal(before[:, 24:])


def test_gradients_flow() -> None:
    q, k, v = (x.double().requires_grad_() for x in draw_qkv(GRID, GRID, heads=1, width=4))
    fusion = WindowFusion(inner=Dense(), window=3, stride=2)
    run(fusion, GRID, GRID, (q, k, v)).sum().backward()
    assert all(x.grad is not None and x.grad.isfinite().all() for x in (q, k, v))


def test_half_precision_is_kept() -> None:
    out = run(WindowFusion(inner=Dense(), window=3, stride=2), GRID, GRID, draw_qkv(GRID, GRID, dtype=torch.bfloat16))
    assert out.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"window": 0, "stride": 1}, "window=0 .* 1 frame and more"),
        ({"window": 4, "stride": 0}, "stride=0 .* 1 to 4"),
        ({"window": 4, "stride": 5}, "stride=5 .* 1 to 4"),
        ({"window": 4, "stride": 2, "weights": "round"}, "weights='round' .* triangle, flat"),
    ],
)
def test_knobs_that_make_no_sense_are_refused(knobs: dict[str, int], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        WindowFusion(inner=Dense(), **knobs)  # type: ignore[arg-type]
