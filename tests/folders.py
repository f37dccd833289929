"""Tiny random-weight model folders in the real layouts, written through diffusers' stock classes."""

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
)
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedTokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil as CLIPImageProcessor

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
EXPERTS = ("t2v-a14b", "i2v-a14b")  # two transformers
STATES = ("i2v", "flf2v")  # an image encoder
CLIP_SIDE, CLIP_PATCH, CLIP_WIDTH = 32, 16, 20


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


def tiny_vision(seed: int = 0) -> CLIPVisionModel:
    torch.manual_seed(seed)
    config = CLIPVisionConfig(
        hidden_size=CLIP_WIDTH,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=CLIP_SIDE,
        patch_size=CLIP_PATCH,
        hidden_act="gelu",
    )
    return CLIPVisionModel(config).eval()


def tiny_folder(folder: Path, *, layout: str, card: bool = True, trainings: str = "full, causal") -> Path:
    """Writes one folder.

    Args:
        folder: where.
        layout: `wan2.1` (UniPC, text only), `wan2.2` (TI2V, residual VAE, UniPC), `playground` (TI2V, Euler),
            `t2v-a14b` and `i2v-a14b` (Wan2.2 with two experts), or `i2v` and `flf2v` (Wan2.1 with image encoder).
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
    parts = {
        "tokenizer": tiny_tokenizer(),
        "text_encoder": text.eval(),
        "vae": tiny_vae(residual=layout == "wan2.2"),
        "transformer": layout_transformer(layout),
        "scheduler": scheduler,
        "expand_timesteps": layout in ("wan2.2", "playground"),
    }
    if layout in EXPERTS:
        parts |= {"transformer_2": layout_transformer(layout, seed=7), "boundary_ratio": 0.9}
    if layout in STATES:
        size = {"size": {"shortest_edge": CLIP_SIDE}, "crop_size": {"height": CLIP_SIDE, "width": CLIP_SIDE}}
        parts |= {"image_encoder": tiny_vision(), "image_processor": CLIPImageProcessor(**size)}
    pipeline = (WanImageToVideoPipeline if "i2v" in layout or "flf2v" in layout else WanPipeline)(**parts)
    pipeline.save_pretrained(folder)
    _rename(folder / "model_index.json", "tokenizer", ["transformers", "PreTrainedTokenizerFast"])
    _rename(folder / "tokenizer" / "tokenizer_config.json", "tokenizer_class", "PreTrainedTokenizerFast")
    if layout in STATES:
        _rename(folder / "model_index.json", "image_processor", ["transformers", "CLIPImageProcessor"])
    if card:
        (folder / "vgen.yaml").write_text(card_of(layout).replace("[full, causal]", f"[{trainings}]"))
    return folder


def layout_transformer(layout: str, seed: int = 0) -> WanTransformer3DModel:
    config = {"in_channels": 36} if layout in ("i2v-a14b", *STATES) else {}
    if layout in STATES:
        config |= {"image_dim": CLIP_WIDTH, "added_kv_proj_dim": 48}
    if layout == "flf2v":
        config |= {"pos_embed_seq_len": 2 * ((CLIP_SIDE // CLIP_PATCH) ** 2 + 1)}
    transformer = tiny_transformer(seed, **config)
    if layout == "flf2v":  # zeros as made
        torch.nn.init.normal_(transformer.condition_embedder.image_embedder.pos_embed)
    return transformer


def card_of(layout: str) -> str:
    """What the tiny folder's own card says."""
    channels, takes = layout in ("i2v-a14b", *STATES), layout in ("wan2.2", "playground")
    card = CARD.format(image="channels" if channels else "first_latent" if takes else "none")
    card += {"flf2v": "last_image: required\n", "i2v-a14b": "last_image: optional\n"}.get(layout, "")
    return card.replace("text_length: 16", "text_length: 512") if layout in STATES else card


def _rename(path: Path, key: str, value: object) -> None:
    """transformers 5 writes a class name of its own that older versions do not know."""
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}, indent=2))
