"""The judge's laws as closed questions to a model that sees, where measurement left them open on a clip.

The questions are data: `laws.yaml` beside this. What comes out is evidence of its own kind (`vgen.judge.asked`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from vgen.clip import Clip
from vgen.evaluate.jury import Chat, Cost, Part
from vgen.evaluate.vlm.checklist import Answer, Question, ask, sent
from vgen.evaluate.vlm.cost import cost_of
from vgen.evaluate.vlm.frames import evenly
from vgen.evaluate.vlm.naming import prompt_hash
from vgen.judge.asked import Asked
from vgen.judge.judging import Examination
from vgen.judge.verdict import Report

__all__ = ["LawsStep", "ask_laws", "cost_of_laws", "open_laws", "questions", "questions_on", "wording"]

FRAMES, SIDE_PX = 16, 512
LABELS = ("Yes", "No", "Cannot tell")
PREAMBLE = (
    "The pictures are frames of one video, in order, each with its time. The video was filmed or made by a computer, "
    "and what it shows may be possible or not. People, animals and machines may move by themselves. Judge by what the "
    "frames show alone."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LawsStep:
    """A question that is done with.

    Args:
        done, total: questions, premises among them.
        asked: what came out on a law; None for a premise.
    """

    done: int
    total: int
    asked: Asked | None
    stage: str = "ask"


@cache  # they come with the package and never change
def questions() -> Mapping[str, Question]:
    """One for each law, and before them the premises, by id."""
    import yaml

    data = yaml.safe_load(files("vgen.evaluate.vlm").joinpath("laws.yaml").read_text(encoding="utf-8"))
    read = [_question(name, entry) for part in ("premises", "laws") for name, entry in data[part].items()]
    assert len({one.id for one in read}) == len(read), "a premise has the name of a law"
    return MappingProxyType({one.id: one for one in read})


@cache
def wording() -> str:
    """A hash of all that is said around the frames."""
    said = [text for one in questions().values() for text in (*one.texts, *one.turned)]
    return prompt_hash((PREAMBLE, *LABELS, *said))


def open_laws(report: Report) -> list[str]:
    """The laws that apply to a clip, or may, and that measurement did not decide on it."""
    return [verdict.rule for verdict in report.verdicts if verdict.status in ("undecidable", "error")]


def questions_on(laws: Sequence[str]) -> list[Question]:
    """What is asked on these laws: their premises, premises of those, and they themselves."""
    wanted: set[str] = set()
    for law in laws:
        name: str | None = law
        while name is not None and name not in wanted:
            wanted.add(name)
            name = questions()[name].premise
    return [question for name, question in questions().items() if name in wanted]


def cost_of_laws(chat: Chat, examination: Examination, *, votes: int) -> Cost:
    """What asking will take at most: a premise that is not met saves what depends on it."""
    shown, asked = _shown(examination), questions_on(open_laws(examination.report))
    texts = (sent(question, vote, place) for place, question in enumerate(asked) for vote in range(votes))
    return cost_of(chat, ([*shown, text] for text in texts))


def ask_laws(chat: Chat, examination: Examination, *, votes: int) -> Iterator[LawsStep]:
    """Asks about every law that is open on a clip.

    Args:
        chat: whom.
        examination: of the clip; shown are frames of the shot that was judged.
        votes: how often each question is asked, an odd number.

    Yields:
        each question, asked or not; a failure is an outcome.
    """
    laws = open_laws(examination.report)
    asked = questions_on(laws)
    for done, (name, answer) in enumerate(ask(chat, _shown(examination), asked, votes=votes), 1):
        yield LawsStep(done=done, total=len(asked), asked=_asked(name, answer, chat) if name in laws else None)


def _asked(law: str, answer: Answer, chat: Chat) -> Asked:
    return Asked(
        law=law,
        outcome=answer.outcome,
        votes=answer.votes,
        chance=answer.chance,
        reason=answer.reason,
        judge=chat.name,
        prompts=wording(),
    )


def _shown(examination: Examination) -> list[Part]:
    first, end = examination.observation.shot
    shot = Clip(frames=examination.clip.frames[first:end], fps=examination.clip.fps)
    return [PREAMBLE, *evenly(shot, FRAMES, side_px=SIDE_PX, timed=True)]


def _question(name: str, entry: dict[str, Any]) -> Question:
    return Question(
        id=name,
        texts=tuple(entry["texts"]),
        turned=tuple(entry["turned"]),
        labels=LABELS,
        premise=entry.get("premise"),
    )
