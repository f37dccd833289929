"""Which layouts of a folder are taken, what their cards say, and what is refused by name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.folders import tiny_folder
from vgen.errors import ModelError
from vgen.models.card import ModelCard, card_for
from vgen.models.check import ALLOWED, EXTRA, check_card, check_configs, check_index
from vgen.models.folder import describe
from vgen.models.load import load_model
from vgen.models.loaded import LoadedModel

LAYOUTS = ("t2v-a14b", "i2v-a14b", "i2v", "flf2v")
INDEX, DIT, DIT_2 = "model_index.json", "transformer/config.json", "transformer_2/config.json"
VISION, PROCESSOR = "image_encoder/config.json", "image_processor/preprocessor_config.json"
ENCODER = "image_encoder/model.safetensors"


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("layouts")
    return {layout: tiny_folder(root / layout, layout=layout) for layout in LAYOUTS}


@pytest.fixture
def copied(originals: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    return lambda layout: Path(shutil.copytree(originals[layout], tmp_path / layout))


def load(folder: Path, dtype: torch.dtype = torch.float32) -> LoadedModel:
    model = load_model(str(folder), device=torch.device("cpu"), dtype=dtype)
    assert isinstance(model, LoadedModel)
    return model


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_part_of_a_layout_loads_in_its_dtype(originals: dict[str, Path], layout: str) -> None:
    model = load(originals[layout], torch.bfloat16)
    experts = "a14b" in layout
    assert (model.dit_2 is not None, model.boundary) == (experts, 0.9 if experts else None)
    assert model.dit_2 is None or (model.dit_2.dtype == torch.bfloat16 and model.dit_2 is not model.dit)
    assert (model.images is not None) == (not experts)
    assert model.images is None or model.images.encoder.dtype == torch.float32


@pytest.mark.parametrize("layout", LAYOUTS)
def test_digests_cover_the_parts_that_a_layout_adds(originals: dict[str, Path], layout: str) -> None:
    parts = {name.split("/")[0] for name in load(originals[layout]).digests() if "/" in name}
    added = {"transformer_2"} if "a14b" in layout else {"image_encoder", "image_processor"}
    assert parts == {*ALLOWED} | added


@pytest.mark.parametrize("change", ["prefix", "projection"])
def test_image_encoders_of_older_files_load_alike(
    originals: dict[str, Path], copied: Callable[[str], Path], change: str
) -> None:
    folder = copied("i2v")
    tensors = {f"vision_model.{name}": tensor for name, tensor in load_file(folder / ENCODER).items()}
    if change == "projection":
        tensors["visual_projection.weight"] = torch.zeros(4, 20)
        edit(folder / INDEX, image_encoder=["transformers", "CLIPVisionModelWithProjection"])
    save_file(tensors, folder / ENCODER, metadata={"format": "pt"})
    ours, before = load(folder).images, load(originals["i2v"]).images
    assert ours is not None and before is not None
    for name, tensor in before.encoder.state_dict().items():
        assert torch.equal(ours.encoder.state_dict()[name], tensor)


@pytest.mark.parametrize(
    ("layout", "file", "values", "message"),
    [
        ("t2v-a14b", INDEX, {"boundary_ratio": None}, "boundary_ratio None says .* give both"),
        ("t2v-a14b", INDEX, {"boundary_ratio": "0.9"}, "boundary_ratio is a number"),
        ("t2v-a14b", INDEX, {"transformer_2": [None, None]}, "boundary_ratio 0.9 says"),
        ("t2v-a14b", INDEX, {"transformer_2": ["diffusers", "WanVACETransformer3DModel"]}, "not on the list"),
        ("t2v-a14b", DIT_2, {"ffn_dim": 32}, "ffn_dim is 64 in transformer and 32 in transformer_2"),
        ("t2v-a14b", DIT, {"in_channels": 36}, "in_channels is 36 in transformer and 16 in transformer_2"),
        ("i2v", INDEX, {"image_encoder": [None, None]}, "image_processor without image_encoder"),
        ("i2v", INDEX, {"image_processor": ["transformers", "ViTImageProcessor"]}, "image_processor is of class"),
        ("i2v", INDEX, {"image_encoder": [None] * 2, "image_processor": [None] * 2}, "has no image_encoder"),
        ("i2v", INDEX, {"_class_name": "WanPipeline"}, "takes an image in channels, .* names WanPipeline"),
        ("i2v", INDEX, {"expand_timesteps": True}, "with expand_timesteps=True"),
        ("i2v", DIT, {"image_dim": 1280}, "image_dim is 1280, the image encoder makes 20"),
        ("i2v", DIT, {"added_kv_proj_dim": 64}, "added_kv_proj_dim=64 is not supported; possible: 48"),
        ("i2v", DIT, {"in_channels": 20}, "takes 20 channels and makes 16.* possible: takes 16, or 36"),
        ("i2v", DIT, {"pos_embed_seq_len": 10}, "says last_image: none, .* possible: required"),
        ("flf2v", DIT, {"pos_embed_seq_len": 514}, "pos_embed_seq_len is 514, the image encoder makes 10"),
        ("flf2v", DIT, {"pos_embed_seq_len": None}, "says last_image: required, .* possible: none"),
        ("i2v", VISION, {"hidden_size": "20"}, "hidden_size is a whole number"),
        ("i2v", VISION, {"num_attention_heads": 3}, "no multiple of num_attention_heads"),
        ("i2v", VISION, {"num_hidden_layers": 10**6}, "num_hidden_layers 1000000 is more than"),
        ("i2v", VISION, {"hidden_act": "os.system"}, "hidden_act='os.system' is not supported"),
        ("i2v", VISION, {"patch_size": 64}, "image_size 32 holds no patch of 64"),
        ("i2v", VISION, {"image_size": 48}, "crop_size=32 is not supported"),
        ("i2v", VISION, {"auto_map": {"AutoModel": "evil.py"}}, "sets auto_map"),
        ("i2v", PROCESSOR, {"do_normalize": False}, "do_normalize=False is not supported"),
        ("i2v", PROCESSOR, {"size": {"longest_edge": 32}}, "size is a whole number"),
        ("i2v", PROCESSOR, {"image_std": [0, 1, 1]}, "image_std divides"),
        ("i2v", PROCESSOR, {"image_mean": [0.5]}, "image_mean is a number for each"),
        ("i2v", PROCESSOR, {"rescale_factor": 0}, "rescale_factor=0 is not supported"),
    ],
)
def test_layouts_that_do_not_fit_are_refused_by_name(
    copied: Callable[[str], Path], layout: str, file: str, values: dict[str, Any], message: str
) -> None:
    folder = copied(layout)
    edit(folder / file, **values)
    with pytest.raises(ModelError, match=message):
        load(folder)


@pytest.mark.parametrize(
    ("layout", "line", "message"),
    [
        ("i2v", "image: first_latent", "says image: first_latent, .* 36 channels .* possible: channels"),
        ("t2v-a14b", "image: channels", "says image: channels, .* 16 channels .* possible: first_latent, none"),
        ("t2v-a14b", "image: first_latent", "two transformers share the steps"),
        ("i2v", "last_image: optional", "says last_image: optional"),
        ("t2v-a14b", "last_image: optional", "says last_image: optional"),
        ("i2v", "guidance_scale_2: 3.0", "guidance_scale_2 is of a second transformer"),
        ("i2v", "flow_shift: 0", "flow_shift=0.0 is not possible"),
    ],
)
def test_a_card_that_does_not_fit_the_layout_is_refused(
    copied: Callable[[str], Path], layout: str, line: str, message: str
) -> None:
    card = copied(layout) / "vgen.yaml"
    kept = [row for row in card.read_text().splitlines() if not row.startswith(line.split(":")[0] + ":")]
    card.write_text("\n".join([*kept, line]))
    with pytest.raises(ModelError, match=message):
        describe(str(card.parent))


# what the folders of the published models say, as far as cards are found and layouts checked by it
UNIPC: dict[str, Any] = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
UMT5: dict[str, Any] = {
    "d_ff": 10240,
    "d_kv": 64,
    "d_model": 4096,
    "feed_forward_proj": "gated-gelu",
    "layer_norm_epsilon": 1e-6,
}
UMT5 |= {"num_heads": 64, "num_layers": 24, "vocab_size": 256384}
UMT5 |= {"relative_attention_max_distance": 128, "relative_attention_num_buckets": 32}
PLAIN: dict[str, Any] = {
    "_class_name": "WanTransformer3DModel",
    "in_channels": 16,
    "out_channels": 16,
    "image_dim": None,
}
WIDE: dict[str, Any] = {
    "_class_name": "WanTransformer3DModel",
    "in_channels": 36,
    "out_channels": 16,
    "image_dim": None,
    "added_kv_proj_dim": None,
}
READS = WIDE | {"image_dim": 1280, "added_kv_proj_dim": 5120}
CLIP: dict[str, Any] = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
}
CLIP |= {"image_size": 224, "patch_size": 14, "hidden_act": "gelu", "projection_dim": 1024}
SEES: dict[str, Any] = {
    "size": {"shortest_edge": 224},
    "crop_size": {"height": 224, "width": 224},
    "image_std": [0.3, 0.3, 0.3],
}
SEES |= {"image_mean": [0.5, 0.5, 0.5], "resample": 3, "rescale_factor": 1 / 255, "do_resize": True}
WITH_CLIP: dict[str, Any] = {"image_encoder": ["transformers", "CLIPVisionModel"]}
WITH_CLIP |= {"image_processor": ["transformers", "CLIPImageProcessor"]}
NONE = [None, None]
TWO = {"transformer_2": ["diffusers", "WanTransformer3DModel"], "image_encoder": NONE, "image_processor": NONE}
I2V = {"_class_name": "WanImageToVideoPipeline"}
PUBLISHED: dict[str, tuple[dict[str, Any], dict[str, Any], float]] = {
    "wan2.1-t2v": ({"_class_name": "WanPipeline"}, PLAIN, 3.0),
    "wan2.2-t2v-a14b": ({"_class_name": "WanPipeline", "boundary_ratio": 0.875} | TWO, PLAIN, 3.0),
    "wan2.2-i2v-a14b": (I2V | {"boundary_ratio": 0.9} | TWO, WIDE, 3.0),
    "wan2.1-i2v": (I2V | WITH_CLIP, READS | {"pos_embed_seq_len": None}, 3.0),
    "wan2.1-i2v-720p": (I2V | WITH_CLIP, READS, 5.0),
    "wan2.1-flf2v": (I2V | WITH_CLIP, READS | {"pos_embed_seq_len": 514}, 16.0),
}
FIGURES = {  # width, height, steps, guidance of either transformer, flow shift at 1280x720 and at 832x480
    "wan2.1-t2v": (832, 480, 50, 5.0, None, 5.0, 3.0),
    "wan2.2-t2v-a14b": (1280, 720, 40, 4.0, 3.0, 12.0, 12.0),
    "wan2.2-i2v-a14b": (1280, 720, 40, 3.5, 3.5, 5.0, 5.0),
    "wan2.1-i2v": (832, 480, 40, 5.0, None, 5.0, 3.0),
    "wan2.1-i2v-720p": (1280, 720, 40, 5.0, None, 5.0, 3.0),
    "wan2.1-flf2v": (1280, 720, 50, 5.0, None, 16.0, 16.0),
}


def published(name: str) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    index, dit, shift = PUBLISHED[name]
    usual = {"tokenizer": ["transformers", "T5TokenizerFast"], "text_encoder": ["transformers", "UMT5EncoderModel"]}
    usual |= {"vae": ["diffusers", "AutoencoderKLWan"], "transformer": ["diffusers", "WanTransformer3DModel"]}
    usual |= {"scheduler": ["diffusers", "UniPCMultistepScheduler"]}
    parts: dict[str, dict[str, Any]] = {
        "tokenizer": {},
        "text_encoder": UMT5,
        "vae": {},
        "scheduler": UNIPC | {"flow_shift": shift},
    }
    parts |= {"transformer": dit, "transformer_2": dit, "image_encoder": CLIP, "image_processor": SEES}
    classes = check_index(usual | index, Path(name))
    return {part: parts[part] for part in classes} | {"pipeline": usual | index}, classes


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_folders_find_their_card(name: str, tmp_path: Path) -> None:
    configs, classes = published(name)
    check_configs(configs, classes, Path(name))
    card: ModelCard = card_for(tmp_path, configs)
    check_card(card, configs, Path(name))
    shifts = (card.shift_for(height=720, width=1280), card.shift_for(height=480, width=832))
    figures = (card.width, card.height, card.num_inference_steps, card.guidance_scale, card.guidance_scale_2, *shifts)
    assert (card.name, figures) == (name, FIGURES[name])
    assert (card.num_frames, card.fps, card.text_length, card.samplers) == (81, 16, 512, ["full"])


def test_a_layout_adds_no_class_twice() -> None:
    assert not {*ALLOWED} & {*EXTRA}
