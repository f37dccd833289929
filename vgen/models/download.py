"""Fetches a model from the Hugging Face hub: first an `Offer` that says what it would take, then the files.

Fetched are the configs, tokenizers and safetensors of the repository's components, its variants' cards and LoRA, and
nothing that can run code or that we do not load (.bin, .pt, .msgpack, ONNX, fp16 twins, pictures). What the hub answers
is a stranger's text: names, sizes and the commit are checked before one byte is fetched or a path is made of them.
"""

import re
import shutil
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vgen.errors import ModelError, ResourceError, nearest
from vgen.models.card import CARD_FILE
from vgen.models.files import PICKLES
from vgen.models.hub import COMMIT, INDEX_FILE, PLAIN_PARTS, WEIGHTS, HubId, cache_folder, cached, locate, parse
from vgen.models.variant import VARIANT_FILE, VARIANTS, split_variant

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

__all__ = ["Fetched", "Offer", "check_room", "download", "fetch", "offer", "wanted"]

GB = 10**9
MIB = 1 << 20
LOOK_EVERY_S = 0.5
WEIGHT_STEMS = "|".join(name.removesuffix(".safetensors") for name in WEIGHTS.values())
WEIGHT = re.compile(rf"({WEIGHT_STEMS})(-\d{{5}}-of-\d{{5}})?\.safetensors")
WEIGHT_INDEX = re.compile(rf"({WEIGHT_STEMS})\.safetensors\.index\.json")
PLAIN_SUFFIXES = (".json", ".txt", ".model")
DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")  # of git, of large files
SAFE_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)
ORIGINAL_WAN = re.compile(r"(models_t5_umt5.*|Wan2\.\d_VAE)\.pth")
TWIN_ENDINGS = ("-Diffusers", "-diffusers")  # the organisation writes both


@dataclass(frozen=True, slots=True)
class _File:
    """A file to have: its name in the repository, its size, and whether it lies in the cache already."""

    name: str
    size_bytes: int
    there: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What fetching a model would take.

    Args:
        id: as asked for.
        commit: what its revision points to now.
        licence: as the repository states it.
        files: those that we need.
        left_out: how many we do not.
        cache: where they go.
        free_bytes: of the disk there.
    """

    id: HubId
    commit: str
    licence: str
    files: tuple[_File, ...]
    left_out: int
    cache: Path
    free_bytes: int

    @property
    def left_bytes(self) -> int:
        """What is still to be fetched."""
        return sum(file.size_bytes for file in self.files if not file.there)

    def lines(self) -> list[str]:
        """For the user, before anything is fetched."""
        left = sum(not file.there for file in self.files)
        there = f" ({len(self.files) - left} of {len(self.files)} are there already)" if left < len(self.files) else ""
        return [
            f"{self.id.repo}, revision {self.id.at} (commit {self.commit}), licence {self.licence}",
            f"to fetch: {left} files{there}, {self.left_bytes / GB:,.3f} GB; free: {self.free_bytes / GB:,.3f} GB in "
            f"{self.cache}; left out: {self.left_out} files that vgen does not load",
        ]


@dataclass(frozen=True, slots=True)
class Fetched:
    """How far a download is, in MiB."""

    done: int
    total: int
    stage: str = "fetch (MiB)"


def wanted(model: str) -> HubId | None:
    """The hub id of a model that would have to be fetched; None for a folder, a name, or what the cache holds whole.

    Raises:
        ModelError: an id with a revision that cannot be one, or a damaged cache.
    """
    asked = None if Path(split_variant(model)[0]).exists() else parse(model)
    found = None if asked is None else locate(asked)
    return None if found is not None and not found.missing else asked


def offer(asked: HubId) -> Offer:
    """Asks the hub what a model is and what of it is still to be fetched; fetches nothing.

    Raises:
        ModelError: offline, out of reach, unknown, gated, no model that we run, or names that lead out of its folder.
    """
    from huggingface_hub import HfApi, is_offline_mode

    if is_offline_mode():
        cached(asked)  # refuses with what is missing and how to fetch it
    with _asking(asked):
        info = HfApi().model_info(asked.repo, revision=asked.revision, files_metadata=True)
        if info.gated:
            HfApi().auth_check(asked.repo)
    siblings = {one.rfilename: one for one in info.siblings or []}
    _check_names(asked, list(siblings))
    if INDEX_FILE not in siblings:
        raise ModelError(f"model '{asked}' is not in diffusers format: no {INDEX_FILE} in it; {_twin(asked, siblings)}")
    _check_pipeline(asked, info)
    _check_weights(asked, list(siblings))
    needed = _needed(list(siblings))
    if info.sha is None or not COMMIT.fullmatch(info.sha):
        raise ModelError(f"model '{asked}': the hub names the commit {info.sha!r:.50}, which is none")
    cache = cache_folder()
    return Offer(
        id=asked,
        commit=info.sha,
        licence=_licence(info),
        files=tuple(_file(asked, siblings[name], info.sha) for name in needed),
        left_out=len(siblings) - len(needed),
        cache=cache,
        free_bytes=shutil.disk_usage(
            next(place for place in (cache, *cache.absolute().parents) if place.is_dir())
        ).free,
    )


def check_room(offered: Offer) -> None:
    """Refuses what the disk has no room for.

    Raises:
        ResourceError: with what is needed and what is free.
    """
    if offered.left_bytes > offered.free_bytes:
        raise ResourceError(
            f"model '{offered.id}' needs {offered.left_bytes / GB:,.3f} GB more on disk, "
            f"{offered.free_bytes / GB:,.3f} GB are free in {offered.cache}; make room, or set HF_HOME to a folder "
            "on a larger disk"
        )


def download(offered: Offer) -> Path:
    """Fetches what an offer says, and returns the model's folder.

    A file that is whole stays whatever happens, and is not fetched again; one that broke off begins anew in the next
    call, and goes on where it was while the call lasts (huggingface_hub has done so since processes share the cache).

    Raises:
        ResourceError: the disk has no room for it.
        ModelError: it could not be fetched, or the revision points to another commit by now.
    """
    return _download(offered, None)


def _download(offered: Offer, bars: type[Any] | None) -> Path:
    from huggingface_hub import snapshot_download

    check_room(offered)
    with _asking(offered.id):
        folder = snapshot_download(
            offered.id.repo,
            revision=offered.id.revision,
            cache_dir=offered.cache,
            allow_patterns=[file.name for file in offered.files],
            tqdm_class=bars,
        )
    now = Path(folder).name
    if now != offered.commit:
        raise ModelError(f"model '{offered.id}' moved from commit {offered.commit} to {now} meanwhile; run it again")
    found = locate(offered.id)
    if found is None or found.missing:
        lacks = "everything" if found is None else ", ".join(found.missing)
        raise ModelError(f"model '{offered.id}' is incomplete after the download; it lacks {lacks}")
    return found.folder


def fetch(offered: Offer) -> Generator[Fetched, None, None]:
    """`download` with its progress, and without the library's own bars. Leaving the loop stops it.

    Raises:
        ResourceError, ModelError: as `download`.
    """
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    total, before = -(-offered.left_bytes // MIB) or 1, _held_bytes(offered)
    drawing = not are_progress_bars_disabled()
    if drawing:
        disable_progress_bars()
    try:
        with ThreadPoolExecutor(1) as worker, _stopping() as bars:
            work = worker.submit(_download, offered, bars)
            while wait([work], timeout=LOOK_EVERY_S).not_done:
                done = (_held_bytes(offered) - before) // MIB
                if 0 < done < total:
                    yield Fetched(done, total)
            work.result()
    finally:
        if drawing:
            enable_progress_bars()
    yield Fetched(total, total)


@contextmanager
def _stopping() -> Iterator[type[Any]]:
    """The library's bars, which end its threads once the block is left; it has no other way to be stopped."""
    from huggingface_hub.utils.tqdm import tqdm

    left = threading.Event()

    class Bar(tqdm):
        def update(self, n: float | None = 1) -> bool | None:
            if left.is_set():
                raise InterruptedError("the download was stopped")
            return super().update(n)

    try:
        yield Bar
    finally:
        left.set()


def _held_bytes(offered: Offer) -> int:
    """What the cache holds of a repository, files that are only begun too."""
    blobs, held = _blobs(offered.id), 0
    for path in blobs.iterdir() if blobs.is_dir() else []:
        try:
            held += path.stat().st_size
        except FileNotFoundError:  # a begun file that is finished by now, and bears another name
            continue
    return held


def _check_names(asked: HubId, names: list[str]) -> None:
    """Refuses a repository one of whose files would lie outside of its folder."""
    for name in names:
        parts = re.split(r"[/\\]", name)
        if {"", ".", ".."} & {*parts} or ":" in parts[0] or not name.isprintable():
            raise ModelError(f"model '{asked}' names the file {name!r:.80}, which leads out of its folder; refused")


def _needed(names: list[str]) -> list[str]:
    """The files that we load: of each component its configs, vocabulary and plain safetensors."""
    split = [(folder, file) for folder, _, file in (name.partition("/") for name in names)]
    weighted = {folder for folder, file in split if WEIGHT.fullmatch(file)}
    plain = {*PLAIN_PARTS.values()}
    parts = {folder for folder, file in split if file in plain or (file == "config.json" and folder in weighted)}
    needed = [name for name in names if SAFE_NAME.fullmatch(name) and _is_needed(name, parts)]
    pickled = _pickled_variants(names)
    own = [name for name in names if (found := VARIANT_FILE.fullmatch(name)) and found[1] not in pickled]
    return sorted([*needed, *own])


def _is_needed(name: str, parts: set[str]) -> bool:
    folder, slash, file = name.partition("/")
    if not slash:
        return name in (INDEX_FILE, CARD_FILE)
    plain = file.endswith(PLAIN_SUFFIXES) and not file.endswith(".index.json")
    return folder in parts and bool(plain or WEIGHT.fullmatch(file) or WEIGHT_INDEX.fullmatch(file))


def _pickled_variants(names: list[str]) -> dict[str, str]:
    """Variants whose LoRA is no safetensors, and the file: without it they would be others, so nothing is fetched."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        top, _, rest = name.partition("/")
        variant, _, file = rest.partition("/")
        if top == VARIANTS and file:
            found.setdefault(variant, {})[Path(file).suffix] = name
    return {
        variant: files[suffix]
        for variant, files in found.items()
        for suffix in PICKLES
        if suffix in files and ".safetensors" not in files
    }


def _check_weights(asked: HubId, names: list[str]) -> None:
    """Refuses what could not be loaded from safetensors, or in two ways, before it is fetched."""
    for part in sorted(folder for folder, _, file in (name.partition("/") for name in names) if file == "config.json"):
        inside = [name.removeprefix(f"{part}/") for name in names if name.startswith(f"{part}/")]
        kinds = {bool(found[2]) for name in inside if (found := WEIGHT.fullmatch(name))}
        if len(kinds) == 2:
            raise ModelError(f"model '{asked}': {part} holds its weights whole and in shards; only one can count")
        pickled = [name for name in inside if name.endswith(PICKLES)]
        if not kinds and pickled:
            raise ModelError(
                f"model '{asked}': the weights of {part} are pickled ({pickled[0]:.80}), which can run code; choose a "
                "repository or revision with safetensors"
            )
    lora = _pickled_variants(names).get(asked.variant or "")
    if lora is not None:
        raise ModelError(f"model '{asked}': the variant's LoRA is pickled ({lora:.80}), which can run code")


def _check_pipeline(asked: HubId, info: "ModelInfo") -> None:
    """Refuses a pipeline that we do not run, where the hub says which it is; the folder is checked in any case."""
    from vgen.models.check import PIPELINES

    said = info.config.get("diffusers") if isinstance(info.config, dict) else None
    name = said.get("_class_name") if isinstance(said, dict) else None
    if name is not None and name not in PIPELINES:
        raise ModelError(f"model '{asked}' is a {name!r:.60}; possible: {', '.join(PIPELINES)}")


def _file(asked: HubId, sibling: "RepoSibling", commit: str) -> _File:
    from huggingface_hub import try_to_load_from_cache

    name, size = sibling.rfilename, sibling.size
    if type(size) is not int or size < 0:
        raise ModelError(f"model '{asked}': the hub says that {name} has {size!r:.20} bytes")
    linked = isinstance(try_to_load_from_cache(asked.repo, name, cache_dir=cache_folder(), revision=commit), str)
    digest = str(sibling.blob_id if sibling.lfs is None else sibling.lfs.sha256)
    of_another_commit = bool(DIGEST.fullmatch(digest)) and (_blobs(asked) / digest).is_file()
    return _File(name, size, linked or of_another_commit)


def _blobs(asked: HubId) -> Path:
    """Where the library keeps the contents of a repository's files, under their digests."""
    from huggingface_hub.file_download import repo_folder_name

    return cache_folder() / repo_folder_name(repo_id=asked.repo, repo_type="model") / "blobs"


def _licence(info: "ModelInfo") -> str:
    stated: Any = None if info.card_data is None else info.card_data.get("license")
    tagged = [tag.removeprefix("license:") for tag in info.tags or [] if str(tag).startswith("license:")]
    text = str(stated or ", ".join(tagged) or "not stated")
    return "".join(letter for letter in text if letter.isprintable())[:80]


def _twin(asked: HubId, names: "dict[str, RepoSibling]") -> str:
    """The next step for a repository that is not in diffusers format."""
    from huggingface_hub import HfApi

    if not any(ORIGINAL_WAN.fullmatch(name) for name in names):
        return "possible: repositories of video models whose names often end in -Diffusers"
    for ending in TWIN_ENDINGS:
        with _asking(asked):
            if HfApi().repo_exists(f"{asked.repo}{ending}"):
                return f"this is Wan's original layout; its twin is --model {asked.repo}{ending}"
    return (
        f"this is Wan's original layout, and there is no {asked.repo}{TWIN_ENDINGS[0]}; it would have to be converted"
    )


@contextmanager
def _asking(asked: HubId) -> Iterator[None]:
    """Turns what goes wrong with the hub into one line with the next step."""
    from huggingface_hub import HfApi, constants, get_token
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError is of its HTTP library, httpx or later
        FileMetadataError,
        GatedRepoError,
        HfHubHTTPError,
        HTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    page, login = f"{constants.ENDPOINT}/{asked.repo}", "" if get_token() else ", then log in with: hf auth login"
    try:
        yield
    except GatedRepoError as error:
        raise ModelError(f"model '{asked}' is gated: accept its licence at {page}{login}") from error
    except RepositoryNotFoundError as error:
        why = "your login does not see it" if get_token() else "it is private; for that log in with: hf auth login"
        raise ModelError(
            f"model '{asked}' is no folder, and the hub knows no such model, or {why}; see {page}"
        ) from error
    except RevisionNotFoundError as error:
        with _asking(HubId(asked.repo)):
            refs = HfApi().list_repo_refs(asked.repo)
        names = [ref.name for ref in (*refs.branches, *refs.tags)]
        raise ModelError(f"model '{asked.repo}' has no revision '{asked.at}'; {nearest(asked.at, names)}") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise ModelError(f"model '{asked}': {constants.ENDPOINT} answered with status {status}; try again") from error
    except (LocalEntryNotFoundError, HTTPError) as error:
        cause = error.__cause__ or error
        how = "does not answer as a hub does" if isinstance(cause, FileMetadataError) else "cannot be reached"
        raise ModelError(
            f"model '{asked}' is no folder, and {constants.ENDPOINT} {how} ({type(cause).__name__}); run it again, "
            "files that are fetched whole stay"
        ) from error
    except OSError as error:
        kind = ModelError if error.errno is None else ResourceError  # the library's own check of sizes; the disk
        raise kind(f"model '{asked}' could not be fetched: {' '.join(str(error).split()):.200}") from error
    except (KeyError, TypeError, ValueError) as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split()):.120}"
        raise ModelError(f"model '{asked}': {constants.ENDPOINT} does not answer as a hub does ({said})") from error
