"""Tokens and heads over two processes against one: dense, every pattern of the catalogue, memory, causality, bias."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.models.tiny import latents, tiny_dit, words
from tests.parallel.two import on_ranks
from vgen.attention import Dense, SparseAttention, TemporalDecay, VideoAttention, WindowFusion
from vgen.attention.catalogue import PATTERNS, make_pattern
from vgen.models.cache import KVCache
from vgen.models.dit import VideoDiT
from vgen.parallel.degrees import Degrees
from vgen.parallel.mesh import Mesh, join
from vgen.parallel.ulysses import Ulysses

FRAMES = 5  # odd: frames need not divide
PARTS = [{"name": "window", "frames": 1}, {"name": "sink"}]
KNOBS: dict[str, dict[str, Any]] = {
    "all": {"of": PARTS},
    "any": {"of": PARTS},
    "causal": {"chunk": 2, "window": 3},
    "dual_scope": {"reach": 1, "count": 2},
    "inward": {"rows": 1, "columns": 1},
    "moba": {"chunk": 4, "topk": 2},
    "per_head": {"of": [{"name": "window", "frames": 0}, {"name": "sink"}, {"name": "full"}]},
    "per_layer": {"of": [{"name": "per_head", "of": PARTS}, {"name": "window", "frames": 2}]},
    "radial": {"min_reach": 2},
    "uniform": {"count": 2},
    "vmoba": {"patch": "allx1x2", "cuboid": "2x1x2", "topk": [2]},
    "window": {"frames": 1, "columns": 1},
}


def model() -> VideoDiT:
    return tiny_dit(num_attention_heads=4, attention_head_dim=12)


def attention_of(name: str, first_head: int) -> VideoAttention:
    if name == "dense":
        return Dense()
    if name == "fusion":
        return WindowFusion(inner=Dense(), window=3, stride=1)
    if name == "bias":
        return SparseAttention(make_pattern("full", {}), bias=TemporalDecay(0.3), first_head=first_head)
    return SparseAttention(make_pattern(name, KNOBS.get(name, {})), first_head=first_head)


@torch.no_grad()
def everything(mesh: Mesh) -> dict[str, Tensor]:
    """One forward pass with each attention; and a causal rollout over a memory, its last pass without writing."""
    dit, x, text = model(), latents(FRAMES, batch=2), words(batch=2)
    levels = torch.linspace(0.2, 0.9, FRAMES)[None]
    first, shards = mesh.first_head(4), None if mesh.size("ulysses") == 1 else Ulysses(mesh.along("ulysses"))
    found = {
        name: dit(x, levels, text, attention=attention_of(name, first), shards=shards)
        for name in ("dense", "fusion", "bias", *PATTERNS)
    }
    for turned in (False, True):
        cache = KVCache(layers=2, capacity=5, turned=turned)
        for start in (0, 2):
            some = slice(start, start + 2)
            dit(x[:, :, some], torch.zeros(1, 1), text, frames=(start, start + 1), causal_block=2, context=cache,
                commit=True, shards=shards)  # fmt: skip
        found[f"memory, turned {turned}"] = dit(
            x[:, :, 4:], torch.full((1, 1), 0.5), text, frames=(4,), context=cache, shards=shards
        )
        cached = cache.read(1)
        assert cached is not None and cached[0].shape[2] == (4 if shards is None else 2), "heads of this process alone"
    found["causal"] = dit(x, levels, text, causal_block=2, shards=shards)
    return found


def shared() -> dict[str, Tensor]:
    mesh = Mesh(join(30.0, torch.device("cpu")), Degrees(ulysses=2))
    return everything(mesh)


@pytest.fixture(scope="module")
def ways() -> tuple[Mapping[str, Tensor], list[Mapping[str, Tensor]]]:
    return everything(Mesh.solo()), on_ranks(shared)


@pytest.mark.parametrize(
    "name", ["dense", "fusion", "bias", "memory, turned False", "memory, turned True", "causal", *PATTERNS]
)
def test_two_processes_equal_one(ways: tuple[Mapping[str, Tensor], list[Mapping[str, Tensor]]], name: str) -> None:
    alone, both = ways
    torch.testing.assert_close(both[0][name], alone[name], rtol=0, atol=2e-6)
    assert torch.equal(both[0][name], both[1][name]), "both go on with the same"


@pytest.mark.parametrize("name", ["any", "causal", "per_head", "radial", "vmoba"])
def test_the_patterns_change_what_comes_out(
    ways: tuple[Mapping[str, Tensor], list[Mapping[str, Tensor]]], name: str
) -> None:
    """Or equality would say nothing of them."""
    assert not torch.allclose(ways[0][name], ways[0]["dense"], atol=1e-4)


def wrong_heads() -> dict[str, Tensor]:
    mesh = Mesh(join(30.0, torch.device("cpu")), Degrees(ulysses=2))
    with torch.no_grad():
        x, text, levels = latents(FRAMES, batch=2), words(batch=2), torch.linspace(0.2, 0.9, FRAMES)[None]
        shards = Ulysses(mesh.along("ulysses"))
        return {"out": model()(x, levels, text, attention=attention_of("per_head", 0), shards=shards)}


def test_patterns_by_head_need_to_know_the_heads(
    ways: tuple[Mapping[str, Tensor], list[Mapping[str, Tensor]]],
) -> None:
    assert not torch.allclose(on_ranks(wrong_heads)[0]["out"], ways[0]["per_head"], atol=1e-5)
