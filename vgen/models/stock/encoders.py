"""Text encoders of the stock pipelines: T5, Llama and CLIP, their configs built from the keys that they depend on."""

from pathlib import Path
from reprlib import repr as short
from typing import Any

from transformers import CLIPTextConfig, LlamaConfig, T5Config

from vgen.errors import ModelError
from vgen.models.settings import Config, check_derived, count, number
from vgen.schema import Range

__all__ = ["bare_names", "check_encoder", "clip_config", "llama_config", "t5_config"]

PREFIX = "text_model."  # in front of each tensor's name of a CLIP, unless transformers 5 has written the file
T5_SIZES = ("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads")
BUCKETS = ("relative_attention_num_buckets", "relative_attention_max_distance")
BLOCK_SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
LLAMA_KEYS = (
    *BLOCK_SIZES, "num_key_value_heads", "head_dim", "max_position_embeddings", "hidden_act", "rms_norm_eps",
    "attention_bias", "mlp_bias", "pad_token_id", "bos_token_id", "eos_token_id",
)  # fmt: skip
CLIP_KEYS = (
    *BLOCK_SIZES, "max_position_embeddings", "hidden_act", "layer_norm_eps", "pad_token_id", "bos_token_id",
    "eos_token_id",
)  # fmt: skip
T5_KEYS = (*T5_SIZES, *BUCKETS, "layer_norm_epsilon", "feed_forward_proj", "pad_token_id", "eos_token_id")
SIZES = {"T5EncoderModel": T5_SIZES, "LlamaModel": BLOCK_SIZES, "CLIPTextModel": BLOCK_SIZES}


def check_encoder(config: Config, cls: str, where: Path) -> None:
    """Holds the config of a text encoder to what is supported.

    Raises:
        ModelError: names the key and what is possible.
    """
    for key in SIZES[cls]:
        count(config, key, where)
    if cls == "T5EncoderModel":
        told = {"relative_attention_num_buckets": 32, "relative_attention_max_distance": 128} | config
        for key in BUCKETS:
            count(told, key, where)
        number({"layer_norm_epsilon": 1e-6} | config, "layer_norm_epsilon", where, Range(0, 1))
    elif config["hidden_size"] % config["num_attention_heads"]:
        raise ModelError(
            f"{where}: hidden_size {config['hidden_size']} is no multiple of num_attention_heads "
            f"{config['num_attention_heads']}"
        )
    if config.get("rope_scaling") is not None:
        raise ModelError(
            f"{where}: {cls} with rope_scaling={short(config['rope_scaling'])} is not supported; possible: null"
        )


def t5_config(config: Config) -> T5Config:
    """Of an encoder; the rest of what such a file holds is for decoders and training."""
    built = T5Config(**_of(config, T5_KEYS))
    check_derived(config, built)
    return built


def llama_config(config: Config) -> LlamaConfig:
    """Of a Llama whose layers are read and which writes nothing."""
    turns = config.get("rope_parameters") or {"rope_type": "default", "rope_theta": config.get("rope_theta", 10000.0)}
    return LlamaConfig(**_of(config, LLAMA_KEYS), rope_parameters=dict(turns))


def clip_config(config: Config) -> CLIPTextConfig:
    """Of the text half of a CLIP."""
    return CLIPTextConfig(**_of(config, CLIP_KEYS))


def bare_names(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Tensors of a CLIP's files by the names that the model gives them."""
    return {name.removeprefix(PREFIX): shape for name, shape in shapes.items()}


def _of(config: Config, keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: config[key] for key in keys if key in config}
