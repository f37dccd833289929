"""From a prompt to the states that the video transformer reads.

Wan attends to padding, so the text length is part of the model: states beyond the prompt's own are zeros up to it.
"""

from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from torch import Tensor
from transformers import PreTrainedTokenizerBase, UMT5EncoderModel

from vgen.errors import ModelError

__all__ = ["PromptEncoder"]


class _Tokenizing:
    """Turns a panic of the Rust library, such as a pattern that backtracks for ever, into a `ModelError`.

    Its class is no child of `Exception` and cannot be imported, so that only its name tells it.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and kind.__name__ == "PanicException":
            raise ModelError(
                f"the model's tokenizer failed on the prompt: {' '.join(str(error).split()):.200}"
            ) from error


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
        with _Tokenizing():
            tokens = self.tokenizer(cleaned, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        words = [cleaned[a:b] for a, b in tokens["offset_mapping"]]
        unk = self.tokenizer.unk_token_id
        return words, [word for word, token in zip(words, tokens["input_ids"], strict=True) if token == unk]

    def vocabulary(self) -> list[str]:
        """Every word the tokenizer knows, sorted, without special tokens."""
        return sorted(set(self.tokenizer.get_vocab()) - set(self.tokenizer.all_special_tokens))

    def _tokenize(self, prompt: str, **options: Any) -> Any:
        words = prompt_clean(prompt)
        with _Tokenizing():
            return self.tokenizer(words, add_special_tokens=True, return_attention_mask=True, verbose=False, **options)
