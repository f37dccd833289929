"""Models by hub id: found in the cache without a network, fetched from a hub in this process."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants

from tests.folders import tiny_folder
from tests.hub import COMMIT, NO_PROXY, OTHER_COMMIT, FakeHub, Repo, files_of, is_large, online, sha256, write_cache
from vgen.errors import ModelError, ResourceError
from vgen.models import download as module
from vgen.models.download import Offer, check_room, download, fetch, offer, wanted
from vgen.models.folder import find_folder
from vgen.models.hub import HubId, list_cached, locate, parse
from vgen.models.load import load_model
from vgen.pipeline import VideoPipeline

ROOT = Path(__file__).parents[2]
NAME = "Tiny-AI/Tiny-T2V-Diffusers"
DIT = "transformer/diffusion_pytorch_model.safetensors"
JUNK = {
    "README.md": b"---\nlicense: apache-2.0\n---\n",
    "LICENSE.txt": b"text",
    "assets/demo.mp4": b"film",
    "transformer/diffusion_pytorch_model.bin": b"pickle",
    "transformer/diffusion_pytorch_model.fp16.safetensors": b"variant",
    "transformer/diffusion_pytorch_model.fp16.safetensors.index.json": b"{}",
    "text_encoder/flax_model.msgpack": b"flax",
    "text_encoder/sub/model.safetensors": b"deeper",
    "onnx/config.json": b"{}",
    "onnx/model.onnx": b"onnx",
    "original/weights.pt": b"pickle",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return files_of(tiny_folder(tmp_path_factory.mktemp("models") / "tiny", layout="wan2.1"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


@pytest.fixture
def hub(files: dict[str, bytes], cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with online({NAME: Repo(files | JUNK)}, monkeypatch) as hub:
        yield hub


def refused(call: Callable[[], Any], *words: str, kind: type[Exception] = ModelError) -> None:
    """One line that holds all of these words."""
    with pytest.raises(kind) as caught:
        call()
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


# ids


@pytest.mark.parametrize(
    ("text", "repo", "revision"),
    [
        ("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers", None),
        ("a/b@v1.0", "a/b", "v1.0"),
        ("a/b@refs/pr/3", "a/b", "refs/pr/3"),
        (f"a/b@{COMMIT}", "a/b", COMMIT),
    ],
)
def test_an_id_is_org_name_and_revision(text: str, repo: str, revision: str | None) -> None:
    assert parse(text) == HubId(repo, revision)
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "playground",
        "./a/b",
        "../a",
        "/a/b",
        "a/b/c",
        "a/..",
        "a--b/c",
        "~/a",
        "a/",
        "a b/c",
        "",
        "a/b.git",
        "a/b-",
        "a/" + "b" * 97,
    ],
)
def test_a_path_or_a_name_is_no_id(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize("revision", ["", "../x", "/etc", "a/../b", "a..b", "x y", "a/"])
def test_a_revision_that_could_be_a_path_is_refused(revision: str) -> None:
    refused(lambda: parse(f"a/b@{revision}"), "is no revision", "branch")


# the cache, by hand and offline


@pytest.mark.parametrize("asked", [NAME, f"{NAME}@main", f"{NAME}@{COMMIT}"])
def test_a_whole_snapshot_loads_and_knows_its_commit(cache: Path, files: dict[str, bytes], asked: str) -> None:
    folder = write_cache(cache, NAME, files)
    assert find_folder(asked) == folder
    model = load_model(asked, device=torch.device("cpu"), dtype=torch.float32)
    assert (model.id, model.commit) == (asked, COMMIT)
    assert set(model.digests()) == set(files) and model.digests()[DIT] == sha256(files[DIT])


def test_a_folder_goes_before_an_id_and_has_no_commit(cache: Path, files: dict[str, bytes]) -> None:
    write_cache(cache, NAME, files)
    own = Path(shutil.copytree(find_folder(NAME), Path(NAME)))
    assert find_folder(NAME) == own and wanted(NAME) is None
    assert load_model(NAME, device=torch.device("cpu"), dtype=torch.float32).commit is None


def test_revisions_are_told_apart(cache: Path, files: dict[str, bytes]) -> None:
    main = write_cache(cache, NAME, files)
    tagged = write_cache(cache, NAME, files, ref="v1", commit=OTHER_COMMIT)
    assert find_folder(NAME) == main and find_folder(f"{NAME}@v1") == tagged
    assert find_folder(f"{NAME}@{OTHER_COMMIT}") == tagged
    write_cache(cache, NAME, {}, ref="refs/pr/1")
    assert find_folder(f"{NAME}@refs/pr/1") == main
    refused(lambda: find_folder(f"{NAME}@refs"), "neither")
    refused(lambda: find_folder(f"{NAME}@v2"), "neither a folder nor in the hub's cache", f"vgen models {NAME}@v2")


def test_what_is_not_cached_says_how_to_fetch_it(cache: Path) -> None:
    able = f"unset HF_HUB_OFFLINE and run: vgen models {NAME} --download"
    refused(lambda: find_folder(NAME), f"'{NAME}' is neither a folder nor in the hub's cache {cache}", able)


@pytest.mark.parametrize(
    "missing",
    [
        DIT,
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/model.safetensors",
        "tokenizer/tokenizer.json",
        "vae/config.json",
    ],
)
def test_an_incomplete_snapshot_says_what_is_missing(cache: Path, files: dict[str, bytes], missing: str) -> None:
    write_cache(cache, NAME, {name: body for name, body in files.items() if name != missing})
    refused(lambda: find_folder(NAME), "incomplete in the hub's cache", f"missing {missing};", "--download")


def test_a_link_to_nothing_is_missing(cache: Path, files: dict[str, bytes]) -> None:
    folder = write_cache(cache, NAME, files)
    (folder / DIT).resolve().unlink()
    refused(lambda: find_folder(NAME), f"missing {DIT}")


def test_every_shard_of_an_index_must_be_there(cache: Path, files: dict[str, bytes]) -> None:
    sharded = {name: body for name, body in files.items() if name != DIT}
    shards = [f"diffusion_pytorch_model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    weight_map = {f"tensor{i}": shard for i, shard in enumerate(shards)}
    sharded[f"{DIT}.index.json"] = json.dumps({"weight_map": weight_map}).encode()
    sharded[f"transformer/{shards[1]}"] = b"shard"
    write_cache(cache, NAME, sharded)
    refused(lambda: find_folder(NAME), f"missing transformer/{shards[0]}, transformer/{shards[2]};")


def test_a_damaged_reference_leads_nowhere(cache: Path, files: dict[str, bytes]) -> None:
    write_cache(cache, NAME, files)
    (cache / f"models--{NAME.replace('/', '--')}" / "refs" / "main").write_text("..")
    refused(lambda: find_folder(NAME), "names the commit", "which is none")


def test_the_cache_is_listed(cache: Path, files: dict[str, bytes]) -> None:
    write_cache(cache, NAME, files)
    write_cache(cache, NAME, files, ref=None, commit=OTHER_COMMIT)
    write_cache(cache, "A/Half", {"model_index.json": files["model_index.json"]}, ref="v1")
    write_cache(cache, "B/Text", {"config.json": b"{}"})
    (cache / "models--C--Broken").mkdir()
    models, others, unreadable = list_cached()
    assert [str(one.id) for one in models] == ["A/Half@v1", NAME, f"{NAME}@{OTHER_COMMIT}"]
    assert [bool(one.snapshot.missing) for one in models] == [True, False, False]
    assert models[1].size_bytes == sum(map(len, files.values()))
    assert others == 1 and len(unreadable) == 1


def test_an_absent_cache_is_an_empty_one(cache: Path) -> None:
    assert list_cached() == ([], 0, []) and locate(HubId(NAME)) is None


# the hub


def test_an_offer_says_what_it_takes_and_fetches_nothing(hub: FakeHub, cache: Path, files: dict[str, bytes]) -> None:
    found = offer(HubId(NAME))
    assert {file.name for file in found.files} == set(files)
    assert (found.commit, found.licence, found.left_out) == (COMMIT, "apache-2.0", len(JUNK))
    assert found.left_bytes == sum(map(len, files.values()))
    first, second = found.lines()
    assert NAME in first and "revision main" in first and COMMIT in first and "licence apache-2.0" in first
    assert (
        f"{len(files)} files" in second and "GB" in second and "free" in second and f"left out: {len(JUNK)}" in second
    )
    assert not hub.fetched() and not cache.exists()


@pytest.mark.parametrize("asked", [NAME, f"{NAME}@main", f"{NAME}@{COMMIT}"])
def test_a_download_fetches_what_we_load_and_nothing_else(
    hub: FakeHub, files: dict[str, bytes], asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = list(fetch(offer(parse(asked))))  # type: ignore[arg-type]
    assert steps[-1].done == steps[-1].total and wanted(asked) is None
    asked_for = len(hub.seen)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert files_of(find_folder(asked)) == files
    assert load_model(asked, device=torch.device("cpu"), dtype=torch.float32).commit == COMMIT
    assert len(hub.seen) == asked_for  # from here on the hub is not asked


def test_a_whole_model_is_found_without_asking_the_hub(hub: FakeHub, cache: Path, files: dict[str, bytes]) -> None:
    write_cache(cache, NAME, files)
    pipe = VideoPipeline.from_pretrained(NAME, download=True)
    assert pipe.model.commit == COMMIT and not hub.seen


def test_python_fetches_when_told_to_and_only_then(hub: FakeHub, files: dict[str, bytes]) -> None:
    refused(lambda: VideoPipeline.from_pretrained(NAME), "neither a folder nor in the hub's cache")
    assert not hub.seen
    assert VideoPipeline.from_pretrained(NAME, download=True).model.commit == COMMIT


def test_a_transfer_that_breaks_off_goes_on_where_it_was(
    hub: FakeHub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    hub.broken[sha256(files[DIT])] = 5000
    folder = download(offer(HubId(NAME)))
    assert (folder / DIT).read_bytes() == files[DIT]
    assert "from 5000" in hub.seen


def test_leaving_the_loop_stops_a_download(
    hub: FakeHub, cache: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(module, "MIB", 1000)
    hub.slow.add(sha256(files[DIT]))
    began, steps = time.monotonic(), fetch(offer(HubId(NAME)))
    done = [next(steps).done for _ in range(20)]
    assert done == sorted(done) and 0 < done[0] < done[-1] and done[-1] * 1000 < sum(map(len, files.values()))
    steps.close()
    assert time.monotonic() - began < 8
    refused(lambda: find_folder(NAME), f"missing {DIT};")
    assert not list(cache.rglob("*.incomplete"))


def test_a_second_download_fetches_only_what_the_first_did_not(hub: FakeHub, files: dict[str, bytes]) -> None:
    digest = sha256(files[DIT])
    hub.failing.add(digest)
    refused(lambda: download(offer(HubId(NAME))), "answered with status 500")
    refused(lambda: find_folder(NAME), "incomplete", DIT)
    again = offer(HubId(NAME))
    there = {file.name for file in again.files if file.there}
    assert DIT not in there and there
    hub.seen.clear()
    download(again)
    fetched = {line.rpartition("/")[2] for line in hub.fetched()}
    assert digest in fetched and not fetched & {sha256(files[name]) for name in there if is_large(name)}
    assert find_folder(NAME).name == COMMIT


def test_what_another_commit_holds_is_not_counted_again(hub: FakeHub, cache: Path, files: dict[str, bytes]) -> None:
    write_cache(cache, NAME, files, ref="old", commit=OTHER_COMMIT)
    assert offer(HubId(NAME)).left_bytes == 0


def test_a_full_disk_is_refused_before_a_byte(hub: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))  # type: ignore[attr-defined]
    found = offer(HubId(NAME))
    words = ("GB more on disk", "0.000 GB are free", "HF_HOME")
    refused(lambda: check_room(found), *words, kind=ResourceError)
    refused(lambda: VideoPipeline.from_pretrained(NAME, download=True), *words, kind=ResourceError)
    assert not hub.fetched() and not cache.exists()


@pytest.mark.parametrize(
    "name", ["../escape.json", "vae/../../x.json", "/etc/passwd", "a//b", "C:/x", "vae\\..\\x", "a\x1b[2J"]
)
def test_a_name_that_leads_out_of_the_folder_is_refused(hub: FakeHub, cache: Path, name: str) -> None:
    hub.repos[NAME].files[name] = b"x"
    refused(lambda: offer(HubId(NAME)), "leads out of its folder; refused")
    assert not hub.fetched() and not cache.exists()


def test_a_tree_that_names_more_than_the_offer_gets_no_more(hub: FakeHub, cache: Path, files: dict[str, bytes]) -> None:
    found = offer(HubId(NAME))
    hub.repos[NAME].files |= {"../escape.json": b"x", "vae/../../../../escape.json": b"x"}
    assert files_of(download(found)) == files
    assert not [path for path in cache.parent.rglob("escape.json")]


def test_a_revision_that_moves_meanwhile_is_said(hub: FakeHub) -> None:
    found = offer(HubId(NAME))
    hub.repos[NAME].refs["main"] = OTHER_COMMIT
    refused(lambda: download(found), f"moved from commit {COMMIT} to {OTHER_COMMIT}", "run it again")
    assert download(offer(HubId(NAME))).name == OTHER_COMMIT


def test_a_gated_model_names_the_page_and_the_login(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos[NAME].gated = True
    page = f"accept its licence at {hub.url}/{NAME}"
    refused(lambda: offer(HubId(NAME)), "is gated", page, "hf auth login")
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    with pytest.raises(ModelError) as caught:
        offer(HubId(NAME))
    assert page in str(caught.value) and "login" not in str(caught.value)


def test_an_unknown_model_says_so(hub: FakeHub) -> None:
    refused(lambda: offer(HubId("nobody/nothing")), "no folder", "knows no such model", "private", "hf auth login")


def test_an_unknown_revision_names_those_that_there_are(hub: FakeHub) -> None:
    hub.repos[NAME].refs["v1.0"] = OTHER_COMMIT
    refused(lambda: offer(HubId(NAME, "v1.1")), "has no revision 'v1.1'", "did you mean 'v1.0'? possible: main, v1.0")


@pytest.mark.parametrize("ending", ["-Diffusers", "-diffusers"])
def test_the_original_layout_names_its_twin(hub: FakeHub, files: dict[str, bytes], ending: str) -> None:
    original = [
        "config.json",
        "Wan2.1_VAE.pth",
        "models_t5_umt5-xxl-enc-bf16.pth",
        "diffusion_pytorch_model.safetensors",
    ]
    hub.repos |= {"W/Wan2.1-T2V": Repo(dict.fromkeys(original, b"x")), f"W/Wan2.1-T2V{ending}": Repo(files)}
    refused(lambda: offer(HubId("W/Wan2.1-T2V")), "original layout", f"its twin is --model W/Wan2.1-T2V{ending}")


def test_the_original_layout_without_a_twin_says_so(hub: FakeHub) -> None:
    hub.repos["W/Own"] = Repo({"Wan2.2_VAE.pth": b"x"})
    refused(lambda: offer(HubId("W/Own")), "original layout", "no W/Own-Diffusers")


def test_what_is_no_video_model_is_refused(hub: FakeHub, files: dict[str, bytes]) -> None:
    hub.repos["T/Text"] = Repo({"config.json": b"{}", "model.safetensors": b"x"})
    refused(lambda: offer(HubId("T/Text")), "not in diffusers format: no model_index.json")
    hub.repos[NAME].config = {"diffusers": {"_class_name": "FluxPipeline"}}
    refused(lambda: offer(HubId(NAME)), "is a 'FluxPipeline'; possible: WanPipeline")
    assert not hub.fetched()


def test_pickled_weights_are_not_fetched(hub: FakeHub, files: dict[str, bytes]) -> None:
    body = hub.repos[NAME].files.pop("text_encoder/model.safetensors")
    hub.repos[NAME].files["text_encoder/pytorch_model.bin"] = body
    refused(lambda: offer(HubId(NAME)), "text_encoder are pickled (pytorch_model.bin)")


def test_weights_in_two_ways_are_refused(hub: FakeHub) -> None:
    hub.repos[NAME].files["transformer/diffusion_pytorch_model-00001-of-00002.safetensors"] = b"x"
    refused(lambda: offer(HubId(NAME)), "transformer holds its weights whole and in shards")


def test_a_repository_without_a_file_that_it_names_is_said(hub: FakeHub) -> None:
    del hub.repos[NAME].files["vae/config.json"]
    refused(lambda: download(offer(HubId(NAME))), "incomplete after the download; it lacks vae/config.json")


def test_offline_says_so_at_once(
    hub: FakeHub, cache: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    words = f"unset HF_HUB_OFFLINE and run: vgen models {NAME} --download"
    refused(lambda: offer(HubId(NAME)), "nor in the hub's cache", words)
    write_cache(cache, NAME, {name: body for name, body in files.items() if name != DIT})
    refused(lambda: VideoPipeline.from_pretrained(NAME, download=True), "incomplete in the hub's cache", DIT, words)
    write_cache(cache, NAME, {DIT: files[DIT]})
    refused(lambda: offer(HubId(NAME)), "offline mode is enabled")
    assert not hub.seen


def test_a_hub_out_of_reach_is_said(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    refused(lambda: offer(HubId(NAME)), "http://127.0.0.1:9 cannot be reached (ConnectError)")


def test_an_answer_of_something_else_is_said(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.hub._info", lambda *_: ["no", "info"])
    refused(lambda: offer(HubId(NAME)), "does not answer as a hub does")
    monkeypatch.setattr("tests.hub._info", lambda name, *_: {"id": name, "sha": "../../x", "siblings": [
        {"rfilename": "model_index.json", "size": 2}]})  # fmt: skip
    refused(lambda: offer(HubId(NAME)), "names the commit '../../x', which is none")
    monkeypatch.setattr("tests.hub._info", lambda name, *_: {"id": name, "sha": COMMIT, "siblings": [
        {"rfilename": "model_index.json", "size": -1}]})  # fmt: skip
    refused(lambda: offer(HubId(NAME)), "model_index.json has -1 bytes")


def test_a_licence_reaches_the_terminal_as_plain_text(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.hub import _info

    dirty = {"cardData": {"license": "mit\x1b[2J\n" + "x" * 200}}
    monkeypatch.setattr("tests.hub._info", lambda *given: _info(*given) | dirty)
    found: Offer = offer(HubId(NAME))
    assert found.licence.isprintable() and len(found.licence) == 80


def test_the_environment_says_where_and_whether(hub: FakeHub, tmp_path: Path) -> None:
    """HF_ENDPOINT, HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE, as the library reads them when it starts."""
    script = (
        "from vgen.models.download import download, offer; from vgen.models.hub import cached, parse\n"
        "import sys; from vgen.errors import ModelError\n"
        "for what, name in zip(sys.argv[1::2], sys.argv[2::2]):\n"
        "    try: print(download(offer(parse(name))) if what == 'fetch' else cached(parse(name)))\n"
        "    except ModelError as error: print('refused:', error)\n"
    )

    def said(*words: str, **environment: str) -> list[str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", script, *words],
            cwd=ROOT,
            env=inherited | {"HF_ENDPOINT": hub.url, "NO_PROXY": NO_PROXY} | environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()

    home = tmp_path / "home"
    stored = home / "hub" / f"models--{NAME.replace('/', '--')}" / "snapshots" / COMMIT
    assert said("fetch", NAME, HF_HOME=str(home)) == [str(stored)]
    asked = len(hub.seen)
    found, refusal = said("find", NAME, "fetch", f"{NAME}@v1", HF_HUB_CACHE=str(home / "hub"), HF_HUB_OFFLINE="1")
    assert found == str(stored) and "unset HF_HUB_OFFLINE and run" in refusal
    assert len(hub.seen) == asked
