"""Mixture of blocks: a second implementation, written in loops from the papers' description, and what must hold."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from itertools import pairwise, product
from typing import Literal, TypedDict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.attention.oracle import draw_qkv, softmax_over
from vgen.attention.blocks import FULL, NONE, PART, BlockMap
from vgen.attention.cycles import PerLayer
from vgen.attention.executors.reference import Reference
from vgen.attention.mixture import SCOPES, MixtureOfBlocks, moba, vmoba
from vgen.attention.order import RASTER, TokenOrder
from vgen.errors import ConfigError
from vgen.shapes import TokenGrid

GRID = TokenGrid(frames=tuple(range(5)), height=4, width=3, text_before=2, text_after=3)
PLAIN = replace(GRID, text_before=0, text_after=0)
PARTITIONS: dict[str, TokenOrder | int] = {
    "tokens": 7,
    "frames": TokenOrder(frames=2),
    "patches": TokenOrder(None, 3, 2),
    "cuboids": TokenOrder(2, 3, 2),
}
Chunk = Hashable
Triple = tuple[int, int, Chunk]  # head, query, chunk


class Knobs(TypedDict, total=False):
    """How chunks are chosen."""

    topk: int
    threshold: float


def chunk_of(partition: TokenOrder | int, grid: TokenGrid, token: int) -> Chunk:
    """Which chunk a token, counted in raster order, belongs to."""
    video = token - grid.text_before
    if video < 0 or video >= grid.video_tokens:
        return "text"
    if isinstance(partition, int):
        return (video // partition,)
    place = video // grid.tokens_per_frame, video % grid.tokens_per_frame // grid.width, video % grid.width
    sizes = partition.frames, partition.rows, partition.columns
    return tuple(at // size if size else 0 for at, size in zip(place, sizes, strict=True))


def naive(pattern: MixtureOfBlocks, q_BLNK: Tensor, k_BMNK: Tensor, grid: TokenGrid) -> Tensor:
    """kept_BNLM in raster order, by loops over items, heads, queries and chunks."""
    batch, tokens, heads, _ = q_BLNK.shape
    chunk = [chunk_of(pattern.partition, grid, token) for token in range(tokens)]
    video = [token for token in range(tokens) if chunk[token] != "text"]
    members = {c: [m for m in video if chunk[m] == c] for c in {chunk[token] for token in video}}
    kept = torch.zeros(batch, heads, tokens, tokens, dtype=torch.bool)
    for b in range(batch):
        gates: dict[Triple, float] = {}
        for n, (c, tokens_of_c) in product(range(heads), members.items()):
            gate_L = (q_BLNK[b, :, n] @ k_BMNK[b, tokens_of_c, n].mean(0)).tolist()
            gates |= {(n, q, c): gate_L[q] for q in video if not pattern.causal or tokens_of_c[0] <= q}
        for n, q, c in chosen(pattern, gates, chunk):
            kept[b, n, q, [m for m in members[c] if not pattern.causal or m <= q]] = True
    text = torch.tensor([c == "text" for c in chunk])
    return kept | text | text[:, None]


def chosen(pattern: MixtureOfBlocks, gates: dict[Triple, float], chunk: Sequence[Chunk]) -> set[Triple]:
    """Which of the triples are kept; `chunk` is that of each query."""
    pools: dict[Hashable, list[Triple]] = {}
    for n, q, c in gates:
        scope = {"query_head": (n, q), "head_global": n, "overall": 0, "block": c}[pattern.scope]
        pools.setdefault(scope, []).append((n, q, c))
    result: set[Triple] = set()
    for pool in pools.values():
        own = [(n, q, c) for n, q, c in pool if c == chunk[q]]
        others = sorted(set(pool) - set(own), key=lambda triple: -gates[triple])
        result |= set(own)
        if pattern.topk is not None:
            queries = len({(n, q) for n, q, _ in pool})
            result |= set(others[: max(0, pattern.topk * queries - len(own))])
            continue
        assert pattern.threshold is not None
        low, high = min(gates[t] for t in pool), max(gates[t] for t in pool)
        scaled = {t: (gates[t] - low) / (high - low) if high > low else 1.0 for t in pool}
        total = sum(scaled.values())
        remaining = max(0.0, pattern.threshold - sum(scaled[t] for t in own) / total)
        so_far = 0.0
        for triple in others:
            result.add(triple)
            so_far += scaled[triple] / total
            if so_far >= remaining:
                break
    return result


def select(pattern: MixtureOfBlocks, q: Tensor, k: Tensor, grid: TokenGrid, key: TokenGrid | None = None) -> BlockMap:
    key = key or grid
    q, k = q[:, pattern.order().permutation(grid)], k[:, pattern.order().permutation(key)]
    return pattern.select(q, k, query=grid, key=key, block=8)


def kept_of(pattern: MixtureOfBlocks, q: Tensor, k: Tensor, grid: TokenGrid, key: TokenGrid | None = None) -> Tensor:
    """kept_BNLM in raster order, of every item and head."""
    dense = select(pattern, q, k, grid, key).dense()
    rows, columns = pattern.order().inverse(grid), pattern.order().inverse(key or grid)
    return dense[:, :, rows][..., columns]


@pytest.mark.parametrize("grid", [PLAIN, GRID], ids=["video", "text"])
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("partition", PARTITIONS.values(), ids=PARTITIONS)
def test_the_selection_is_the_naive_one(partition: TokenOrder | int, scope: str, grid: TokenGrid) -> None:
    q, k, _ = draw_qkv(grid, grid, width=8)
    settings: list[Knobs] = [{"threshold": 0.05}, {"threshold": 0.5}, {"topk": 2}]
    for knobs in settings[:2] if scope == "block" else settings:
        pattern = MixtureOfBlocks(partition=partition, scope=scope, **knobs)
        assert torch.equal(kept_of(pattern, q, k, grid), naive(pattern, q, k, grid)), knobs


@pytest.mark.parametrize("partition", [7, TokenOrder(frames=2)], ids=str)
def test_causal_selection_is_the_naive_one(partition: TokenOrder | int) -> None:
    q, k, _ = draw_qkv(GRID, GRID, heads=2, width=8)
    pattern = MixtureOfBlocks(partition=partition, causal=True, topk=2)
    found = select(pattern, q, k, GRID)
    assert torch.equal(kept_of(pattern, q, k, GRID), naive(pattern, q, k, GRID))
    assert {*found.state_BNUV.unique().tolist()} == {NONE, PART, FULL}


@pytest.mark.parametrize("pattern", [
    MixtureOfBlocks(partition=TokenOrder(2, 3, 2), topk=2),
    MixtureOfBlocks(partition=TokenOrder(None, 3, 2), threshold=0.3, scope="head_global"),
    MixtureOfBlocks(partition=7, topk=2, causal=True),
], ids=str)  # fmt: skip
def test_attention_over_the_selection(pattern: MixtureOfBlocks) -> None:
    """Through permutation, map and executor: the softmax over what the naive selection keeps."""
    q, k, v = draw_qkv(GRID, GRID, batch=2)
    order = pattern.order().permutation(GRID)
    out = Reference()(q[:, order], k[:, order], v[:, order], select(pattern, q, k, GRID))
    wanted, _ = softmax_over(q, k, v, naive(pattern, q, k, GRID))
    torch.testing.assert_close(out[:, pattern.order().inverse(GRID)].double(), wanted, atol=2e-6, rtol=0)


grids = st.builds(
    TokenGrid,
    frames=st.integers(1, 4).map(lambda frames: tuple(range(frames))),
    height=st.integers(1, 4),
    width=st.integers(1, 4),
    text_before=st.integers(0, 2),
    text_after=st.integers(0, 2),
)
sizes = st.none() | st.integers(1, 5)
partitions = st.integers(1, 9) | st.builds(TokenOrder, frames=sizes, rows=sizes, columns=sizes)
knobs = st.fixed_dictionaries({"topk": st.integers(1, 5)}) | st.fixed_dictionaries({"threshold": st.floats(0.01, 1)})


@given(grid=grids, partition=partitions, knobs=knobs, scope=st.sampled_from(SCOPES[:3]), seed=st.integers(0, 9))
def test_own_chunk_and_text_are_always_visible(
    grid: TokenGrid, partition: TokenOrder | int, knobs: Knobs, scope: str, seed: int
) -> None:
    q, k, _ = draw_qkv(grid, grid, width=4, seed=seed)
    kept = kept_of(MixtureOfBlocks(partition=partition, scope=scope, **knobs), q, k, grid)
    chunk = [chunk_of(partition, grid, token) for token in range(grid.tokens)]
    always = torch.tensor([[a == b or "text" in (a, b) for a in chunk] for b in chunk])
    assert kept[:, :, always].all()


@given(grid=grids, partition=partitions, scope=st.sampled_from(SCOPES[:3]), topk=st.integers(1, 4))
def test_top_k_keeps_so_many(grid: TokenGrid, partition: TokenOrder | int, scope: str, topk: int) -> None:
    q, k, _ = draw_qkv(grid, grid, width=4)
    found = select(MixtureOfBlocks(partition=partition, scope=scope, topk=topk), q, k, grid)
    queries = slice(grid.text_before, grid.text_before + grid.video_tokens)
    text = int(grid.text_before > 0) + int(grid.text_after > 0)
    chunks = len(found.key_edges) - 1 - text
    per_query = found.state_BNUV[:, :, queries].count_nonzero(-1) - text
    wanted = min(topk, chunks)
    axes = {"query_head": (), "head_global": (2,), "overall": (1, 2)}[scope]
    assert (per_query.double().mean(axes, keepdim=True) == wanted).all() if axes else (per_query == wanted).all()


@given(grid=grids, partition=partitions, scope=st.sampled_from(SCOPES[:3]))
def test_all_chunks_are_dense_attention(grid: TokenGrid, partition: TokenOrder | int, scope: str) -> None:
    q, k, _ = draw_qkv(grid, grid, width=4)
    assert kept_of(MixtureOfBlocks(partition=partition, scope=scope, topk=64), q, k, grid).all()


EITHER: tuple[Literal["exact", "block"], ...] = ("exact", "block")


@pytest.mark.parametrize("fidelity", EITHER)
@pytest.mark.parametrize("scope", SCOPES)
def test_more_is_more(scope: str, fidelity: Literal["exact", "block"]) -> None:
    q, k, _ = draw_qkv(GRID, GRID, batch=2)

    def kept(topk: int | None, threshold: float | None) -> Tensor:
        pattern = MixtureOfBlocks(
            partition=TokenOrder(2, 3, 2), scope=scope, fidelity=fidelity, topk=topk, threshold=threshold
        )
        return kept_of(pattern, q, k, GRID)

    chains = [[kept(None, share) for share in (0.01, 0.2, 0.5, 0.9, 1.0)]]
    if scope != "block":
        chains.append([kept(number, None) for number in (1, 2, 3, 9)])
    for chain in chains:
        assert all(bool((more | ~less).all()) for less, more in pairwise(chain))
        assert chain[0].sum() < chain[-1].sum()


@pytest.mark.parametrize("fidelity", EITHER)
@pytest.mark.parametrize("scope", SCOPES)
def test_items_do_not_mix_and_heads_have_no_order(scope: str, fidelity: Literal["exact", "block"]) -> None:
    pattern = MixtureOfBlocks(partition=TokenOrder(2, 3, 2), scope=scope, threshold=0.3, fidelity=fidelity)
    q, k, _ = draw_qkv(GRID, GRID, batch=2, heads=3)
    kept = kept_of(pattern, q, k, GRID)
    for item in range(2):
        assert torch.equal(kept[item : item + 1], kept_of(pattern, q[item : item + 1], k[item : item + 1], GRID))
    heads = [2, 0, 1]
    assert torch.equal(kept[:, heads], kept_of(pattern, q[:, :, heads], k[:, :, heads], GRID))
    assert not torch.equal(kept[0], kept[1])


def test_equal_gates_are_still_counted() -> None:
    q, k, _ = draw_qkv(PLAIN, PLAIN)
    k = torch.zeros_like(k)
    found = select(MixtureOfBlocks(partition=12, topk=3), q, k, PLAIN)
    assert (found.state_BNUV.count_nonzero(-1) == 3).all()
    half = select(MixtureOfBlocks(partition=12, threshold=0.5), q, k, PLAIN)  # 5 chunks of equal share: .2 own, .4 more
    assert (half.state_BNUV.count_nonzero(-1) == 3).all()


def test_the_gate_is_single_precision() -> None:
    """Also for half-precision tensors, and under autocast."""
    q, k, _ = draw_qkv(PLAIN, PLAIN, batch=4, heads=8, width=64, dtype=torch.bfloat16)
    pattern = MixtureOfBlocks(partition=5, topk=3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = kept_of(pattern, q, k, PLAIN)
    assert torch.equal(found, naive(pattern, q.float(), k.float(), PLAIN))


@pytest.mark.parametrize("scope", SCOPES[:3])
@pytest.mark.parametrize("knobs", [{"topk": 2}, {"threshold": 0.4}], ids=str)
@pytest.mark.parametrize("grid", [PLAIN, GRID], ids=["video", "text"])
def test_coarse_selection(grid: TokenGrid, knobs: Knobs, scope: str) -> None:
    """By means of blocks on both sides, in tile order; blocks with text are whole. An even map, for every executor."""
    pattern = MixtureOfBlocks(partition=TokenOrder(2, 2, 3), fidelity="block", scope=scope, **knobs)
    q, k, _ = draw_qkv(grid, grid)
    found = select(pattern, q, k, grid)
    assert found.block == 8 and found.mask is None
    order = pattern.order().permutation(grid)
    q_blocks, k_blocks = (torch.stack([x.mean(1) for x in side[:, order].split(8, 1)], 1) for side in (q, k))
    blocks = q_blocks.shape[1]
    text = [any(not 0 <= t - grid.text_before < grid.video_tokens for t in part) for part in order.split(8)]
    gates: dict[Triple, float] = {
        (n, u, v): float(q_blocks[0, u, n] @ k_blocks[0, v, n])
        for n, u, v in product(range(2), range(blocks), range(blocks))
        if not text[u] and not text[v]
    }
    wanted = torch.zeros_like(found.state_BNUV)
    kept = chosen(pattern, gates, range(blocks))
    for n, u, v in product(range(2), range(blocks), range(blocks)):
        wanted[0, n, u, v] = FULL if (n, u, v) in kept else NONE
    either = torch.tensor(text)
    wanted[:, :, either[:, None] | either] = FULL
    assert torch.equal(found.state_BNUV, wanted)


@pytest.mark.parametrize("partition", [7, TokenOrder(frames=2)], ids=str)
@pytest.mark.parametrize("topk", [2, 6])
def test_causal_never_sees_a_later_token(partition: TokenOrder | int, topk: int) -> None:
    pattern = MixtureOfBlocks(partition=partition, topk=topk, causal=True)
    q, k, v = draw_qkv(GRID, GRID)
    video = slice(GRID.text_before, GRID.text_before + GRID.video_tokens)
    found = select(pattern, q, k, GRID)
    kept = kept_of(pattern, q, k, GRID)[:, :, video, video]
    assert not kept.triu(1).any() and kept.diagonal(dim1=2, dim2=3).all()
    for u, v_ in found.state_BNUV[0, 0].nonzero().tolist():  # and no block is read for nothing
        rows, columns = slice(*found.query_edges[u : u + 2]), slice(*found.key_edges[v_ : v_ + 2])
        assert found.dense()[0, 0, rows, columns].any()
    out = Reference()(q, k, v, found)
    until = GRID.text_before + 31
    for x in (q, k, v):
        x[:, until : video.stop] = 9.0
    again = Reference()(q, k, v, select(pattern, q, k, GRID))
    assert torch.equal(out[:, video.start : until], again[:, video.start : until])
    assert not torch.equal(out[:, until : video.stop], again[:, until : video.stop])


def test_cached_keys_stand_at_their_own_places() -> None:
    """Queries of later frames over cached and own keys choose as they do among queries of all frames."""
    later = replace(PLAIN, frames=PLAIN.frames[2:])
    q, k, _ = draw_qkv(PLAIN, PLAIN)
    for partition in PARTITIONS.values():
        pattern = MixtureOfBlocks(partition=partition, topk=2)
        rows = 2 * PLAIN.tokens_per_frame
        assert torch.equal(kept_of(pattern, q[:, rows:], k, later, PLAIN), kept_of(pattern, q, k, PLAIN)[:, :, rows:])
    early = replace(PLAIN, frames=PLAIN.frames[:2])
    found = select(MixtureOfBlocks(partition=12, topk=1), q[:, rows:], k[:, :rows], later, early)
    assert (found.state_BNUV.count_nonzero(-1) == 1).all()  # no chunk of their own: the best one


def test_vmoba_takes_turns() -> None:
    """At the published topk of 448x832 by 77 frames the published densities come out."""
    pattern = vmoba(patch=TokenOrder(None, 4, 13), cuboid=TokenOrder(4, 4, 13), topk=(2, 6, 18))
    assert isinstance(pattern, PerLayer)
    grid = TokenGrid(frames=tuple(range(20)), height=28, width=52)
    q, k, _ = draw_qkv(grid, grid, heads=1, width=4)
    for layer, density in enumerate((2 / 10, 6 / 28, 18 / 140)):
        turn = pattern.of(layer)
        assert isinstance(turn, MixtureOfBlocks)
        assert turn is pattern.of(layer + 3)
        found = turn.select(q, k, query=grid, key=grid, block=128)
        assert found.density() == pytest.approx(density, rel=1e-9)


def test_vmoba_by_default_keeps_a_quarter_of_the_gates() -> None:
    assert {turn.threshold for turn in vmoba().patterns if isinstance(turn, MixtureOfBlocks)} == {0.25}
    assert {turn.topk for turn in vmoba(topk=3).patterns if isinstance(turn, MixtureOfBlocks)} == {3}


def test_moba_is_its_published_form() -> None:
    assert moba(chunk=512, topk=3, causal=True) == MixtureOfBlocks(partition=512, topk=3, causal=True)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: MixtureOfBlocks(partition=RASTER), "topk or threshold"),
        (lambda: MixtureOfBlocks(partition=RASTER, topk=1, threshold=0.1), "topk or threshold"),
        (lambda: MixtureOfBlocks(partition=RASTER, topk=0), "topk=0 .* 1 chunk and more"),
        (lambda: MixtureOfBlocks(partition=RASTER, threshold=1.5), "threshold=1.5 .* above 0, up to 1"),
        (lambda: MixtureOfBlocks(partition=RASTER, topk=1, scope="head"), "scope=head .* query_head"),
        (lambda: MixtureOfBlocks(partition=RASTER, topk=1, scope="block"), "a threshold instead"),
        (lambda: MixtureOfBlocks(partition=TokenOrder(None, 2, 2), topk=1, causal=True), "whole frames"),
        (lambda: MixtureOfBlocks(partition=RASTER, threshold=0.2, causal=True), "with topk"),
        (lambda: MixtureOfBlocks(partition=RASTER, topk=2, scope="overall", causal=True), "query_head"),
        (lambda: MixtureOfBlocks(partition=9, topk=1, fidelity="block"), "chunk=9"),
        (lambda: moba(chunk=0, topk=1), "chunk=0 .* 1 token and more"),
        (lambda: vmoba(frames=0), "frames=0 .* 1 and more"),
        (lambda: vmoba(topk=3, threshold=0.2), "one of them"),
    ],
)
def test_knobs_that_make_no_sense_are_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()
