"""`vgen judge --ask`: a model that sees is asked about the laws that measurement left open on a clip."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vgen.errors import ConfigError

if TYPE_CHECKING:
    from vgen.evaluate.jury import Chat
    from vgen.judge.judging import Examination

__all__ = ["VOTES", "Asker", "asker_of"]

VOTES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who is asked.

    Args:
        chat: the model, or a record of its answers.
        votes: how often each question is asked.
        record: where its answers are kept; None where they are not.
    """

    chat: "Chat"
    votes: int
    record: Path | None

    def asked(self, examination: "Examination") -> "Examination":
        """An examination whose report holds the answers; its figures are as they were."""
        from vgen.cli.progress import say, watched
        from vgen.evaluate.places import counted
        from vgen.evaluate.vlm.laws import ask_laws, cost_of_laws, open_laws
        from vgen.evaluate.vlm.recorded import Recorded

        report = examination.report
        laws = open_laws(report)
        if not laws:
            say(f"{report.clip}: no law is left open; {self.chat.name} is not asked")
            return examination
        cost = cost_of_laws(self.chat, examination, votes=self.votes)
        say(
            f"{report.clip}: {counted(len(laws), 'law')} left open; asking {self.chat.name}: at most "
            f"{counted(cost.calls, 'call')}, about {cost.tokens_in:,} tokens in, {cost.tokens_out:,} out"
        )
        chat = self.chat if self.record is None else Recorded(self.record, self.chat)
        steps = watched(ask_laws(chat, examination, votes=self.votes))
        found = {step.asked.law: step.asked for step in steps if step.asked is not None}
        return replace(examination, report=replace(report, asked=tuple(found[law] for law in laws)))


def asker_of(spec: str | None, votes: int | None, report: Path | None) -> Asker | None:
    """Who was named with `--ask`; None where nobody was.

    Raises:
        ConfigError: a critic, an even number of votes, or votes of nobody.
        InputError, ModelError, ResourceError: who was named is not there, or others are on record beside the report.
    """
    if spec is None:
        if votes is not None:
            raise ConfigError("--votes are those of --ask; name whom to ask")
        return None
    from vgen.evaluate.judges import RECORDED, open_chat
    from vgen.evaluate.vlm.recorded import judges_of

    votes = VOTES if votes is None else votes
    if votes % 2 == 0:
        raise ConfigError(f"--votes {votes} can be a tie; give an odd number")
    chat = open_chat(spec)
    if report is None or spec.startswith(f"{RECORDED}:"):
        return Asker(chat=chat, votes=votes, record=None)
    record = report.with_name(f"{report.name}.answers.jsonl")
    if others := [name for name in judges_of(record) if name != chat.name]:
        raise ConfigError(f"'{record}' holds answers of {others[0]}, not of {chat.name}; name another --report")
    return Asker(chat=chat, votes=votes, record=record)
