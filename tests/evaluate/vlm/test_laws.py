"""The questions on the judge's laws: all there, in both polarities, and asked where measurement left a law open."""

from collections.abc import Mapping

import pytest

from tests.evaluate.chats import Asked, Scripted
from tests.judge.sights import falling, measurement, painted, rule
from vgen.evaluate.jury import Reply
from vgen.evaluate.vlm.checklist import Question, ask, sent
from vgen.evaluate.vlm.laws import (
    FRAMES,
    PREAMBLE,
    ask_laws,
    cost_of_laws,
    open_laws,
    questions,
    questions_on,
    wording,
)
from vgen.judge.card import provisional_card
from vgen.judge.judging import Examination, report_on
from vgen.judge.rule import Abstention
from vgen.judge.rules import RULES

CARD = provisional_card({"teleport": 1.0, "vanish": 1.0, "mirror": 1.0})
OPENED = (
    rule("teleport", (measurement(4.0),)),
    rule("vanish", Abstention(status="undecidable", reason="too short"), group="permanence"),
    rule("mirror", Abstention(status="not_applicable", reason="no mirror"), group="optics"),
    rule("spin", (measurement(1.0, objects=()),), group="mechanics"),  # uncalibrated
)


def examination() -> Examination:
    seen = falling(jump_px=14)
    return Examination(clip=painted(seen), observation=seen, report=report_on(seen, rules=OPENED, card=CARD))


def polarity(asked: Asked, catalogue: Mapping[str, Question]) -> tuple[str, bool]:
    """Which question this is, and whether it is turned."""
    text = str(asked.parts[-1]).partition("\n")[0]
    return next((one.id, text in one.turned) for one in catalogue.values() if text in (*one.texts, *one.turned))


def lawful(asked: Asked) -> str:
    """What a judge says who sees every situation and nothing broken."""
    return "No" if polarity(asked, questions())[1] else "Yes"


def test_every_law_has_a_question_and_every_premise_a_law_that_needs_it() -> None:
    catalogue = questions()
    premises = {one.premise for one in catalogue.values()} - {None}
    assert {*RULES} == {*catalogue} - premises
    assert premises <= {*catalogue} and not premises & {*RULES}
    assert all(one.premise is not None for one in catalogue.values() if one.id in RULES)


def test_premises_end() -> None:
    for one in questions().values():
        seen = {one.id}
        while one.premise is not None:
            one = questions()[one.premise]
            assert one.id not in seen, seen
            seen.add(one.id)


def test_questions_are_closed_stand_alone_and_come_in_both_polarities() -> None:
    said = [text for one in questions().values() for text in (*one.texts, *one.turned)]
    assert len({*said}) == len(said)
    for one in questions().values():
        assert one.texts and len(one.turned) == len(one.texts) and one.labels == ("Yes", "No", "Cannot tell")
        assert one.kept_label(turned=False) == "Yes" and one.kept_label(turned=True) == "No"
    for text in said:
        first, *rest = text.split()
        assert first in {"Is", "Are", "Do", "Does", "When", "In", "Of", "After"} and text.endswith("?"), text
        assert not {first, rest[0]} & {"it", "It", "they", "this", "that"}, f"'{text}' refers to another question"
        assert "not" not in text.split() and "n't" not in text, f"'{text}' says not"


@pytest.mark.parametrize("votes", [1, 3])
def test_who_sees_nothing_broken_finds_all_kept_and_who_sees_all_broken_nothing(votes: int) -> None:
    catalogue = questions()
    kept = dict(ask(Scripted(lawful), [], [*catalogue.values()], votes=votes))
    assert {one.outcome for one in kept.values()} == {"kept"}

    def unlawful(asked: Asked) -> str:
        name, turned = polarity(asked, catalogue)
        return "Yes" if turned == (name in RULES) else "No"

    broken = dict(ask(Scripted(unlawful), [], [*catalogue.values()], votes=votes))
    assert {broken[name].outcome for name in RULES} == {"broken"}


def test_what_is_left_open_is_asked_with_its_premises_alone() -> None:
    found = examination()
    assert open_laws(found.report) == ["vanish", "spin"]
    assert [one.id for one in questions_on(["vanish", "spin"])] == [
        "moving", "flying", "tumbling", "in_view", "spin", "vanish",
    ]  # fmt: skip
    chat = Scripted(lawful)
    steps = list(ask_laws(chat, found, votes=1))
    assert [(step.done, step.total) for step in steps] == [(n, 6) for n in range(1, 7)]
    answers = [step.asked for step in steps if step.asked is not None]
    assert [(one.law, one.outcome, one.judge) for one in answers] == [
        ("vanish", "kept", "scripted"), ("spin", "kept", "scripted"),
    ]  # fmt: skip
    assert {one.prompts for one in answers} == {wording()} and len(wording()) == 8
    first = chat.asked[0]
    assert first.parts[0] == PREAMBLE and len(first.pictures) == FRAMES and first.captions[0] == "0.00 s"


def test_the_cost_is_that_of_the_messages_where_every_premise_is_met() -> None:
    for votes in (1, 3):
        chat = Scripted(lawful)
        cost = cost_of_laws(chat, examination(), votes=votes)
        list(ask_laws(chat, examination(), votes=votes))
        assert (cost.calls, cost.tokens_in) == (len(chat.asked), chat.spent)


def test_a_law_whose_situation_is_not_seen_is_not_asked() -> None:
    chat = Scripted(lambda asked: Reply(text="Yes" if polarity(asked, questions())[1] else "No"))
    found = {step.asked.law: step.asked for step in ask_laws(chat, examination(), votes=1) if step.asked}
    assert (found["spin"].outcome, found["spin"].reason) == ("premise", "premise not met: moving")
    assert {polarity(asked, questions())[0] for asked in chat.asked} == {"moving", "in_view"}


def test_words_are_those_that_are_sent() -> None:
    question = questions()["teleport"]
    for place, vote, wordings in ((0, 0, question.texts), (0, 1, question.turned), (1, 0, question.turned)):
        words = f"{wordings[0]}\nAnswer with one of: Yes, No, Cannot tell. Say nothing else."
        assert sent(question, vote, place) == words
