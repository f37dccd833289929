"""Past runs, read as data: what a record asks for, once each part of it that is used has the type it must have."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vgen.errors import ConfigError, InputError, ModelError
from vgen.schema import knob_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vgen.clip import Clip
    from vgen.frames import Frames
    from vgen.models.lora_request import LoraRequest

__all__ = [
    "base_of",
    "check_gguf",
    "check_model",
    "checked",
    "draws_of",
    "image_of",
    "loras_of",
    "model_of",
    "set_threads",
]


MAX_DRAW = 1000  # more than a piece is ever made


def checked(past: dict[str, Any], where: Path) -> dict[str, Any]:
    """The resolved request of a record, as dotted config keys.

    Raises:
        ConfigError: another schema, or something that no run of vgen writes.
    """
    from vgen.job import RESOLVED_KEYS
    from vgen.run_record import RECORD_SCHEMA

    if past.get("schema") != RECORD_SCHEMA:
        raise ConfigError(f"{where}: record schema {past.get('schema')!r}; this vgen reads {RECORD_SCHEMA}")
    for part in ("request", "resolved", "model", "frames", "versions", "machine"):
        if not isinstance(past.get(part), dict):
            raise ConfigError(f"{where}: not a record of a run: its '{part}' is no object")
    for part in ("image", "last_image", "extends"):
        if not isinstance(past.get(part), dict | None):
            raise ConfigError(f"{where}: not a record of a run: its '{part}' is no object")
    resolved, needed = dict(past["resolved"]), {"run.device", "run.dtype"}
    possible = RESOLVED_KEYS | needed | {key for key in resolved if knob_of(key) is not None}
    missing, foreign = sorted(needed - {*resolved}), sorted({*resolved} - possible)
    if missing:
        raise ConfigError(f"{where}: not a record of a run: 'resolved' lacks '{missing[0]}'")
    if foreign:
        raise ConfigError(f"{where}: 'resolved' holds '{foreign[0]}', which no run of vgen writes there")
    return resolved


def model_of(past: dict[str, Any], named: str | None, where: Path) -> str:
    """The model of a run: the one that the user names, or the embedded one, in the record's variant.

    Raises:
        ModelError: it was another model, and none is named.
    """
    from vgen.models.folder import EMBEDDED

    if named is not None:
        return named
    recorded = str(past["model"].get("id"))
    base, _, variant = recorded.partition(":")
    if base != EMBEDDED or "/" in variant:  # so that no path of the record is looked at
        raise ModelError(f"{where}: made with model '{recorded:.60}'; name its folder with --model, or its hub id")
    return recorded


def check_model(past: dict[str, Any], model: str, where: Path) -> None:
    """Refuses another variant than the record's, and a model of the hub at another commit, before weights are read.

    A folder has no commit; what its files are is compared by digest once it is loaded.

    Raises:
        ModelError: another one; says how to name the recorded one.
    """
    from vgen.models.folder import find_folder
    from vgen.models.hub import COMMIT, commit_of, parse
    from vgen.models.variant import split_variant

    (base, variant), made_with = split_variant(model), past["model"].get("variant")
    if variant != made_with:
        told = "no variant" if made_with is None else f"variant {str(made_with)[:60]!r}"
        able = base if made_with is None else f"{base}:{str(made_with)[:60]}"
        raise ModelError(f"{where}: made with {told} of its model, '{model}' is another; use --model {able}")
    commit, recorded = commit_of(model, find_folder(model)), past["model"].get("commit")
    if commit is None or not isinstance(recorded, str) or commit == recorded:
        return
    if not COMMIT.fullmatch(recorded):
        raise ModelError(f"{where}: made with commit {recorded!r:.60}, which is none")
    asked = parse(model)
    assert asked is not None, f"{model} has a commit and is no hub id"
    raise ModelError(
        f"{where}: made with commit {recorded}, '{model}' is at {commit}; use --model "
        f"{replace(asked, revision=recorded)}"
    )


def check_gguf(past: dict[str, Any], files: list[str], where: Path) -> None:
    """Refuses a run from GGUF files that are not named, and files for one that had none; digests come later.

    Raises:
        ModelError: says what to name.
    """
    had = past["model"].get("quantization") == "gguf"
    if had != bool(files):
        why = "with weights in GGUF; name the files with --gguf" if had else "without weights in GGUF; leave --gguf out"
        raise ModelError(f"{where}: made {why}")


def image_of(past: dict[str, Any], path: Path, part: str = "image") -> "Frames | None":
    """The first frame (or `last_image`) that a run was given, from where it should be kept; None where there was none.

    Raises:
        InputError: it is missing, or another one.
    """
    if past.get(part) is None:
        return None
    from vgen.frames import digest_of
    from vgen.images import load_image

    pixels_YX3 = load_image(path).pixels_YX3
    if digest_of(pixels_YX3[None]) != past[part].get("sha256"):
        raise InputError(f"{path}: not the image that the clip was made from")
    return pixels_YX3


def draws_of(past: dict[str, Any], where: Path) -> tuple[int, ...] | None:
    """Which noise each piece of the clip was made from, where a search settled on that; None where none did.

    Raises:
        ConfigError: something that no run of vgen writes.
    """
    search = past.get("search")
    if search is None or (isinstance(search, dict) and "draws" not in search):
        return None
    draws = search.get("draws") if isinstance(search, dict) else None
    if not isinstance(draws, list) or not all(isinstance(draw, int) and 0 <= draw <= MAX_DRAW for draw in draws):
        raise ConfigError(f"{where}: not a record of a run: its 'search' holds no list of draws")
    return tuple(draws)


def base_of(past: dict[str, Any], path: Path) -> "Clip | None":
    """The clip that a run went on from, from where it should be kept; None where it went on from none.

    Raises:
        InputError: it is missing, or another one.
    """
    if past.get("extends") is None:
        return None
    from vgen.clip import Clip

    clip = Clip.read(path)
    if clip.sha256() != past["extends"].get("sha256"):
        raise InputError(f"{path}: not the clip that was gone on from")
    return clip


def set_threads(recorded: object) -> None:
    """As many threads as the record says, since sums are split by them; within what this machine has."""
    import os

    import torch

    if isinstance(recorded, int):
        torch.set_num_threads(max(1, min(recorded, os.cpu_count() or 1)))


def loras_of(past: dict[str, Any], named: "Sequence[str]", where: Path) -> "list[LoraRequest]":
    """The LoRA of a run, from files that the user names; which file is which is found by digest.

    Args:
        past: the record, whose scales are taken, and no path.
        named: the files, in any order.
        where: the record, for messages.

    Raises:
        ModelError: one is missing, too many are named, or one is not of the record.
        ConfigError: something that no run of vgen writes.
    """
    from vgen.models.digests import file_digest
    from vgen.models.lora_file import find_lora
    from vgen.models.lora_request import lora_request

    rows = past["model"].get("lora") or []
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and isinstance(row.get("sha256"), str) for row in rows
    ):
        raise ConfigError(f"{where}: not a record of a run: its 'lora' is no list of files with digests")
    if rows and not named:
        some = ", ".join(str(row.get("file"))[:60] for row in rows)
        raise ModelError(f"{where}: made with LoRA {some}; name each with --lora")
    files = {file_digest(find_lora(lora_request(word))): word for word in named}
    strange = [word for digest, word in files.items() if digest not in {row["sha256"] for row in rows}]
    if strange:
        raise ModelError(f"{where}: not made with LoRA '{strange[0]}', whose digest is another")
    missing = [str(row.get("file"))[:60] for row in rows if row["sha256"] not in files]
    if missing:
        raise ModelError(f"{where}: made with LoRA {missing[0]} too; name it with --lora")
    return [_same_lora(row, files[row["sha256"]], where) for row in rows]


def _same_lora(row: dict[str, Any], word: str, where: Path) -> "LoraRequest":
    """A LoRA at the record's scale; another one said is refused."""
    from vgen.models.lora_request import lora_request

    named = lora_request(word)
    then = lora_request({"path": named.path} | {key: row.get(key) for key in ("scale", "transformer")})
    if named.path != word and named.scale != then.scale:
        raise ConfigError(f"{where}: LoRA {named.path} was at scale {then.scale:g} there, asked for {named.scale:g}")
    return then
