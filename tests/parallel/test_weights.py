"""Weights shared by two processes: the same to the bit as in one, from half of them each."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import pytest
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from tests.folders import layout_transformer, tiny_folder
from tests.loras import random_pairs, write_pairs
from tests.models.tiny import latents, tiny_dit, words
from tests.parallel.two import on_ranks
from tests.stock.folders import stock_folder
from vgen.attention import Dense, SparseAttention, dual_scope
from vgen.errors import ConfigError, ModelError
from vgen.models.cache import KVCache
from vgen.models.dit import VideoDiT
from vgen.models.load import load_model
from vgen.models.loaded import own_model
from vgen.models.lora_request import LoraRequest
from vgen.models.quantization import Quantization, stored_bytes
from vgen.parallel.clips import ClipAttention, ClipCut, DualScope
from vgen.parallel.degrees import Degrees
from vgen.parallel.mesh import Mesh, World, join
from vgen.parallel.ulysses import Ulysses
from vgen.parallel.weights import SharedWeights
from vgen.performance import rungs_of
from vgen.placement import Placement, shares_on_device
from vgen.schema import PerformanceConfig

CPU = torch.device("cpu")
Ranks: TypeAlias = list[Mapping[str, Tensor]]


def mixed() -> VideoDiT:
    """As a Wan folder loads in bfloat16: norms, tables and the embedding of time stay in float32."""
    dit = tiny_dit().bfloat16()
    for name, weight in dit.named_parameters():
        if any(part in name for part in dit._keep_in_fp32_modules):
            weight.data = weight.data.float()
    assert {weight.dtype for weight in dit.blocks.parameters()} == {torch.bfloat16, torch.float32}
    return dit


MODELS = {"float32": tiny_dit, "mixed": mixed}


@torch.no_grad()
def passes(dit: VideoDiT) -> dict[str, Tensor]:
    """The texts' keys, two passes, and one over a memory that is written to."""
    text = dit.prepare_text(words().to(dit.dtype))
    x, levels = latents(3).to(dit.patch_embedding.weight.dtype), torch.tensor([[0.9, 0.5, 0.2]])
    cache = KVCache(layers=2, capacity=3, turned=True)
    dit(x[:, :, :2], torch.zeros(1, 1), text, frames=(0, 1), context=cache, commit=True)
    return {
        "text": text.layers[1].k_BMNK,
        "first": dit(x, levels, text),
        "second": dit(x.flip(2), levels, text),
        "memory": dit(x[:, :, 2:], levels[:, 2:], text, frames=(2,), context=cache),
    }


def share(world: World, degrees: Degrees) -> tuple[Mesh, SharedWeights]:
    mesh = Mesh(world, degrees)
    return mesh, SharedWeights(peers=mesh.together, device=CPU)


def held(dit: VideoDiT) -> Tensor:
    assert all(isinstance(weight, DTensor) for weight in dit.parameters()), "nothing is left whole"
    return torch.tensor(sum(map(stored_bytes, dit.parameters())))


def shared() -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    world = join(60.0, CPU)
    _, shares = share(world, Degrees(ulysses=2, fsdp=True))
    for name, make in MODELS.items():
        shares(dit := make())
        found |= {f"{name}: {what}": value for what, value in passes(dit).items()}
        found[f"{name}: bytes"] = held(dit)
    return found | on_top(world)


@torch.no_grad()
def on_top(world: World) -> dict[str, Tensor]:
    """With tokens, and with frames, over the same processes."""
    found: dict[str, Tensor] = {}
    text, levels = words(), torch.tensor([[0.9, 0.5, 0.2]])
    mesh, shares = share(world, Degrees(ulysses=2, fsdp=True))
    shares(dit := tiny_dit())
    found["ulysses"] = dit(latents(3), levels, text, shards=Ulysses(mesh.along("ulysses")))
    mesh, shares = share(world, Degrees(clips=2, fsdp=True))
    shares(dit := tiny_dit())
    cut, clips = ClipCut(frames=4, clips=2, scope=DualScope(reach=1, count=1)), mesh.along("clips")
    attention, part = ClipAttention(inner=Dense(), cut=cut, peers=clips), cut.own[clips.index]
    x = latents(4)[:, :, part.start : part.stop]
    found["clips"] = dit(x, torch.full((1, 2), 0.5), text, frames=tuple(part), attention=attention)
    return found


@pytest.fixture(scope="module")
def ranks() -> Ranks:
    return on_ranks(shared)


@pytest.mark.parametrize("what", ["text", "first", "second", "memory"])
@pytest.mark.parametrize("name", MODELS)
def test_shared_weights_change_no_bit(ranks: Ranks, name: str, what: str) -> None:
    alone = passes(MODELS[name]())[what]
    for rank in ranks:
        assert torch.equal(rank[f"{name}: {what}"], alone)


@pytest.mark.parametrize("name", MODELS)
def test_each_process_keeps_half(ranks: Ranks, name: str) -> None:
    whole = sum(map(stored_bytes, MODELS[name]().parameters()))
    parts = [int(rank[f"{name}: bytes"]) for rank in ranks]
    assert sum(parts) == whole
    assert max(parts) < 0.55 * whole


@torch.no_grad()
def test_other_ways_of_sharing_go_on_top(ranks: Ranks) -> None:
    dit, text = tiny_dit(), words()
    alone = dit(latents(3), torch.tensor([[0.9, 0.5, 0.2]]), text)
    for rank in ranks:
        torch.testing.assert_close(rank["ulysses"], alone, rtol=0, atol=2e-6)
    attention = SparseAttention(dual_scope(reach=1, count=1, clips=2), executor="gather", block=4)
    whole = dit(latents(4), torch.full((1, 4), 0.5), text, attention=attention)
    torch.testing.assert_close(torch.cat([rank["clips"] for rank in ranks], dim=2), whole, rtol=0, atol=1e-5)


def loaded(folder: str, lora: str) -> dict[str, Tensor]:
    _, shares = share(join(60.0, CPU), Degrees(clips=2, fsdp=True))
    loras = [LoraRequest(path=lora, scale=0.5)]
    model = own_model(load_model(folder, device=CPU, dtype=torch.float32, lora=loras, shares=shares))
    residence = model.residence
    assert residence.parts_mib["vae"] == sum(map(stored_bytes, model.vae.parameters())) / 2**20
    with pytest.raises(ConfigError, match="LoRA are put on before several processes share the weights"):
        residence.weights_change()
    residence.use("transformer")
    found = {"mib": torch.tensor(residence.parts_mib["transformer"]), "bytes": held(model.dit)}
    with pytest.raises(ConfigError, match=r"parallel\.fsdp on weights that are quantised"):
        load_model(folder, device=CPU, dtype=torch.float32, quantization=Quantization.of("int8wo", None), shares=shares)
    with torch.no_grad():
        return found | {"out": model.dit(latents(3), torch.tensor([[0.9, 0.5, 0.2]]), words())}


def test_a_folder_loads_with_its_lora_and_then_stays_as_it_is(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "wan", layout="wan2.1")
    lora = write_pairs(tmp_path / "lora.safetensors", random_pairs(layout_transformer("wan2.1")), kind="diffusers")
    model = own_model(
        load_model(str(folder), device=CPU, dtype=torch.float32, lora=[LoraRequest(path=str(lora), scale=0.5)])
    )
    with torch.no_grad():
        alone = model.dit(latents(3), torch.tensor([[0.9, 0.5, 0.2]]), words())
    whole_mib = model.residence.parts_mib["transformer"]
    expected = shares_on_device({"transformer": whole_mib}, 2, model.dit.config.num_layers)["transformer"]
    for rank in on_ranks(loaded, str(folder), str(lora)):
        assert torch.equal(rank["out"], alone)
        assert float(rank["mib"]) == pytest.approx(expected)
        assert int(rank["bytes"]) < 0.55 * whole_mib * 2**20


def test_shares_are_counted_with_the_blocks_that_run() -> None:
    parts = {"text_encoder": 10.0, "transformer": 80.0, "transformer_2": 40.0, "vae": 1.0}
    shared = {"transformer": 24.0, "transformer_2": 12.0}
    assert shares_on_device(parts, 4, 40) == parts | shared
    assert shares_on_device({"transformer": 80.0}, 2, 2) == {"transformer": 80.0}


def test_shared_weights_are_not_moved_or_cast() -> None:
    assert rungs_of(PerformanceConfig(), shared=True) == (Placement(), Placement(keep_text_encoder=False))
    offloaded, stored = PerformanceConfig(offload="model"), PerformanceConfig(storage="bfloat16")
    for asked in (offloaded, stored, PerformanceConfig(mode="memory")):
        with pytest.raises(ConfigError, match=r"parallel\.fsdp keeps shares .* rules out .*; possible: --performance"):
            rungs_of(asked, shared=True)


def test_weights_of_stock_pipelines_are_not_shared(tmp_path: Path) -> None:
    shares = SharedWeights(peers=Mesh.solo().together, device=CPU)
    folder = stock_folder(tmp_path / "mochi", "mochi")
    with pytest.raises(ModelError, match=r"MochiPipeline, whose weights are not shared by parallel\.fsdp"):
        load_model(str(folder), device=CPU, dtype=torch.float32, shares=shares)
