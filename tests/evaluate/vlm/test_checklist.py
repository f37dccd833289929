"""Closed questions: premises, both wordings, votes, and what is never a number."""

from collections.abc import Sequence

import pytest

from tests.evaluate.chats import Asked, Scripted
from vgen.evaluate.benchmark import ItemError
from vgen.evaluate.jury import Chat, Part, Reply
from vgen.evaluate.vlm.checklist import GIVE_UP, Answer, Question, ask

BALL = Question(id="ball", texts=("Is there a ball?",), turned=("Is a ball missing?",))
FALLS = Question(id="falls", texts=("Does the ball fall?",), turned=("Does the ball stay up?",), premise="ball")
RESTS = Question(id="rests", texts=("Does it come to rest?",), turned=("Does it roll on for ever?",), premise="falls")


def ask_all(chat: Chat, shown: Sequence[Part], questions: Sequence[Question], *, votes: int = 1) -> dict[str, Answer]:
    return dict(ask(chat, shown, questions, votes=votes))


def says(answers: dict[str, str]) -> Scripted:
    return Scripted(lambda asked: next(label for text, label in answers.items() if text in asked.text))


def test_a_child_whose_premise_is_not_met_is_not_asked() -> None:
    chat = says({"Is there a ball?": "No"})
    answers = ask_all(chat, ["frames"], [BALL, FALLS, RESTS])
    assert answers == {
        "ball": Answer(outcome="broken", votes=("broken",)),
        "falls": Answer(outcome="premise", reason="premise not met: ball"),
        "rests": Answer(outcome="premise", reason="premise not met: ball"),
    }
    assert len(chat.asked) == 1 and chat.asked[0].parts[0] == "frames"


def test_premises_are_asked_first_wherever_they_stand() -> None:
    chat = Scripted(lambda asked: "No" if "stay up" in asked.text else "Yes")
    answers = ask_all(chat, [], [RESTS, FALLS, BALL])
    assert [text.parts[0].split("?")[0] for text in chat.asked if isinstance(text.parts[0], str)] == [
        "Is there a ball", "Does the ball stay up", "Does it come to rest",
    ]  # fmt: skip
    assert [(id_, answer.outcome) for id_, answer in answers.items()] == [
        ("ball", "kept"), ("falls", "kept"), ("rests", "kept"),
    ]  # fmt: skip


@pytest.mark.parametrize("premise", ["nobody", "a"])
def test_premises_that_cannot_be_met_are_our_mistake(premise: str) -> None:
    with pytest.raises(AssertionError, match="premises"):
        ask_all(says({}), [], [Question(id="a", texts=("?",), premise=premise)])


def test_half_of_the_questions_ask_for_a_violation_so_that_yes_to_all_is_worth_a_half() -> None:
    questions = [Question(id=str(n), texts=(f"{n} kept?",), turned=(f"{n} broken?",)) for n in range(10)]
    for votes in (1, 3):
        chat = Scripted(lambda asked: "Yes")
        outcomes = [answer.outcome for answer in ask_all(chat, [], questions, votes=votes).values()]
        assert outcomes.count("kept") == 5 == outcomes.count("broken")
        turned = sum("broken?" in asked.text for asked in chat.asked)
        assert turned == len(chat.asked) / 2
        again = Scripted(lambda asked: "Yes")
        ask_all(again, [], questions, votes=votes)
        assert again.asked == chat.asked


def test_votes_take_other_wordings_and_draws_and_the_majority_counts() -> None:
    question = Question(id="q", texts=("One?", "Two?", "Three?"))
    chat = Scripted(["Yes", "No", "Yes"])
    assert ask_all(chat, [], [question], votes=3)["q"] == Answer(outcome="kept", votes=("kept", "broken", "kept"))
    assert [(asked.vote, asked.text.split("\n")[0]) for asked in chat.asked] == [
        (0, "One?"),
        (1, "Two?"),
        (2, "Three?"),
    ]
    with pytest.raises(AssertionError, match="odd"):
        ask_all(chat, [], [question], votes=2)


def test_abstaining_is_a_label_and_no_majority_abstains() -> None:
    question = Question(id="q", texts=("?",), labels=("Yes", "No", "Cannot tell"))
    assert ask_all(Scripted(["cannot tell"]), [], [question])["q"].outcome == "abstained"
    assert ask_all(Scripted(["Yes", "No", "Cannot tell"]), [], [question], votes=3)["q"].outcome == "abstained"
    assert ask_all(Scripted(["No", "No", "Cannot tell"]), [], [question], votes=3)["q"].outcome == "broken"


def test_what_cannot_be_read_is_asked_once_more_as_a_new_draw_and_then_fails() -> None:
    chat = Scripted(["Yes and no", "Yes"])
    assert ask_all(chat, [], [Question(id="q", texts=("?",))])["q"].outcome == "kept"
    assert [asked.vote for asked in chat.asked] == [0, 1]
    answer = ask_all(Scripted(["Yes and no", "Yes and no"]), [], [Question(id="q", texts=("?",))])["q"]
    assert answer == Answer(outcome="error", reason="the judge was asked for one of Yes, No and said 'Yes and no'")


def test_a_failure_is_that_of_its_question_and_of_what_depends_on_it() -> None:
    def answer(asked: Asked) -> str:
        if "fall" in asked.text or "stay up" in asked.text:
            raise ItemError("the line is dead")
        return "No" if "missing" in asked.text else "Yes"

    answers = ask_all(Scripted(answer), [], [BALL, FALLS, RESTS, Question(id="more", texts=("More?",))])
    assert {name: (one.outcome, one.reason) for name, one in answers.items()} == {
        "ball": ("kept", ""),
        "more": ("kept", ""),
        "falls": ("error", "the line is dead"),
        "rests": ("error", "the line is dead"),
    }


def test_a_judge_that_is_gone_is_not_asked_for_ever() -> None:
    chat = Scripted([])
    answers = ask_all(chat, [], [Question(id=str(n), texts=("?",)) for n in range(10)], votes=3)
    assert {(one.outcome, one.reason) for one in answers.values()} == {("error", "nothing more to say")}
    assert len(chat.asked) == GIVE_UP


def test_the_draw_of_a_second_try_is_that_of_no_vote() -> None:
    chat = Scripted(["?", "Yes", "Yes", "?", "No"])
    ask_all(chat, [], [Question(id="q", texts=("?",))], votes=3)
    assert [asked.vote for asked in chat.asked] == [0, 3, 1, 2, 5]


def test_the_chance_of_kept_is_that_of_the_right_label_in_either_wording() -> None:
    def sure(asked: Asked) -> Reply:
        return Reply(text="Yes", chances={"Yes": 0.6, "No": 0.2})

    questions = [Question(id=name, texts=("kept?",), turned=("broken?",)) for name in "ab"]
    answers = ask_all(Scripted(sure), [], questions)
    assert answers["a"].chance == pytest.approx(0.75)
    assert answers["b"].chance == pytest.approx(0.25)
    assert ask_all(Scripted(sure), [], questions[:1], votes=3)["a"].chance == pytest.approx((0.75 + 0.25 + 0.75) / 3)


@pytest.mark.parametrize("chances", [None, {"Yes": 0.0, "No": 0.0}])
def test_chances_that_are_not_told_are_none(chances: dict[str, float] | None) -> None:
    told = Reply(text="Yes", chances={"Yes": 0.6, "No": 0.2})
    chat = Scripted([told, Reply(text="Yes", chances=chances), told])
    assert ask_all(chat, [], [Question(id="q", texts=("?",))], votes=3)["q"].chance is None
    assert (
        ask_all(Scripted([Reply(text="Yes", chances=chances)]), [], [Question(id="q", texts=("?",))])["q"].chance
        is None
    )


def test_no_may_be_the_good_answer() -> None:
    question = Question(id="q", texts=("Does it pass through the wall?",), good="No")
    assert ask_all(Scripted(["No"]), [], [question])["q"].outcome == "kept"
    assert ask_all(Scripted(["Yes"]), [], [question])["q"].outcome == "broken"
