"""What the families that read prompts through one T5 share: components, and what their pipelines take for text."""

from collections.abc import Mapping
from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor
from transformers import PreTrainedTokenizerFast, T5EncoderModel, T5TokenizerFast

from vgen.models.stock.encoders import t5_config
from vgen.models.stock.family import Builder, Shot

__all__ = ["BUILDERS", "FLOW", "TEXT_PARTS", "encode"]

TEXT_PARTS: Mapping[str, Mapping[str, Any]] = {
    "tokenizer": {
        "PreTrainedTokenizerFast": PreTrainedTokenizerFast,
        "T5Tokenizer": T5TokenizerFast,
        "T5TokenizerFast": T5TokenizerFast,
    },
    "text_encoder": {"T5EncoderModel": T5EncoderModel},
}
BUILDERS: Mapping[Any, Builder] = {T5EncoderModel: t5_config}
FLOW: Mapping[str, Any] = {"FlowMatchEulerDiscreteScheduler": FlowMatchEulerDiscreteScheduler}


def encode(pipe: Any, shot: Shot) -> dict[str, Tensor]:
    """States of prompt and negative prompt with their masks, in the transformer's dtype."""
    made = pipe.encode_prompt(
        prompt=shot.prompt,
        negative_prompt=shot.negative_prompt,
        do_classifier_free_guidance=shot.guidance_scale > 1,
        max_sequence_length=shot.text_length,
    )
    masked = len(made) == 4
    names = ["prompt_embeds", "negative_prompt_embeds"]
    if masked:
        names = ["prompt_embeds", "prompt_attention_mask", "negative_prompt_embeds", "negative_prompt_attention_mask"]
    texts = {name: value for name, value in zip(names, made, strict=True) if value is not None}
    dtype = pipe.transformer.dtype
    return {name: value.to(dtype) if name.endswith("embeds") else value for name, value in texts.items()}
