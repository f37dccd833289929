"""Tiny random-weight model folders in the real layouts, written through diffusers' stock classes."""

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

WORDS = ["a", "red", "blue", "ball", "box", "rolls", "falls", "to", "the", "right"]
CARD = """
name: tiny
height: 32
width: 48
num_frames: 9
fps: 8
num_inference_steps: 4
guidance_scale: 1.0
text_length: 16
samplers: [full, causal]
causal_block: 1
trained_window: 3
closed_vocabulary: true
image: {image}
"""


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: i for i, word in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=16
    )


def tiny_vae(*, residual: bool, seed: int = 0) -> AutoencoderKLWan:
    torch.manual_seed(seed)
    layout = {"is_residual": True, "patch_size": 2, "in_channels": 12, "out_channels": 12} if residual else {}
    multiples = [1, 1, 1] if residual else [1, 1, 1, 2]
    return AutoencoderKLWan(
        base_dim=8,
        z_dim=16,
        dim_mult=multiples,
        num_res_blocks=1,
        temperal_downsample=[True, True] if residual else [False, True, True],
        latents_mean=torch.linspace(-0.3, 0.3, 16).tolist(),
        latents_std=torch.linspace(0.5, 1.5, 16).tolist(),
        scale_factor_spatial=8,
        scale_factor_temporal=4,
        **layout,
    ).eval()


def tiny_transformer(seed: int = 0, **config: int) -> WanTransformer3DModel:
    torch.manual_seed(seed)
    base = {
        "num_attention_heads": 2,
        "attention_head_dim": 24,
        "in_channels": 16,
        "out_channels": 16,
        "text_dim": 32,
        "freq_dim": 32,
        "ffn_dim": 64,
        "num_layers": 2,
    }
    return WanTransformer3DModel(**(base | config)).eval()


def tiny_folder(folder: Path, *, layout: str, card: bool = True, trainings: str = "full, causal") -> Path:
    """Writes one folder.

    Args:
        folder: where.
        layout: `wan2.1` (UniPC, text only), `wan2.2` (TI2V, residual VAE, UniPC) or `playground` (TI2V, Euler).
        card: write `vgen.yaml` too.
        trainings: what the card says that it was trained for.
    """
    torch.manual_seed(0)
    text = UMT5EncoderModel(
        UMT5Config(vocab_size=16, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2, dropout_rate=0.0)
    )
    if layout == "playground":
        scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    else:
        scheduler = UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=3.0
        )
    pipeline = WanPipeline(
        tokenizer=tiny_tokenizer(),
        text_encoder=text.eval(),
        vae=tiny_vae(residual=layout == "wan2.2"),
        transformer=tiny_transformer(),
        scheduler=scheduler,
        expand_timesteps=layout != "wan2.1",
    )
    pipeline.save_pretrained(folder)
    _rename(folder / "model_index.json", "tokenizer", ["transformers", "PreTrainedTokenizerFast"])
    _rename(folder / "tokenizer" / "tokenizer_config.json", "tokenizer_class", "PreTrainedTokenizerFast")
    if card:
        text = CARD.format(image="none" if layout == "wan2.1" else "first_latent")
        (folder / "vgen.yaml").write_text(text.replace("[full, causal]", f"[{trainings}]"))
    return folder


def _rename(path: Path, key: str, value: object) -> None:
    """transformers 5 writes a class name of its own that older versions do not know."""
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}, indent=2))
