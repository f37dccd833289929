"""Models of the hub from the command line: asked for, fetched, listed, recorded, and made again offline."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.folders import tiny_folder
from tests.hub import COMMIT, OTHER_COMMIT, FakeHub, Repo, files_of, online, write_cache
from vgen.cli import _run
from vgen.records import read_record, write_record

NAME = "Tiny-AI/Tiny-T2V-Diffusers"
DIT = "transformer/diffusion_pytorch_model.safetensors"
CLIP = ["generate", "a red ball rolls", "--num-frames", "5", "--num-inference-steps", "2", "--seed", "3", "-o", "a.mkv"]
Captured = pytest.CaptureFixture[str]


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
    with online({NAME: Repo(files | {"README.md": b"words"})}, monkeypatch) as hub:
        yield hub


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, answer: bool) -> None:
    monkeypatch.setattr("vgen.cli.download.sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("vgen.cli.download.sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("vgen.cli.download.typer.confirm", lambda *_, **__: answer)


def test_off_a_terminal_a_download_must_be_asked_for(hub: FakeHub, cache: Path, capsys: Captured) -> None:
    assert _run([*CLIP, "--model", NAME]) == 2
    out, err = capsys.readouterr()
    offer, to_fetch, refusal = err.strip().splitlines()
    assert not out and COMMIT in offer and "apache-2.0" in offer and "to fetch: 11 files" in to_fetch
    assert refusal == f"vgen: model '{NAME}' was not fetched; add --download to fetch it"
    assert not hub.fetched() and not cache.exists()


def test_without_consent_the_hub_is_not_even_asked(hub: FakeHub, capsys: Captured) -> None:
    assert _run([*CLIP, "--model", NAME, "--no-download"]) == 2
    assert f"fetch it with: vgen models {NAME} --download" in capsys.readouterr().err and not hub.seen


def test_a_clip_is_made_recorded_and_made_again_offline(
    hub: FakeHub, files: dict[str, bytes], cache: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _run([*CLIP, "--model", NAME, "--download"]) == 0
    out, err = capsys.readouterr()
    assert out == "a.mkv\n" and "to fetch: 11 files" in err and "fetch (MiB): 1/1" in err
    model = read_record("a.json")["model"]
    assert (model["id"], model["commit"]) == (NAME, COMMIT) and set(model["digests"]) == set(files)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert _run(["replay", "a.mkv", "-o", "b.mkv"]) == 2
    assert f"made with model '{NAME}'; name its folder with --model, or its hub id" in capsys.readouterr().err
    assert _run(["replay", "a.mkv", "--verify", "--model", NAME, "-o", "b.mkv"]) == 0
    assert "equal bit for bit" in capsys.readouterr().err
    folder = cache / f"models--{NAME.replace('/', '--')}" / "snapshots" / COMMIT
    assert _run(["replay", "a.mkv", "--verify", "--model", str(folder), "-o", "c.mkv"]) == 0  # its digests are the same
    assert read_record("c.json")["model"]["commit"] is None


def test_another_commit_is_refused_before_it_is_loaded(
    cache: Path, files: dict[str, bytes], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cache(cache, NAME, files)
    write_cache(cache, NAME, files, ref="new", commit=OTHER_COMMIT)
    assert _run([*CLIP, "--model", NAME]) == 0
    monkeypatch.setattr("vgen.pipeline.load_model", None)
    capsys.readouterr()
    assert _run(["replay", "a.mkv", "--model", f"{NAME}@new"]) == 2
    words = f"made with commit {COMMIT}, '{NAME}@new' is at {OTHER_COMMIT}; use --model {NAME}@{COMMIT}"
    assert words in capsys.readouterr().err
    record = read_record("a.json")
    record["model"]["commit"] = "../../x\x1b[2J"
    write_record("d.mkv", record)
    assert _run(["replay", "d.json", "--model", NAME]) == 2
    assert "made with commit '../../x\\x1b[2J', which is none" in capsys.readouterr().err


@pytest.mark.parametrize("answer", [True, False])
def test_a_terminal_is_asked(hub: FakeHub, capsys: Captured, monkeypatch: pytest.MonkeyPatch, answer: bool) -> None:
    on_a_terminal(monkeypatch, answer)
    assert _run(["models", NAME]) == (0 if answer else 2)
    assert bool(hub.fetched()) is answer
    out, err = capsys.readouterr()
    assert (COMMIT in out) is answer and ("was not fetched" in err) is not answer


def test_a_model_can_be_fetched_alone(hub: FakeHub, capsys: Captured) -> None:
    assert _run(["models", NAME, "--download", "--format", "json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["model"], row["commit"], row["name"]) == (NAME, COMMIT, "tiny")


def test_an_evaluation_takes_a_hub_id(cache: Path, capsys: Captured) -> None:
    assert _run(["evaluate", "playground", "--model", NAME, "-o", "out"]) == 2
    assert f"unset HF_HUB_OFFLINE and run: vgen models {NAME} --download" in capsys.readouterr().err


def test_what_is_here_is_listed(cache: Path, files: dict[str, bytes], capsys: Captured) -> None:
    write_cache(cache, NAME, files)
    write_cache(cache, "A/Half", {name: body for name, body in files.items() if name != DIT}, ref="v1")
    other = files | {"model_index.json": files["model_index.json"].replace(b"WanPipeline", b"FluxPipeline")}
    write_cache(cache, "B/Other", other)
    write_cache(cache, "C/Text", {"config.json": b"{}"})
    write_cache(cache, "D/Damaged", files | {"model_index.json": b"["})
    assert _run(["models", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    rows = {row["model"]: row for row in json.loads(out)}
    assert list(rows) == ["playground", "A/Half@v1", "B/Other", "D/Damaged", NAME]
    assert "left out: 1 cached models without a model_index.json" in err
    ours, half, flux, damaged, tiny = rows.values()
    assert ours["tasks"] == ["text-to-video", "image-to-video"] and ours["problem"] is None and ours["commit"] is None
    assert f"missing {DIT}; complete it with: vgen models A/Half@v1 --download" in half["problem"]
    assert "names the pipeline 'FluxPipeline'" in flux["problem"]
    assert "model_index.json: not JSON" in damaged["problem"]
    assert tiny["tasks"] == ["text-to-video"] and tiny["commit"] == COMMIT and tiny["fits"] is True
    assert (tiny["width"], tiny["height"], tiny["num_frames"], tiny["fps"]) == (48, 32, 9, 8)
    assert tiny["mib"] == round(sum(map(len, files.values())) / 2**20, 1)
    assert 0 < tiny["weights_mib"] < tiny["free_mib"] and tiny["basis"].endswith(("in float32", "in bfloat16"))


def test_what_does_not_fit_says_so(cache: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vgen.plan.free_mib", lambda _: 0.5)
    assert _run(["models"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("playground  ") and len(out.splitlines()) == 1
    assert "does not fit: weights take" in out and "0 MiB are free" in out
    assert "fits: weights of text encoder, transformer and VAE against free memory, on" in err
