"""Variants of a model: what names them, what they may hold, and that their weights are W + B A by hand."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.folders import layout_transformer, tiny_folder
from tests.loras import added, random_pairs, write_pairs
from tests.variants import FAST, variant_pairs, write_variant
from vgen.errors import ConfigError, ModelError
from vgen.models.folder import describe, open_folder
from vgen.models.load import load_model, load_skeleton
from vgen.models.loaded import LoadedModel, own_model
from vgen.models.lora_file import lora_targets
from vgen.models.lora_request import LoraRequest
from vgen.models.quantization import Quantization
from vgen.models.variant import split_variant, variants_of
from vgen.pipeline import VideoPipeline
from vgen.placement import Placement

CPU = torch.device("cpu")
LORA = "variants/fast/lora.safetensors"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_folder(tmp_path_factory.mktemp("models") / "tiny", layout="wan2.1")
    write_variant(folder, pairs=variant_pairs())
    write_variant(folder, "short", card="num_frames: 5\n")
    write_variant(folder, "style", card=None, pairs=variant_pairs())
    return folder


@pytest.fixture
def bare(place: Path, tmp_path: Path) -> Path:
    """The model without variants, for a test to give it some."""
    return Path(shutil.copytree(place, tmp_path / "bare", ignore=shutil.ignore_patterns("variants")))


def loaded(model: str, dtype: torch.dtype = torch.float32, **more: Any) -> LoadedModel:
    return own_model(load_model(model, device=CPU, dtype=dtype, **more))


def weights_of(model: LoadedModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.dit.state_dict().items()}


def targets_of(model: LoadedModel) -> dict[str, Tensor]:
    """Weights of layers that a LoRA may change, whatever is around them."""
    return {name: cast(Tensor, layer.weight).clone() for name, layer in lora_targets(model.dit).items()}


def assert_same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def refused(call: Callable[[], Any], *words: str, kind: type[Exception] = ModelError) -> None:
    """One line that holds all of these words."""
    with pytest.raises(kind) as caught:
        call()
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


# what names them


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ("playground", ("playground", None)),
        ("playground:fast", ("playground", "fast")),
        ("a/b:fast", ("a/b", "fast")),
        ("a/b@v1.0:fast", ("a/b@v1.0", "fast")),
        ("/x:y/model", ("/x:y/model", None)),
        ("/x:y/model:fast", ("/x:y/model", "fast")),
        ("playground:", ("playground", "")),
        ("a:b:c", ("a:b", "c")),
        ("https://x/y", ("https://x/y", None)),
    ],
)
def test_the_last_colon_parts_model_and_variant(model: str, parts: tuple[str, str | None]) -> None:
    assert split_variant(model) == parts


NAMES = st.text(min_size=1, max_size=20).filter(lambda name: not {"/", ":", "\0"} & {*name})


@settings(max_examples=50)
@given(base=st.text(min_size=1, max_size=20).filter(lambda text: "\0" not in text), name=NAMES)
def test_whatever_the_model_its_variant_is_found(base: str, name: str) -> None:
    assert split_variant(f"/nowhere/{base}:{name}") == (f"/nowhere/{base}", name)


def test_a_folder_with_a_colon_goes_before_a_variant(place: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(place, tmp_path / "tiny:fast"))
    assert describe(str(folder))[1].num_inference_steps == 4
    assert describe(f"{folder}:fast")[1].num_inference_steps == 2


def test_the_embedded_name_goes_before_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("playground:fast").mkdir()
    assert split_variant("playground:fast") == ("playground", "fast")


def test_a_name_that_is_none_says_which_there_are(place: Path, bare: Path) -> None:
    refused(lambda: open_folder(f"{place}:fsat"), "has no variant 'fsat'; did you mean 'fast'? possible: fast, short")
    refused(lambda: open_folder(f"{bare}:fast"), f"'{bare}' has no variant 'fast'; it has none", "without ':fast'")
    refused(lambda: open_folder("nowhere:fast"), "model 'nowhere' is neither a name nor a folder", ":VARIANT")


@pytest.mark.parametrize("path", ["..", ".", "", "../variants/fast", "fast/..", "fast/"])
def test_a_path_is_no_name(place: Path, path: str) -> None:
    refused(lambda: open_folder(f"{place}:{path}"), "neither" if "/" in path else f"has no variant '{path}'")


def test_hidden_folders_and_files_are_no_variants(bare: Path) -> None:
    write_variant(bare, ".cache")
    (bare / "variants" / "note.txt").write_text("")
    assert variants_of(bare) == []


# the card


def test_the_card_is_the_models_but_for_what_it_says(place: Path) -> None:
    own, fast = describe(str(place))[1], describe(f"{place}:fast")[1]
    said = {"sampler": "causal", "solver": "renoise", "num_inference_steps": 2, "sigmas": [1.0, 0.5]}
    kept = [name for name in own.__dataclass_fields__ if name not in said and name != "name"]
    assert {name: getattr(fast, name) for name in said} == said
    assert [name for name in kept if getattr(fast, name) != getattr(own, name)] == []
    assert (own.name, fast.name) == ("tiny", "tiny:fast")
    assert describe(f"{place}:style")[1].num_inference_steps == 4
    with pytest.raises(ModelError, match="no variant"):
        describe(f"{place}:tiny")


def test_a_card_of_a_preset_can_be_varied(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare / "vgen.yaml").rename(bare / "configs.yaml")
    (bare / "configs.yaml").write_text((bare / "configs.yaml").read_text() + "match: {transformer: {num_layers: 2}}\n")
    (bare / "models").mkdir()
    (bare / "configs.yaml").rename(bare / "models" / "tiny.yaml")
    write_variant(bare)

    class Shipped:
        def joinpath(self, *_: str) -> Path:
            return bare / "models"

    monkeypatch.setattr("vgen.models.card.files", lambda _: Shipped())
    assert (describe(str(bare))[1].name, describe(f"{bare}:fast")[1].num_inference_steps) == ("tiny", 2)


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ("steps: 4\n", "vgen.yaml: not a model card: Key 'steps'"),
        ("num_inference_steps: 3\nsigmas: [1.0, 0.5]\n", "sigmas=[1.0, 0.5] is not possible in a model card"),
        ("sampler: rolling-forcing\n", "sampler='rolling-forcing' is not possible in a model card"),
        ("guidance_scale: -1\n", "guidance_scale=-1.0 is not possible"),
        ("height: 36\n", "the model card's height 36 is no multiple of 16"),
        ("image: channels\n", "image"),
        ("name: ${oc.env:HOME}\n", "holds an interpolation"),
        ("", "a mapping is needed"),
    ],
)
def test_a_card_is_checked_as_the_models_is(bare: Path, card: str, words: str) -> None:
    own = write_variant(bare, card=card)
    refused(lambda: describe(f"{bare}:fast"), words, str(own))
    assert describe(str(bare))[1].name == "tiny"  # a variant that is wrong is nobody else's business


def test_a_wrong_card_of_the_model_is_the_models(bare: Path) -> None:
    write_variant(bare, card="fps: 9\n")
    (bare / "vgen.yaml").write_text((bare / "vgen.yaml").read_text().replace("fps: 8", "fps: 0"))
    refused(lambda: describe(f"{bare}:fast"), str(bare / "vgen.yaml"), "fps=0")


# what lies in it


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "neither vgen.yaml nor a LoRA"),
        ({"README.md": "x"}, "neither vgen.yaml nor a LoRA"),
        ({"a.safetensors": "", "b.safetensors": ""}, "has one LoRA at most, found a.safetensors, b.safetensors"),
        ({"vgen.yaml": FAST, "lora.pt": ""}, "the LoRA is pickled (lora.pt), which can run code"),
        ({"vgen.yaml": FAST, "adapter_model.bin": ""}, "the LoRA is pickled (adapter_model.bin)"),
    ],
)
def test_what_is_no_variant_is_refused(bare: Path, files: dict[str, str], words: str) -> None:
    own = write_variant(bare, card=None)
    for name, text in files.items():
        (own / name).write_text(text)
    refused(lambda: open_folder(f"{bare}:fast"), words, str(own))


def test_a_link_out_of_the_folder_is_refused(bare: Path, tmp_path: Path) -> None:
    write_pairs(tmp_path / "out.safetensors", variant_pairs(), kind="wan")
    (write_variant(bare) / "lora.safetensors").symlink_to(tmp_path / "out.safetensors")
    refused(lambda: open_folder(f"{bare}:fast"), "a link out of the model folder")


def test_a_lora_of_another_model_or_a_damaged_one_is_refused(bare: Path) -> None:
    file = write_variant(bare, pairs=random_pairs(layout_transformer("i2v"))) / "lora.safetensors"
    name = f"{bare}:fast"
    refused(lambda: loaded(name), "match nothing", f"'{name}'")
    refused(lambda: load_skeleton(name, device=CPU, dtype=torch.float32), "match nothing", f"'{name}'")
    file.write_bytes(b"\x80\x04pickle")
    refused(lambda: loaded(name), "damaged, no safetensors file")
    pairs = variant_pairs()
    write_pairs(file, {layer: (down / 0, up) for layer, (down, up) in pairs.items()}, kind="wan")
    refused(lambda: loaded(name), "not finite")


# the weights


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_are_those_of_the_lora_fused_to_the_bit(place: Path, dtype: torch.dtype) -> None:
    asked = loaded(str(place), dtype, lora=[LoraRequest(path=str(place / LORA))])
    asked.adapters.fuse()
    variant = loaded(f"{place}:fast", dtype)
    assert_same_bits(targets_of(variant), targets_of(asked))
    assert weights_of(variant).keys() == weights_of(loaded(str(place))).keys()  # plain layers, nothing around them
    assert variant.adapters.requests == () and variant.adapters.rows() == []
    assert variant.adapters.notes == ("LoRA lora.safetensors at scale 1 on 20 layers, the variant's, in the weights",)


def test_weights_are_those_by_hand(place: Path) -> None:
    before, after = weights_of(loaded(str(place))), weights_of(loaded(f"{place}:fast"))
    wanted = added(before, variant_pairs(), 1.0)
    assert sum(not torch.equal(before[name], after[name]) for name in before) == 20
    for name, value in after.items():
        torch.testing.assert_close(value, wanted[name], rtol=0, atol=1e-6)


def test_a_card_alone_changes_no_weight(place: Path) -> None:
    assert_same_bits(weights_of(loaded(f"{place}:short")), weights_of(loaded(str(place))))
    assert_same_bits(weights_of(loaded(f"{place}:style")), weights_of(loaded(f"{place}:fast")))
    assert loaded(f"{place}:short").adapters.notes == ()


def test_other_loras_go_on_top_and_off_to_the_bit(place: Path, tmp_path: Path) -> None:
    pairs = random_pairs(layout_transformer("wan2.1"), rank=2, seed=9)
    file = write_pairs(tmp_path / "top.safetensors", pairs, kind="diffusers")
    pipeline = VideoPipeline.from_pretrained(f"{place}:fast", device="cpu", dtype="float32")
    model = own_model(pipeline.model)
    variant, targets = weights_of(model), targets_of(model)
    pipeline.load_lora(f"{file}@0.5")
    assert len(model.adapters.notes) == 2
    pipeline.fuse_lora()
    wanted = added(variant, pairs, 0.5)
    for name, weight in targets_of(model).items():
        torch.testing.assert_close(weight, wanted[f"{name}.weight"], rtol=0, atol=1e-6)
    pipeline.unfuse_lora()
    assert_same_bits(targets_of(model), targets)
    pipeline.fuse_lora()
    pipeline.unload_lora()
    assert_same_bits(weights_of(model), variant)
    with pytest.raises(ConfigError, match="no LoRA to unload"):
        pipeline.unload_lora()


@pytest.mark.parametrize("placement", [Placement(offload="model"), Placement(offload="group")])
def test_wherever_weights_rest_they_are_the_variants(place: Path, placement: Placement) -> None:
    model, wanted = loaded(f"{place}:fast", rungs=(placement,)), weights_of(loaded(f"{place}:fast"))
    model.residence.settle(Placement())
    model.residence.use("transformer")
    assert_same_bits(weights_of(model), wanted)


def test_a_narrow_storage_holds_the_variants_weights(place: Path) -> None:
    narrow = loaded(f"{place}:fast", rungs=(Placement(storage="float8_e4m3fn"),))
    name = "blocks.0.ffn.net.0.proj.weight"
    assert torch.equal(weights_of(narrow)[name], weights_of(loaded(f"{place}:fast"))[name].to(torch.float8_e4m3fn))


def test_quantised_weights_take_no_lora_of_a_variant(place: Path) -> None:
    pytest.importorskip("torchao")
    kept = Quantization(scheme="int8wo")
    refused(
        lambda: loaded(f"{place}:fast", quantization=kept),
        "a variant's LoRA on weights that are quantised (int8wo) is not supported; name the model without ':fast'",
        kind=ConfigError,
    )
    skeleton = load_skeleton(f"{place}:short", device=CPU, dtype=torch.float32, quantization=kept)
    assert skeleton.card.num_frames == 5


def test_a_skeleton_weighs_as_the_model_does(place: Path) -> None:
    own, fast = (load_skeleton(name, device=CPU, dtype=torch.float32) for name in (str(place), f"{place}:fast"))
    assert fast.residence.parts_mib == own.residence.parts_mib and fast.card.sampler == "causal"
    assert fast.adapters.notes == loaded(f"{place}:fast").adapters.notes


def test_of_two_transformers_the_first_is_changed(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "a14b", layout="t2v-a14b")
    write_variant(folder, card=None, pairs=variant_pairs("t2v-a14b"))
    own, fast = loaded(str(folder)), loaded(f"{folder}:fast")
    assert own.dit_2 is not None and fast.dit_2 is not None
    assert_same_bits(own.dit_2.state_dict(), fast.dit_2.state_dict())
    assert not torch.equal(targets_of(own)["blocks.0.attn1.to_q"], targets_of(fast)["blocks.0.attn1.to_q"])
    assert "of the first transformer, for high noise, alone, the variant's" in fast.adapters.notes[0]


# what a record holds


def test_digests_are_of_the_model_and_of_this_variant(bare: Path) -> None:
    own = write_variant(bare, pairs=variant_pairs())
    write_variant(bare, "other", card="fps: 9\n")
    before, plain = loaded(f"{bare}:fast").digests(), loaded(str(bare)).digests()
    assert before.keys() - plain.keys() == {LORA, "variants/fast/vgen.yaml"}
    assert all(before[name] == digest for name, digest in plain.items())
    (own / "README.md").write_text("read by nobody")
    (bare / "variants" / "other" / "vgen.yaml").write_text("fps: 10\n")
    assert loaded(f"{bare}:fast").digests() == before
    (own / "vgen.yaml").write_text(FAST + "fps: 9\n")
    write_pairs(own / "lora.safetensors", variant_pairs(seed=6), kind="wan")
    after = loaded(f"{bare}:fast").digests()
    assert {name for name in after if after[name] != before[name]} == {LORA, "variants/fast/vgen.yaml"}


def test_the_output_of_training_can_be_dropped_in(bare: Path) -> None:
    """A folder as `vgen train lora` writes it: alpha in the header, and files that are not read."""
    from diffusers import WanPipeline

    pairs, own = variant_pairs(), write_variant(bare)
    layers = {f"{name}.lora_{end}.weight": pair[i] for name, pair in pairs.items() for i, end in enumerate("AB")}
    config = {"r": 3, "lora_alpha": 6, "target_modules": list(pairs)}
    WanPipeline.save_lora_weights(own, layers, transformer_lora_adapter_metadata=config)
    for name in ("training.json", "README.md"):
        (own / name).write_text("{}")
    wanted = added(weights_of(loaded(str(bare))), pairs, 2.0)
    for name, value in weights_of(loaded(f"{bare}:fast")).items():
        torch.testing.assert_close(value, wanted[name], rtol=0, atol=1e-5)
