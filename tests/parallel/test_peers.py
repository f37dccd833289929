"""What processes send each other: any dtype and shape, JSON, and what they have come to alike."""

import os
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.parallel.two import ended_on, on_ranks
from vgen.models.stock.catalogue import STOCK, family_of
from vgen.parallel.degrees import Degrees
from vgen.parallel.mesh import Mesh, join
from vgen.parallel.peers import Peers
from vgen.parallel.sharing import shared_frames
from vgen.parallel.ulysses import Ulysses

CPU = torch.device("cpu")
VALUE: dict[str, Any] = {"text": "ä", "numbers": [1, 2.5, None], "empty": {}}


def sent() -> dict[str, Tensor]:
    peers = Mesh(join(30.0, CPU), Degrees(ulysses=3)).along("ulysses")
    rank, found = peers.index, {}
    for dtype in (torch.float32, torch.bfloat16, torch.uint8, torch.int64):
        rows = torch.arange(6, dtype=torch.float32).view(3, 2).add(10 * rank).to(dtype)
        found[f"exchanged {dtype}"] = peers.exchanged(rows)
        found[f"gathered {dtype}"] = peers.gathered(rows[:, 0])
        found[f"from first {dtype}"] = peers.from_first(rows.clone())
    found["scalar"] = peers.gathered(torch.tensor(float(rank)))
    assert peers.told(VALUE if peers.first else None) == VALUE
    assert peers.told(None) is None
    peers.agree("a value", VALUE)
    peers.agree("a tensor", torch.ones(3))
    frames = torch.arange(24, dtype=torch.uint8).view(1, 2, 4, 3).numpy() if peers.first else None
    found["frames"] = torch.from_numpy(shared_frames(peers, frames))
    return found


def test_what_is_sent_arrives() -> None:
    ends = on_ranks(sent, ranks=3)
    for rank, end in enumerate(ends):
        for dtype in (torch.float32, torch.bfloat16, torch.uint8, torch.int64):
            rows = torch.tensor([[0.0, 1], [2, 3], [4, 5]])
            came = torch.stack([(rows + 10 * source)[rank] for source in range(3)])
            assert torch.equal(end[f"exchanged {dtype}"], came.to(dtype)), "row i is what process i sent"
            gathered = torch.stack([(rows + 10 * source)[:, 0] for source in range(3)])
            assert torch.equal(end[f"gathered {dtype}"], gathered.to(dtype))
            assert torch.equal(end[f"from first {dtype}"], rows.to(dtype))
        assert end["scalar"].tolist() == [0, 1, 2]
        assert end["frames"].flatten().tolist() == list(range(24))


def test_who_is_alone_sends_nothing() -> None:
    alone, x = Peers(), torch.randn(1, 4)
    assert torch.equal(alone.exchanged(x), x) and torch.equal(alone.gathered(x)[0], x)
    assert torch.equal(alone.from_first(x), x) and alone.told(VALUE) == VALUE and alone.told() is None
    alone.agree("anything", object())


@pytest.mark.parametrize("frames", [1, 3])
def test_a_share_of_every_frame_comes_back_whole(frames: int) -> None:
    """Without sending: both shares, side by side."""
    x = torch.randn(2, frames * 6, 5)
    shares = [Ulysses(Peers(index=i, size=2)).mine(x, frames) for i in range(2)]
    assert all(share.shape == (2, frames * 3, 5) for share in shares)
    together = torch.stack([share.unflatten(1, (frames, 3)) for share in shares], dim=2)
    assert torch.equal(together.flatten(1, 3), x)


def patience() -> dict[str, Tensor]:
    """By a private name of torch's, so that nobody has to wait for somebody who does not answer."""
    mesh = Mesh(join(25.0, CPU), Degrees(dp=2, cfg=2))
    groups = {"cfg": mesh.along("cfg").group, "together": mesh.together.group, "world": mesh.world.peers.group}
    waits = {name: group._get_backend(CPU).options._timeout for name, group in groups.items() if group is not None}
    return {name: torch.tensor(wait.total_seconds()) for name, wait in waits.items()}


def test_every_group_waits_as_long_as_was_said() -> None:
    for end in on_ranks(patience, ranks=4):
        assert {name: wait.item() for name, wait in end.items()} == {"cfg": 25, "together": 25, "world": 25}


def quarrel(values: list[Any]) -> dict[str, Tensor]:
    world = join(20.0, CPU)
    world.peers.agree("a value", values[world.rank])
    return {}


def test_a_disagreement_names_who_differs() -> None:
    ends = ended_on(quarrel, [1, 1, 2], ranks=3)
    assert {end.code for end in ends} == {2}
    assert all("processes disagree on a value: process 2 has another than process 0" in end.error for end in ends)


def test_diffusers_has_a_plan_for_the_families_that_it_can_share() -> None:
    """Private to diffusers, and pinned with it: LTX and Wan have one; the others are not shared by it at all."""
    from diffusers import (
        CogVideoXTransformer3DModel,
        HunyuanVideoTransformer3DModel,
        LTXVideoTransformer3DModel,
        MochiTransformer3DModel,
        WanTransformer3DModel,
    )

    with_plan = (LTXVideoTransformer3DModel, WanTransformer3DModel)
    without = (CogVideoXTransformer3DModel, HunyuanVideoTransformer3DModel, MochiTransformer3DModel)
    assert all(cls._cp_plan for cls in with_plan) and not any(cls._cp_plan for cls in without)
    assert all(family_of(name) is not None for name in STOCK)


def on_gpus() -> dict[str, Tensor]:
    world = join(60.0, torch.device("cuda", int(os.environ["LOCAL_RANK"])))
    mesh = Mesh(world, Degrees(ulysses=2))
    shards, device = Ulysses(mesh.along("ulysses")), world.device
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 3 * 8, 4 * 16, generator=generator).to(device, torch.bfloat16)
    q, k, v = (shards.mine(x, 3).unflatten(2, (4, 16)) * n for n in (1, 2, 3))
    by_heads = shards.by_heads(q, k, v, frames=3)
    back = shards.by_tokens(by_heads[2], 3)
    mesh.together.agree("tokens", shards.whole(back.flatten(2), 3))
    return {"whole": shards.whole(back.flatten(2), 3).float().cpu(), "x": (x * 3).float().cpu()}


@pytest.mark.gpu
def test_tokens_and_heads_over_two_gpus() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip(f"two GPUs are needed, there are {torch.cuda.device_count()}")
    for end in on_ranks(on_gpus):
        assert torch.equal(end["whole"], end["x"])
