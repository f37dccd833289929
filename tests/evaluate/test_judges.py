"""From `--judge` to a jury."""

from pathlib import Path

import pytest

from tests.evaluate.chats import Scripted
from tests.evaluate.vlm.chat_server import completion, serving
from tests.evaluate.vlm.tiny_vlm import write_tiny_vlm
from vgen.errors import ConfigError, InputError, ModelError
from vgen.evaluate.critics.measured import Measured
from vgen.evaluate.judges import CRITICS, open_chat, open_judge
from vgen.evaluate.vlm.recorded import Recorded
from vgen.judge.card import load_card, provisional_card


def test_every_kind_of_judge_opens(tmp_path: Path) -> None:
    with serving(completion("Yes")) as server:
        jury = open_judge(f"Qwen/Qwen3-VL-8B@{server.url}")
    assert jury.name == "Qwen/Qwen3-VL-8B" == server.got[0].body["model"] and jury.critic is None
    write_tiny_vlm(tmp_path / "tiny")
    assert open_judge(f"local:{tmp_path / 'tiny'}").name == "tiny"
    Recorded(tmp_path / "a.jsonl", Scripted(["Yes"])).complete(["?"])
    assert open_judge(f"recorded:{tmp_path / 'a.jsonl'}").name == "scripted"
    measured = open_judge("measured")
    assert measured.name == f"measured#{load_card().digest[:8]}" and measured.chat is None


@pytest.mark.parametrize("spec", ["", "o3", "o3@host/v1", "@https://host/v1", "local:", "recorded:", "Measured", "x:y"])
def test_an_unknown_judge_says_what_is_possible(spec: str) -> None:
    with pytest.raises(ConfigError, match=r"MODEL@https://host/v1, local:FOLDER, recorded:FILE, measured"):
        open_judge(spec)


@pytest.mark.parametrize("spec", ["measured", "travl:none", "geophys:none"])
def test_a_critic_is_not_asked_and_not_loaded(spec: str) -> None:
    with pytest.raises(ConfigError, match=r"is a critic, .* ask MODEL@https://host/v1, local:FOLDER, recorded:FILE"):
        open_chat(spec)
    with pytest.raises(ConfigError, match="nobody to ask is called 'o3'"):
        open_chat("o3")


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model folder"):
        open_judge(f"local:{tmp_path / 'none'}")
    with pytest.raises(InputError, match="cannot read"):
        open_judge(f"recorded:{tmp_path / 'none'}")
    with pytest.raises(ConfigError, match="takes nothing"):
        open_judge("measured:all")


def test_a_new_critic_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CRITICS, "mine", lambda folder: Measured(provisional_card({"teleport": len(folder)})))
    assert open_judge("mine:four").name == f"measured#{provisional_card({'teleport': 4}).digest[:8]}"
