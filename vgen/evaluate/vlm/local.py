"""A judge in a folder: any image-text-to-text model of transformers, from safetensors, without network or its own code.

The first draw is greedy; others are sampled with a seed, so that the same question with the same `vote` has the same
answer. Settings for sampling in the folder are not used, and what a model may say is bounded.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from vgen.errors import ModelError, ResourceError
from vgen.evaluate.benchmark import ItemError
from vgen.evaluate.jury import Part, Reply
from vgen.evaluate.vlm.cost import estimate

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LocalChat", "open_local"]

MAX_NEW_TOKENS = 2048


class LocalChat:
    """A model and its processor, loaded; made by `open_local`.

    Args:
        name: as scores call it.
        model, processor: as transformers' classes for images and text load them.
        max_new_tokens: an answer ends there at the latest.
    """

    def __init__(self, name: str, model: Any, processor: Any, *, max_new_tokens: int = MAX_NEW_TOKENS) -> None:
        self.name = name
        self._model, self._processor = model, processor
        self._max_new_tokens = max_new_tokens

    def complete(self, parts: Sequence[Part], *, labels: tuple[str, ...] = (), vote: int = 0) -> Reply:
        """One answer: greedy for vote 0, a seeded sample for each other.

        Raises:
            ItemError: the message is too long, cannot be laid out, or the model gives figures that are not finite.
        """
        inputs = self._inputs(parts)
        length = int(inputs["input_ids"].shape[1])
        said_S, first_V = self._generate(inputs, vote)
        tokenizer = self._processor.tokenizer
        return Reply(
            text=tokenizer.decode(said_S[length:], skip_special_tokens=True),
            chances=_chances(first_V, _starts(tokenizer, labels)) if labels else None,
            tokens_in=length,
            tokens_out=len(said_S) - length,
        )

    def tokens(self, parts: Sequence[Part]) -> int:
        """As `cost.estimate`."""
        return estimate(parts)

    def _inputs(self, parts: Sequence[Part]) -> Any:
        content: list[dict[str, str]] = []
        pictures = []
        for part in parts:
            if isinstance(part, str):
                content.append({"type": "text", "text": part})
                continue
            if part.caption:
                content.append({"type": "text", "text": part.caption})
            content.append({"type": "image"})
            pictures.append(Image.fromarray(np.ascontiguousarray(part.pixels_YX3)))
        text = self._processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        start = self._processor.tokenizer.bos_token
        marked = bool(start) and text.startswith(start)  # some templates write the mark that tokenizers add
        try:
            inputs = self._processor(
                text=[text], images=pictures or None, add_special_tokens=not marked, return_tensors="pt"
            )
        except ValueError as error:  # a text that holds the mark for a picture
            raise ItemError(f"{self.name} cannot take this message: {error}") from error
        longest = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        length = inputs["input_ids"].shape[1]
        if longest is not None and length >= longest:
            raise ItemError(f"{self.name} takes {longest} tokens, this message has {length}; show fewer frames")
        return inputs.to(self._model.device)

    def _generate(self, inputs: Any, vote: int) -> tuple["Tensor", "Tensor"]:
        """The tokens of message and answer [S], and the raw scores of the first new one [V], fp32."""
        import torch

        devices = [self._model.device] if self._model.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.inference_mode():
            torch.manual_seed(vote)
            done = self._model.generate(
                **inputs,
                max_new_tokens=self._max_new_tokens,
                do_sample=vote > 0,
                output_logits=True,
                return_dict_in_generate=True,
            )
        first_V = done.logits[0][0].float()
        if not bool(torch.isfinite(first_V).all()):
            raise ItemError(f"{self.name} gave scores that are not finite")
        return done.sequences[0], first_V


def open_local(folder: Path, *, max_new_tokens: int = MAX_NEW_TOKENS) -> LocalChat:
    """Loads a model: onto the GPU in its own precision where there is one, else onto the CPU in fp32.

    Raises:
        ModelError: the folder is missing, incomplete, pickled, of no such model, or lacks a chat template.
        ResourceError: its processor needs a package that is not installed.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from vgen.models.files import check_links, check_own, read_json, weight_files

    if not folder.is_dir():
        raise ModelError(f"no model folder at '{folder}'")
    check_links(folder)
    check_own(folder, read_json(folder / "config.json"))
    weight_files(folder, "model.safetensors")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model, loading = AutoModelForImageTextToText.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            dtype="auto" if device == "cuda" else torch.float32,
        )
    except ImportError as error:
        raise ResourceError(f"{folder}: a package is missing: {_line(error)}; pip install vgen[vlm]") from error
    except (KeyError, OSError, RuntimeError, SafetensorError, TypeError, ValueError) as error:  # of a wrong folder
        raise ModelError(f"{folder}: no image-text-to-text model: {_line(error)}") from error
    if absent := sorted(loading["missing_keys"]):
        raise ModelError(f"{folder}: weights lack {absent[0]} ({len(absent)} tensors), which would be random")
    if not getattr(processor, "chat_template", None) or not hasattr(processor, "image_processor"):
        raise ModelError(f"{folder}: its processor takes no pictures, or has no chat template")
    model.generation_config = _greedy(model.generation_config)
    model.to(device).eval()
    return LocalChat(folder.resolve().name, model, processor, max_new_tokens=max_new_tokens)


def _greedy(own: Any) -> Any:
    """The marks of a generation config alone: what a folder says of penalties and temperatures would count too."""
    from transformers import GenerationConfig

    return GenerationConfig(bos_token_id=own.bos_token_id, eos_token_id=own.eos_token_id, pad_token_id=own.pad_token_id)


def _starts(tokenizer: Any, labels: tuple[str, ...]) -> dict[str, set[int]]:
    """The tokens that each label may begin with, at the start of a line and after a space."""
    starts: dict[str, set[int]] = {}
    for label in labels:
        written = [tokenizer.encode(text, add_special_tokens=False) for text in (label, f" {label}")]
        first = {ids[0] for ids in written if ids and tokenizer.decode(ids[:1]).strip()}
        starts[label] = first - {tokenizer.unk_token_id}
    return starts


def _chances(first_V: "Tensor", starts: dict[str, set[int]]) -> dict[str, float] | None:
    """Softmax over the whole vocabulary; None where two labels begin alike, or one has no token of its own."""
    every = [token for tokens_ in starts.values() for token in tokens_]
    if len(set(every)) < len(every) or not all(starts.values()):
        return None
    chances_V = first_V.softmax(0)
    return {label: float(chances_V[sorted(tokens_)].sum()) for label, tokens_ in starts.items()}


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
