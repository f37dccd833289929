"""Clip parallelism: processes that each hold some of the frames make what one makes with `dual_scope` of clips."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch import distributed as dist

from tests.attention.oracle import visible_LM
from tests.models.tiny import TOKENS, latents, tiny_dit, words
from tests.parallel.two import on_ranks
from vgen.attention import (
    Dense,
    Full,
    Pattern,
    Radial,
    SparseAttention,
    TemporalDecay,
    VideoAttention,
    WindowFusion,
    dual_scope,
)
from vgen.errors import ConfigError
from vgen.models.denoiser import TextBook, WanDenoiser
from vgen.parallel.clips import ClipAttention, ClipCut, ClipDenoiser, DualScope, Windows
from vgen.parallel.mesh import join
from vgen.parallel.peers import Peers
from vgen.samplers import Cue, Guided
from vgen.shapes import TokenGrid


@dataclass(frozen=True)
class Case:
    """A clip on some of three processes, in the order in which they hold its parts."""

    frames: int
    ranks: tuple[int, ...]
    reach: int = 1
    count: int = 2
    inner: str = "dense"
    guided: bool = False

    @property
    def cut(self) -> ClipCut:
        fused = self.inner == "fused"
        scope = Windows(window=3, stride=2) if fused else DualScope(reach=self.reach, count=self.count)
        return ClipCut(frames=self.frames, clips=len(self.ranks), scope=scope)

    @property
    def pattern(self) -> Pattern:
        """What one process attends to."""
        return dual_scope(reach=self.reach, count=self.count, clips=len(self.ranks))


CASES = {
    "two processes": Case(8, (0, 1)),
    "parts of two lengths": Case(7, (0, 1)),
    "parts of two lengths, another order": Case(7, (1, 0)),
    "three processes": Case(7, (0, 1, 2), count=3),
    "three processes, another order": Case(7, (2, 0, 1), count=3),
    "a frame each": Case(3, (0, 1, 2), reach=0, count=1),
    "nothing near": Case(8, (0, 2), reach=0, count=3),
    "everything near": Case(6, (1, 2), reach=9, count=1),
    "one process": Case(5, (1,)),
    "guided": Case(7, (0, 1), guided=True),
    "decay": Case(7, (0, 1), inner="decay"),
    "radial": Case(7, (0, 1), inner="radial"),
    "fused": Case(9, (0, 1), inner="fused"),
    "fused, three processes": Case(8, (2, 0, 1), inner="fused"),
}


def inner_of(case: Case, together: bool) -> VideoAttention:
    """What processes attend with together, and what one does alone."""
    pattern = Full() if together else case.pattern
    match case.inner:
        case "fused":
            return WindowFusion(inner=Dense(), window=3, stride=2, frames=case.frames if together else None)
        case "radial":
            return SparseAttention(Radial(min_reach=2) if together else pattern & Radial(min_reach=2), block=4)
        case "decay":
            return SparseAttention(pattern, bias=TemporalDecay(0.3), executor="gather", block=4)
        case _:
            return Dense() if together else SparseAttention(pattern, executor="gather", block=4)


def denoiser(case: Case, attention: VideoAttention) -> Any:
    dit = tiny_dit()
    model = WanDenoiser(dit=dit, texts=TextBook(dit, [words(1), words(2)]), attention=attention)
    if not case.guided:
        return model
    return Guided(cond=model, uncond=replace(model, texts=TextBook(dit, [words(3)] * 2)), scale=3.0)


def denoised(case: Case, denoise: Any) -> Tensor:
    cues = tuple(Cue(prompt=int(frame > 2)) for frame in range(case.frames))
    sigma_BT = torch.linspace(0.9, 0.3, case.frames)[None].expand(2, -1)
    x_BCTHW = latents(case.frames, batch=2)
    x0: Tensor = denoise(x_BCTHW, sigma_BT, frames=tuple(range(case.frames)), cues=cues, context=None)
    return x0


@dataclass
class Watched:
    """Notes how many keys it is shown."""

    inner: VideoAttention
    keys: int = 0

    def __call__(
        self, q_BLNK: Tensor, k_BMNK: Tensor, v_BMNK: Tensor, *, query: TokenGrid, key: TokenGrid, **said: Any
    ) -> Tensor:
        assert k_BMNK.shape[1] == key.tokens
        self.keys = max(self.keys, k_BMNK.shape[1])
        return self.inner(q_BLNK, k_BMNK, v_BMNK, query=query, key=key, **said)


def all_cases() -> dict[str, Tensor]:
    world, found = join(60.0, torch.device("cpu")), {}
    for name, case in CASES.items():
        group = dist.new_group(list(case.ranks), sort_ranks=False)
        if world.rank not in case.ranks:
            continue
        peers = Peers(index=case.ranks.index(world.rank), size=len(case.ranks), group=group, ranks=case.ranks)
        watched = Watched(inner_of(case, together=True))
        attention = ClipAttention(inner=watched, cut=case.cut, peers=peers)
        found[name] = denoised(case, ClipDenoiser(denoise=denoiser(case, attention), cut=case.cut, peers=peers))
        found[f"{name}: keys"] = torch.tensor(watched.keys)
    return found


Ranks: TypeAlias = list[Mapping[str, Tensor]]


@pytest.fixture(scope="module")
def ranks() -> Ranks:
    return on_ranks(all_cases, ranks=3)


@pytest.mark.parametrize("name", CASES)
def test_processes_make_what_one_makes(name: str, ranks: Ranks) -> None:
    case = CASES[name]
    alone = denoised(case, denoiser(case, inner_of(case, together=False)))
    for rank in case.ranks:
        torch.testing.assert_close(ranks[rank][name], alone, rtol=0, atol=1e-5)
        assert torch.equal(ranks[rank][name], ranks[case.ranks[0]][name]), "all go on with the same"


@pytest.mark.parametrize("name", ["parts of two lengths", "three processes"])
def test_the_order_of_processes_changes_nothing(name: str, ranks: Ranks) -> None:
    assert torch.equal(ranks[0][name], ranks[0][f"{name}, another order"])


def test_one_process_is_none(ranks: Ranks) -> None:
    case = CASES["one process"]
    assert torch.equal(ranks[1]["one process"], denoised(case, denoiser(case, Dense())))


def test_clips_are_not_the_whole(ranks: Ranks) -> None:
    """Or equality would say nothing of them."""
    case = CASES["two processes"]
    dense = denoised(case, denoiser(case, Dense()))
    assert (ranks[0]["two processes"] - dense).abs().max() > 1e-3


def test_a_process_has_keys_of_what_it_sees_alone(ranks: Ranks) -> None:
    for name, case in CASES.items():
        for place, rank in enumerate(case.ranks):
            seen = len(case.cut.own[place]) + len(case.cut.others[place])
            assert case.inner != "fused" or seen < case.frames
            assert int(ranks[rank][f"{name}: keys"]) == seen * TOKENS
    long = ClipCut(frames=400, clips=4, scope=DualScope(reach=8, count=16))
    assert max(map(len, long.others)) <= 2 * 8 + 16


@given(st.integers(1, 30), st.integers(1, 6), st.integers(0, 9), st.integers(1, 9))
def test_a_cut_is_what_the_pattern_keeps(frames: int, clips: int, reach: int, count: int) -> None:
    if clips > frames:
        with pytest.raises(ConfigError, match=f"possible: 1 to {frames}"):
            ClipCut(frames=frames, clips=clips, scope=DualScope(reach=reach, count=count))
        return
    cut = ClipCut(frames=frames, clips=clips, scope=DualScope(reach=reach, count=count))
    assert [t for part in cut.own for t in part] == list(range(frames))
    grid = TokenGrid(frames=tuple(range(frames)), height=1, width=1)
    seen = visible_LM(dual_scope(reach=reach, count=count, clips=clips), grid, grid)
    for own, others in zip(cut.own, cut.others, strict=True):
        assert not set(own) & set(others)
        for t in own:
            assert set(seen[t].nonzero().flatten().tolist()) == {*own, *others}
