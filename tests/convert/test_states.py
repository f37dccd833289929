"""Published files: which state dict is taken, under which names, and what is refused."""

import os
import random
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.convert.files import prefixed, save_pickled
from vgen.convert.states import ChosenState, choose_state, read_states
from vgen.errors import ModelError

STATE = {"patch_embedding.weight": torch.arange(6.0).view(2, 3), "blocks.0.modulation": torch.ones(1, 6, 2)}
OTHER = {name: value + 1 for name, value in STATE.items()}


def chosen_of(path: Path, part: str | None = None) -> ChosenState:
    return choose_state(read_states(path), part, path)


def chosen(content: Any, folder: Path, part: str | None = None) -> ChosenState:
    return chosen_of(save_pickled(content, folder / "a.pt"), part)


def is_state(state: dict[str, Tensor], wanted: dict[str, Tensor] = STATE) -> bool:
    return state.keys() == wanted.keys() and all(torch.equal(state[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_a_pickled_file_of_tensors_is_read(tmp_path: Path, suffix: str, old: bool) -> None:
    content = OrderedDict((name, nn.Parameter(value)) for name, value in STATE.items())
    got = chosen_of(save_pickled(content, tmp_path / f"a{suffix}", old=old))
    assert is_state(got.state) and (got.part, got.others) == ("", ())
    assert not any(value.requires_grad for value in got.state.values())


def test_a_safetensors_file_is_read_whole_or_by_the_parts_in_its_names(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(STATE, path)
    assert is_state(chosen_of(path).state)
    both = prefixed(STATE, "generator_ema.model.") | prefixed(OTHER, "generator.model.")
    save_file(both, path)
    got = chosen_of(path)
    assert is_state(got.state) and (got.part, got.others) == ("generator_ema", ("generator",))
    assert is_state(chosen_of(path, "generator").state, OTHER)


@pytest.mark.parametrize(
    ("content", "part", "others"),
    [
        ({"generator": OTHER, "generator_ema": STATE, "critic": OTHER, "step": 3}, "generator_ema",
         ("critic", "generator", "step")),
        ({"generator": STATE, "critic": OTHER}, "generator", ("critic",)),
        ({"model": STATE, "state_dict": OTHER}, "model", ("state_dict",)),
        ({"state_dict": {"generator": OTHER, "generator_ema": STATE}, "epoch": 1}, "state_dict.generator_ema",
         ("epoch", "state_dict.generator")),
        ({"weights": STATE, "config": {"lr": 1e-4}}, "weights", ("config.lr",)),
        ({"model": STATE, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": []}}, "model",
         ("optimizer.param_groups", "optimizer.state.0")),
    ],
)  # fmt: skip
def test_the_usual_part_is_taken_and_the_rest_is_named(
    tmp_path: Path, content: Any, part: str, others: tuple[str, ...]
) -> None:
    got = chosen(content, tmp_path)
    assert is_state(got.state) and (got.part, got.others) == (part, others)


def test_another_part_can_be_asked_for(tmp_path: Path) -> None:
    content = {"generator": STATE, "generator_ema": OTHER}
    assert is_state(chosen(content, tmp_path, "generator").state)
    with pytest.raises(ModelError, match="has no part 'generator_emma'; did you mean 'generator_ema'"):
        chosen(content, tmp_path, "generator_emma")


@pytest.mark.parametrize(
    "content", [{"a": STATE, "b": OTHER}, {"x": {"model": STATE}, "y": {"model": OTHER}}], ids=["names", "places"]
)
def test_parts_that_could_all_be_meant_are_asked_about(tmp_path: Path, content: Any) -> None:
    with pytest.raises(ModelError, match=r"holds several parts; say which with --part: (a, b|x\.model, y\.model)$"):
        chosen(content, tmp_path)


@pytest.mark.parametrize(
    "prefix",
    ["model.", "module.", "_fsdp_wrapped_module.", "model._fsdp_wrapped_module.", "module.model.", "_orig_mod.",
     "model.diffusion_model."],
)  # fmt: skip
def test_prefixes_of_wrappers_fall(tmp_path: Path, prefix: str) -> None:
    assert is_state(chosen({"generator": prefixed(STATE, prefix)}, tmp_path).state)


def test_wrappers_within_names_fall(tmp_path: Path) -> None:
    state = dict(STATE)
    state["model.blocks.0._fsdp_wrapped_module._checkpoint_wrapped_module.modulation"] = state.pop(
        "blocks.0.modulation"
    )
    assert is_state(chosen(state, tmp_path).state)


def test_two_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds patch_embedding\.weight twice, once as model\.patch"):
        chosen({**STATE, **prefixed(OTHER, "model.")}, tmp_path)


@pytest.mark.parametrize(
    "name",
    ["base_model.model.blocks.0.self_attn.q.lora_A.weight", "lora_unet_blocks_0_self_attn_q.lora_down.weight",
     "diffusion_model.blocks.0.ffn.0.lora_up.weight", "blocks.0.ffn.0.lora_A.default.weight"],
)  # fmt: skip
def test_a_lora_is_refused_as_one(tmp_path: Path, name: str) -> None:
    low_rank = {name: torch.ones(2, 2)}
    for content in ({"generator_lora": low_rank, "critic_lora": low_rank}, low_rank, {"model": STATE | low_rank}):
        with pytest.raises(ModelError, match=r"a LoRA, which is added to a model and is none by itself"):
            chosen(content, tmp_path)


class Planted:
    """Runs a command when it is unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


class Evaluated:
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("open('planted', 'w')",)  # named, not called


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("place", ["alone", "beside", "as a key"])
def test_a_planted_pickle_is_refused_in_one_line_and_runs_nothing(tmp_path: Path, place: str, old: bool) -> None:
    planted = tmp_path / "planted"
    bomb = Planted(planted)
    contents: dict[str, Any] = {
        "alone": bomb,
        "beside": {"generator": STATE, "config": bomb},
        "as a key": {"generator": STATE | {bomb: torch.ones(2)}},
    }
    path = save_pickled(contents[place], tmp_path / "a.pt", old=old)
    with pytest.raises(ModelError, match=r"refused, its pickle asks for posix\.mkdir, which is no tensor") as caught:
        read_states(path)
    assert "\n" not in str(caught.value) and not planted.exists()


def test_evaluation_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # of which torch alone would make an exception
    with pytest.raises(ModelError, match=r"its pickle asks for eval, which is no tensor"):
        chosen({"generator": Evaluated()}, tmp_path)
    assert not Path("planted").exists()


def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path) -> None:
    whole = save_pickled(STATE, tmp_path / "whole.pt").read_bytes()
    files = {"cut.pt": whole[: len(whole) // 2], "text.pt": b"hello", "empty.pth": b"", "text.safetensors": b"hello"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=rf"{name}: (damaged|cannot be read)") as caught:
            read_states(tmp_path / name)
        assert "\n" not in str(caught.value)
    for name in ("missing.pt", "a.ckpt", "text.bin"):
        (tmp_path / "a.ckpt").touch()
        (tmp_path / "text.bin").touch()
        with pytest.raises(ModelError, match=r"what is converted is a file of \.safetensors, \.pt, \.pth$"):
            read_states(tmp_path / name)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
@pytest.mark.parametrize("old", [False, True])
def test_damage_anywhere_is_refused_in_one_line_or_leaves_a_state_dict(tmp_path: Path, old: bool) -> None:
    whole = save_pickled({"generator": OTHER, "generator_ema": STATE, "step": 3}, tmp_path / "a.pt", old=old)
    chance, content = random.Random(0), whole.read_bytes()  # noqa: S311 (no secret)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(chance.choice((1, 2, 5))):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        whole.write_bytes(damaged[: chance.choice((len(damaged), len(damaged), chance.randrange(len(damaged))))])
        try:
            chosen_of(whole)
        except ModelError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 100


@pytest.mark.parametrize("content", [[torch.ones(2)], {}, {"step": 3}, torch.ones(2), {1: torch.ones(2)}])
def test_what_holds_no_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(ModelError, match="holds no state dict"):
        chosen(content, tmp_path)


def test_mappings_nested_without_end_are_left_aside(tmp_path: Path) -> None:
    deep: Any = {"x": torch.ones(2)}
    for _ in range(40):
        deep = {"in": deep}
    got = chosen({"model": STATE, "deep": deep}, tmp_path)
    assert is_state(got.state) and got.others == ("deep.in.in.in.in",)


@pytest.mark.parametrize("value", [torch.ones(2, dtype=torch.int64), torch.ones(2).to_sparse()], ids=["int", "sparse"])
def test_other_tensors_than_dense_floats_are_refused(tmp_path: Path, value: Tensor) -> None:
    with pytest.raises(ModelError, match=r"tensor odd is .*; possible: dense floats"):
        chosen(STATE | {"odd": value}, tmp_path)
