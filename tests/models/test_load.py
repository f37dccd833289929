"""What a model folder must be, and what is refused before any weight is read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.folders import tiny_folder
from vgen.errors import ModelError, ResourceError
from vgen.models.check import ALLOWED, check_configs
from vgen.models.folder import describe, embedded_folder, find_folder
from vgen.models.load import load_model
from vgen.models.loaded import LoadedModel

WEIGHTS = "diffusion_pytorch_model.safetensors"
ENCODER = "text_encoder/model.safetensors"
VAE = "vae/config.json"
DIT = "transformer/config.json"
TEXT = "text_encoder/config.json"
SCHEDULER = "scheduler/scheduler_config.json"
TOKENIZER = "tokenizer/tokenizer_config.json"


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {layout: tiny_folder(root / layout, layout=layout) for layout in ("playground", "wan2.1", "wan2.2")}


@pytest.fixture
def folder(originals: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(originals["playground"], tmp_path / "model"))


def load(folder: Path, free_mib: float | None = None) -> LoadedModel:
    model = load_model(str(folder), device=torch.device("cpu"), dtype=torch.float32, free_mib=free_mib)
    assert isinstance(model, LoadedModel)
    return model


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def edit_weights(path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def test_a_folder_loads_in_the_dtypes_asked_for(folder: Path) -> None:
    model = load_model(str(folder), device=torch.device("cpu"), dtype=torch.bfloat16)
    assert isinstance(model, LoadedModel)
    assert model.dit.dtype == torch.bfloat16 and model.vae.dtype == torch.float32
    assert model.prompts.encoder.dtype == torch.float32


@pytest.mark.parametrize("layout", ["playground", "wan2.1", "wan2.2"])
def test_every_layout_loads(originals: dict[str, Path], layout: str) -> None:
    assert load(originals[layout]).card.name == "tiny"


def test_digests_cover_all_that_a_run_depends_on_and_nothing_else(folder: Path) -> None:
    for name in ("README.md", "training.json", ".gitattributes"):
        (folder / name).write_text("{}")
    digests = load(folder).digests()
    assert set(digests) == {
        "model_index.json",
        "vgen.yaml",
        SCHEDULER,
        ENCODER,
        TEXT,
        "tokenizer/tokenizer.json",
        TOKENIZER,
        DIT,
        f"transformer/{WEIGHTS}",
        VAE,
        f"vae/{WEIGHTS}",
    }
    edit(folder / SCHEDULER, shift=5.0)
    changed = load(folder).digests()
    assert {name for name in digests if changed[name] != digests[name]} == {SCHEDULER}


def test_digests_are_computed_once(folder: Path) -> None:
    model = load(folder)
    first = model.digests()
    shutil.rmtree(folder)
    assert model.digests() == first


def test_describe_reads_no_weights(folder: Path) -> None:
    (folder / "transformer" / WEIGHTS).write_bytes(b"not weights")
    _, card, size_bytes = describe(str(folder))
    assert card.name == "tiny" and size_bytes > 0


def test_a_name_that_is_nothing_says_what_is() -> None:
    with pytest.raises(ModelError, match="possible: playground"):
        find_folder("no-such-model")


def test_a_folder_without_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model_index\.json"):
        find_folder(str(tmp_path))


def test_pickled_weights_are_refused_by_name(folder: Path) -> None:
    (folder / "vae" / WEIGHTS).rename(folder / "vae" / "diffusion_pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pickled \(diffusion_pytorch_model\.bin\)"):
        load(folder)


@pytest.mark.parametrize("missing", [f"transformer/{WEIGHTS}", "vae/config.json", "scheduler/scheduler_config.json"])
def test_an_incomplete_folder_names_what_is_missing(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(ModelError, match=f"missing {Path(missing).name}"):
        load(folder)


def test_a_missing_shard_is_named(folder: Path) -> None:
    weights = folder / "transformer" / WEIGHTS
    weights.rename(weights.with_name("a-00001-of-00002.safetensors"))
    index = {"weight_map": {"x": "a-00001-of-00002.safetensors", "y": "a-00002-of-00002.safetensors"}}
    weights.with_name(f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"missing a-00002-of-00002\.safetensors"):
        load(folder)


@pytest.mark.parametrize(
    ("component", "name"),
    [("transformer", "EvilTransformer"), ("vae", "AutoencoderKL"), ("scheduler", "DDIMScheduler")],
)
def test_classes_that_are_not_on_the_list_are_refused(folder: Path, component: str, name: str) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    index[component] = ["diffusers", name]
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=f"{component} is of class '{name}', which is not on the list"):
        load(folder)


def test_a_pipeline_that_is_not_on_the_list_is_refused(folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "EvilPipeline"}))
    with pytest.raises(ModelError, match="names the pipeline 'EvilPipeline'"):
        load(folder)


@pytest.mark.parametrize("text", ["[1, 2]", "{", ""])
def test_an_index_that_is_no_mapping_is_refused(folder: Path, text: str) -> None:
    (folder / "model_index.json").write_text(text)
    with pytest.raises(ModelError, match=r"not JSON|is a mapping"):
        load(folder)


def test_a_misspelt_card_is_refused(folder: Path) -> None:
    card = folder / "vgen.yaml"
    card.write_text(card.read_text() + "guidence_scale: 3\n")
    with pytest.raises(ModelError, match="not a model card"):
        load(folder)


def test_without_a_card_the_preset_of_the_layout_is_taken(tmp_path: Path) -> None:
    for layout, name in (("wan2.1", "wan2.1-t2v"), ("wan2.2", "wan2.2-ti2v")):
        _, card, _ = describe(str(tiny_folder(tmp_path / layout, layout=layout, card=False)))
        assert card.name == name


def test_weights_are_held_to_the_free_memory_before_they_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(folder, free_mib=1000.0).card.name == "tiny"
    monkeypatch.setattr("vgen.models.load.load_weights", pytest.fail)
    with pytest.raises(ResourceError, match=r"take \d+ MiB, 0 MiB are free"):
        load(folder, free_mib=0.01)


@pytest.mark.parametrize("file", [f"transformer/{WEIGHTS}", f"vae/{WEIGHTS}", ENCODER])
def test_tensors_that_do_not_fit_the_config_are_named(folder: Path, file: str) -> None:
    whole = load_file(folder / file)
    name = sorted(whole)[0]
    edit_weights(folder / file, lambda tensors: tensors.update(stray=torch.ones(1)))
    with pytest.raises(ModelError, match="weights hold stray, which the config has no place for"):
        load(folder)
    save_file({key: value for key, value in whole.items() if key != name}, folder / file)
    with pytest.raises(ModelError, match=f"weights lack {name} "):
        load(folder)
    save_file(whole | {name: torch.ones(3)}, folder / file)
    with pytest.raises(ModelError, match=rf"{name} is of shape \[3\], the config asks for"):
        load(folder)
    save_file(whole | {name: whole[name].to(torch.int32)}, folder / file)
    with pytest.raises(ModelError, match=f"tensor {name} is of type I32"):
        load(folder)


def test_the_text_encoder_may_store_its_tied_embedding_under_either_name(folder: Path) -> None:
    before = load(folder).prompts("a red ball")
    edit_weights(
        folder / ENCODER, lambda tensors: tensors.update({"encoder.embed_tokens.weight": tensors.pop("shared.weight")})
    )
    assert torch.equal(load(folder).prompts("a red ball"), before)


@pytest.mark.parametrize("keep", [0, 4, 100, 5000])
@pytest.mark.parametrize("file", [f"transformer/{WEIGHTS}", ENCODER])
def test_a_truncated_weight_file_is_refused(folder: Path, file: str, keep: int) -> None:
    (folder / file).write_bytes((folder / file).read_bytes()[:keep])
    with pytest.raises(ModelError, match="damaged"):
        load(folder)


@pytest.mark.parametrize(
    "weight_map", [None, 3, ["a.safetensors"], {}, {"x": 1}, {"x": "../a.safetensors"}, {"x": "b"}]
)
def test_an_index_that_is_none_is_refused(folder: Path, weight_map: object) -> None:
    (folder / "transformer" / WEIGHTS).unlink()
    (folder / "transformer" / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(ModelError, match=r"weight_map|a shard is"):
        load(folder)


def test_one_file_and_an_index_beside_each_other_are_refused(folder: Path) -> None:
    (folder / "transformer" / f"{WEIGHTS}.index.json").write_text('{"weight_map": {"x": "x.safetensors"}}')
    with pytest.raises(ModelError, match="holds both"):
        load(folder)


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        (DIT, {"num_attention_heads": 0}, "num_attention_heads is a whole number"),
        (DIT, {"num_attention_heads": 10**30}, "transformer: cannot be loaded"),
        (DIT, {"num_attention_heads": 4}, "is of shape"),
        (DIT, {"attention_head_dim": 7}, "attention_head_dim is even"),
        (DIT, {"num_layers": 100_000}, "num_layers 100000 is more than"),
        (DIT, {"num_layers": "2"}, "num_layers is a whole number"),
        (DIT, {"patch_size": [2, 2, 2]}, "patch_size is 1 frame"),
        (DIT, {"patch_size": 2}, "patch_size is 1 frame"),
        (DIT, {"qk_norm": None}, "qk_norm=None is not supported"),
        (DIT, {"in_channels": 36}, "takes 36 channels"),
        (DIT, {"image_dim": 1280}, "image_dim=1280 is not supported"),
        (DIT, {"text_dim": 48}, r"width 48 \(text_dim\)"),
        (DIT, {"vace_layers": [0, 5]}, "vace_layers"),
        (DIT, {"eps": float("nan")}, "eps=nan"),
        (VAE, {"latents_mean": [0.0] * 3}, "latents_mean is a number"),
        (VAE, {"latents_std": [0.0] * 16}, "latents_std is a number"),
        (VAE, {"latents_std": None}, "latents_std is a number"),
        (VAE, {"scale_factor_spatial": 0}, "scale_factor_spatial is 0, .* make 8"),
        (VAE, {"scale_factor_spatial": 16}, "scale_factor_spatial is 16, .* make 8"),
        (VAE, {"scale_factor_temporal": 8}, "scale_factor_temporal is 8, .* make 4"),
        (VAE, {"num_res_blocks": 10**6}, "num_res_blocks 1000000 is more than"),
        (VAE, {"dim_mult": [1] * 1000, "temperal_downsample": [True] * 999}, "8 levels at most"),
        (VAE, {"patch_size": "2"}, "patch_size is a whole number"),
        (TEXT, {"num_heads": 0}, "num_heads is a whole number"),
        (TEXT, {"num_layers": 10**6}, "num_layers 1000000 is more than"),
        (
            TEXT,
            {"feed_forward_proj": "x", "dense_act_fn": "x", "is_gated_act": False},
            "text_encoder: cannot be loaded",
        ),
        (TEXT, {"dense_act_fn": "relu"}, "dense_act_fn is 'relu'"),
        (TEXT, {"is_decoder": True}, "is_decoder=True is not supported"),
        (TEXT, {"attn_implementation": "evil-org/evil-kernel"}, "sets attn_implementation"),
        (TEXT, {"_attn_implementation": "evil-org/evil-kernel"}, "sets _attn_implementation"),
        (TEXT, {"quantization_config": {"quant_method": "gptq"}}, "sets quantization_config"),
        (DIT, {"quantization_config": {"quant_method": "gguf"}}, "sets quantization_config"),
        (TOKENIZER, {"auto_map": {"AutoTokenizer": "evil.py"}}, "sets auto_map"),
        (TOKENIZER, {"pad_token": None}, "no pad token"),
        (TOKENIZER, {"pad_token": 5}, "tokenizer: cannot be loaded"),
        ("tokenizer/tokenizer.json", {"model": {"type": "WordLevel"}}, "tokenizer: cannot be loaded"),
        ("model_index.json", {"_class_name": ["WanPipeline"]}, "names the pipeline"),
        ("model_index.json", {"vae": ["diffusers", ["AutoencoderKLWan"]]}, "not on the list"),
        ("model_index.json", {"transformer_2": ["diffusers", "WanTransformer3DModel"]}, "boundary_ratio None"),
        ("model_index.json", {"image_encoder": ["transformers", "CLIPVisionModel"]}, "without image_processor"),
        ("model_index.json", {"image_encoder_2": ["transformers", "CLIPVisionModel"]}, "component image_encoder_2"),
        ("model_index.json", {"boundary_ratio": 0.875}, "boundary_ratio 0.875 says .* give both, or neither"),
        ("model_index.json", {"boundary_ratio": 1}, "boundary_ratio=1 is not supported"),
    ],
)
def test_configs_that_do_not_fit_are_refused_by_name(
    folder: Path, file: str, values: dict[str, Any], message: str
) -> None:
    edit(folder / file, **values)
    with pytest.raises(ModelError, match=message):
        load(folder)


@pytest.mark.parametrize("text", ["{}", "[]", '{"a', None])
def test_a_damaged_tokenizer_is_refused(folder: Path, text: str | None) -> None:
    path = folder / "tokenizer" / "tokenizer.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(ModelError, match="tokenizer: cannot be loaded"):
        load(folder)


def test_a_tokenizer_beyond_the_embedding_is_refused(folder: Path) -> None:
    edit_weights(
        folder / ENCODER, lambda tensors: tensors.update({"shared.weight": tensors["shared.weight"][:8].clone()})
    )
    edit(folder / TEXT, vocab_size=8)
    with pytest.raises(ModelError, match="last token is 12, the text encoder knows 0 to 7"):
        load(folder)


def test_an_adapter_inside_a_component_is_refused(folder: Path) -> None:
    (folder / "text_encoder" / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"adapter_config\.json in a component"):
        load(folder)


def test_deeply_nested_json_is_refused(folder: Path) -> None:
    (folder / DIT).write_text("[" * 200_000)
    with pytest.raises(ModelError, match="not JSON"):
        describe(str(folder))


@pytest.mark.parametrize(
    ("layout", "key", "value"),
    [
        ("wan2.1", "solver_type", "bh1"),
        ("wan2.1", "solver_order", 4),
        ("wan2.1", "prediction_type", "epsilon"),
        ("wan2.1", "disable_corrector", [0]),
        ("wan2.1", "predict_x0", False),
        ("wan2.1", "use_flow_sigmas", False),
        ("wan2.1", "use_karras_sigmas", True),
        ("wan2.1", "use_dynamic_shifting", True),
        ("wan2.1", "final_sigmas_type", "sigma_min"),
        ("wan2.1", "thresholding", True),
        ("wan2.1", "num_train_timesteps", 500),
        ("wan2.1", "flow_shift", 0),
        ("playground", "shift", 0),
        ("playground", "shift", float("nan")),
        ("playground", "shift", "3"),
        ("playground", "shift_terminal", 0.1),
        ("playground", "invert_sigmas", True),
        ("playground", "stochastic_sampling", True),
        ("playground", "use_dynamic_shifting", True),
        ("playground", "use_beta_sigmas", True),
        ("playground", "of_a_later_version", "x"),
    ],
)
def test_scheduler_settings_that_are_not_run_are_refused(
    originals: dict[str, Path], tmp_path: Path, layout: str, key: str, value: object
) -> None:
    folder = Path(shutil.copytree(originals[layout], tmp_path / "model"))
    edit(folder / SCHEDULER, **{key: value})
    with pytest.raises(ModelError, match=rf"{key}(=| is a number)"):
        describe(str(folder))


def test_the_configs_of_real_wan_folders_pass() -> None:
    unipc = {"_class_name": "UniPCMultistepScheduler", "_diffusers_version": "0.33.0.dev0", "beta_end": 0.02}
    unipc |= {"beta_schedule": "linear", "beta_start": 0.0001, "disable_corrector": [], "final_sigmas_type": "zero"}
    unipc |= {"dynamic_thresholding_ratio": 0.995, "flow_shift": 5.0, "lower_order_final": True, "predict_x0": True}
    unipc |= {"num_train_timesteps": 1000, "prediction_type": "flow_prediction", "rescale_betas_zero_snr": False}
    unipc |= {"sample_max_value": 1.0, "solver_order": 2, "solver_p": None, "solver_type": "bh2", "steps_offset": 0}
    unipc |= {"thresholding": False, "timestep_spacing": "linspace", "trained_betas": None, "use_flow_sigmas": True}
    unipc |= {"use_beta_sigmas": False, "use_exponential_sigmas": False, "use_karras_sigmas": False}
    umt5 = {"d_ff": 10240, "d_kv": 64, "d_model": 4096, "dense_act_fn": "gelu_new", "feed_forward_proj": "gated-gelu"}
    umt5 |= {"is_gated_act": True, "layer_norm_epsilon": 1e-6, "num_heads": 64, "num_layers": 24, "output_past": True}
    umt5 |= {"relative_attention_max_distance": 128, "relative_attention_num_buckets": 32, "vocab_size": 256384}
    dit = {"num_attention_heads": 12, "attention_head_dim": 128, "ffn_dim": 8960, "num_layers": 30, "image_dim": None}
    wide = {"in_channels": 48, "out_channels": 48, "num_attention_heads": 24, "ffn_dim": 14336}
    vae: dict[str, Any] = {"base_dim": 160, "decoder_base_dim": 256, "z_dim": 48, "is_residual": True, "patch_size": 2}
    vae |= {"in_channels": 12, "out_channels": 12, "scale_factor_spatial": 16, "scale_factor_temporal": 4}
    vae |= {"latents_mean": [0.1] * 48, "latents_std": [0.9] * 48}
    names = ("T5TokenizerFast", "UMT5EncoderModel", "AutoencoderKLWan", "WanTransformer3DModel")
    classes = {part: ALLOWED[part][name] for part, name in zip(ALLOWED, names, strict=False)}
    classes["scheduler"] = ALLOWED["scheduler"]["UniPCMultistepScheduler"]
    both: dict[str, dict[str, Any]] = {"tokenizer": {}, "text_encoder": umt5, "scheduler": unipc}
    check_configs(both | {"vae": {}, "transformer": dit}, classes, Path("wan2.1"))
    check_configs(both | {"vae": vae, "transformer": dit | wide}, classes, Path("wan2.2"))


def test_the_embedded_folder_is_supported() -> None:
    assert describe(str(embedded_folder()))[1].name == "playground"
