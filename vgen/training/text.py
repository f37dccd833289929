"""The embedded model's own words: a word-level tokenizer over the playground's vocabulary, and a small UMT5 encoder."""

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel
from torch import Tensor
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from vgen.training.config import DiTRecipe

__all__ = ["build_text_encoder", "build_tokenizer", "name_tokenizer_class", "taught_words", "text_states"]

PAD, EOS, UNK = "<pad>", "</s>", "<unk>"
TOKENIZER_CLASS = "PreTrainedTokenizerFast"


def build_tokenizer(words: Iterable[str], length: int) -> PreTrainedTokenizerFast:
    """Lower-cases, splits at spaces and marks, appends the end mark; padding is token 0."""
    specials = [PAD, EOS, UNK]
    vocabulary = {word: index for index, word in enumerate(specials + sorted(set(words)))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNK))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(behavior="removed")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {EOS}", special_tokens=[(EOS, vocabulary[EOS])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, unk_token=UNK, model_max_length=length
    )


def build_text_encoder(recipe: DiTRecipe, vocabulary_size: int, seed: int) -> UMT5EncoderModel:
    """A fresh encoder; without dropout, because it trains with a model that is far from fitting its data."""
    config = UMT5Config(
        vocab_size=vocabulary_size,
        d_model=recipe.text_dim,
        d_kv=recipe.text_dim // recipe.text_heads,
        d_ff=2 * recipe.text_dim,
        num_layers=recipe.text_layers,
        num_heads=recipe.text_heads,
        dropout_rate=0.0,
        relative_attention_max_distance=recipe.text_length,
        pad_token_id=0,
        eos_token_id=1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UMT5EncoderModel(config)


@torch.no_grad()
def taught_words(
    old: tuple[PreTrainedTokenizerFast, UMT5EncoderModel], new: tuple[PreTrainedTokenizerFast, UMT5EncoderModel]
) -> list[str]:
    """Gives a fresh encoder the weights of one that knows other words: each word both know keeps its embedding.

    Words that are new keep the fresh encoder's embeddings. Changes the new encoder in place.

    Args:
        old: tokenizer and encoder to go on from.
        new: tokenizer and encoder of the same sizes but for vocabulary and length.

    Returns:
        The new words, sorted.
    """
    known, words = old[0].get_vocab(), new[0].get_vocab()
    weights = dict(old[1].state_dict())
    common = [word for word in words if word in known]
    old_rows, new_rows = ([vocabulary[word] for word in common] for vocabulary in (known, words))
    for name in ("shared.weight", "encoder.embed_tokens.weight"):
        grown = new[1].state_dict()[name].clone()
        grown[new_rows] = weights[name][old_rows]
        weights[name] = grown
    new[1].load_state_dict(weights)
    return sorted({*words} - {*known})


def text_states(
    tokenizer: PreTrainedTokenizerFast, encoder: UMT5EncoderModel, prompts: list[str], length: int
) -> Tensor:
    """States of prompts, text_BMD, zero beyond each prompt's own tokens as in diffusers' Wan pipelines."""
    tokens = tokenizer(prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    mask_BM = tokens["attention_mask"].to(encoder.device)
    states_BMD = encoder(tokens["input_ids"].to(encoder.device), mask_BM).last_hidden_state
    return states_BMD * mask_BM.unsqueeze(-1).to(states_BMD.dtype)


def name_tokenizer_class(folder: Path) -> None:
    """Writes the tokenizer's class by the name that every transformers knows; version 5 writes `TokenizersBackend`."""
    for path in (folder / "model_index.json", folder / "tokenizer" / "tokenizer_config.json"):
        content = json.loads(path.read_text())
        if path.name == "model_index.json":
            content["tokenizer"] = ["transformers", TOKENIZER_CLASS]
        else:
            content["tokenizer_class"] = TOKENIZER_CLASS
        path.write_text(json.dumps(content, indent=2) + "\n")
