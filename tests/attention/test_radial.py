"""Radial Attention against a second implementation, closed forms, and the published code's own figures."""

from hashlib import sha1
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.attention.oracle import visible_LM
from vgen.attention.blocks import FULL, NONE
from vgen.attention.counting import kept_pairs
from vgen.attention.planning import block_map
from vgen.attention.radial import Band, Radial, RadialBlocks
from vgen.attention.show import effective_density
from vgen.errors import ConfigError
from vgen.presets import attention_presets
from vgen.shapes import TokenGrid

CPU = torch.device("cpu")
WAN_69 = TokenGrid(frames=tuple(range(18)), height=48, width=80)  # 768x1280, 69 frames
RADIALS = st.builds(
    Radial,
    decay=st.floats(0.05, 2),
    adjacent=st.sampled_from(["full", "half"]),
    sink=st.integers(0, 2),
    min_reach=st.integers(1, 40),
)


def half_width(radial: Radial, apart: int, tokens: int) -> float:
    """How far tokens of frames `apart` may be apart; -1 where the frames do not see each other. One pair at a time."""
    if apart == 0:
        return tokens
    if apart == 1:
        return tokens if radial.adjacent == "full" else tokens // 2
    power = 1
    while power <= tokens:
        power *= 2
    group = 1
    while apart >= 2**group:
        group += 1
    width = power / 2**group
    if width < radial.min_reach and apart % int(radial.min_reach / width) != 0:
        return -1
    return max(radial.decay * width, radial.min_reach)


def naive(radial: Radial, grid: TokenGrid) -> Tensor:
    tokens = grid.tokens_per_frame
    apart = (torch.arange(tokens)[:, None] - torch.arange(tokens)).abs()
    kept = torch.zeros(len(grid.frames), tokens, len(grid.frames), tokens, dtype=torch.bool)
    for (i, t), (j, s) in product(enumerate(grid.frames), repeat=2):
        kept[i, :, j] = True if s < radial.sink else apart <= half_width(radial, abs(t - s), tokens)
    return kept.view(grid.tokens, grid.tokens)


@given(RADIALS, st.lists(st.integers(0, 70), min_size=1, max_size=5, unique=True), st.integers(1, 7), st.integers(1, 9))
def test_two_implementations_agree(radial: Radial, frames: list[int], height: int, width: int) -> None:
    grid = TokenGrid(frames=tuple(frames), height=height, width=width)
    assert visible_LM(radial, grid, grid).equal(naive(radial, grid))


def test_bands_of_720p() -> None:
    """P is 4096 there: bands of 1024, 512, 256, 128 half as wide by decay .5, and frames skipped from 32 apart."""
    bands = Radial(decay=0.5).bands(3600, 100)
    assert bands == [
        Band(0, 1, 1, 3600),
        Band(2, 3, 1, 512),
        Band(4, 7, 1, 256),
        Band(8, 31, 1, 128),
        Band(32, 63, 2, 128),
        Band(64, 127, 4, 128),
    ]
    assert Radial().bands(1560, 20)[-1] == Band(16, 31, 2, 128)


@pytest.mark.parametrize(("adjacent", "share"), [("half", 0.2434), ("full", 0.2689)])
def test_density_of_tokens_in_closed_form(adjacent: str, share: float) -> None:
    radial = Radial(decay=0.2, adjacent=adjacent)  # type: ignore[arg-type]
    tokens = WAN_69.tokens_per_frame
    pairs = 0
    for t, s in product(WAN_69.frames, repeat=2):
        reach = tokens if s == 0 else int(half_width(radial, abs(t - s), tokens))
        pairs += tokens**2 if reach >= tokens - 1 else tokens * (2 * reach + 1) - reach * (reach + 1)
    assert kept_pairs(radial, WAN_69, WAN_69) == pairs
    assert pairs / WAN_69.tokens**2 == pytest.approx(share, abs=5e-5)


def test_whole_blocks_are_those_of_the_published_code() -> None:
    """A user of the official code printed the sparsity .736632; the digest is of its table, see research notes 5.2."""
    blocks = RadialBlocks(Radial(decay=0.2, adjacent="half")).blocks(WAN_69, WAN_69, block=128, device=CPU)
    table = blocks.state_BNUV[0, 0]
    assert table.shape == (540, 540)
    assert blocks.kept_blocks == 76_798
    assert 1 - blocks.density() == pytest.approx(0.736632, abs=5e-7)
    assert (
        sha1(np.packbits(table.numpy() == FULL).tobytes(), usedforsecurity=False).hexdigest()[:16] == "8301e0fef2a17f5f"
    )
    assert blocks.mask is None


@given(RADIALS, st.integers(1, 5), st.tuples(st.integers(1, 6), st.integers(1, 7)), st.integers(1, 24))
def test_whole_blocks_by_the_rule(radial: Radial, frames: int, sides: tuple[int, int], block: int) -> None:
    grid = TokenGrid(frames=tuple(range(frames)), height=sides[0], width=sides[1])
    blocks = RadialBlocks(radial).blocks(grid, grid, block=block, device=CPU)
    tokens = visible_LM(radial, grid, grid)
    for row, line in enumerate(tokens.split(block)):
        tiles = line.split(block, dim=1)
        kept = [_majority(tile) for tile in tiles]
        if not any(kept):
            kept = [bool(tile.any()) for tile in tiles]
        assert (blocks.state_BNUV[0, 0, row] == FULL).tolist() == kept
        assert any(kept)


def _majority(tile: Tensor) -> bool:
    filled = [column.mean().item() for column in tile.double().unbind(1)]
    touched = sum(share > 0 for share in filled)
    return touched > 0 and sum(share > 1 / 3 for share in filled) / touched > 0.6


def test_whole_blocks_of_a_cached_context_with_text() -> None:
    radial = Radial(decay=0.3, min_reach=4, sink=1)
    query = TokenGrid(frames=(20, 21), height=4, width=8, text_before=3)
    key = TokenGrid(frames=(0, 5, 18, 19, 20, 21), height=4, width=8, text_before=3, text_after=14)
    blocks = RadialBlocks(radial).blocks(query, key, block=8, device=CPU)
    assert (blocks.queries, blocks.keys) == (query.tokens, key.tokens)
    kept = blocks.dense()[0, 0]
    assert kept[:3].all() and kept[:, :3].all() and kept[:, -14:].all()
    assert kept[3:, 3:-14].view(2, 32, 6, 32)[:, :, 0].all(), "the sink"
    assert (blocks.state_BNUV == NONE).any()
    tokens = visible_LM(radial, query, key)
    exact = block_map(radial, query, key, block=8, order=RadialBlocks(radial).order(), device=CPU)
    assert exact.dense()[0, 0].equal(tokens)


@pytest.mark.parametrize(
    ("preset", "frames", "layers", "effective"),
    [
        ("radial-wan2.1", 18, 40, 0.472),
        ("radial-hunyuan", 30, 60, 0.449),
        ("radial-wan2.2", 20, 40, 0.542),
    ],
)
def test_presets_cost_what_is_published(preset: str, frames: int, layers: int, effective: float) -> None:
    """At 768x1280, over a run with its dense layers and steps; see research notes 5.2."""
    said = {key.removeprefix("attention."): value for key, value in attention_presets()[preset].items()}
    radial = Radial(**{knob: said[knob] for knob in ("decay", "adjacent", "sink")})
    grid = TokenGrid(frames=tuple(range(frames)), height=48, width=80)
    density = RadialBlocks(radial).blocks(grid, grid, block=128, device=CPU).density()
    steps = said["dense_first_steps"] / said["num_inference_steps"]
    found = effective_density(density, dense_steps=steps, dense_layers=said["dense_layers"] / layers)
    assert found == pytest.approx(effective, abs=1e-3)


@pytest.mark.parametrize("pixels", [(480, 832), (720, 1280), (704, 1280)])
def test_wans_own_81_frames_are_covered(pixels: tuple[int, int]) -> None:
    """The published code refuses them: 21 frames are no whole number of blocks."""
    grid = TokenGrid(frames=tuple(range(21)), height=pixels[0] // 16, width=pixels[1] // 16)
    blocks = RadialBlocks(Radial()).blocks(grid, grid, block=128, device=CPU)
    assert blocks.queries == blocks.keys == grid.tokens
    assert (blocks.state_BNUV[0, 0].diagonal() == FULL).all()
    assert 0.25 < blocks.density() < 0.4


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"decay": 0.0}, "radial: decay=0.0 .* above 0"),
        ({"decay": float("nan")}, "radial: decay=nan"),
        ({"decay": float("inf")}, "radial: decay=inf"),
        ({"adjacent": "most"}, "radial: adjacent='most' .* full, half"),
        ({"sink": -1}, "radial: sink=-1"),
        ({"min_reach": 0}, "radial: min_reach=0 .* 1 token"),
    ],
)
def test_knobs_that_make_no_sense_are_refused(knobs: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Radial(**knobs)  # type: ignore[arg-type]
