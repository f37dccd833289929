"""Variants of models of the hub: fetched with the model, whole or not at all, found in the cache without a network."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from tests.folders import tiny_folder
from tests.hub import COMMIT, FakeHub, Repo, files_of, online, sha256, write_cache
from tests.variants import variant_pairs, write_variant
from vgen.errors import ModelError
from vgen.models.download import download, offer, wanted
from vgen.models.folder import describe, find_folder
from vgen.models.hub import HubId, commit_of, locate, parse
from vgen.models.load import load_model

NAME = "Tiny-AI/Tiny-T2V-Diffusers"
LORA = "variants/fast/lora.safetensors"
CARD = "variants/fast/vgen.yaml"
JUNK = {
    "variants/README.md": b"words",
    "variants/fast/README.md": b"words",
    "variants/fast/optimizer.pt": b"pickle",
    "variants/fast/old/lora.safetensors": b"deeper",
    "variants/odd/vgen.yaml": b"fps: 9\n",
    "variants/odd/lora.bin": b"pickle",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tiny_folder(tmp_path_factory.mktemp("models") / "tiny", layout="wan2.1")
    write_variant(folder, pairs=variant_pairs())
    return files_of(folder)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


@pytest.fixture
def hub(files: dict[str, bytes], cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with online({NAME: Repo(files | JUNK)}, monkeypatch) as hub:
        yield hub


@pytest.mark.parametrize("text", ["a/b:fast", "a/b@v1.0:fast", "a/b@refs/pr/3:fast"])
def test_an_id_holds_its_variant(text: str) -> None:
    asked = parse(text)
    assert asked is not None and (asked.repo, asked.variant, str(asked)) == ("a/b", "fast", text)


@pytest.mark.parametrize("asked", [f"{NAME}:fast", f"{NAME}@main:fast", f"{NAME}@{COMMIT}:fast"])
def test_a_snapshot_of_the_cache_has_variants(cache: Path, files: dict[str, bytes], asked: str) -> None:
    folder = write_cache(cache, NAME, files)
    assert find_folder(asked) == folder and wanted(asked) is None and commit_of(asked, folder) == COMMIT
    model = load_model(asked, device=torch.device("cpu"), dtype=torch.float32)
    assert (model.id, model.commit, model.card.sampler) == (asked, COMMIT, "causal")
    assert set(model.digests()) == set(files) and model.digests()[LORA] == sha256(files[LORA])


def test_what_is_not_cached_says_how_to_fetch_it(cache: Path) -> None:
    with pytest.raises(ModelError, match=f"run: vgen models {NAME}:fast --download"):
        find_folder(f"{NAME}:fast")


@pytest.mark.parametrize("asked", [NAME, f"{NAME}:fast"])
def test_they_are_fetched_with_the_model(hub: FakeHub, files: dict[str, bytes], asked: str) -> None:
    found = wanted(asked)
    assert found is not None and {file.name for file in offer(found).files} == set(files)
    assert files_of(download(offer(found))) == files
    assert wanted(asked) is None and describe(f"{NAME}:fast")[1].sampler == "causal"


def test_a_model_that_was_fetched_without_gets_them(hub: FakeHub, files: dict[str, bytes], cache: Path) -> None:
    """By another program, or broken off: a card without its LoRA would be another variant."""
    folder = download(offer(HubId(NAME)))
    for name in (LORA, CARD):
        (folder / name).unlink()
        assert wanted(NAME) is None
        asked = wanted(f"{NAME}:fast")
        assert asked is not None
        found = locate(asked)
        assert found is not None and found.missing == ("variants/fast",)
        with pytest.raises(ModelError, match=r"is incomplete in the hub's cache .*, missing variants/fast; fetch it"):
            describe(f"{NAME}:fast")
    hub.seen.clear()
    assert files_of(download(offer(HubId(NAME, variant="fast")))) == files
    assert describe(f"{NAME}:fast")[1].sampler == "causal"


def test_a_name_that_the_repository_has_not_is_not_fetched(hub: FakeHub) -> None:
    download(offer(HubId(NAME)))
    hub.seen.clear()
    assert wanted(f"{NAME}:fsat") is None and not hub.seen
    with pytest.raises(ModelError, match="has no variant 'fsat'; did you mean 'fast'"):
        describe(f"{NAME}:fsat")


def test_a_pickled_lora_is_not_fetched_and_its_card_neither(hub: FakeHub) -> None:
    with pytest.raises(ModelError, match=r"LoRA is pickled \(variants/odd/lora.bin\), which can run code"):
        offer(HubId(NAME, variant="odd"))
    folder = download(offer(HubId(NAME)))
    assert not (folder / "variants" / "odd").exists()
    with pytest.raises(ModelError, match="missing variants/odd"):
        describe(f"{NAME}:odd")
