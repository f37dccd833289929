"""Attacks by name, each of which works on some engine of this field or worked on this one; SECURITY.md lists them."""

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from PIL import Image

from tests.convert.files import save_pickled
from tests.folders import tiny_folder
from vgen.cli import _run
from vgen.cli.plain import LONGEST, plain
from vgen.clip import Clip
from vgen.convert.states import PICKLE_LIMIT_BYTES, read_states
from vgen.errors import ConfigError, InputError, ModelError
from vgen.images import load_image
from vgen.models.files import HEADER_LIMIT_BYTES
from vgen.models.folder import describe
from vgen.models.load import load_model
from vgen.models.loaded import LoadedModel, own_model
from vgen.pipeline import VideoPipeline
from vgen.records import read_record, write_record
from vgen.run_record import RECORD_SCHEMA
from vgen.video.ffmpeg import VIDEO_KINDS, probe_stream
from vgen.video.read import probe, read_video
from vgen.yaml_text import MAX_DEPTH, MAX_NODES, load_yaml

WEIGHTS = "diffusion_pytorch_model"
TOKENIZER = "tokenizer/tokenizer_config.json"
HOSTILE = "a red ball \x1b]0;owned\x07\x1b[2J\x9b31m \u202egpj.exe"
NOWHERE = ["--model", "no-such-model"]
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("models") / "tiny", layout="playground")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "model"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def clip_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("clips") / "a.mkv"
    return Clip(frames=np.zeros((3, 16, 16, 3), np.uint8), fps=8.0).save(path).read_bytes()


def load(folder: Path) -> LoadedModel:
    return own_model(load_model(str(folder), device=torch.device("cpu"), dtype=torch.float32))


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refused(capsys: Captured, *words: str) -> str:
    """The one printable line that a command line is refused with."""
    assert _run([*words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err[:-1].isprintable() and err.startswith("vgen: ")
    return err


class Planted:
    """Makes a file where its pickle is loaded by one that runs what it says."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


# --- models


def test_planted_pickles_are_never_opened(folder: Path, tmp_path: Path) -> None:
    """Beside the weights, where loaders that fall back would find them, under every name that the libraries know."""
    mark = tmp_path / "opened"
    for name in (
        f"transformer/{WEIGHTS}.bin",
        f"transformer/{WEIGHTS}.bin.index.json",
        f"vae/{WEIGHTS}.bin",
        "text_encoder/pytorch_model.bin",
        "tokenizer/tokenizer.pkl",
        "pytorch_model.bin",
    ):
        save_pickled(Planted(mark), folder / name)
    load(folder)
    assert not mark.exists()


@pytest.mark.parametrize("name", [f"transformer/{WEIGHTS}.safetensors", "text_encoder/model.safetensors"])
def test_a_pickle_that_calls_itself_safetensors_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    mark = tmp_path / "opened"
    save_pickled(Planted(mark), folder / name)
    with pytest.raises(ModelError, match="damaged, no safetensors file"):
        load(folder)
    assert not mark.exists()


def test_code_in_a_model_folder_is_never_imported(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "ran"
    for name in ("pipeline.py", "transformer/model.py", "tokenizer/tokenization.py", "text_encoder/modeling.py"):
        (folder / name).write_text(f"open({str(mark)!r}, 'w')")
    edit(folder / TOKENIZER, **{"tokenizer_class": "Evil", "trust_remote_code": True, "custom_pipeline": "pipeline"})
    monkeypatch.chdir(folder)
    load(folder)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("text_encoder/config.json", {"auto_map": {"AutoModel": "evil--modeling.Evil"}}, "sets auto_map"),
        ("transformer/config.json", {"auto_map": {"AutoModel": "modeling.Evil"}}, "sets auto_map"),
        (TOKENIZER, {"auto_map": {"AutoTokenizer": ["x.Evil", None]}}, "sets auto_map"),
        (TOKENIZER, {"fast_tokenizer_files": ["../../tokenizer.4.0.0.json"]}, "sets fast_tokenizer_files"),
        ("text_encoder/config.json", {"_attn_implementation_internal": "evil/kernel"}, None),
        ("text_encoder/config.json", {"experts_implementation": "evil/kernel"}, "sets experts_implementation"),
        ("model_index.json", {"transformer": ["evil_package", "WanTransformer3DModel"]}, None),
        ("model_index.json", {"_class_name": "evil.WanPipeline"}, "names the pipeline"),
        ("model_index.json", {"vae": ["pipeline", "Evil"]}, "not on the list"),
    ],
)
def test_a_config_names_no_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch, file: str, values: dict[str, Any], message: str | None
) -> None:
    """What names foreign code is refused, or has no say: None."""
    edit(folder / file, **values)
    if message is None:
        assert load(folder).card.name == "tiny"
        assert not {"evil_package", "evil"} & {*sys.modules}
    else:
        with pytest.raises(ModelError, match=message):
            load(folder)


def test_loading_asks_no_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(folder / TOKENIZER, name_or_path="evil-org/evil", local_files_only=False)
    edit(folder / "text_encoder/config.json", _name_or_path="evil-org/evil")

    def connect(*_: object) -> NoReturn:
        pytest.fail("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    load(folder)


@pytest.mark.parametrize("name", [f"vae/{WEIGHTS}.safetensors", "tokenizer/tokenizer.json", "vae", "notes.txt"])
def test_a_link_out_of_a_model_folder_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "secret"
    if (folder / name).exists():
        (folder / name).rename(outside)
    else:
        outside.write_text("secret")
    (folder / name).symlink_to(outside)
    with pytest.raises(ModelError, match="a link out of the model folder"):
        describe(str(folder))


@pytest.mark.parametrize("target", ["nowhere", "loop"])
def test_a_link_to_nothing_is_refused(folder: Path, target: str) -> None:
    (folder / "loop").symlink_to(target)
    with pytest.raises(ModelError, match="a link that leads nowhere"):
        describe(str(folder))


def test_links_within_a_folder_and_a_caches_own_are_followed(folder: Path, tmp_path: Path) -> None:
    weights = folder / "vae" / f"{WEIGHTS}.safetensors"
    weights.rename(folder / "held")
    weights.symlink_to("../held")
    load(folder)
    snapshot, blobs = tmp_path / "repo/snapshots" / ("0" * 40), tmp_path / "repo/blobs"
    blobs.mkdir(parents=True)
    for number, path in enumerate(path for path in folder.rglob("*") if path.is_file()):
        place = snapshot / path.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(shutil.copyfile(path, blobs / str(number)))
    load(snapshot)


@pytest.mark.parametrize("shard", ["../outside.safetensors", "/outside.safetensors", "a/b.safetensors", "x.bin", ""])
def test_a_shard_lies_beside_its_index(folder: Path, shard: str) -> None:
    weights = folder / "transformer" / f"{WEIGHTS}.safetensors"
    shutil.copyfile(weights, folder / "outside.safetensors")
    weights.unlink()
    weights.with_name(f"{WEIGHTS}.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": shard}}))
    with pytest.raises(ModelError, match="a shard is a safetensors file beside the index"):
        load(folder)


@pytest.mark.parametrize("length", [HEADER_LIMIT_BYTES + 1, 2**40, 2**64 - 1])
def test_the_header_of_a_weight_file_is_bounded(folder: Path, length: int) -> None:
    weights = folder / "transformer" / f"{WEIGHTS}.safetensors"
    weights.write_bytes(struct.pack("<Q", length) + b"{}" + b" " * 100)
    with pytest.raises(ModelError, match=f"a header of {length} bytes; at most"):
        load(folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_tokens_settings_are_known(folder: Path, capfd: pytest.CaptureFixture[str], name: str) -> None:
    """The library prints the others to stdout, as they are."""
    path = folder / "tokenizer" / name
    token = {"id": 0, "content": "<pad>", "special": True, "\x1b[2J": False}
    edit(path, **({"added_tokens": [token]} if name == "tokenizer.json" else {"added_tokens_decoder": {"0": token}}))
    with pytest.raises(ModelError, match="a token's setting"):
        load(folder)
    assert capfd.readouterr().out == ""


def test_a_pattern_that_backtracks_for_ever_is_one_line(folder: Path) -> None:
    tokenizer = folder / "tokenizer" / "tokenizer.json"
    pattern = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    edit(tokenizer, pre_tokenizer=pattern)
    with pytest.raises(ModelError, match="tokenizer failed on the prompt"):
        load(folder).prompts.tokens_of("a" * 40 + "!")


# --- convert


def rewrite(path: Path, packing: int, more: bytes = b"") -> Path:
    """The same checkpoint with its parts packed otherwise, and bytes behind the end of its pickle."""
    with zipfile.ZipFile(path) as source:
        parts = {entry.filename: source.read(entry) for entry in source.infolist()}
    with zipfile.ZipFile(path, "w", packing) as target:
        for name, data in parts.items():
            target.writestr(name, data + more if name.endswith(".pkl") else data)
    return path


def test_a_checkpoint_that_unpacks_to_any_size_is_refused(tmp_path: Path) -> None:
    path = save_pickled({"a": torch.ones(2)}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match="is compressed, as PyTorch writes none"):
        read_states(rewrite(path, zipfile.ZIP_DEFLATED, b"\0" * (1 << 26)))


def test_a_pickle_longer_than_any_models_is_refused(tmp_path: Path) -> None:
    path = save_pickled({"a": torch.ones(2)}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match=r"its pickle has \d+ bytes; at most"):
        read_states(rewrite(path, zipfile.ZIP_STORED, b"(" * PICKLE_LIMIT_BYTES))


def test_weights_may_be_pickled_for_convert_alone(here: Path, capsys: Captured) -> None:
    save_pickled({"a": torch.ones(2)}, here / "a.pt")
    assert "neither a name nor a folder" in refused(capsys, "generate", "x", "--model", "a.pt")
    assert "neither a name nor a folder" in refused(capsys, "models", "a.pt")


# --- pictures and video


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), *chunks, (b"IDAT", b""), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


PACKED = zlib.compress(b"a" * (64 << 20), 9)
BOMBS = {
    "pixels": png(2**31 - 1, 2**31 - 1),
    "pixels within Pillow's own limit": png(8000, 5000),
    "text": png(8, 8, (b"zTXt", b"k\0\0" + PACKED)),
    "international text": png(8, 8, (b"iTXt", b"k\0\1\0\0\0" + PACKED)),
    "colour profile": png(8, 8, (b"iCCP", b"k\0\0" + PACKED)),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_picture_that_unpacks_to_a_large_one_is_refused(tmp_path: Path, bomb: str) -> None:
    (tmp_path / "a.png").write_bytes(BOMBS[bomb])
    with pytest.raises(InputError, match=r"million pixels|it is damaged"):
        load_image(tmp_path / "a.png")


def test_a_folder_of_frames_is_no_way_around_the_limit(tmp_path: Path) -> None:
    (tmp_path / "frame_00000.png").write_bytes(BOMBS["pixels"])
    with pytest.raises(InputError, match="cannot read"):
        probe(tmp_path, fps=8)


def tiff(pictures: int) -> bytes:
    """One pixel in each of many directories, which a reader that counts them walks through."""
    entries = [(256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 8), (278, 1), (279, 1)]
    body = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    size = len(body) + 4
    offsets = [*(8 + size * i for i in range(1, pictures)), 0]
    return struct.pack("<2sHI", b"II", 42, 8) + b"".join(body + struct.pack("<I", offset) for offset in offsets)


def test_the_pictures_of_a_file_are_not_counted(tmp_path: Path) -> None:
    """100,000 of them took Pillow minutes."""
    (tmp_path / "a.tif").write_bytes(tiff(100_000))
    assert load_image(tmp_path / "a.tif").notes == ("took the first of several pictures",)


def test_a_picture_of_written_numbers_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(b"P3 5000 5000 255\n" + b"1 " * (3 << 20))
    with pytest.raises(InputError, match="MiB of numbers as text; at most 4"):
        load_image(tmp_path / "a.ppm")


def test_what_libtiff_says_stays_off_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))
    picture.save(tmp_path / "a.tif", compression="tiff_lzw")
    data = bytearray((tmp_path / "a.tif").read_bytes())
    data[40:400] = b"\xff" * 360
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(InputError, match="cannot read"):
        load_image(tmp_path / "a.tif")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("read", [probe, load_image, read_record], ids=["probe", "load_image", "read_record"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "nothing", "\0"])
def test_only_plain_files_are_read(tmp_path: Path, read: Callable[[Path], object], kind: str) -> None:
    """A pipe would be waited for without end, a device read without end."""
    suffix = {probe: ".mp4", load_image: ".png", read_record: ".json"}[read]
    path = tmp_path / f"a{kind if kind == chr(0) else ''}{suffix}"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(InputError):
        read(path)


def test_a_pipe_among_frames_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "frame_00000.png")
    with pytest.raises(InputError, match="no plain file"):
        probe(tmp_path, fps=8)


@pytest.mark.parametrize("output", ["", "#tb 0: 1/8\n#dimensions 0: 16x16\n0, 0, 0, 1, 768, 0x0\n"])
def test_a_decoder_that_falls_silent_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    decoder = tmp_path / "ffmpeg"
    decoder.write_text(f"#!/bin/sh\nprintf '{output}'\necho $$ > {tmp_path}/pid\nexec sleep 1000\n")
    decoder.chmod(0o755)
    monkeypatch.setattr("vgen.video.ffmpeg._executable", lambda: str(decoder))
    monkeypatch.setattr("vgen.video.ffmpeg.SILENT_S", 0.5)
    with pytest.raises(InputError, match=r"the decoder has handed over nothing for 0\.5 s"):
        probe_stream(tmp_path / "a.mp4", "mov", max_frames=10)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


PLAYLISTS = {
    "concat": "ffconcat version 1.0\nfile '{secret}'\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:{secret}\n#EXT-X-ENDLIST\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
    "subfile": "subfile,,start,0,end,9,,:{secret}",
    "svg": '<svg><image href="file://{secret}"/></svg>',
}


@pytest.mark.parametrize("suffix", VIDEO_KINDS)
@pytest.mark.parametrize("playlist", PLAYLISTS)
def test_a_playlist_in_the_clothes_of_a_video_opens_nothing(
    tmp_path: Path, clip_bytes: bytes, playlist: str, suffix: str
) -> None:
    secret = tmp_path / "secret.mkv"
    secret.write_bytes(clip_bytes)
    (tmp_path / f"a{suffix}").write_text(PLAYLISTS[playlist].format(secret=secret))
    with pytest.raises(InputError, match="cannot read"):
        read_video(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("name", ["-i", "-f lavfi", "http:x", "concat:a|b", "pipe:0", "%d", "`x`"])
def test_a_files_name_is_no_option_and_no_protocol(here: Path, clip_bytes: bytes, name: str) -> None:
    name = f"{name}.mkv"
    Path(name).write_bytes(clip_bytes)
    frames_FYX3, fps = read_video(name)
    assert frames_FYX3.shape == (3, 16, 16, 3) and fps == 8
    assert read_video(Clip(frames=frames_FYX3, fps=8.0).save(f"x{name}"))[1] == 8
    assert Clip(frames=frames_FYX3, fps=8.0).save(name).is_file()


# --- YAML


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [x, x]\nb: [*a, *a]\n", "alias or anchor"),
        ("a: !!python/object/apply:os.system [false]", "the tag"),
        ("a: !!int ''", "the tag"),
        ("a: !!timestamp x", "the tag"),
        ("[" * 100_000, f"more than {MAX_DEPTH} levels"),
        ("- " * 100_000, f"more than {MAX_DEPTH} levels"),
        ("[" + "0," * MAX_NODES + "]", f"more than {MAX_NODES} values"),
        ("a: 1\na: 2", "duplicate key a"),
        ("a: " + "9" * 5000, "Exceeds the limit"),
        ("a: \x1b[31m", "control characters"),
        ("? [a]\n: b", "unhashable key"),
    ],
)
def test_yaml_is_plain_data_of_bounded_size(text: str, message: str) -> None:
    """A hundred thousand brackets ended the process: the C library recurses."""
    with pytest.raises(ConfigError, match=message):
        load_yaml(text, "a.yaml")


def test_yaml_reads_nothing_of_the_environment() -> None:
    assert load_yaml("a: ${oc.env:HOME}", "a.yaml") == {"a": "${oc.env:HOME}"}


def test_yaml_is_read_as_omegaconf_reads_it() -> None:
    from omegaconf import OmegaConf

    text = "{a: 1e-3, b: 1e5, c: .5, d: -.inf, e: 2026-01-01, f: 1_000, g: yes, h: '1', i: v1, j: +1.5, k: ~, l: 1.}"
    assert load_yaml(text, "a.yaml") == OmegaConf.to_container(OmegaConf.create(text))


# --- words on a terminal, in pages, in records


@pytest.mark.parametrize(
    "words",
    [
        ["generate", HOSTILE, "--model", HOSTILE],
        ["generate", HOSTILE, "--config", HOSTILE],
        ["generate", "x", HOSTILE, *NOWHERE],
        ["generate", "x", "--attention", HOSTILE],
        ["judge", f"{HOSTILE}.mp4"],
        ["judge", "a.mp4", "--rules", HOSTILE],
        ["replay", f"{HOSTILE}.json"],
        ["models", HOSTILE],
        ["convert", HOSTILE, "--base", HOSTILE, "-o", HOSTILE],
        [HOSTILE],
        ["generate", "x", f"--{HOSTILE}"],
    ],
)
def test_a_terminal_obeys_nothing_that_a_stranger_wrote(here: Path, capsys: Captured, words: list[str]) -> None:
    refused(capsys, *words)


def test_prompts_notes_and_names_are_shown_plainly(folder: Path, here: Path, capsys: Captured) -> None:
    card = folder / "vgen.yaml"
    card.write_text(card.read_text().replace("name: tiny", 'name: "tiny \\e[31m"'))
    assert "a name that can be printed" in refused(capsys, "models", str(folder))
    card.write_text(card.read_text().replace(" \\e[31m", ""))
    assert _run(["generate", HOSTILE, "--model", str(folder), "-o", "a.mkv"]) == 0
    out, err = capsys.readouterr()
    assert all(line.isprintable() for line in [*out.splitlines(), *err.splitlines()])
    assert "note: prompt:" in err and "gpj" in err


def test_a_message_ends() -> None:
    assert len(plain("a" * 10**6)) < LONGEST + 100
    assert plain("\x1b[0m\n\u202e\ud800\x85") == "\\x1b[0m\\n\\u202e\\ud800\\x85"
    assert plain("größer 滚动 🎬") == "größer 滚动 🎬"


def test_a_name_that_is_no_text_passes_through_stdout(tmp_path: Path) -> None:
    """A path in bytes that are no UTF-8 comes back as it went in."""
    name = os.fsencode(tmp_path) + b"/\xff.html"
    words: list[str | bytes] = ["judge", "card", "--html", name]
    script = "from vgen.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, check=False)
    assert done.returncode == 0 and done.stdout == name + b"\n", done.stderr


def test_a_prompt_is_bounded(here: Path, capsys: Captured, original: Path) -> None:
    long = "a red ball " * 10_000
    Path("p.txt").write_text(long)
    for words in (["--prompts", "p.txt"], ["--negative-prompt", long, "a red ball", "--guidance-scale", "2"], [long]):
        assert "at most 20000 are read" in refused(capsys, "generate", *words, "--model", str(original))


def test_a_name_longer_than_the_system_knows_is_the_users_mistake(here: Path, capsys: Captured) -> None:
    for words in (["judge", "a" * 5000 + ".mp4"], ["generate", "x", "--model", "a" * 5000]):
        assert "name too long" in refused(capsys, *words)


RECORD = {"schema": RECORD_SCHEMA, "request": {}, "model": {"id": "playground"}, "frames": {}, "versions": {}}
EVIL_RECORDS: dict[str, dict[str, Any]] = {
    "an image to read": {"request.image": "/etc/passwd"},
    "a clip to read": {"request.extend": "/etc/passwd"},
    "a path to write": {"output.path": "/root/owned.mp4"},
    "a model to load": {"model.id": "/root/evil"},
    "many clips": {"request.num_videos": 1000},
    "a foreign device": {"run.device": "evil"},
    "a class": {"run.dtype": "os.system"},
    "a huge whole number": {"request.seed": 10**400},
    "a huge number": {"request.guidance_scale": 10**400},
    "numbers in a list": {"sampler.sigmas": [10**400]},
    "an interpolation": {"attention.decay": "${oc.env:HOME}"},
}


@pytest.mark.parametrize("case", EVIL_RECORDS)
def test_a_record_names_nothing_that_is_opened_or_built(here: Path, capsys: Captured, case: str) -> None:
    resolved = {"run.device": "cpu", "run.dtype": "float32", "attention.name": "radial"} | EVIL_RECORDS[case]
    (here / "a.json").write_text(json.dumps(RECORD | {"machine": {}, "resolved": resolved}))
    refused(capsys, "replay", "a.json")
    assert sorted(path.name for path in here.iterdir()) == ["a.json"]


@pytest.mark.parametrize(
    "text",
    ['{"a": NaN}', '{"a": 1e999}', '{"a": ' + "9" * 5000 + "}", "[" * 100_000, '{"a": "' + "x" * (5 << 20) + '"}'],
)
def test_a_record_is_bounded_finite_json(here: Path, capsys: Captured, text: str) -> None:
    (here / "a.json").write_text(text)
    refused(capsys, "replay", "a.json")


def test_metadata_of_a_video_are_bounded_and_data(here: Path, capsys: Captured, clip_bytes: bytes) -> None:
    frames = np.zeros((3, 16, 16, 3), np.uint8)
    Clip(frames=frames, fps=8.0, record=RECORD | {"machine": {}, "resolved": {"output.path": "/root/x"}}).save("a.mkv")
    assert "lacks 'run.device'" in refused(capsys, "replay", "a.mkv")
    Clip(frames=frames, fps=8.0, record={"x": "y" * (1 << 20)}).save("b.mkv")
    assert "carries no record" in refused(capsys, "replay", "b.mkv")


def test_a_resumed_run_writes_beside_its_folder_alone(here: Path, capsys: Captured) -> None:
    (here / "a.run").mkdir()
    (here / "a.run" / "state.safetensors").write_bytes(b"")
    resolved = {"run.device": "cpu", "run.dtype": "float32"}
    for suffix in ("/../../x.mp4", "x/y.mp4", ".exe", 3, None, "." * 300):
        record = RECORD | {"machine": {}, "resolved": resolved, "output": {"suffix": suffix}}
        write_record(here / "a.run" / "record", record)
        assert "which vgen does not" in refused(capsys, "generate", "--resume", "a.run")


def test_a_checkpoint_that_is_a_link_to_a_device_is_refused(original: Path, tmp_path: Path) -> None:
    from vgen.checkpoint import Checkpoint

    (tmp_path / "latents-00000000.safetensors").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="no plain file"):
        Checkpoint(tmp_path).finished(range(1))


def test_a_checkpoint_of_no_numbers_is_damage(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from vgen.checkpoint import Checkpoint

    save_file({"latents": torch.full((1, 1, 1, 2, 2), torch.nan)}, tmp_path / "latents-00000000.safetensors")
    with pytest.raises(InputError, match="is damaged: latents holds values that are not finite"):
        Checkpoint(tmp_path).finished(range(1))


def test_a_link_in_the_place_of_the_clip_is_replaced_and_not_written_through(original: Path, here: Path) -> None:
    """Writing goes to a name of its own, which then takes the place of the link."""
    outside = here / "outside.mkv"
    outside.write_bytes(b"untouched")
    (here / "a.mkv").symlink_to(outside)
    pipeline = VideoPipeline.from_pretrained(original, device="cpu")
    pipeline("a red ball", seed=1).save(here / "a.mkv")
    assert outside.read_bytes() == b"untouched" and not (here / "a.mkv").is_symlink()


def test_a_judges_page_shows_names_and_prompts_as_text(here: Path, clip_bytes: bytes) -> None:
    evil = "<img src=x onerror=alert(1)><script>alert(1)</script>"
    name = "<script>alert(1)<!--.mkv"
    Path(name).write_bytes(Clip(frames=np.zeros((16, 64, 64, 3), np.uint8), fps=8.0).save("a.mkv").read_bytes())
    assert _run(["judge", name, "--prompt", evil, "--report", "page"]) in (0, 1)
    page = Path("page", "report.html").read_text()
    assert "<script" not in page and "<img src=x" not in page and "&lt;script&gt;alert" in page
