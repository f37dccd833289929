"""What `vgen bench generate` runs: models and clips, by name; and both engines over the same weights.

`embedded` and `tiny` are folders and run on a CPU: the model of the package, and random weights in the layout of Wan2.1
with its multistep solver. The Wan models are shapes, with random weights that are drawn on the GPU. Stock diffusers
gets the very same tensors, so that a model of 14 billion weights is there once. A new one is a row of MODELS.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline
from transformers import UMT5Config, UMT5EncoderModel

from vgen.bench.drawn import drawn
from vgen.bench.memory import Case, write_model
from vgen.models.card import CARD_FILE, ModelCard
from vgen.models.dit import VideoDiT
from vgen.models.folder import EMBEDDED, embedded_folder
from vgen.models.load import load_model
from vgen.models.loaded import LoadedModel, own_model
from vgen.models.residence import Residence
from vgen.models.text import PromptEncoder
from vgen.pipeline import VideoPipeline
from vgen.placement import Placement
from vgen.schema import PerformanceConfig

__all__ = ["MODELS", "Subject", "compiled_stock", "stock_of", "vgen_of"]

Load = Callable[[torch.device, torch.dtype], LoadedModel]
TINY = Case(heads=6, layers=8, ffn_dim=1536, base_dim=8)
TINY_CARD = """name: tiny
height: 192
width: 192
num_frames: 9
fps: 8
num_inference_steps: 4
guidance_scale: 5.0
text_length: 32
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model and the clip that is made with it.

    Args:
        load: gives the model.
        steps: of the clip; a few tell as much of each step as all.
        pairs: turns of each way that are timed, after one that warms up.
        device: kind of device that it is for.
    """

    load: Load
    steps: int
    pairs: int
    device: str


def vgen_of(model: LoadedModel) -> VideoPipeline:
    """Our pipeline, all weights on the device."""
    return VideoPipeline(model, PerformanceConfig(mode="speed"))


def stock_of(model: LoadedModel) -> WanPipeline:
    """diffusers' own pipeline over the same tensors."""
    transformer = model.dit.to_stock()
    transformer.rope.to(model.device)
    shift = model.card.shift_for(height=model.card.height, width=model.card.width)
    assert shift is None, "stock diffusers knows the folder's own shift alone"
    stock = WanPipeline(
        tokenizer=model.prompts.tokenizer,
        text_encoder=model.prompts.encoder,
        vae=model.vae,
        transformer=transformer,
        scheduler=type(model.scheduler).from_config(model.scheduler.config),
        expand_timesteps=model.card.image == "first_latent",
    )
    stock.set_progress_bar_config(disable=True)
    return stock


def compiled_stock(stock: WanPipeline) -> WanPipeline:
    """Its blocks compiled, as diffusers' guide to regional compilation does it."""
    stock.transformer.compile_repeated_blocks(fullgraph=True)
    return stock


def _from_folder(folder: str, device: torch.device, dtype: torch.dtype) -> LoadedModel:
    return own_model(load_model(folder, device=device, dtype=dtype))


def _embedded(device: torch.device, dtype: torch.dtype) -> LoadedModel:
    return _from_folder(EMBEDDED, device, dtype)


def _tiny(device: torch.device, dtype: torch.dtype) -> LoadedModel:
    """Written as a folder and read from it, which is then gone."""
    with tempfile.TemporaryDirectory() as made:
        folder = write_model(TINY, Path(made) / "tiny")
        _scheduler().save_pretrained(folder / "scheduler")
        index = json.loads((folder / "model_index.json").read_text())
        index |= {"scheduler": ["diffusers", "UniPCMultistepScheduler"], "expand_timesteps": False}
        (folder / "model_index.json").write_text(json.dumps(index))
        (folder / CARD_FILE).write_text(TINY_CARD)
        return _from_folder(str(folder), device, dtype)


def _scheduler() -> UniPCMultistepScheduler:
    """As Wan2.1's folders name it for 480p."""
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=3.0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """A Wan2.1 model with random weights.

    Args:
        name: of the model.
        dit, text: arguments of `VideoDiT` and `UMT5Config`; `vae` of `AutoencoderKLWan`.
        height, width: of its clip in pixels.
        num_frames: of its clip.
    """

    name: str
    dit: dict[str, Any]
    height: int
    width: int
    num_frames: int = 81
    text: dict[str, Any]
    vae: dict[str, Any]

    def __call__(self, device: torch.device, dtype: torch.dtype) -> LoadedModel:
        card = ModelCard(
            name=self.name,
            height=self.height,
            width=self.width,
            num_frames=self.num_frames,
            fps=16,
            num_inference_steps=50,
            guidance_scale=5.0,
        )
        encoder = drawn(lambda: UMT5EncoderModel(UMT5Config(**self.text)), device, dtype)
        vae = drawn(lambda: AutoencoderKLWan(**self.vae), device, torch.float32)
        dit = drawn(lambda: VideoDiT(**self.dit), device, dtype)
        residence = Residence(device, Placement(), _cannot_be_read)
        for part, module in (("text_encoder", encoder), ("vae", vae), ("transformer", dit)):
            residence.admit(part, module)
        embedded = _embedded(torch.device("cpu"), torch.float32)
        return LoadedModel(
            id=self.name,
            folder=embedded_folder(),
            card=card,
            prompts=PromptEncoder(embedded.prompts.tokenizer, encoder, card.text_length),
            vae=vae,
            dit=dit,
            scheduler=_scheduler(),
            residence=residence,
        )


def _cannot_be_read(part: str) -> Any:
    raise AssertionError(f"{part} is drawn, and kept on the device")


# prompts are read by the embedded model's tokenizer, and filled up to the 512 tokens of Wan
_UMT5_XXL = {
    "vocab_size": 256_384,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
}
_1B3 = {"num_attention_heads": 12, "num_layers": 30, "ffn_dim": 8960}
_480P, _720P = {"height": 480, "width": 832}, {"height": 720, "width": 1280}


def _wan(name: str, dit: dict[str, int], size: dict[str, int]) -> _Shape:
    return _Shape(name=name, dit=dit, text=_UMT5_XXL, vae={}, **size)


MODELS: dict[str, Subject] = {
    "embedded": Subject(load=_embedded, steps=6, pairs=7, device="cpu"),
    "tiny": Subject(load=_tiny, steps=4, pairs=7, device="cpu"),
    "wan-1b3-480p": Subject(load=_wan("wan-1b3-480p", _1B3, _480P), steps=8, pairs=3, device="cuda"),
    "wan-1b3-720p": Subject(load=_wan("wan-1b3-720p", _1B3, _720P), steps=4, pairs=3, device="cuda"),
    "wan-14b-480p": Subject(load=_wan("wan-14b-480p", {}, _480P), steps=4, pairs=2, device="cuda"),
    "wan-14b-720p": Subject(load=_wan("wan-14b-720p", {}, _720P), steps=4, pairs=1, device="cuda"),
}
