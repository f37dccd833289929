"""VideoDiT against the stock transformer, and a text per frame. Its memory: test_context_properties.py."""

import json

import pytest
import torch
from peft import LoraConfig
from torch import Tensor

from tests.folders import tiny_transformer
from tests.models.tiny import HEIGHT, TOKENS, WIDTH, latents, noise, ours_of, tiny_dit, words
from vgen.attention import Dense
from vgen.models.dit import VideoDiT
from vgen.models.passes import PreparedText, TextPerFrame
from vgen.shapes import TokenGrid


@pytest.fixture(scope="module")
def dit() -> VideoDiT:
    return tiny_dit()


CONFIGS: list[dict[str, int]] = [
    {},
    {"num_layers": 1, "num_attention_heads": 3, "attention_head_dim": 16, "ffn_dim": 48},
    {"in_channels": 36, "image_dim": 20, "added_kv_proj_dim": 48},
]


@pytest.mark.parametrize("config", CONFIGS, ids=["t2v", "other heads", "image embedding"])
@torch.no_grad()
def test_equals_the_stock_transformer(config: dict[str, int]) -> None:
    stock = tiny_transformer(**config)
    dit = ours_of(stock)
    x = noise(2, stock.config.in_channels, 3, HEIGHT, WIDTH)
    text, image = noise(2, 512, 32, seed=1), noise(2, 7, 20, seed=2) if "image_dim" in config else None
    prepared = dit.prepare_text(text, image)
    one_level = torch.tensor([[0.7], [0.3]])
    theirs = stock(x, one_level[:, 0] * 1000, text, image, return_dict=False)[0]
    torch.testing.assert_close(dit(x, one_level, prepared), theirs, rtol=0, atol=1e-5)
    per_frame = torch.rand(2, 3, generator=torch.Generator().manual_seed(3))
    per_token = (per_frame * 1000).repeat_interleave(TOKENS, dim=1)
    theirs = stock(x, per_token, text, image, return_dict=False)[0]
    torch.testing.assert_close(dit(x, per_frame, prepared), theirs, rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_stock_class_comes_back(dit: VideoDiT) -> None:
    stock = dit.to_stock()
    assert json.loads(stock.to_json_string())["_class_name"] == "WanTransformer3DModel"
    x, text = noise(1, 16, 2, HEIGHT, WIDTH), noise(1, 8, 32)
    theirs = stock(x, torch.tensor([400.0]), text, return_dict=False)[0]
    torch.testing.assert_close(dit(x, torch.tensor([[0.4]]), text), theirs, rtol=0, atol=1e-6)


@torch.no_grad()
def test_lora_loads_through_diffusers_and_equals_stock(dit: VideoDiT) -> None:
    """The same adapter in both models gives the same change, and unloading takes it back."""
    stock, ours = tiny_transformer(), ours_of(tiny_transformer())
    stock.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    adapter = {name.replace(".default", ""): value for name, value in stock.state_dict().items() if "lora_" in name}
    ours.load_lora_adapter({f"transformer.{name}": value for name, value in adapter.items()}, prefix="transformer")
    x, text, t = noise(1, 16, 2, HEIGHT, WIDTH), noise(1, 8, 32), torch.tensor([500.0])
    theirs = stock(x, t, text, return_dict=False)[0]
    plain = dit(x, (t / 1000)[None], text)
    changed = ours(x, (t / 1000)[None], text)
    assert (changed - plain).abs().max() > 1e-3
    torch.testing.assert_close(changed, theirs, rtol=0, atol=1e-5)
    ours.unload_lora()
    torch.testing.assert_close(ours(x, (t / 1000)[None], text), plain, rtol=0, atol=1e-6)


class Alone:
    """Attention in which every frame sees itself alone."""

    def __call__(
        self,
        q_BLNK: Tensor,
        k_BMNK: Tensor,
        v_BMNK: Tensor,
        *,
        query: TokenGrid,
        key: TokenGrid,
        layer: int,
        sigma: float | None = None,
    ) -> Tensor:
        frames = zip(*(x.split(TOKENS, dim=1) for x in (q_BLNK, k_BMNK, v_BMNK)), strict=True)
        return torch.cat([Dense()(q, k, v, query=query, key=key, layer=layer) for q, k, v in frames], dim=1)


@pytest.mark.parametrize("images", [False, True], ids=["text", "text and image"])
@torch.no_grad()
def test_each_frame_reads_its_own_text(images: bool) -> None:
    """Where frames see themselves alone, it is as if each had been run with its text."""
    dit = tiny_dit(image_dim=20, added_kv_proj_dim=48) if images else tiny_dit()
    texts = [dit.prepare_text(words(seed), noise(1, 7, 20, seed=seed) if images else None) for seed in range(3)]
    by_frame = [texts[i] for i in (0, 0, 1, 2, 2, 0)]
    x, sigma = latents(6), torch.linspace(0.1, 0.9, 6)[None]
    together = dit(x, sigma, TextPerFrame(tuple(by_frame)), attention=Alone())
    for f, text in enumerate(by_frame):
        single = dit(x[:, :, f : f + 1], sigma[:, f : f + 1], text, frames=[f], attention=Alone())
        torch.testing.assert_close(together[:, :, f : f + 1], single, rtol=0, atol=1e-5)
    assert (together - dit(x, sigma, texts[0], attention=Alone())).abs().amax((0, 1, 3, 4))[2:5].min() > 1e-3


@torch.no_grad()
def test_one_text_for_all_frames_is_the_single_text_to_the_last_bit(dit: VideoDiT) -> None:
    x, sigma, text = latents(4), torch.full((1, 1), 0.5), dit.prepare_text(words())
    assert torch.equal(dit(x, sigma, TextPerFrame((text,) * 4)), dit(x, sigma, text))
    assert torch.equal(dit(x, sigma, TextPerFrame((text,) * 4, early=(text,) * 4)), dit(x, sigma, text))


@pytest.mark.parametrize(("layers", "early_layers"), [(1, 0), (2, 1), (3, 1), (4, 2)])
@torch.no_grad()
def test_the_first_half_of_the_layers_can_read_another_text(layers: int, early_layers: int) -> None:
    dit = tiny_dit(num_layers=layers)
    a, b = dit.prepare_text(words(1)), dit.prepare_text(words(2))
    both = PreparedText(b.layers[:early_layers] + a.layers[early_layers:])
    x, sigma = latents(3), torch.full((1, 1), 0.5)
    assert torch.equal(dit(x, sigma, TextPerFrame((a,) * 3, early=(b,) * 3)), dit(x, sigma, both))


@torch.no_grad()
def test_texts_and_frames_must_be_as_many(dit: VideoDiT) -> None:
    text = dit.prepare_text(words())
    for texts in (TextPerFrame((text,) * 2), TextPerFrame((text,) * 3, early=(text,))):
        with pytest.raises(AssertionError, match="a text for each of 3 frames"):
            dit(latents(3), torch.zeros(1, 1), texts)
