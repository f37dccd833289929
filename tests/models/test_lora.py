"""LoRA on a loaded model against stock diffusers, and against W + scale * alpha / rank * B A by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanImageToVideoPipeline, WanPipeline
from diffusers.utils import logging as diffusers_logging
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.folders import layout_transformer, tiny_folder
from tests.loras import Pairs, added, random_pairs, write_pairs
from vgen.config import merge
from vgen.errors import ConfigError, ModelError
from vgen.models.loaded import own_model
from vgen.models.lora_file import lora_targets
from vgen.models.lora_request import LoraRequest, lora_request
from vgen.pipeline import VideoPipeline

PROMPT = "a red ball rolls"
SIZE = {"height": 32, "width": 48, "num_frames": 9}
INITIAL = torch.randn(16, 3, 4, 6, generator=torch.Generator().manual_seed(0))
RANK, ALPHA = 3, 2.0
KINDS = ("diffusers", "wan", "musubi")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    diffusers_logging.disable_progress_bar()
    return tmp_path_factory.mktemp("loras")


@pytest.fixture(scope="module")
def folder(place: Path) -> Path:
    return tiny_folder(place / "wan2.1", layout="wan2.1")


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    return random_pairs(layout_transformer("wan2.1"), rank=RANK)


@pytest.fixture(scope="module")
def loras(place: Path, pairs: Pairs) -> dict[str, Path]:
    """A file of each kind; musubi-tuner always writes an alpha."""
    written = {kind: write_pairs(place / f"{kind}.safetensors", pairs, kind=kind) for kind in KINDS[:2]}
    written |= {
        f"{kind}-a": write_pairs(place / f"{kind}-a.safetensors", pairs, kind=kind, alpha=ALPHA) for kind in KINDS
    }
    return written


def pipeline_of(folder: Path, *lora: Any) -> VideoPipeline:
    return VideoPipeline.from_pretrained(folder, device="cpu", dtype="float32", lora=lora)


def latents_of(pipeline: VideoPipeline, **more: Any) -> Tensor:
    values = {"request.prompt": PROMPT, "request.num_inference_steps": 2, "request.seed": 0, **more}
    values |= {f"request.{name}": value for name, value in SIZE.items()}
    run = pipeline.start(*merge(("test", values)), initial_CTHW=INITIAL)
    return torch.cat([event.latents_BCTHW for event in run if event.latents_BCTHW is not None], dim=2)


def stock_latents(folder: Path, *loras: tuple[Path, float]) -> Tensor:
    stock = WanPipeline.from_pretrained(folder, dtype=torch.float32)
    stock.set_progress_bar_config(disable=True)
    for number, (file, _) in enumerate(loras):
        stock.load_lora_weights(str(file), adapter_name=f"a{number}")
    stock.set_adapters([f"a{i}" for i in range(len(loras))], [scale for _, scale in loras])
    made: Tensor = stock(
        prompt=PROMPT,
        num_inference_steps=2,
        guidance_scale=1.0,
        latents=INITIAL[None],
        output_type="latent",
        max_sequence_length=16,
        **SIZE,
    ).frames
    return made


def weights_of(pipeline: VideoPipeline) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in pipeline.model.dit.state_dict().items()}


def same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("kind", ["diffusers", "wan", "wan-a", "musubi-a"])
def test_latents_equal_stock(folder: Path, loras: dict[str, Path], kind: str) -> None:
    ours = latents_of(pipeline_of(folder, f"{loras[kind]}@0.7"))
    theirs = stock_latents(folder, (loras[kind], 0.7))
    assert (ours - latents_of(pipeline_of(folder))).abs().max() > 0.05
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")  # of stock
def test_several_with_scales_equal_stock(folder: Path, loras: dict[str, Path], place: Path) -> None:
    other = write_pairs(
        place / "other.safetensors", random_pairs(layout_transformer("wan2.1"), rank=5, seed=1), kind="wan"
    )
    ours = latents_of(pipeline_of(folder, f"{loras['diffusers']}@0.5", {"path": other, "scale": -0.25}))
    theirs = stock_latents(folder, (loras["diffusers"], 0.5), (other, -0.25))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["diffusers-a", "wan-a", "musubi-a"])
def test_fused_weights_are_those_by_hand(folder: Path, loras: dict[str, Path], pairs: Pairs, kind: str) -> None:
    before = weights_of(pipeline_of(folder))
    pipeline = pipeline_of(folder, f"{loras[kind]}@0.7")
    unfused = latents_of(pipeline)
    pipeline.fuse_lora()
    wanted = added(before, pairs, 0.7 * ALPHA / RANK)
    for name, layer in lora_targets(pipeline.model.dit).items():
        torch.testing.assert_close(layer.weight, wanted[f"{name}.weight"], rtol=0, atol=1e-6)
    torch.testing.assert_close(latents_of(pipeline), unfused, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_unloaded_weights_are_the_bits_before(folder: Path, loras: dict[str, Path], dtype: str) -> None:
    pipeline = VideoPipeline.from_pretrained(folder, device="cpu", dtype=dtype)
    before = weights_of(pipeline)
    pipeline.load_lora(f"{loras['wan-a']}@0.7")
    pipeline.load_lora(loras["diffusers"])
    pipeline.fuse_lora()
    pipeline.unfuse_lora()
    on = pipeline.model.dit.state_dict()
    assert all(torch.equal(before[name.replace(".base_layer", "")], on[name]) for name in on if ".lora_" not in name)
    pipeline.fuse_lora()
    pipeline.unload_lora()
    assert same_bits(weights_of(pipeline), before)
    assert own_model(pipeline.model).adapters.requests == ()
    pipeline.load_lora(loras["wan"])  # and again
    pipeline.unload_lora()
    assert same_bits(weights_of(pipeline), before)


def test_what_is_in_the_wrong_order_is_refused(folder: Path, loras: dict[str, Path]) -> None:
    pipeline = pipeline_of(folder)
    for asked in (pipeline.fuse_lora, pipeline.unload_lora, pipeline.unfuse_lora):
        with pytest.raises(ConfigError, match="LoRA"):
            asked()
    pipeline.load_lora(loras["wan"])
    pipeline.fuse_lora()
    with pytest.raises(ConfigError, match="fused already"):
        pipeline.fuse_lora()
    with pytest.raises(ConfigError, match="unfuse them"):
        pipeline.load_lora(loras["diffusers"])


def test_metadata_of_diffusers_says_the_alpha(folder: Path, pairs: Pairs, tmp_path: Path) -> None:
    """What `save_lora_weights` writes where alpha and rank differ."""
    layers = {f"{name}.lora_A.weight": down for name, (down, _) in pairs.items()}
    layers |= {f"{name}.lora_B.weight": up for name, (_, up) in pairs.items()}
    config = {"r": RANK, "lora_alpha": 6, "alpha_pattern": {"blocks.1.attn1.to_q": 1}, "target_modules": list(pairs)}
    WanPipeline.save_lora_weights(tmp_path, layers, transformer_lora_adapter_metadata=config)
    ours = latents_of(pipeline_of(folder, tmp_path))
    torch.testing.assert_close(ours, stock_latents(folder, (tmp_path, 1.0)), rtol=0, atol=1e-4)


@pytest.mark.parametrize("rslora", [False, True])
def test_a_folder_of_peft(folder: Path, pairs: Pairs, tmp_path: Path, rslora: bool) -> None:
    """What `PeftModel.save_pretrained` writes; its alpha stands beside the weights."""
    names = {"lora_A": 0, "lora_B": 1}
    tensors = {
        f"base_model.model.{name}.{end}.weight": pair[i] for name, pair in pairs.items() for end, i in names.items()
    }
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=r"whose adapter_config\.json says the alpha"):
        pipeline_of(folder, tmp_path)
    config = {"lora_alpha": 6, "use_rslora": rslora, "peft_type": "LORA"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    before, pipeline = weights_of(pipeline_of(folder)), pipeline_of(folder, tmp_path)
    pipeline.fuse_lora()
    wanted = added(before, pairs, 6 / RANK**0.5 if rslora else 6 / RANK)
    for name, layer in lora_targets(pipeline.model.dit).items():
        torch.testing.assert_close(layer.weight, wanted[f"{name}.weight"], rtol=0, atol=1e-5)


def test_bias_and_full_differences(folder: Path, pairs: Pairs, tmp_path: Path) -> None:
    """Keys of extracted LoRA: a bias with and without a LoRA of its layer, a whole matrix, zeros of a norm."""
    before = weights_of(pipeline_of(folder))
    generator = torch.Generator().manual_seed(3)
    file = write_pairs(tmp_path / "a.safetensors", pairs, kind="wan", alpha=ALPHA)
    head, out = before["proj_out.weight"], torch.randn(before["proj_out.bias"].shape, generator=generator)
    extra = {
        "diffusion_model.blocks.0.self_attn.q.diff_b": torch.randn(48, generator=generator),
        "diffusion_model.time_projection.1.diff_b": torch.randn(288, generator=generator),
        "diffusion_model.head.head.diff": torch.randn(head.shape, generator=generator),
        "diffusion_model.head.head.diff_b": out,
        "diffusion_model.patch_embedding.lora_down.weight": torch.randn(2, 16, 1, 2, 2, generator=generator),
        "diffusion_model.patch_embedding.lora_up.weight": torch.randn(48, 2, 1, 1, 1, generator=generator),
        "diffusion_model.blocks.0.norm3.diff": torch.zeros(48),
    }
    save_file(load_file(file) | extra, file)
    pipeline = pipeline_of(folder, f"{file}@0.5")
    pipeline.fuse_lora()
    layers, (q, time, whole, _, down, up, _) = lora_targets(pipeline.model.dit), extra.values()
    wanted = {
        "blocks.0.attn1.to_q.bias": 0.5 * q,
        "condition_embedder.time_proj.bias": 0.5 * time,
        "proj_out.weight": 0.5 * whole,
        "proj_out.bias": 0.5 * out,
        "patch_embedding.weight": 0.5 * (up.flatten(1) @ down.flatten(1)).view(48, 16, 1, 2, 2),
    }
    for name, delta in wanted.items():
        layer, _, kind = name.rpartition(".")
        torch.testing.assert_close(getattr(layers[layer], kind), before[name] + delta, rtol=0, atol=1e-5)
    pipeline.unload_lora()
    assert same_bits(weights_of(pipeline), before)
    save_file(load_file(file) | {"diffusion_model.blocks.0.norm3.diff": torch.ones(48)}, file)
    with pytest.raises(ModelError, match=r"norm3.diff changes a layer that takes no LoRA"):
        pipeline.load_lora(file)
    assert same_bits(weights_of(pipeline), before)


@pytest.mark.parametrize("kind", KINDS)
def test_image_projections_count(place: Path, tmp_path: Path, kind: str) -> None:
    """Of the I2V line, whose blocks have `add_k_proj` and `add_v_proj`; the converted names are those of diffusers."""
    folder = place / "i2v"
    if not folder.is_dir():
        tiny_folder(folder, layout="i2v")
    pairs = random_pairs(layout_transformer("i2v"))
    assert any("add_k_proj" in name for name in pairs)
    file = write_pairs(tmp_path / "a.safetensors", pairs, kind=kind, alpha=None if kind == "diffusers" else ALPHA)
    pipeline = pipeline_of(folder, file)
    (lora,) = own_model(pipeline.model).adapters._loaded
    state = lora.state(lora_targets(pipeline.model.dit), torch.device("cpu"), torch.float32)
    theirs = WanImageToVideoPipeline.lora_state_dict(str(file))
    assert {f"transformer.{name}" for name in state} == theirs.keys()
    for name in pairs:
        ours = state[f"{name}.lora_B.weight"] @ state[f"{name}.lora_A.weight"]
        stock = (theirs[f"transformer.{name}.lora_{end}.weight"] for end in "BA")
        torch.testing.assert_close(ours, torch.matmul(*stock), rtol=0, atol=1e-6)


def test_two_experts_take_one_each(place: Path, tmp_path: Path) -> None:
    folder = tiny_folder(place / "a14b", layout="t2v-a14b")
    file = write_pairs(tmp_path / "a.safetensors", random_pairs(layout_transformer("t2v-a14b")), kind="wan")
    first, second = pipeline_of(folder, file), pipeline_of(folder, {"path": file, "transformer": 2})
    low_noise = own_model(second.model).dit_2
    assert low_noise is not None
    assert not any(".lora_A." in name for name in second.model.dit.state_dict())
    assert any(".lora_A." in name for name in low_noise.state_dict())
    assert "for high noise, alone" in own_model(first.model).adapters.notes[0]
    assert "for low noise, alone" in own_model(second.model).adapters.notes[0]
    assert (latents_of(first) - latents_of(second)).abs().max() > 1e-3
    with pytest.raises(ModelError, match="one"):
        pipeline_of(place / "wan2.1", {"path": file, "transformer": 2})


def test_the_cache_of_a_causal_run_sees_it(folder: Path, loras: dict[str, Path]) -> None:
    """Keys and values of committed frames are those of the weights with the LoRA merged by hand."""
    causal = {"sampler.name": "causal", "attention.name": "radial"}
    pipeline = pipeline_of(folder, loras["wan-a"])
    ours = latents_of(pipeline, **causal)
    pairs = random_pairs(layout_transformer("wan2.1"), rank=RANK)
    bare = pipeline_of(folder)
    without = latents_of(bare, **causal)
    bare.model.dit.load_state_dict(added(weights_of(bare), pairs, ALPHA / RANK))
    torch.testing.assert_close(ours, latents_of(bare, **causal), rtol=0, atol=1e-4)
    assert (ours - without).abs().max() > 0.05


def broken(pairs: Pairs, what: str) -> dict[str, Tensor]:
    """A file in which one thing is wrong."""
    tensors = {
        f"transformer.{name}.lora_{end}.weight": tensor
        for name, pair in pairs.items()
        for end, tensor in zip("AB", pair, strict=True)
    }
    first = "transformer.blocks.0.attn1.to_q"
    down, up = tensors[f"{first}.lora_A.weight"], tensors[f"{first}.lora_B.weight"]
    changes: dict[str, dict[str, Tensor | None]] = {
        "foreign": {f"transformer.blocks.{i}.attn1.to_q.lora_A.weight": down for i in range(7, 16)},
        "text encoder": {"lora_te_layers_0_q.lora_down.weight": down},
        "alone": {f"{first}.lora_B.weight": None},
        "shape": {f"{first}.lora_A.weight": down[:, 1:].contiguous()},
        "rank": {f"{first}.lora_A.weight": torch.zeros(2000, 48), f"{first}.lora_B.weight": torch.zeros(48, 2000)},
        "type": {f"{first}.lora_A.weight": down.to(torch.int8)},
        "dora": {f"{first}.dora_scale": up[:, 0].contiguous()},
        "nan": {f"{first}.lora_A.weight": torch.full_like(down, float("nan"))},
        "alpha": {f"{first}.alpha": torch.zeros(2)},
        "twice": {"diffusion_model.blocks.0.self_attn.q.lora_down.weight": down},
    }
    return {key: tensor.clone() for key, tensor in (tensors | changes[what]).items() if tensor is not None}


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("foreign", r"9 of 49 keys match nothing in the transformer of '.*': transformer.blocks.1.*, \.\.\.; is it"),
        ("text encoder", "1 of 41 keys match nothing"),
        ("alone", "stands alone"),
        ("shape", r"is of shape \[3, 47\], layer blocks.0.attn1.to_q of the model asks for \[3, 48\]"),
        ("rank", "of rank 2000; possible: 1 to 1024"),
        ("type", "is of type I8"),
        ("dora", "is of DoRA, which is not supported"),
        ("nan", "not finite"),
        ("alpha", "an alpha is one number"),
        ("twice", "both say the same of one layer"),
    ],
)
def test_what_does_not_fit_is_refused(folder: Path, pairs: Pairs, tmp_path: Path, what: str, words: str) -> None:
    file = tmp_path / "a.safetensors"
    save_file(broken(pairs, what), file)
    with pytest.raises(ModelError, match=words) as refused:
        pipeline_of(folder, file)
    assert "\n" not in str(refused.value)


def test_places_without_a_lora_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"x")
    (tmp_path / "b.safetensors").write_bytes(b"x" * 64)
    (tmp_path / "empty").mkdir()
    asked = {
        "a.bin": "only safetensors",
        "b.safetensors": "damaged",
        "empty": "one safetensors file",
        "c": "no such file",
    }
    for name, words in asked.items():
        with pytest.raises(ModelError, match=words):
            pipeline_of(folder, tmp_path / name)
    with pytest.raises(ModelError, match="hf download Someone/Something"):
        pipeline_of(folder, "Someone/Something")


@pytest.mark.parametrize(
    "config", [{"use_dora": True}, {"lora_alpha": "9"}, {"alpha_pattern": {"(a+)+$": 1}}, ["no mapping"]]
)
def test_a_config_in_the_header_is_held_to_what_is_honoured(
    folder: Path, pairs: Pairs, tmp_path: Path, config: Any
) -> None:
    file = write_pairs(tmp_path / "a.safetensors", pairs, kind="diffusers")
    save_file(load_file(file), file, metadata={"lora_adapter_metadata": json.dumps(config)})
    with pytest.raises(ModelError, match=r"a\.safetensors: its "):
        pipeline_of(folder, file)


def test_words_for_a_lora() -> None:
    assert lora_request("a.safetensors@0.8") == LoraRequest(path="a.safetensors", scale=0.8)
    assert lora_request("ORG/NAME@main") == LoraRequest(path="ORG/NAME@main")
    assert lora_request("ORG/NAME@main@-2") == LoraRequest(path="ORG/NAME@main", scale=-2)
    for wrong in ("", "a@nan", "a@1e9", {"path": "a", "rank": 3}, {"path": "a", "transformer": 3}, {"scale": 1}, 7):
        with pytest.raises(ConfigError, match="LoRA"):
            lora_request(wrong)  # type: ignore[arg-type]
