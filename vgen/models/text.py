"""From a prompt to the states that the video transformer reads.

Wan attends to padding, so the text length is part of the model: states beyond the prompt's own are zeros up to it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from torch import Tensor
from transformers import PreTrainedTokenizerBase, UMT5EncoderModel

__all__ = ["PromptEncoder"]


@dataclass(frozen=True, slots=True)
class PromptEncoder:
    """Tokenizer and text encoder of one folder.

    Args:
        tokenizer, encoder: as loaded.
        length: M, text tokens that the model was trained with.
    """

    tokenizer: PreTrainedTokenizerBase
    encoder: UMT5EncoderModel
    length: int

    @torch.no_grad()
    def __call__(self, prompt: str) -> Tensor:
        """States of one prompt, text_BMD with B = 1; a prompt longer than `length` tokens is cut (see `tokens_of`)."""
        tokens = self._tokenize(prompt, max_length=self.length, padding="max_length", truncation=True)
        ids = torch.tensor([tokens["input_ids"]], device=self.encoder.device)
        mask = torch.tensor([tokens["attention_mask"]], device=self.encoder.device)
        states_BMD = self.encoder(ids, mask).last_hidden_state
        return states_BMD * mask.to(states_BMD.dtype).unsqueeze(-1)

    def tokens_of(self, prompt: str) -> int:
        """Tokens of the whole prompt, end mark included; above `length` its tail is not seen by the model."""
        return len(self._tokenize(prompt)["input_ids"])

    def unknown_words(self, prompt: str) -> tuple[list[str], list[str]]:
        """The prompt's words, and those among them that the vocabulary lacks."""
        cleaned = prompt_clean(prompt)
        tokens = self.tokenizer(cleaned, add_special_tokens=False, return_offsets_mapping=True)
        words = [cleaned[a:b] for a, b in tokens["offset_mapping"]]
        unk = self.tokenizer.unk_token_id
        return words, [word for word, token in zip(words, tokens["input_ids"], strict=True) if token == unk]

    def vocabulary(self) -> list[str]:
        """Every word the tokenizer knows, sorted, without special tokens."""
        return sorted(set(self.tokenizer.get_vocab()) - set(self.tokenizer.all_special_tokens))

    def _tokenize(self, prompt: str, **options: Any) -> Any:
        return self.tokenizer(prompt_clean(prompt), add_special_tokens=True, return_attention_mask=True, **options)
