"""Folders of stock pipelines: what is loaded, and what is refused before a byte of weights is read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import CogVideoXTransformer3DModel, HunyuanVideoTransformer3DModel, LTXVideoTransformer3DModel
from safetensors.torch import load_file, save_file

from tests.loras import write_pairs
from tests.stock.folders import LAYOUTS, renamed
from tests.variants import variant_pairs, write_variant
from vgen.errors import ConfigError, ModelError, ResourceError
from vgen.models.card import card_for
from vgen.models.components import weigh
from vgen.models.folder import describe
from vgen.models.load import load_model
from vgen.models.stock.catalogue import STOCK, family_of
from vgen.models.stock.model import StockModel

Folders = Callable[[str], Path]
WEIGHTS = "diffusion_pytorch_model.safetensors"


def load(folder: Path, free_mib: float | None = None) -> StockModel:
    model = load_model(str(folder), device=torch.device("cpu"), dtype=torch.float32, free_mib=free_mib)
    assert isinstance(model, StockModel)
    return model


@pytest.fixture
def copy_of(folder_of: Folders, tmp_path: Path) -> Folders:
    return lambda layout: Path(shutil.copytree(folder_of(layout), tmp_path / layout))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_loads_whole(layout: str, folder_of: Folders) -> None:
    model = load(folder_of(layout))
    assert model.card.name == f"tiny-{layout}" and not model.dit.training
    parts = {name.partition("/")[0] for name in model.digests()}
    assert parts == {"model_index.json", "vgen.yaml", *model.family.parts}
    parameters = [p for part in ("transformer", "vae", "text_encoder", "text_encoder_2")
                  for p in getattr(getattr(model.pipe, part, None), "parameters", list)()]  # fmt: skip
    held_mib = sum(p.numel() * 4 for p in parameters) / 2**20
    card, said = weigh(str(folder_of(layout)), device=torch.device("cpu"), dtype=torch.float32)
    assert said == pytest.approx(held_mib, rel=0.02)  # tied tables are counted by the files
    assert card == describe(str(folder_of(layout)))[1] == model.card


def test_every_pipeline_has_a_family_that_knows_it() -> None:
    for name in STOCK:
        family = family_of(name)
        assert family is not None and name in family.pipelines
    assert family_of("WanPipeline") is None and family_of(["LTXPipeline"]) is None


def test_weights_that_do_not_fit_are_refused_before_they_are_read(folder_of: Folders) -> None:
    with pytest.raises(ResourceError, match=r"the weights of model .* take \d+ MiB, 0 MiB are free"):
        load(folder_of("mochi"), free_mib=0.1)


def edit(folder: Path, part: str, **values: object) -> None:
    name = {"tokenizer": "tokenizer_config.json", "scheduler": "scheduler_config.json"}.get(part, "config.json")
    path = folder / part / name if part else folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("layout", "part", "values", "why"),
    [
        ("mochi", "", {"_class_name": "AllegroPipeline"}, "'AllegroPipeline'; possible: WanPipeline, .*MochiPipeline"),
        ("mochi", "", {"_class_name": ["MochiPipeline"]}, "names the pipeline"),
        ("mochi", "", {"vae": ["evil", "Vae"]}, "vae is of class 'Vae', which is not on the list"),
        ("mochi", "", {"transformer": ["diffusers", "WanTransformer3DModel"]}, "not on the list; possible: Mochi"),
        ("mochi", "", {"safety": ["evil", "Checker"]}, "component safety .* cannot be run"),
        ("mochi", "", {"force_zeros_for_empty_prompt": "yes"}, "force_zeros_for_empty_prompt='yes'"),
        ("ltx", "", {"force_zeros_for_empty_prompt": True}, "force_zeros_for_empty_prompt=True is not supported"),
        ("hunyuan", "text_encoder", {"auto_map": {"AutoModel": "x.y"}}, "the config sets auto_map"),
        ("hunyuan", "text_encoder", {"hidden_size": 24}, "text_embed_dim is 16, the other components need 24"),
        ("hunyuan", "text_encoder", {"rope_scaling": {"type": "linear"}}, "rope_scaling"),
        ("hunyuan", "text_encoder", {"num_hidden_layers": 1}, "at least 2 are needed"),
        ("hunyuan", "text_encoder", {"num_hidden_layers": 9}, "weights lack"),
        ("hunyuan", "text_encoder", {"num_hidden_layers": 10**6}, "is more than the .* tensors"),
        ("hunyuan", "transformer", {"num_single_layers": 10**5}, "is more than the .* tensors"),
        ("hunyuan", "transformer", {"image_condition_type": "latent_concat"}, "image_condition_type"),
        (
            "hunyuan",
            "transformer",
            {"num_attention_heads": "2"},
            "num_attention_heads is '2', which is not of the kind",
        ),
        ("hunyuan", "transformer", {"num_layers": 10**9}, "num_layers is 1000000000"),
        ("hunyuan", "transformer", {"shiny": 1}, "shiny=1 is not supported"),
        ("hunyuan", "scheduler", {"use_dynamic_shifting": True}, "use_dynamic_shifting=True is not supported"),
        ("hunyuan", "scheduler", {"shift": "much"}, "shift is a number"),
        ("mochi", "scheduler", {"invert_sigmas": False}, "invert_sigmas=False is not supported; possible: True"),
        ("mochi", "text_encoder", {"d_model": 0}, "d_model is a whole number of at least 1"),
        ("mochi", "vae", {"latents_mean": [0.0]}, "latents_mean is a number for each of 12"),
        ("mochi", "vae", {"layers_per_block": [1, 1, 10**5, 1, 1]}, "is more than the .* tensors"),
        ("cogvideox", "transformer", {"in_channels": 8}, "in_channels is 8, the other components need 4"),
        ("cogvideox-i2v", "transformer", {"in_channels": 4}, "in_channels is 4, the other components need 8"),
        ("cogvideox", "transformer", {"patch_size_t": 3}, "patch_size_t is 3; possible"),
        ("cogvideox", "transformer", {"patch_size": 0}, "cogvideox"),
        ("cogvideox", "scheduler", {"prediction_type": "magic"}, "prediction_type='magic' is not supported"),
        ("ltx", "vae", {"temporal_compression_ratio": 1}, "temporal_compression_ratio is 1, its levels make 8"),
        ("ltx", "vae", {"scaling_factor": 0}, "scaling_factor"),
        ("ltx", "text_encoder", {"is_gated_act": True}, "is_gated_act is True, but feed_forward_proj='relu'"),
        ("ltx", "transformer", {"activation_fn": "x"}, "cannot be loaded: UnboundLocalError"),
        ("cogvideox", "scheduler", {"trained_betas": [0.1, 0.2]}, "trained_betas"),
        ("ltx", "transformer", {"patch_size": 2}, "patch_size is 2; possible: 1"),
        ("ltx", "vae", {"spatio_temporal_scaling": "all"}, "spatio_temporal_scaling"),
        ("ltx", "scheduler", {"stochastic_sampling": True}, "stochastic_sampling=True is not supported"),
    ],
)
def test_what_a_config_may_not_say(layout: str, part: str, values: dict[str, Any], why: str, copy_of: Folders) -> None:
    folder = copy_of(layout)
    edit(folder, part, **values)
    with pytest.raises(ModelError, match=why) as refused:
        load(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("num_frames: 10", "num_frames 10 is not 1 \\+ 8 n"),
        ("height: 40", "height 40 is no multiple of 16"),
        ("samplers: [full, causal]", "says samplers: .*causal.*, and CogVideoXPipeline takes \\['full'\\]"),
        ("flow_shift: 3.0", "says flow_shift: 3.0"),
        ("closed_vocabulary: true", "says closed_vocabulary: True"),
        ("text_length: 20", "says text_length: 20, and CogVideoXPipeline takes 12"),
        ("image: first_latent", "says image: 'first_latent', and CogVideoXPipeline takes 'none'"),
    ],
)
def test_what_a_card_may_not_say(line: str, why: str, copy_of: Folders) -> None:
    folder = copy_of("cogvideox")
    key, card = line.partition(":")[0], (folder / "vgen.yaml").read_text().splitlines()
    (folder / "vgen.yaml").write_text("\n".join([*(row for row in card if not row.startswith(f"{key}:")), line]))
    with pytest.raises(ModelError, match=why):
        load(folder)


def test_a_variant_is_another_card_and_no_lora(copy_of: Folders) -> None:
    folder = copy_of("cogvideox")
    own = write_variant(folder, card="num_inference_steps: 3\n")
    model = load_model(f"{folder}:fast", device=torch.device("cpu"), dtype=torch.float32)
    assert (model.card.num_inference_steps, model.card.name) == (3, "tiny-cogvideox:fast")
    assert "variants/fast/vgen.yaml" in model.digests()
    (own / "vgen.yaml").write_text("sampler: causal\nsamplers: [causal]\n")
    with pytest.raises(ModelError, match=f"{own}.*samplers"):
        load_model(f"{folder}:fast", device=torch.device("cpu"), dtype=torch.float32)
    (own / "vgen.yaml").unlink()
    write_pairs(own / "lora.safetensors", variant_pairs(), kind="wan")
    with pytest.raises(ConfigError, match="which takes no LoRA here, and variant 'fast' has one"):
        load_model(f"{folder}:fast", device=torch.device("cpu"), dtype=torch.float32)


def test_pickled_weights_and_lost_files_are_refused(copy_of: Folders) -> None:
    folder = copy_of("ltx")
    (folder / "text_encoder" / "model.safetensors").rename(folder / "text_encoder" / "pytorch_model.bin")
    with pytest.raises(ModelError, match="weights are pickled"):
        load(folder)
    shutil.rmtree(folder / "text_encoder")
    with pytest.raises(ModelError, match="text_encoder: incomplete, missing"):
        load(folder)


def test_a_clip_of_older_files_loads_by_its_longer_names(copy_of: Folders) -> None:
    folder = copy_of("hunyuan")
    path = folder / "text_encoder_2" / "model.safetensors"
    older = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in load_file(path).items()}
    save_file(older, path, metadata={"format": "pt"})
    states = load(folder).pipe.text_encoder_2.state_dict()
    assert {name.removeprefix("text_model.") for name in older} == {*states}
    assert all(torch.equal(states[name.removeprefix("text_model.")], value) for name, value in older.items())


def test_a_tokenizer_larger_than_its_encoder_is_refused(copy_of: Folders) -> None:
    folder = copy_of("hunyuan")
    path = folder / "tokenizer_2" / "tokenizer.json"
    vocabulary = json.loads(path.read_text())
    vocabulary["model"]["vocab"]["zebra"] = 99
    path.write_text(json.dumps(vocabulary))
    with pytest.raises(ModelError, match="tokenizer_2: the tokenizer's last token is 99"):
        load(folder)


def test_a_vocabulary_of_sentencepiece_names_the_packages_that_it_takes(
    copy_of: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_of("ltx")
    (folder / "tokenizer" / "tokenizer.json").rename(folder / "tokenizer" / "spiece.model")
    monkeypatch.setattr("vgen.models.vocabulary.find_spec", lambda name: None)
    with pytest.raises(ResourceError, match=r"spiece.model and no tokenizer.json.*pip install 'vgen\[sentencepiece\]'"):
        load(folder)


@pytest.mark.parametrize(
    ("pipeline", "cls", "more", "name", "size"),
    [
        ("HunyuanVideoPipeline", HunyuanVideoTransformer3DModel, {}, "hunyuan-video", (1280, 720, 129, 24)),
        ("CogVideoXPipeline", CogVideoXTransformer3DModel, {"patch_size_t": None}, "cogvideox", (720, 480, 49, 8)),
        ("CogVideoXPipeline", CogVideoXTransformer3DModel, {"patch_size_t": 2}, "cogvideox1.5", (1360, 768, 81, 16)),
        ("CogVideoXImageToVideoPipeline", CogVideoXTransformer3DModel, {}, "cogvideox-i2v", (720, 480, 49, 8)),
        ("LTXPipeline", LTXVideoTransformer3DModel, {}, "ltx-video", (704, 512, 161, 25)),
        ("LTXImageToVideoPipeline", LTXVideoTransformer3DModel, {}, "ltx-video", (704, 512, 161, 25)),
    ],
)
def test_cards_of_published_folders(
    pipeline: str, cls: type, more: dict[str, Any], name: str, size: tuple[int, ...], tmp_path: Path
) -> None:
    vae = {"_class_name": "AutoencoderKLLTXVideo"} if "LTX" in pipeline else {}
    configs = {"pipeline": {"_class_name": pipeline}, "transformer": {"_class_name": cls.__name__} | more, "vae": vae}
    card = card_for(tmp_path, configs)
    assert (card.name, (card.width, card.height, card.num_frames, card.fps)) == (name, size)


def test_a_folder_without_a_card_takes_the_shipped_one(copy_of: Folders) -> None:
    for layout, name in (("ltx", "ltx-video"), ("mochi", "mochi-1"), ("hunyuan", "hunyuan-video")):
        folder = copy_of(layout)
        (folder / "vgen.yaml").unlink()
        assert load(folder).card.name == name


def test_a_class_name_is_looked_up_and_never_imported(copy_of: Folders) -> None:
    folder = copy_of("ltx")
    renamed(folder / "model_index.json", "transformer", ["os", "system"])
    with pytest.raises(ModelError, match="transformer is of class 'system'"):
        load(folder)
