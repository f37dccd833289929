"""A model in a folder: what it is shown, what it says, and how sure it is, against its own forward pass."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.evaluate.vlm.tiny_vlm import WORDS, write_tiny_vlm
from vgen.errors import ModelError, ResourceError
from vgen.evaluate.benchmark import ItemError
from vgen.evaluate.jury import Part, Picture
from vgen.evaluate.vlm.local import LocalChat, open_local

NOISE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
PARTS: list[Part] = [Picture(NOISE, "0.00 s"), "is it ?"]
LABELS = ("Yes", "No")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_vlm(tmp_path_factory.mktemp("vlm") / "tiny-llava")


@pytest.fixture(scope="module")
def chat(folder: Path) -> LocalChat:
    return open_local(folder, max_new_tokens=6)


def by_hand(folder: Path, picture: Image.Image, *, new: int) -> tuple[list[int], torch.Tensor]:
    """Greedy tokens after the message, and the probabilities of the first, by plain forward passes without a cache."""
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    text = "user : 0.00 s <image> is it ? assistant :"  # the tokenizer puts <s> before it
    inputs = processor(text=[text], images=[picture], return_tensors="pt")
    ids, chosen, first = inputs["input_ids"], [], None
    for _ in range(new):
        with torch.inference_mode():
            scores = model(input_ids=ids, pixel_values=inputs["pixel_values"]).logits[0, -1].double()
        first = scores.exp() / scores.exp().sum() if first is None else first
        chosen.append(int(scores.argmax()))
        ids = torch.cat([ids, torch.tensor([chosen[-1:]])], dim=1)
        if chosen[-1] == 2:  # </s>
            break
    assert first is not None
    return chosen, first


def test_it_says_what_its_forward_pass_says(folder: Path, chat: LocalChat) -> None:
    reply = chat.complete(PARTS, labels=LABELS)
    tokens, chances_V = by_hand(folder, Image.fromarray(NOISE), new=6)
    words = AutoProcessor.from_pretrained(folder).tokenizer
    assert reply.text == words.decode(tokens, skip_special_tokens=True) and reply.tokens_out == len(tokens)
    assert reply.chances is not None
    expected = {label: float(chances_V[words.convert_tokens_to_ids(label)]) for label in LABELS}
    assert reply.chances == pytest.approx(expected, rel=1e-4)
    assert reply.tokens_in == 1 + 4 + 4 + 3 + 2  # one mark, words, patches, words, the turn of the assistant
    assert "user" not in reply.text.split()[:1]  # nothing of the message comes back


def test_the_first_draw_is_greedy_and_every_draw_is_its_own(chat: LocalChat) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    said = [chat.complete(PARTS, vote=vote) for vote in (0, 1, 2, 3, 4)]
    assert torch.equal(torch.get_rng_state(), state)
    assert said == [chat.complete(PARTS, vote=vote) for vote in (0, 1, 2, 3, 4)]
    assert len({reply.text for reply in said}) > 2


def test_what_is_seen_changes_what_is_said(chat: LocalChat) -> None:
    seen = chat.complete(PARTS, labels=LABELS).chances
    black = chat.complete([Picture(NOISE * 0, "0.00 s"), "is it ?"], labels=LABELS).chances
    assert seen is not None and black is not None
    assert abs(seen["Yes"] - black["Yes"]) > 1e-3


@pytest.mark.parametrize("weight", ["vision", "language"])
def test_a_weight_that_was_changed_changes_what_is_said(
    folder: Path, chat: LocalChat, tmp_path: Path, weight: str
) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    weights = load_file(other / "model.safetensors")
    (name,) = (name for name in weights if weight in name and name.endswith("layers.0.self_attn.v_proj.weight"))
    weights[name] = weights[name] + 1.0
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    before, after = (one.complete(PARTS, labels=LABELS).chances for one in (chat, open_local(other, max_new_tokens=1)))
    assert before is not None and after is not None
    assert max(abs(before[label] - after[label]) for label in LABELS) > 1e-3


def test_penalties_of_the_folder_do_not_count(folder: Path, chat: LocalChat, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    settings = json.loads((other / "generation_config.json").read_text())
    changed = settings | {"repetition_penalty": 50.0, "do_sample": True, "temperature": 9.0, "min_new_tokens": 6}
    (other / "generation_config.json").write_text(json.dumps(changed))
    assert open_local(other, max_new_tokens=6).complete(PARTS, labels=LABELS) == chat.complete(PARTS, labels=LABELS)


def test_labels_that_no_first_token_tells_apart_have_no_chances(chat: LocalChat) -> None:
    assert chat.complete(PARTS).chances is None
    assert chat.complete(PARTS, labels=("Yes", "Maybe")).chances is None  # not a word of this model
    assert chat.complete(PARTS, labels=("Yes", "Yes it is")).chances is None
    both = chat.complete(PARTS, labels=WORDS[:5]).chances
    assert both is not None and 0 < sum(both.values()) < 1


def test_what_it_cannot_take_is_an_error_of_the_item(chat: LocalChat) -> None:
    with pytest.raises(ItemError, match="takes 128 tokens, this message has"):
        chat.complete(["is " * 200])
    with pytest.raises(ItemError, match="cannot take this message"):
        chat.complete([Picture(NOISE), "is <image> it ?"])
    assert chat.complete(["is it ?"]).tokens_out > 0  # no picture at all
    assert chat.tokens(PARTS) == 2 + 255 + 2


def test_scores_that_are_no_numbers_are_no_answer(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    weights = load_file(other / "model.safetensors")
    save_file({name: value * float("nan") for name, value in weights.items()}, other / "model.safetensors")
    with pytest.raises(ItemError, match="not finite"):
        open_local(other, max_new_tokens=1).complete(PARTS)


def broken(folder: Path, tmp_path: Path, fault: str) -> Path:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    weights = other / "model.safetensors"
    if fault == "nothing there":
        return tmp_path / "none"
    if fault == "pickled":
        weights.rename(other / "pytorch_model.bin")
    elif fault == "damaged":
        weights.write_bytes(b"none")
    elif fault == "incomplete":
        kept = {name: value for name, value in load_file(weights).items() if "layers.1" not in name}
        save_file(kept, weights, metadata={"format": "pt"})
    elif fault == "no template":
        (other / "chat_template.jinja").unlink()
    elif fault == "adapter":
        (other / "adapter_config.json").write_text('{"base_model_name_or_path": "evil/model"}')
    elif fault == "kernel":
        config = json.loads((other / "config.json").read_text())
        config["text_config"] = config.get("text_config", {}) | {"_attn_implementation": "evil/kernel"}
        (other / "config.json").write_text(json.dumps(config))
    else:
        config = {"model_type": "nobody", "auto_map": {"AutoModelForImageTextToText": "code.Model"}}
        (other / "config.json").write_text(json.dumps(config if fault == "own code" else {"model_type": "llama"}))
    return other


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("nothing there", "no model folder"),
        ("pickled", "pickled"),
        ("damaged", "no image-text-to-text model"),
        ("incomplete", r"weights lack .*layers\.1"),
        ("no template", "no chat template"),
        ("adapter", r"adapter_config\.json in a component"),
        ("kernel", "sets _attn_implementation to 'evil/kernel', code of others"),
        ("own code", "no image-text-to-text model"),
        ("text alone", "no image-text-to-text model"),
    ],
)
def test_a_folder_that_is_none(folder: Path, tmp_path: Path, fault: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as error:
        open_local(broken(folder, tmp_path, fault))
    assert "\n" not in str(error.value)


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed")
def test_a_processor_whose_package_is_missing(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    processor = json.loads((other / "processor_config.json").read_text())
    (other / "processor_config.json").write_text(json.dumps(processor | {"processor_class": "Qwen2VLProcessor"}))
    (other / "video_preprocessor_config.json").write_text('{"video_processor_type": "Qwen2VLVideoProcessor"}')
    with pytest.raises(ResourceError, match=r"Torchvision.*pip install vgen\[vlm\]"):
        open_local(other)
