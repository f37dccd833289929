"""Wan's names and diffusers': our table against one written for the tests, and against diffusers' own loader."""

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

from tests.convert.files import originals
from tests.folders import tiny_transformer
from vgen.models.names import diffusers_name

IMAGE = {"image_dim": 20, "added_kv_proj_dim": 48, "in_channels": 36}
KINDS: dict[str, dict[str, int]] = {"text": {}, "image": IMAGE, "two ends": IMAGE | {"pos_embed_seq_len": 514}}


@pytest.mark.parametrize("kind", KINDS)
def test_every_tensor_comes_back_under_its_name(kind: str) -> None:
    stock = tiny_transformer(num_layers=12, **KINDS[kind])
    theirs = originals(stock)
    assert len(theirs) == len(stock.state_dict())
    ours = {diffusers_name(name): value for name, value in theirs.items()}
    assert ours.keys() == stock.state_dict().keys()
    assert all(torch.equal(ours[name], value) for name, value in stock.state_dict().items())


@pytest.mark.parametrize("kind", ["text", "image"])
def test_diffusers_own_loader_gives_the_same_names(kind: str) -> None:
    theirs = originals(tiny_transformer(**KINDS[kind]))
    converted = convert_wan_transformer_to_diffusers(dict(theirs))
    assert {name: id(value) for name, value in converted.items()} == {
        diffusers_name(name): id(value) for name, value in theirs.items()
    }


@pytest.mark.parametrize(
    "name",
    ["freqs", "blocks.0", "blocks.0.self_attn.q.lora_A.weight", "blocks.x.norm3.weight", "self_attn.q.weight", "norm3",
     "blocks.0.patch_embedding.weight", "blocks.0.self_attn.k_img.weight", "blocks.0.norm1.weight", ""],
)  # fmt: skip
def test_what_wan_does_not_have_has_no_name(name: str) -> None:
    assert diffusers_name(name) is None
