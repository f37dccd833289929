"""How processes are shared out: what holds for any request, and what is refused."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgen.errors import ConfigError
from vgen.parallel.degrees import AXES, Degrees, Work, choose_degrees
from vgen.parallel.mesh import Mesh, World
from vgen.schema import ParallelConfig

WAN = Work(heads=12, tokens_per_frame=1560, guided=True)

works = st.builds(
    Work,
    heads=st.integers(1, 40),
    tokens_per_frame=st.integers(1, 200),
    guided=st.booleans(),
    prompts=st.integers(1, 3),
    uncut=st.sampled_from([None, "why"]),
    clips=st.integers(1, 20),
    one_device=st.sampled_from([None, "why"]),
    one_sequence=st.sampled_from([None, "why"]),
)


@given(work=works, processes=st.integers(1, 24))
def test_what_is_chosen_fits(work: Work, processes: int) -> None:
    try:
        chosen = choose_degrees(ParallelConfig(), processes, work)
    except ConfigError:
        assert processes > 1, "one process can always"
        return
    assert chosen.processes == math.prod(chosen.sizes) == processes
    assert chosen.dp <= work.clips
    assert chosen.cfg == 1 or (work.guided and work.one_device is None)
    assert work.heads % chosen.ulysses == work.tokens_per_frame % chosen.ulysses == 0
    assert chosen.ulysses == 1 or (work.one_device is None and work.one_sequence is None)
    assert (chosen.clips, chosen.fsdp) == (1, False), "only where they are asked for"
    said = ParallelConfig(dp=chosen.dp, cfg=chosen.cfg, clips=1, ulysses=chosen.ulysses)
    assert choose_degrees(said, processes, work) == chosen, "what was chosen can be asked for"


@pytest.mark.parametrize(
    ("processes", "work", "chosen"),
    [
        (1, WAN, Degrees()),
        (2, WAN, Degrees(cfg=2)),
        (8, WAN, Degrees(cfg=2, ulysses=4)),
        (3, WAN, Degrees(ulysses=3)),
        (2, replace(WAN, guided=False), Degrees(ulysses=2)),
        (4, replace(WAN, clips=4), Degrees(dp=4)),
        (8, replace(WAN, clips=4), Degrees(dp=4, cfg=2)),
        (4, replace(WAN, clips=3), Degrees(dp=2, cfg=2)),
        (4, replace(WAN, clips=9, one_device="a stock pipeline"), Degrees(dp=4)),
    ],
)
def test_the_rule(processes: int, work: Work, chosen: Degrees) -> None:
    assert choose_degrees(ParallelConfig(), processes, work) == chosen


def test_shared_weights_keep_processes_in_step() -> None:
    """No replicas, which go their own ways, and no branches that read more prompts than the other."""
    fsdp, many = ParallelConfig(fsdp=True), replace(WAN, clips=4)
    assert choose_degrees(fsdp, 4, many) == Degrees(cfg=2, ulysses=2, fsdp=True)
    assert choose_degrees(fsdp, 4, replace(many, prompts=2)) == Degrees(ulysses=4, fsdp=True)
    assert choose_degrees(fsdp, 4, replace(many, apart="one rests")) == Degrees(ulysses=4, fsdp=True)
    assert choose_degrees(ParallelConfig(), 2, replace(WAN, apart="one rests")) == Degrees(cfg=2), "all have weights"


@pytest.mark.parametrize(
    ("said", "processes", "work", "message"),
    [
        ({"dp": 2}, 2, WAN, r"parallel\.dp=2: 1 clip is asked for; possible: 1 to 1"),
        ({"cfg": 2}, 2, replace(WAN, guided=False), r"parallel\.cfg=2: there is no guidance"),
        ({"ulysses": 8}, 8, WAN, r"parallel\.ulysses=8: 12 heads are no multiple of it; possible: 1, 2, 3, 4, 6, 12"),
        ({"ulysses": 4}, 4, replace(WAN, tokens_per_frame=6), r"6 tokens of a frame .* possible: 1, 2, 3, 6"),
        ({"ulysses": 2}, 2, replace(WAN, one_sequence="its cache"), r"parallel\.ulysses=2: its cache; possible: 1"),
        ({"cfg": 2}, 2, replace(WAN, one_device="a stock pipeline"), r"parallel\.cfg=2: a stock pipeline; possible: 1"),
        ({"clips": 2}, 2, replace(WAN, uncut="its sampler"), r"parallel\.clips=2: its sampler"),
        ({"fsdp": True, "dp": 2}, 2, replace(WAN, clips=2), r"parallel\.dp=2: with parallel\.fsdp all .* possible: 1"),
        ({"fsdp": True, "cfg": 2}, 2, replace(WAN, prompts=3), r"parallel\.cfg=2: .* and here 3 and one; possible: 1"),
        (
            {"fsdp": True, "cfg": 2},
            2,
            replace(WAN, apart="one of them rests"),
            r"parallel\.cfg=2: with parallel\.fsdp both .* and one of them rests; possible: 1",
        ),
        ({"fsdp": True}, 5, WAN, r"5 processes cannot share 1 clip .*; possible: --nproc 2, 3, 4, 6, 8, 12"),
        (
            {"fsdp": True},
            2,
            replace(WAN, guided=False, one_sequence="its cache"),
            r"cannot share 1 clip \(its cache, .*; possible: one process, without parallel\.fsdp",
        ),
        ({"cfg": 2, "ulysses": 2}, 2, WAN, r"cfg 2 x ulysses 2 does not make 2 processes"),
        ({"cfg": 2}, 1, WAN, r"cfg 2 does not make 1 process; start as many as the product with --nproc"),
        ({"dp": 1, "cfg": 1, "clips": 1, "ulysses": 2}, 4, WAN, "does not make 4 processes"),
        (
            {},
            5,
            WAN,
            r"5 processes cannot share 1 clip \(12 heads, .* guided\); possible: --nproc 1, 2, 3, 4, 6, 8, 12",
        ),
        ({"fsdp": True}, 1, WAN, r"parallel\.fsdp spreads weights over processes, and there is one"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(said: dict[str, Any], processes: int, work: Work, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        choose_degrees(ParallelConfig(**said), processes, work)
    assert "\n" not in str(refused.value)


@given(sizes=st.tuples(*[st.integers(1, 3)] * 4), count=st.integers(0, 30))
def test_every_place_and_every_clip_once(sizes: tuple[int, int, int, int], count: int) -> None:
    dp, cfg, clips, ulysses = sizes
    degrees = Degrees(dp=dp, cfg=cfg, clips=clips, ulysses=ulysses)
    meshes = [Mesh(placed(rank, degrees.processes), degrees) for rank in range(degrees.processes)]
    places = [tuple(mesh.index(axis) for axis in AXES) for mesh in meshes]
    assert places == sorted(set(places)) and len(places) == degrees.processes, "the last axis varies fastest"
    assert [mesh.replica for mesh in meshes if mesh.main] == list(range(degrees.dp))
    mains = [mesh for mesh in meshes if mesh.main]
    assert [clip for mesh in mains for clip in mesh.share(count)] == list(range(count))
    assert max(len(mesh.share(count)) for mesh in mains) - min(len(mesh.share(count)) for mesh in mains) <= 1
    assert all(mesh.share(count) == mains[mesh.replica].share(count) for mesh in meshes)


def placed(rank: int, size: int) -> World:
    world = World()
    world.rank, world.size = rank, size
    return world
