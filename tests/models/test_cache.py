"""The cache by itself: written once, forked without copies, as large as it was made."""

import gc

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.models.tiny import noise
from vgen.models.cache import KVCache

LAYERS, TOKENS, HEADS, HEAD = 3, 2, 1, 4


def push(cache: KVCache, frames: list[int], *, seed: int = 0) -> None:
    """Writes frames whose keys and values tell which frame, layer and seed they are of."""
    slots = cache.reserve(frames)
    for layer in range(LAYERS):
        kv = torch.cat([content(frame, layer, seed) for frame in frames], dim=1)
        cache.write(layer, slots, kv, -kv)
    cache.publish(frames, slots)


def content(frame: int, layer: int, seed: int = 0) -> Tensor:
    return noise(1, TOKENS, HEADS, HEAD, seed=10000 * (seed + 1) + 100 * frame + layer)


def held(cache: KVCache, layer: int) -> dict[int, Tensor]:
    """Keys by frame."""
    read = cache.read(layer)
    return {} if read is None else dict(zip(cache.frames, read[0].split(TOKENS, dim=1), strict=True))


def addresses(cache: KVCache) -> dict[str, int]:
    return {name: x.data_ptr() for name, x in cache.state_dict().items() if name != "frame_of_slot"}


def test_what_is_read_is_what_was_written_whatever_was_dropped() -> None:
    cache = KVCache(layers=LAYERS, capacity=4)
    push(cache, [0, 1, 2])
    cache.drop([1, 77])
    push(cache, [-1, 9])
    assert set(cache.frames) == {0, 2, -1, 9}
    for layer in range(LAYERS):
        assert all(torch.equal(kv, content(frame, layer)) for frame, kv in held(cache, layer).items())


def test_a_frame_is_written_once_and_within_the_room() -> None:
    cache = KVCache(layers=LAYERS, capacity=2)
    push(cache, [0])
    with pytest.raises(AssertionError, match="written once"):
        cache.reserve([0])
    with pytest.raises(AssertionError, match="2 frames need slots, 1 of 2 are free"):
        cache.reserve([1, 2])


def test_a_pass_that_breaks_off_leaves_no_trace() -> None:
    cache = KVCache(layers=LAYERS, capacity=2)
    push(cache, [0])
    cache.write(0, cache.reserve([1]), content(1, 0), content(1, 0))  # and never published
    assert cache.frames == (0,) and torch.equal(held(cache, 0)[0], content(0, 0))
    push(cache, [2])
    assert torch.equal(held(cache, 0)[2], content(2, 0))


def test_memory_is_taken_once() -> None:
    cache = KVCache(layers=LAYERS, capacity=2)
    push(cache, [0, 1])
    before = addresses(cache)
    for frame in range(2, 9):
        cache.drop([frame - 2])
        push(cache, [frame])
    assert addresses(cache) == before and set(cache.frames) == {7, 8}


def test_forking_copies_nothing_and_the_writer_copies_its_layer() -> None:
    parent = KVCache(layers=LAYERS, capacity=3)
    push(parent, [0, 1])
    before = addresses(parent)
    twin = parent.fork()
    assert addresses(twin) == addresses(parent) == before
    twin.drop([0])  # no writing
    assert addresses(twin) == before and parent.frames == (0, 1)
    twin.write(1, twin.reserve([5]), content(5, 1), content(5, 1))
    moved = {name for name, at in addresses(twin).items() if at != before[name]}
    assert moved == {"1.k", "1.v"} and addresses(parent) == before
    assert torch.equal(held(twin, 1)[1], content(1, 1))


def test_the_last_one_that_holds_a_layer_writes_in_place() -> None:
    parent = KVCache(layers=LAYERS, capacity=3)
    push(parent, [0])
    before = addresses(parent)
    twin = parent.fork()
    push(twin, [1])
    push(parent, [2])
    assert addresses(parent) == before
    speculation = parent.fork()
    del speculation
    gc.collect()
    push(parent, [3])
    assert addresses(parent) == before


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["push", "drop", "fork"])), max_size=12))
def test_forks_are_as_if_they_had_been_copied(moves: list[tuple[int, str]]) -> None:
    """Against plain dicts of what each of three caches should hold."""
    caches = [KVCache(layers=LAYERS, capacity=4) for _ in range(3)]
    wanted: list[dict[int, int]] = [{} for _ in caches]  # frame -> seed
    for seed, (which, move) in enumerate(moves):
        other = (which + 1) % 3
        if move == "fork":
            caches[other], wanted[other] = caches[which].fork(), dict(wanted[which])
        elif move == "drop" and wanted[which]:
            oldest = min(wanted[which])
            caches[which].drop([oldest])
            del wanted[which][oldest]
        elif move == "push" and len(wanted[which]) < 4:
            push(caches[which], [seed], seed=seed)
            wanted[which][seed] = seed
        for cache, frames in zip(caches, wanted, strict=True):
            for layer in range(LAYERS):
                kept = held(cache, layer)
                assert kept.keys() == frames.keys()
                assert all(torch.equal(kept[f], content(f, layer, at)) for f, at in frames.items())


def test_a_state_comes_back_and_is_a_copy() -> None:
    cache = KVCache(layers=LAYERS, capacity=3)
    push(cache, [4, 5])
    back = KVCache(layers=LAYERS, capacity=3)
    back.load_state_dict(cache.state_dict())
    push(cache, [6])
    assert back.frames == (4, 5) and torch.equal(held(back, 2)[5], content(5, 2))
    with pytest.raises(AssertionError, match="the state has 3 slots, this cache 2"):
        KVCache(layers=LAYERS, capacity=2).load_state_dict(cache.state_dict())


@pytest.mark.parametrize("dropped", [[], [0], [2]])
@pytest.mark.parametrize("own", [1, 2])
def test_joining_is_reading_with_the_own_behind(dropped: list[int], own: int) -> None:
    cache = KVCache(layers=LAYERS, capacity=4, turned=True)
    push(cache, [0, 1, 2])
    cache.drop(dropped)
    before, kv = cache.read(1), torch.cat([content(frame, 1) for frame in range(7, 7 + own)], dim=1)
    assert before is not None
    wanted_k, wanted_v = torch.cat((before[0], kv), dim=1), torch.cat((before[1], -kv), dim=1)
    k_BMNK, v_BMNK = cache.join(1, kv, -kv, own)
    assert torch.equal(k_BMNK, wanted_k) and torch.equal(v_BMNK, wanted_v)
    after = cache.read(1)
    assert after is not None and torch.equal(after[0], wanted_k[:, : -own * TOKENS]), "own keys are not remembered"


def test_joining_leaves_forks_alone() -> None:
    parent = KVCache(layers=LAYERS, capacity=3, turned=True)
    push(parent, [0])
    child = parent.fork()
    assert child.turned
    kept = parent.join(0, content(1, 0), content(1, 0), 1)[0].clone()
    child.join(0, content(2, 0), content(2, 0), 1)
    assert torch.equal(parent.join(0, content(1, 0), content(1, 0), 1)[0], kept)
    assert torch.equal(held(child, 0)[0], content(0, 0))
