"""What the configs of a model folder may say. Everything else is refused by name; nothing is ignored in silence.

A new component or class is a row of ALLOWED, or of EXTRA where a folder may do without; a new setting of a scheduler a
row of SETTINGS.
"""

from pathlib import Path
from reprlib import repr as short
from typing import Any

from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from transformers import (
    CLIPVisionModel,
    PreTrainedTokenizerFast,
    T5TokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from vgen.errors import ModelError
from vgen.models.card import ModelCard
from vgen.models.dit import VideoDiT
from vgen.models.layout import check_alike, check_card_images, check_channels, check_image_states
from vgen.models.settings import (
    Config,
    Settings,
    check_derived,
    check_keys,
    check_settings,
    class_of,
    complete,
    count,
    is_list,
    is_there,
    number,
    unsupported,
)
from vgen.models.stock.catalogue import STOCK
from vgen.schema import Range

__all__ = ["ALLOWED", "EXTRA", "check_card", "check_configs", "check_depth", "check_index", "encoder_config"]

# component -> class name in model_index.json -> class that we load it with
ALLOWED: dict[str, dict[str, Any]] = {
    "tokenizer": {
        "PreTrainedTokenizerFast": PreTrainedTokenizerFast,
        "T5TokenizerFast": T5TokenizerFast,
        "T5Tokenizer": T5TokenizerFast,
    },
    "text_encoder": {"UMT5EncoderModel": UMT5EncoderModel},
    "vae": {"AutoencoderKLWan": AutoencoderKLWan},
    "transformer": {"WanTransformer3DModel": VideoDiT},
    "scheduler": {
        "FlowMatchEulerDiscreteScheduler": FlowMatchEulerDiscreteScheduler,
        "UniPCMultistepScheduler": UniPCMultistepScheduler,
    },
}
# the same for components that only some layouts have
EXTRA: dict[str, dict[str, Any]] = {
    "transformer_2": {"WanTransformer3DModel": VideoDiT},
    "image_encoder": {"CLIPVisionModel": CLIPVisionModel, "CLIPVisionModelWithProjection": CLIPVisionModel},
    "image_processor": {
        "CLIPImageProcessor": CLIPImageProcessorPil,
        "CLIPImageProcessorFast": CLIPImageProcessorPil,
        "CLIPImageProcessorPil": CLIPImageProcessorPil,
    },
}
TOGETHER = ("image_encoder", "image_processor")
PIPELINES = ("WanPipeline", "WanImageToVideoPipeline")
BOUNDARY = Range(0.001, 0.999)

# settings of a scheduler that may differ from the class's default
SHIFT = Range(0.01, 100)
SETTINGS: dict[str, Settings] = {
    "FlowMatchEulerDiscreteScheduler": {"shift": SHIFT},
    "UniPCMultistepScheduler": {
        "prediction_type": ("flow_prediction",),
        "use_flow_sigmas": (True,),
        "flow_shift": SHIFT,
        "solver_order": (1, 2, 3),
        "lower_order_final": (True, False),
    },
}
ENCODER_SIZES = (
    "vocab_size",
    "d_model",
    "d_kv",
    "d_ff",
    "num_layers",
    "num_heads",
    "relative_attention_num_buckets",
    "relative_attention_max_distance",
)
ENCODER_KEYS = (*ENCODER_SIZES, "layer_norm_epsilon", "feed_forward_proj", "pad_token_id", "eos_token_id")
DIT_SIZES = (
    "num_attention_heads",
    "attention_head_dim",
    "in_channels",
    "out_channels",
    "text_dim",
    "freq_dim",
    "ffn_dim",
    "num_layers",
)
VAE_SIZES = ("base_dim", "z_dim", "num_res_blocks", "in_channels", "out_channels")
DEPTHS = (
    "num_layers",
    "num_res_blocks",
    "num_hidden_layers",
    "num_single_layers",
    "num_refiner_layers",
    "layers_per_block",
    "decoder_layers_per_block",
)
PATCH = Range(1, 8)
VAE_LEVELS = 8
LATENT_STATISTICS = {"latents_mean": Range(-1e4, 1e4), "latents_std": Range(1e-4, 1e4)}


def check_index(index: Config, where: Path) -> dict[str, Any]:
    """The class of each component that model_index.json names.

    Raises:
        ModelError: a pipeline, component, class or setting that is not on our list.
    """
    pipeline = index.get("_class_name")
    if pipeline not in PIPELINES:
        raise ModelError(
            f"{where}: model_index.json names the pipeline {short(pipeline)}; possible: "
            f"{', '.join((*PIPELINES, *STOCK))}"
        )
    possible = ALLOWED | {part: EXTRA[part] for part in EXTRA if is_there(index.get(part))}
    for key, value in index.items():
        if key in possible or key.startswith("_"):
            continue
        if is_there(value):
            raise ModelError(
                f"{where}: component {key} {short(value)} cannot be run; possible: {', '.join(ALLOWED | EXTRA)} "
                "and no other"
            )
        if not isinstance(value, list):
            _check_flag(key, value, where)
    for one, other in (TOGETHER, TOGETHER[::-1]):
        if one in possible and other not in possible:
            raise ModelError(f"{where}: {one} without {other}; the two go together")
    if (index.get("boundary_ratio") is None) != ("transformer_2" not in possible):
        raise ModelError(
            f"{where}: boundary_ratio {short(index.get('boundary_ratio'))} says at which noise level transformer_2 "
            "takes over; give both, or neither"
        )
    return {part: class_of(part, index.get(part), classes, where) for part, classes in possible.items()}


def _check_flag(key: str, value: Any, where: Path) -> None:
    """A setting of the whole pipeline."""
    if key == "boundary_ratio" and value is not None:
        number({key: value}, key, where, BOUNDARY)
        return
    supported = (True, False) if key == "expand_timesteps" else (None, False)
    if value not in supported:
        raise unsupported("model_index.json", key, value, supported, where)


def check_configs(configs: dict[str, Config], classes: dict[str, Any], folder: Path) -> None:
    """Holds each component's config to what is supported, and all of them to each other.

    Args:
        configs: parsed, by component.
        classes: as `check_index` returns them.
        folder: for messages.

    Raises:
        ModelError: names the component, the key and what is possible.
    """
    check_keys(configs, classes, folder)
    scheduler = classes["scheduler"]
    check_settings(configs["scheduler"], scheduler, SETTINGS[scheduler.__name__], folder / "scheduler")
    _check_encoder(configs["text_encoder"], folder / "text_encoder")
    vae = complete(configs["vae"], classes["vae"], folder / "vae")
    _check_vae(vae, folder / "vae")
    dit = complete(configs["transformer"], classes["transformer"], folder / "transformer")
    check_channels(dit, vae, folder)
    _check_dit(dit, folder / "transformer")
    if dit["text_dim"] != configs["text_encoder"]["d_model"]:
        raise ModelError(
            f"{folder}: the transformer reads text of width {dit['text_dim']} (text_dim), the text encoder makes "
            f"{configs['text_encoder']['d_model']} (d_model)"
        )
    if "transformer_2" in classes:
        check_alike(dit, complete(configs["transformer_2"], VideoDiT, folder / "transformer_2"), folder)
    check_image_states(dit, configs, classes, folder)


def check_card(card: ModelCard, configs: dict[str, Config], folder: Path) -> None:
    """Holds the card's native size and length to the grid of the weights, and how it takes images to their layout.

    Raises:
        ModelError: with the grid, or with what the layout takes.
    """
    vae = complete(configs["vae"], AutoencoderKLWan, folder)
    dit = complete(configs["transformer"], VideoDiT, folder)
    grid, per_latent = vae["scale_factor_spatial"] * dit["patch_size"][1], vae["scale_factor_temporal"]
    for name, value in (("height", card.height), ("width", card.width)):
        if value % grid:
            raise ModelError(f"{folder}: the model card's {name} {value} is no multiple of {grid}, the model's grid")
    if (card.num_frames - 1) % per_latent:
        raise ModelError(f"{folder}: the model card's num_frames {card.num_frames} is not 1 + {per_latent} n")
    check_card_images(card, dit, vae, configs["pipeline"], folder)
    if card.image == "first_latent" and "transformer_2" in configs:
        raise ModelError(
            f"{folder}: the model card says image: first_latent, which is a level of its own for one frame; two "
            "transformers share the steps by one level for all: possible: none"
        )
    if card.guidance_scale_2 is not None and "transformer_2" not in configs:
        raise ModelError(f"{folder}: the model card's guidance_scale_2 is of a second transformer, and there is none")


def check_depth(config: Config, tensors: int, where: Path) -> None:
    """Bounds what a config makes us build by what its weight files hold.

    Raises:
        ModelError: more layers than tensors.
    """
    for key in DEPTHS:
        depth = config.get(key, 0)
        if (max(depth, default=0) if isinstance(depth, list) else depth) > tensors:
            raise ModelError(f"{where}: {key} {short(depth)} is more than the {tensors} tensors of the weight files")


def encoder_config(config: Config) -> UMT5Config:
    """The text encoder's config from the keys that an encoder depends on; the rest is for decoders and training.

    Raises:
        ModelError: a key that follows from the others says something else.
    """
    built = UMT5Config(**{key: config[key] for key in ENCODER_KEYS if key in config})
    check_derived(config, built)
    return built


def _check_encoder(config: Config, where: Path) -> None:
    for key in ENCODER_SIZES:
        count(config, key, where)
    buckets, reach = config["relative_attention_num_buckets"], config["relative_attention_max_distance"]
    if buckets < 4 or reach <= buckets // 4:
        raise ModelError(f"{where}: relative_attention_max_distance {reach} is too small for {buckets} buckets")
    number(config, "layer_norm_epsilon", where, Range(0, 1))
    if config.get("is_decoder") not in (None, False):
        raise unsupported("UMT5EncoderModel", "is_decoder", config["is_decoder"], (False,), where)


def _check_vae(config: Config, where: Path) -> None:
    for key in VAE_SIZES:
        count(config, key, where)
    if config["decoder_base_dim"] is not None:
        count(config, "decoder_base_dim", where)
    patch = 1 if config["patch_size"] is None else config["patch_size"]
    number({"patch_size": patch}, "patch_size", where, PATCH, whole=True)
    mults, halved = config["dim_mult"], config["temperal_downsample"]
    listed = is_list(mults, int) and is_list(halved, bool)
    if not listed or len(mults) > VAE_LEVELS or len(halved) != len(mults) - 1 or min(mults) < 1:
        raise ModelError(
            f"{where}: dim_mult {short(mults)} and temperal_downsample {short(halved)} are a whole number from 1 "
            f"per level, {VAE_LEVELS} levels at most, and true or false per step between levels"
        )
    made = {"scale_factor_spatial": patch * 2 ** len(halved), "scale_factor_temporal": 2 ** sum(halved)}
    made |= {"in_channels": 3 * patch**2, "out_channels": 3 * patch**2}
    for key, value in made.items():
        if config[key] != value:
            raise ModelError(
                f"{where}: {key} is {short(config[key])}, but the config's levels and patches make {value}"
            )
    for key, able in LATENT_STATISTICS.items():
        values = config[key]
        fits = is_list(values, int, float) and all(able.problem(value) is None for value in values)
        if not fits or len(values) != config["z_dim"]:
            raise ModelError(
                f"{where}: {key} is a number of {able.low:g} to {able.high:g} per channel of the latents, "
                f"{config['z_dim']} in all, got {short(values)}"
            )


def _check_dit(config: Config, where: Path) -> None:
    for key in DIT_SIZES:
        count(config, key, where)
    patch, head_width = config["patch_size"], config["attention_head_dim"]
    if not is_list(patch, int) or len(patch) != 3 or patch[0] != 1 or patch[1] != patch[2] or PATCH.problem(patch[1]):
        raise ModelError(f"{where}: patch_size is 1 frame by a square of at most {PATCH.high:g}, got {short(patch)}")
    if head_width % 2 or head_width < 6:  # rotary embedding over three axes, in pairs
        raise ModelError(f"{where}: attention_head_dim is even and at least 6, got {head_width}")
    number(config, "eps", where, Range(0, 1))
    only = {"qk_norm": ("rms_norm_across_heads",), "cross_attn_norm": (True, False)}
    for key, supported in only.items():
        if config[key] not in supported:
            raise unsupported("WanTransformer3DModel", key, config[key], supported, where)
    width = config["num_attention_heads"] * head_width
    if config["image_dim"] is not None:
        count(config, "image_dim", where)
    if config["pos_embed_seq_len"] is not None and config["image_dim"] is None:
        raise unsupported("WanTransformer3DModel", "pos_embed_seq_len", config["pos_embed_seq_len"], (None,), where)
    added = (None,) if config["image_dim"] is None else (width,)
    if config["added_kv_proj_dim"] not in added:
        raise unsupported("WanTransformer3DModel", "added_kv_proj_dim", config["added_kv_proj_dim"], added, where)
