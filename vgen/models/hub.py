"""Models of the Hugging Face hub, as `ORG/NAME[@REVISION][:VARIANT]`: what an id is, and what of it is in the cache.

Everything here works offline; `download.py` fetches what is not there. The cache is huggingface_hub's own, found as
that library finds it (HF_HUB_CACHE, HF_HOME), so that what another program has fetched runs here.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vgen.errors import ModelError, listed
from vgen.models.card import CARD_FILE
from vgen.models.files import ADAPTER_FILE, read_json
from vgen.models.variant import VARIANTS, split_variant

__all__ = [
    "COMMIT",
    "INDEX_FILE",
    "PLAIN_PARTS",
    "WEIGHTS",
    "CachedModel",
    "HubId",
    "Snapshot",
    "cache_folder",
    "cached",
    "commit_of",
    "list_cached",
    "locate",
    "parse",
]

INDEX_FILE = "model_index.json"
COMMIT = re.compile(r"[0-9a-f]{40}")
REPO = re.compile(r"\w([\w.-]{0,94}\w)?/\w([\w.-]{0,94}\w)?", re.ASCII)
REVISION = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)
DEFAULT_REVISION = "main"
# what a component must hold besides weights, by what its class is called
PLAIN_PARTS = {
    "Tokenizer": "tokenizer_config.json",
    "Scheduler": "scheduler_config.json",
    "Processor": "preprocessor_config.json",
    "FeatureExtractor": "preprocessor_config.json",
}
VOCABULARIES = ("tokenizer.json", "spiece.model", "vocab.json")
WEIGHTS = {"transformers": "model.safetensors", "diffusers": "diffusion_pytorch_model.safetensors"}


@dataclass(frozen=True, slots=True)
class HubId:
    """A repository of the hub at one revision.

    Args:
        repo: `ORG/NAME`.
        revision: branch, tag or commit; the branch `main` where None.
        variant: of the model, if one is meant.
    """

    repo: str
    revision: str | None = None
    variant: str | None = None

    @property
    def at(self) -> str:
        """The revision by name."""
        return self.revision or DEFAULT_REVISION

    def __str__(self) -> str:
        at = "" if self.revision is None else f"@{self.revision}"
        return f"{self.repo}{at}" if self.variant is None else f"{self.repo}{at}:{self.variant}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One commit of a repository, as far as it lies in the cache.

    Args:
        folder: with the layout of the repository.
        missing: files that the folder itself names and does not hold; empty for a whole one.
    """

    folder: Path
    missing: tuple[str, ...]

    @property
    def commit(self) -> str:
        """Its hash."""
        return self.folder.name


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedModel:
    """A row of `list_cached`.

    Args:
        id: what `--model` takes: a branch or tag where one points to it, else the commit.
        snapshot: where it lies, and whether whole.
        size_bytes: on disk.
    """

    id: HubId
    snapshot: Snapshot
    size_bytes: int


def parse(model: str) -> HubId | None:
    """The id that a text is; None where it is of another form, such as a path.

    Raises:
        ModelError: an id with a revision that cannot be one.
    """
    base, variant = split_variant(model)
    repo, at, revision = base.partition("@")
    if not REPO.fullmatch(repo) or "--" in repo or ".." in repo or repo.endswith(".git"):
        return None
    if at and (not REVISION.fullmatch(revision) or ".." in revision):
        raise ModelError(f"model '{model}': {revision!r:.40} is no revision; possible: a branch, a tag, or a commit")
    return HubId(repo, revision if at else None, variant)


def commit_of(model: str, folder: Path) -> str | None:
    """The commit that a model found in `folder` stands at; None for one that was not found by its hub id."""
    return None if folder == Path(split_variant(model)[0]) or parse(model) is None else folder.name


def cache_folder() -> Path:
    """The cache of huggingface_hub."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def cached(asked: HubId) -> Path:
    """The folder of a model in the cache, whole.

    Raises:
        ModelError: it is not there or incomplete; says what to do.
    """
    from huggingface_hub import is_offline_mode

    found = locate(asked)
    if found is not None and not found.missing:
        return found.folder
    fetch = f"vgen models {asked} --download"
    able = f"unset HF_HUB_OFFLINE and run: {fetch}" if is_offline_mode() else f"fetch it with: {fetch}"
    if found is None:
        raise ModelError(f"model '{asked}' is neither a folder nor in the hub's cache {cache_folder()}; {able}")
    missing = listed(found.missing, 4)
    raise ModelError(f"model '{asked}' is incomplete in the hub's cache ({found.folder}), missing {missing}; {able}")


def locate(asked: HubId) -> Snapshot | None:
    """What of a model lies in the cache; None where nothing does. Asks nobody.

    Raises:
        ModelError: the folder's own lists cannot be read.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import IncompleteSnapshotError, LocalEntryNotFoundError

    try:
        # by patterns, because the library counts what the repository holds and we never fetch
        found = snapshot_download(
            asked.repo,
            revision=asked.revision,
            cache_dir=cache_folder(),
            local_files_only=True,
            allow_patterns=[INDEX_FILE],
        )
    except IncompleteSnapshotError as error:
        found = error.snapshot_path
    except (LocalEntryNotFoundError, IsADirectoryError):  # `refs` of `refs/pr/1` is a folder there, and no revision
        return None
    folder = Path(found)
    if not COMMIT.fullmatch(folder.name):  # a damaged reference could point anywhere
        raise ModelError(f"model '{asked}': the hub's cache names the commit {folder.name!r:.50}, which is none")
    return Snapshot(folder, (*_missing(folder), *_missing_of_variant(asked, folder)))


def list_cached() -> tuple[list[CachedModel], int, list[str]]:
    """What the cache holds: models in diffusers format by name, how many others, and what could not be read."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        scanned = scan_cache_dir(cache_folder())
    except CacheNotFound:
        return [], 0, []
    models, others = [], 0
    for repo in sorted(scanned.repos, key=lambda repo: repo.repo_id):
        if repo.repo_type != "model":
            continue
        whole = [one for one in repo.revisions if (one.snapshot_path / INDEX_FILE).is_file()]
        others += not whole
        for one in sorted(whole, key=lambda one: (DEFAULT_REVISION not in one.refs, one.commit_hash)):
            refs = sorted(one.refs)
            name = None if DEFAULT_REVISION in refs else refs[0] if refs else one.commit_hash
            snapshot = Snapshot(one.snapshot_path, _listed_missing(one.snapshot_path))
            models.append(CachedModel(id=HubId(repo.repo_id, name), snapshot=snapshot, size_bytes=one.size_on_disk))
    return models, others, [str(warning) for warning in scanned.warnings]


def _listed_missing(folder: Path) -> tuple[str, ...]:
    """As `_missing`; nothing where the folder's own lists are damaged, which whoever loads it says."""
    try:
        return tuple(_missing(folder))
    except ModelError:
        return ()


def _missing(folder: Path) -> list[str]:
    """Files that the index and the lists of shards name and that are not there; a link to nothing is not there."""
    if not (folder / INDEX_FILE).is_file():
        return [INDEX_FILE]
    missing = []
    for part, named in read_json(folder / INDEX_FILE).items():
        if re.fullmatch(r"[a-z]\w*", part) and isinstance(named, list) and named[:1] != [None]:
            missing += [f"{part}/{name}" for name in _missing_of_part(folder / part, named)]
    return missing


def _missing_of_part(folder: Path, named: list[Any]) -> list[str]:
    library, cls = (str(word) for word in (*named, "", "")[:2])
    for word, config in PLAIN_PARTS.items():
        if word in cls:
            vocabulary = word == "Tokenizer" and not any((folder / name).is_file() for name in VOCABULARIES)
            wanted = [config, VOCABULARIES[0]] if vocabulary else [config]
            return [name for name in wanted if not (folder / name).is_file()]
    single = WEIGHTS.get(library, WEIGHTS["diffusers"])
    index = folder / f"{single}.index.json"
    wanted = ["config.json", *(_shards(index) if index.is_file() and not (folder / single).is_file() else [single])]
    return [name for name in wanted if not (folder / name).is_file()]


def _missing_of_variant(asked: HubId, folder: Path) -> list[str]:
    """Its folder, where the library remembers that the repository has files in it that are not here.

    Without its LoRA, which may be absent, a variant would be another one.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import IncompleteSnapshotError

    if asked.variant is None:
        return []
    own = f"{VARIANTS}/{asked.variant}"
    try:
        snapshot_download(
            asked.repo,
            revision=folder.name,
            cache_dir=cache_folder(),
            local_files_only=True,
            allow_patterns=[f"{own}/{name}" for name in (CARD_FILE, ADAPTER_FILE, "*.safetensors")],
            ignore_patterns=[f"{own}/*/*"],
        )
    except IncompleteSnapshotError:
        return [own]
    return []


def _shards(index: Path) -> list[str]:
    """Names of the files beside an index; what is no such name is left to the check of the folder, which refuses it."""
    placed = read_json(index).get("weight_map")
    names = placed.values() if isinstance(placed, dict) else []
    return sorted({name for name in names if isinstance(name, str) and Path(name).name == name})
