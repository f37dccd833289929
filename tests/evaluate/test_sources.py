"""Where clips come from: folders, models, and commands that work, fail, hang or leave something running."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.evaluate.brightness import brightness, grey, item
from tests.folders import tiny_folder
from vgen.errors import ConfigError, InputError, VgenError
from vgen.evaluate.benchmark import ItemError, Missing
from vgen.evaluate.command import CommandSource
from vgen.evaluate.generator import ModelSource
from vgen.evaluate.places import lasting, safe_path
from vgen.evaluate.sources import FolderSource, GivenSource, source_of
from vgen.frames import Frames
from vgen.models.loaded import own_model
from vgen.pipeline import VideoPipeline


def named(tmp_path: Path, *names: str) -> FolderSource:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return FolderSource(folder=tmp_path)


def test_a_folder_is_searched_by_name_then_by_pattern(tmp_path: Path) -> None:
    source = named(tmp_path, "0.mp4", "0.mkv", "1.mkv", "1.json", "2.avi", "2.mov", "10.mp4")
    assert source.clip(item(0)).path == tmp_path / "0.mp4"
    assert source.clip(item(1)).path == tmp_path / "1.mkv"  # a record stands beside it
    with pytest.raises(ItemError, match=r"2 files could be it: 2\.avi, 2\.mov; keep one"):
        source.clip(item(2))
    with pytest.raises(Missing, match=r"no '3\.mp4' and no '3\.\*'"):
        source.clip(item(3))
    with pytest.raises(Missing, match=r"^no '3\.mp4'$"):
        source.clip(replace(item(3), pattern=""))


def test_a_folder_says_what_is_missing_before_anything_is_scored(tmp_path: Path) -> None:
    source = named(tmp_path, "0.mp4", "1.mp4")
    items = [item(number) for number in range(7)]
    source.check(items)
    assert source.estimate(items[:2]) == []
    assert source.estimate(items) == ["2 of 7 clips are there; missing: 2.mp4, 3.mp4, 4.mp4, ... (5)"]


def test_a_folder_with_wrong_names_says_which_are_right(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none of the 2 clips.* called 0\.mp4, 1\.mp4; it holds nothing"):
        named(tmp_path).check([item(0), item(1)])
    with pytest.raises(InputError, match=r"it holds a\.mp4, b\.mp4 .*vgen evaluate items"):
        named(tmp_path, "a.mp4", "b.mp4").check([item(0)])


@pytest.mark.parametrize("file", ["/etc/passwd", "../x.mp4", "a/../../x.mp4", "", "a\0.mp4"])
def test_a_benchmark_cannot_lead_out_of_the_folder(tmp_path: Path, file: str) -> None:
    with pytest.raises(InputError, match="no path inside a folder"):
        safe_path(tmp_path, file)


def test_a_benchmark_that_brings_its_clips(tmp_path: Path) -> None:
    named(tmp_path, "0.mp4")
    assert GivenSource().clip(replace(item(0), given=tmp_path / "0.mp4")).exact is False
    with pytest.raises(Missing, match=r"1\.mp4"):
        GivenSource().clip(replace(item(1), given=tmp_path / "1.mp4"))


# A model.


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> VideoPipeline:
    folder = tiny_folder(tmp_path_factory.mktemp("model"), layout="wan2.1")
    return VideoPipeline.from_pretrained(str(folder))


def model_source(tiny: VideoPipeline, folder: Path, **changes: object) -> ModelSource:
    values = {"request.num_inference_steps": 2} | changes
    return ModelSource(pipeline=tiny, folder=folder, seed=3, values=values)


RED, BLUE = (replace(item(n), prompt=words) for n, words in enumerate(("a red ball falls", "a blue box rolls")))


def test_a_model_makes_each_clip_once_from_its_own_seed(tiny: VideoPipeline, tmp_path: Path) -> None:
    source = model_source(tiny, tmp_path)
    source.check([RED, BLUE])
    assert source.estimate([RED, BLUE])[0].startswith("2 clips to make, about ")
    made = [source.clip(one) for one in (RED, BLUE)]
    assert [sample.path.name for sample in made] == ["0.mkv", "1.mkv"] and all(sample.exact for sample in made)
    alone = tiny("a blue box rolls", seed=4, num_inference_steps=2)
    assert np.array_equal(made[1].clip.frames, alone.frames)
    stamp = made[0].path.stat().st_mtime_ns
    again = source.clip(RED)
    assert np.array_equal(again.clip.frames, made[0].clip.frames) and again.path.stat().st_mtime_ns == stamp
    assert source.estimate([RED, BLUE]) == []


def test_an_estimate_passes_over_what_cannot_be_made(tiny: VideoPipeline, tmp_path: Path) -> None:
    source = model_source(tiny, tmp_path)
    unknown = replace(BLUE, prompt="something else")
    assert source.estimate([unknown, RED])[0].startswith("2 clips to make")
    source.check([unknown, RED])
    with pytest.raises(InputError, match="something else"):
        source.check([unknown])
    (said,) = source.estimate([unknown])
    assert said.startswith("1 clip to make, and none of them can be: ") and "something else" in said


def test_what_a_model_cannot_make_is_that_item_s_failure(tiny: VideoPipeline, tmp_path: Path) -> None:
    source = model_source(tiny, tmp_path)
    Image.new("RGB", (32, 32)).save(tmp_path / "first.png")
    with pytest.raises(ItemError, match="image"):
        source.clip(replace(RED, image=tmp_path / "first.png"))
    with pytest.raises(ItemError, match=r"kept from an earlier run, but .*remove it"):
        (tmp_path / "0.mkv").write_bytes(b"half")
        source.clip(RED)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.mkv", "first.png"]


def test_an_item_says_what_it_is_made_with_unless_the_user_does(tiny: VideoPipeline, tmp_path: Path) -> None:
    long = replace(RED, seconds=2.0, values={"sampler.name": "causal"})
    source = model_source(tiny, tmp_path)
    made = source.clip(long).clip
    assert made.record["resolved"]["sampler.name"] == "causal" and len(made.frames) == 17
    kept = source.clip(long).clip  # by a run that is gone on with
    assert np.array_equal(kept.frames, made.frames) and kept.record == made.record
    said = model_source(tiny, tmp_path / "said", **{"sampler.name": "full"})
    assert said.clip(long).clip.record["resolved"]["sampler.name"] == "full"
    assert len(source.estimate([replace(long, file="a.mp4"), replace(RED, file="b.mp4")])) == 2  # of unequal clips


def test_a_real_clip_goes_through_the_models_vae_alone(tiny: VideoPipeline, tmp_path: Path) -> None:
    real = np.random.default_rng(0).integers(0, 256, (9, 32, 48, 3), np.uint8)
    sizes = []

    def draw(height: int, width: int) -> Frames:
        sizes.append((height, width))
        return real

    source, one = model_source(tiny, tmp_path), replace(RED, prompt="words that it does not know", redrawn=draw)
    made = source.clip(one)
    card = own_model(tiny.model).card
    assert source.redraws and sizes == [(card.height, card.width)] and made.path.suffix == ".mkv"
    vae = own_model(tiny.model).vae
    with torch.no_grad():
        video_BCFYX = torch.from_numpy(real).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        stock_BCFYX = vae.decode(vae.encode(video_BCFYX).latent_dist.mode()).sample
    stock = ((stock_BCFYX[0].permute(1, 2, 3, 0).clamp(-1, 1) + 1) * 127.5).round().byte().numpy()
    assert np.abs(made.clip.frames.astype(int) - stock).max() <= 1
    assert np.array_equal(source.clip(one).clip.frames, made.clip.frames) and len(sizes) == 1
    assert source.estimate([replace(one, file="c.mkv")]) == ["1 real clip to put through its VAE"]
    source.check([one, RED])
    assert not named(tmp_path, "x").redraws and not GivenSource().redraws


@pytest.mark.parametrize("key", ["request.prompt", "request.seed", "request.image", "output.path", "model.id"])
def test_what_the_benchmark_decides_is_not_the_user_s(tiny: VideoPipeline, tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key} is not for a benchmark"):
        model_source(tiny, tmp_path, **{key: "x"}).check([RED])


# A command.

FIRST = Path(__file__)  # stands for a first frame: commands here do not open it


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grey(90).save(tmp_path_factory.mktemp("video") / "grey.mp4")


def command(tmp_path: Path, script: str, words: str = "{output} {prompt_file}", limit_s: float = 20.0) -> CommandSource:
    """A source of a shell script whose first two arguments are the output and the prompt's file."""
    path = tmp_path / "make.sh"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return CommandSource.parse(f"{path} {words}", folder=tmp_path / "clips", seed=5, seconds=2.5, limit_s=limit_s)


def left(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "clips").rglob("*"))


def test_a_command_gets_its_words_and_no_shell_reads_them(tmp_path: Path, video: Path) -> None:
    said = tmp_path / "said"
    script = f'cp "{video}" "$1"; cat "$2" > {said}; shift 2; printf "\\n%s" "$@" >> {said}'
    words = "{output} {prompt_file} '$(id); a b' s={seed} {seconds} --image {image} --first={image} {{x}}"
    source = command(tmp_path, script, words)
    source.check([item(1)])
    sample = source.clip(replace(item(1), prompt="a 'b' $HOME; ü\nc"))
    assert sample.path == tmp_path / "clips" / "1.mp4" and len(sample.clip.frames) == 3 and not sample.exact
    assert said.read_text() == "a 'b' $HOME; ü\nc\n$(id); a b\ns=6\n2.5\n{x}"
    source.clip(replace(item(2), image=FIRST, seconds=4))
    assert said.read_text().splitlines()[2:] == ["s=7", "4", "--image", str(FIRST), f"--first={FIRST}", "{x}"]
    assert left(tmp_path) == ["1.mp4", "2.mp4"]


def test_what_a_command_has_made_is_not_made_again(tmp_path: Path, video: Path) -> None:
    source = command(tmp_path, f'cp {video} "$1"')
    assert source.estimate([item(0), item(1)]) == ["2 calls of the command, each at most 20 s: 40 s at most"]
    source.clip(item(0))
    again = command(tmp_path, "exit 1")
    assert again.clip(item(0)).path.is_file() and again.estimate([item(0)]) == []


def test_a_command_that_takes_no_first_frame_says_so(tmp_path: Path) -> None:
    items = [item(0), replace(item(1), image=FIRST)]
    assert "1 of them for an item that begins with a first frame" in command(tmp_path, "").estimate(items)[1]
    assert len(command(tmp_path, "", "{output} {prompt_file} {image}").estimate(items)) == 1


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo first; echo 'out of memory' >&2; exit 3", "the command ended with 3: out of memory"),
        ("exit 1", "the command ended with 1: it said nothing"),
        ("kill -SEGV $$", "the command was ended by SIGSEGV"),
        ('echo half > "$1"; exit 1', "ended with 1"),
        ("true", "ended well and wrote nothing to {output}"),
        ('echo rubbish > "$1"', r"what it wrote is no \.mp4: cannot read '{output}'"),
        ('mkdir "$1"', r"what it wrote is no \.mp4"),
        ("yes | head -c 3000000; printf '\\377'; exit 2", "ended with 2: "),
    ],
)
def test_a_command_that_fails_leaves_nothing_and_says_why(tmp_path: Path, script: str, message: str) -> None:
    with pytest.raises(ItemError, match=message) as error:
        command(tmp_path, script).clip(item(0))
    assert not left(tmp_path) and len(str(error.value)) < 700


def is_gone(number: int) -> bool:
    """Whether a process has ended, within a second; one that nobody has waited for yet has."""
    for _ in range(100):
        try:
            if Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("ending", ["wait", 'cp "$VIDEO" "$1"', "exit 4"])
def test_a_command_and_what_it_started_are_stopped(
    tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setenv("VIDEO", str(video))
    source = command(
        tmp_path, f"sleep 60 & echo $! > {tmp_path}/child\n{ending}", limit_s=1.0 if ending == "wait" else 20
    )
    since = time.monotonic()
    try:
        source.clip(item(0))
    except ItemError as error:
        assert str(error) == "the command took longer than 1 s and was stopped" or "ended with 4" in str(error)
    assert time.monotonic() - since < 10 and is_gone(int((tmp_path / "child").read_text()))
    assert left(tmp_path) == (["0.mp4"] if "VIDEO" in ending else [])


def test_a_command_is_stopped_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = command(tmp_path, f"echo $$ > {tmp_path}/self; sleep 60")

    def interrupted(process: object, limit_s: float) -> int:
        while not (tmp_path / "self").exists() or not (tmp_path / "self").read_text():
            time.sleep(0.01)
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr("subprocess.Popen.wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        source.clip(item(0))
    assert is_gone(int((tmp_path / "self").read_text())) and not left(tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("'x", "cannot be split"),
        ("make {output}", r"lacks {prompt_file}"),
        ("make {prompt_file}", r"lacks {output}"),
        ("make {output} {prompt_file} {prompt}", "'{prompt}' is not understood"),
        ("make {output} {prompt_file} {}", "'{}' is not understood"),
        ("make {output} {prompt_file} {seed.x}", "is not understood"),
        ("make {output} {prompt_file} {seed:d}", "is not understood"),
        ("make {output} {prompt_file} '{\"a\": 1}'", "braces twice"),
        ("make {output} {prompt_file} }", "braces twice"),
    ],
)
def test_a_command_that_is_none(tmp_path: Path, words: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CommandSource.parse(words, folder=tmp_path, seed=0, seconds=5, limit_s=1)


def test_a_program_that_is_not_there_is_the_user_s_mistake(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    for program in ("no-such-program", str(tmp_path / "text")):
        source = CommandSource.parse(
            f"{program} {{output}} {{prompt_file}}", folder=tmp_path / "clips", seed=0, seconds=5, limit_s=9
        )
        with pytest.raises(ConfigError, match=program):
            source.check([item(0)])
        with pytest.raises(ConfigError, match=f"cannot be run: {program}"):
            source.clip(item(0))
    assert not left(tmp_path)


# What the user names.


def opened(kind: str = "generator", **said: object) -> object:
    asked: dict[str, object] = dict.fromkeys(("model", "videos", "command", "seed", "limit_s")) | {"values": {}} | said
    return source_of(brightness(kind=kind), folder=Path("clips"), **asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        ({}, ConfigError, "give one of --model ID, --videos DIR, --command.*got none"),
        ({"model": "m", "command": "c"}, ConfigError, "got --model and --command"),
        ({"videos": Path("no-such")}, InputError, "no such folder"),
        ({"videos": Path("."), "seed": 0}, ConfigError, "--seed makes no sense"),
        ({"videos": Path("."), "limit_s": 9.0}, ConfigError, "--time-limit makes no sense"),
        ({"videos": Path("."), "values": {"request.fps": 8}}, ConfigError, r"request\.fps=\.\.\. makes no sense"),
        ({"command": "c", "values": {"request.fps": 8}}, ConfigError, r"request\.fps=\.\.\. makes no sense"),
        ({"model": "m", "limit_s": 9.0}, ConfigError, "--time-limit makes no sense"),
        ({"model": "no-such-model"}, VgenError, "no-such-model"),
        ({"kind": "judge", "videos": Path(".")}, ConfigError, "clips of its own; --videos makes no sense"),
        ({"kind": "judge", "seed": 1}, ConfigError, "--seed makes no sense"),
    ],
)
def test_what_is_named_is_used_or_refused(said: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        opened(**said)  # type: ignore[arg-type]


def test_each_source_opens(tmp_path: Path) -> None:
    assert opened(videos=tmp_path) == FolderSource(folder=tmp_path)
    made = opened(command="make {output} {prompt_file}", seed=4)
    assert isinstance(made, CommandSource) and (made.seed, made.limit_s) == (4, 600)
    assert made.settings == {"command": ["make", "{output}", "{prompt_file}"], "seed": 4, "seconds": 5.0}
    assert opened(kind="judge") == GivenSource()


@pytest.mark.parametrize(
    ("seconds", "said"), [(4, "4 s"), (99, "99 s"), (720, "12 minutes"), (5400, "90 minutes"), (9000, "2.5 hours")]
)
def test_times_are_said_in_words(seconds: float, said: str) -> None:
    assert lasting(seconds) == said
