"""Closed questions about a clip, asked so that a model's habits cannot answer them.

A question whose premise is not met is not asked. Models say yes too readily, so that questions come in two wordings,
one that a good clip answers with yes and one that it answers with no; they alternate over questions and votes. What the
premises are, and what the outcomes are worth, is the benchmark's affair.

Dependent questions: arXiv:2606.25306; the yes-bias: arXiv:2605.03475.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from vgen.evaluate.benchmark import ItemError
from vgen.evaluate.jury import Chat, Part, Reply
from vgen.evaluate.vlm.asking import ask_until_read
from vgen.evaluate.vlm.labels import read_label
from vgen.judge.asked import Outcome

__all__ = ["Answer", "Question", "ask", "sent"]

GIVE_UP = 3  # questions in a row without an answer: the judge is not there any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One closed question.

    Args:
        id: unique in its list.
        texts: wordings that ask whether all is as it should be; vote by vote another one.
        turned: wordings that ask whether it is not; there the other label is the good one. Empty where the question
            cannot be turned round.
        labels: two answers, and where the judge may abstain a third.
        good: which of the first two says, to one of `texts`, that all is as it should be.
        premise: id of the question that must come out `kept` before this one makes sense.
    """

    id: str
    texts: tuple[str, ...]
    turned: tuple[str, ...] = ()
    labels: tuple[str, ...] = ("Yes", "No")
    good: str = "Yes"
    premise: str | None = None

    def __post_init__(self) -> None:
        assert self.texts, f"question {self.id} has no wording"
        assert len(self.labels) in (2, 3), f"question {self.id}: two labels, or three to abstain; got {self.labels}"
        assert self.good in self.labels[:2], f"question {self.id}: '{self.good}' is not one of {self.labels[:2]}"

    def kept_label(self, turned: bool) -> str:
        """The label of a clip that is as it should be."""
        other = self.labels[1] if self.good == self.labels[0] else self.labels[0]
        return other if turned else self.good


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came out.

    Args:
        outcome: of more than half of the votes; `abstained` where there is no such majority, `premise` where the
            question was not asked, `error` where no answer came.
        votes: outcome of each.
        chance: probability of `kept` over that of `kept` or `broken`, mean over the votes; None where the judge does
            not report it.
        reason: which premise was not met, or what failed; empty else.
    """

    outcome: Outcome
    votes: tuple[Outcome, ...] = ()
    chance: float | None = None
    reason: str = ""


def ask(
    chat: Chat, shown: Sequence[Part], questions: Sequence[Question], *, votes: int = 1
) -> Iterator[tuple[str, Answer]]:
    """Asks every question whose premise is met.

    Args:
        chat: the judge.
        shown: what stands before each question: the frames, and what must be known of them.
        questions: in any order; premises are asked first.
        votes: how often each is asked, an odd number.

    Yields:
        the id of each question with its answer, in the order in which they are asked. No answer, or none that is one
        of the labels, twice, is an outcome; after `GIVE_UP` of these in a row nothing more is asked.
    """
    assert votes % 2 == 1, f"an odd number of votes, got {votes}"
    places = {question.id: place for place, question in enumerate(questions)}
    assert len(places) == len(questions), "two questions have the same id"
    answers: dict[str, Answer] = {}
    waiting, failed = list(questions), 0
    while waiting:
        ready = [one for one in waiting if one.premise is None or one.premise in answers]
        assert ready, f"premises that are no question, or depend on each other: {[one.premise for one in waiting]}"
        for question in ready:
            answer = _unasked(question, answers, failed)
            if answer is None:
                answer = _asked(chat, shown, question, places[question.id], votes)
                failed = failed + 1 if answer.outcome == "error" else 0
            answers[question.id] = answer
            yield question.id, answer
        waiting = [one for one in waiting if one.id not in answers]


def sent(question: Question, vote: int, place: int) -> str:
    """The words of a question at its place in a list: in turn its wordings, of either polarity."""
    wordings = question.turned if _is_turned(question, vote, place) else question.texts
    return f"{wordings[vote % len(wordings)]}\nAnswer with one of: {', '.join(question.labels)}. Say nothing else."


def _unasked(question: Question, answers: Mapping[str, Answer], failed: int) -> Answer | None:
    """What stands for an answer where there is no use in asking."""
    premise = None if question.premise is None else answers[question.premise]
    if premise is not None and premise.outcome == "error":
        return Answer(outcome="error", reason=premise.reason)
    if premise is not None and premise.outcome == "premise":
        return premise
    if premise is not None and premise.outcome != "kept":
        return Answer(outcome="premise", reason=f"premise not met: {question.premise}")
    if failed >= GIVE_UP:
        last = next(answer.reason for answer in reversed([*answers.values()]) if answer.outcome == "error")
        return Answer(outcome="error", reason=last)
    return None


def _is_turned(question: Question, vote: int, place: int) -> bool:
    return bool(question.turned) and (place + vote) % 2 == 1


def _asked(chat: Chat, shown: Sequence[Part], question: Question, place: int, votes: int) -> Answer:
    outcomes, chances = [], []
    for vote in range(votes):
        turned = _is_turned(question, vote, place)
        try:
            label, reply = ask_until_read(
                chat,
                [*shown, sent(question, vote, place)],
                partial(read_label, labels=question.labels),
                wanted=f"one of {', '.join(question.labels)}",
                labels=question.labels,
                votes=(vote, vote + votes),  # a second try is another draw, whose number no vote has
            )
        except ItemError as error:
            return Answer(outcome="error", reason=str(error))
        outcomes.append(_outcome(question, label, turned))
        chances.append(_chance(question, reply, turned))
    told = [chance for chance in chances if chance is not None]
    return Answer(
        outcome=_majority(outcomes),
        votes=tuple(outcomes),
        chance=sum(told) / votes if len(told) == votes else None,
    )


def _outcome(question: Question, label: str, turned: bool) -> Outcome:
    if label not in question.labels[:2]:
        return "abstained"
    return "kept" if label == question.kept_label(turned) else "broken"


def _chance(question: Question, reply: Reply, turned: bool) -> float | None:
    if reply.chances is None:
        return None
    both = sum(reply.chances[label] for label in question.labels[:2])
    return reply.chances[question.kept_label(turned)] / both if both > 0 else None


def _majority(outcomes: Sequence[Outcome]) -> Outcome:
    most = max(outcomes, key=outcomes.count)
    return most if 2 * outcomes.count(most) > len(outcomes) else "abstained"
