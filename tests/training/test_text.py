"""The word-level tokenizer and its encoder."""

import json
from pathlib import Path

import torch

from vgen.playground.caption import VOCABULARY, caption
from vgen.playground.scene import scenes
from vgen.training.config import DiTRecipe
from vgen.training.text import build_text_encoder, build_tokenizer, name_tokenizer_class, text_states

LENGTH = 32
RECIPE = DiTRecipe(text_dim=16, text_layers=1, text_heads=2)


def test_every_caption_survives_the_round_trip() -> None:
    tokenizer = build_tokenizer(VOCABULARY, LENGTH)
    for scene in scenes("train", 40):
        text = caption(scene, scene.seed)
        ids = tokenizer(text)["input_ids"]
        assert len(ids) <= LENGTH
        assert ids[-1] == tokenizer.eos_token_id and tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids[:-1]) == text


def test_case_and_marks_are_nothing_and_strangers_are_unknown() -> None:
    tokenizer = build_tokenizer(VOCABULARY, LENGTH)
    assert tokenizer.pad_token_id == 0
    assert tokenizer("A RED ball, falls!")["input_ids"] == tokenizer("a red ball falls")["input_ids"]
    assert tokenizer("a zebra")["input_ids"][1] == tokenizer.unk_token_id
    assert tokenizer("")["input_ids"] == [tokenizer.eos_token_id]


@torch.no_grad()
def test_states_are_zero_beyond_the_prompt() -> None:
    tokenizer = build_tokenizer(VOCABULARY, LENGTH)
    encoder = build_text_encoder(RECIPE, len(tokenizer), seed=0).eval()
    states_BMD = text_states(tokenizer, encoder, ["a red ball falls", ""], LENGTH)
    assert states_BMD.shape == (2, LENGTH, 16)
    assert (states_BMD[0, :5].abs().sum(-1) > 0).all() and (states_BMD[1, :1].abs().sum(-1) > 0).all()
    assert not states_BMD[0, 5:].any() and not states_BMD[1, 1:].any()


def test_the_tokenizer_keeps_its_old_class_name(tmp_path: Path) -> None:
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "model_index.json").write_text(json.dumps({"tokenizer": ["transformers", "TokenizersBackend"]}))
    config = tmp_path / "tokenizer" / "tokenizer_config.json"
    config.write_text(json.dumps({"tokenizer_class": "TokenizersBackend", "pad_token": "<pad>"}))
    name_tokenizer_class(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["tokenizer"] == ["transformers", "PreTrainedTokenizerFast"]
    assert json.loads(config.read_text()) == {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>"}
