"""Who judges: from what the user writes after `--judge` to a `Jury`. A new critic is a line in `CRITICS`."""

import re
from collections.abc import Callable
from pathlib import Path

from vgen.errors import ConfigError
from vgen.evaluate.jury import Chat, Critic, Jury
from vgen.evaluate.vlm.endpoint import open_endpoint
from vgen.evaluate.vlm.local import open_local
from vgen.evaluate.vlm.recorded import open_recorded

__all__ = ["CRITICS", "RECORDED", "open_chat", "open_judge"]

RECORDED = "recorded"
CHATS = ("MODEL@https://host/v1", "local:FOLDER", "recorded:FILE")


def _measured(argument: str) -> Critic:
    from vgen.evaluate.critics.measured import Measured

    if argument:
        raise ConfigError(f"the judge 'measured' takes nothing after its name, got '{argument}'")
    return Measured()


def _geophys(argument: str) -> Critic:
    from vgen.evaluate.critics.geophys import open_geophys

    return open_geophys(_folder("geophys", argument))


def _surprise(argument: str) -> Critic:
    from vgen.evaluate.critics.surprise import open_surprise

    return open_surprise(_folder("surprise", argument))


def _travl(argument: str) -> Critic:
    from vgen.evaluate.critics.travl import open_travl

    return open_travl(_folder("travl", argument))


def _folder(name: str, argument: str) -> Path:
    if not argument:
        raise ConfigError(f"the judge '{name}' needs the folder of its weights: {name}:FOLDER")
    return Path(argument)


# Name -> what opens the critic, given what stands after the name and a colon, or nothing.
CRITICS: dict[str, Callable[[str], Critic]] = {
    "measured": _measured,
    "geophys": _geophys,
    "surprise": _surprise,
    "travl": _travl,
}


def open_judge(spec: str) -> Jury:
    """Opens a judge.

    Args:
        spec: `MODEL@https://host/v1` (the key is in VGEN_API_KEY or OPENAI_API_KEY), `local:FOLDER`, `recorded:FILE`
            (which answers from a record alone), or a name of `CRITICS`, with what it needs after a colon.

    Raises:
        ConfigError: there is no such judge.
        InputError, ModelError, ResourceError: it is not there, or cannot be asked.
    """
    name, _, argument = spec.partition(":")
    if name in CRITICS:
        return Jury(critic=CRITICS[name](argument))
    chat = _chat(spec)
    if chat is None:
        raise ConfigError(f"no judge is called '{spec}'; possible: {', '.join((*CHATS, *CRITICS))}")
    return Jury(chat=chat)


def open_chat(spec: str) -> Chat:
    """Opens a judge that answers questions; arguments and errors as of `open_judge`, and a critic is none."""
    if spec.partition(":")[0] in CRITICS:
        raise ConfigError(f"'{spec}' is a critic, which scores clips and answers no question; ask {', '.join(CHATS)}")
    chat = _chat(spec)
    if chat is None:
        raise ConfigError(f"nobody to ask is called '{spec}'; possible: {', '.join(CHATS)}")
    return chat


def _chat(spec: str) -> Chat | None:
    served = re.fullmatch(r"(.+?)@(https?://.+)", spec)
    if served:
        return open_endpoint(served[1], served[2])
    name, _, argument = spec.partition(":")
    if name == "local" and argument:
        return open_local(Path(argument))
    if name == RECORDED and argument:
        return open_recorded(Path(argument))
    return None
