"""Runs of stock pipelines: sizes and lengths, progress, leaving early, what is refused, records and replay."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.stock.test_oracle import PROMPT, picture
from vgen.cli.app import app
from vgen.clip import Clip
from vgen.config import merge
from vgen.errors import ConfigError, InputError, ModelError, NumericalError, VgenError
from vgen.pipeline import VideoPipeline
from vgen.schema import PerformanceConfig, flat
from vgen.search import BestOf
from vgen.stock.refusals import SERVED
from vgen.stock.run import StockRun

pytestmark = pytest.mark.filterwarnings("ignore:In CPU autocast:UserWarning")

Folders = Callable[[str], Path]
Pipelines = Callable[[str], VideoPipeline]


def start(
    pipeline: VideoPipeline, image: Any = None, base: Any = None, last_image: Any = None, **said: Any
) -> StockRun:
    values = {"prompt": PROMPT, "seed": 1, "num_inference_steps": 2} | said
    keys = {key if "." in key else f"request.{key}": value for key, value in values.items()}
    run = pipeline.start(*merge(("test", keys)), image, base=base, last_image=last_image)
    assert isinstance(run, StockRun)
    return run


@pytest.mark.parametrize(
    ("layout", "asked", "made", "words"),
    [
        ("hunyuan", 6, 9, "1 + 4 n"),
        ("mochi", 8, 13, "1 + 6 n"),
        ("cogvideox", 10, 17, "1 + 8 n"),
        ("cogvideox1.5", 2, 9, "1 + 8 n"),
        ("ltx", 10, 17, "1 + 8 n"),
    ],
)
def test_lengths_are_rounded_up_and_said(
    layout: str, asked: int, made: int, words: str, pipeline_of: Pipelines
) -> None:
    run = start(pipeline_of(layout), num_frames=asked)
    assert run.job.num_frames == made and len(run.clip().frames) == made
    assert run.notes[0] == f"{asked} frames asked, {made} made: lengths are {words}"
    assert run.record()["frames"]["asked"] == asked
    assert start(pipeline_of(layout), seconds=made / 8).notes == ()


@pytest.mark.parametrize(("layout", "near"), [("hunyuan", "16 or 32"), ("ltx", "32")])
def test_a_size_off_the_grid_is_refused_with_the_nearest(layout: str, near: str, pipeline_of: Pipelines) -> None:
    with pytest.raises(InputError, match=rf"height 24 is no multiple of \d+, .*; nearest: {near}$"):
        start(pipeline_of(layout), height=24, width=64)


def test_an_image_gives_its_aspect_on_the_grid_and_the_first_frame(pipeline_of: Pipelines) -> None:
    pipeline = pipeline_of("ltx")
    run = start(pipeline, picture(90, 60), num_inference_steps=2)
    assert (run.job.width, run.job.height) == (64, 96) and run.job.fit == "crop"
    assert run.model.pipeline == "LTXPipeline"
    first = run.clip().frames
    assert not np.array_equal(first, start(pipeline, height=96, width=64, num_inference_steps=2).clip().frames)


def test_progress_is_one_event_a_step_and_stages_are_timed(pipeline_of: Pipelines) -> None:
    run = start(pipeline_of("mochi"), num_inference_steps=3)
    events = [(event.stage, event.done, event.total) for event in run]
    assert events == [("text", 1, 1), *(("denoise", n, 3) for n in (1, 2, 3)), ("decode", 7, 7)]
    record = run.record()
    assert all(record["stages_s"][stage] > 0 for stage in ("text", "denoise", "decode"))
    assert record["chunks"] == [7] and record["peak_mib"] > 0 and record["plan_mib"]["peak"] > 0


def test_leaving_the_loop_ends_the_run_and_leaves_the_model_as_it_was(pipeline_of: Pipelines) -> None:
    pipeline = pipeline_of("cogvideox")
    calls: list[int] = []
    hook = pipeline.model.dit.register_forward_hook(lambda *_: calls.append(1))
    run = start(pipeline, num_inference_steps=5, **{"attention.name": "radial"})
    for event in run:
        if event.stage == "denoise":
            break
    hook.remove()
    assert len(calls) == 1 and run.record()["frames"]["sha256"] is None
    assert start(pipeline).clip().sha256() == start(pipeline).clip().sha256()


def test_two_runs_at_once_do_not_touch_each_other(pipeline_of: Pipelines) -> None:
    """Neither the steps of a scheduler nor an attention of the one shows in the other."""
    pipeline, sparse = pipeline_of("hunyuan"), {"attention.name": "radial", "attention.min_reach": 1}
    alone = [start(pipeline).clip().sha256(), start(pipeline, seed=2, num_inference_steps=3, **sparse).clip().sha256()]
    one, other = start(pipeline), start(pipeline, seed=2, num_inference_steps=3, **sparse)
    first, second = iter(one), iter(other)
    for _ in range(6):
        next(first, None)
        next(second, None)
    assert [one.record()["frames"]["sha256"], other.record()["frames"]["sha256"]] == alone
    assert one.record()["attention"][0]["pattern"] == "dense"


def test_a_latent_that_is_not_finite_ends_the_run_at_its_step(folder_of: Folders) -> None:
    pipeline = VideoPipeline.from_pretrained(folder_of("ltx"), device="cpu")
    with torch.no_grad():
        pipeline.model.dit.proj_out.bias[0] = float("nan")
    with pytest.raises(NumericalError, match="non-finite at step 1 of 2; usual cause"):
        start(pipeline).clip()


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("sampler.name", "streaming", "sampler 'streaming' cannot run; possible: full"),
        ("sampler.solver", "euler", "takes its steps by itself: sampler.solver='euler'"),
        ("sampler.riflex", 9, "takes its steps by itself: sampler.riflex=9"),
        ("sampler.fusion", True, "takes its steps by itself: sampler.fusion=True"),
        ("sampler.force", True, "takes its steps by itself: sampler.force=True"),
        ("request.flow_shift", 3.0, "makes its noise levels by the folder's scheduler: request.flow_shift=3.0"),
        ("request.guidance_scale_2", 3.0, "has one transformer: request.guidance_scale_2=3.0"),
        ("request.guidance_interval", [0.2, 0.9], "guides every step: request.guidance_interval"),
        ("attention.sdpa", "math", "leaves the kernel to torch: attention.sdpa='math'"),
        ("performance.compile", True, "runs its blocks as they stand: performance.compile=True"),
        ("performance.cuda_graphs", True, "launches every step anew: performance.cuda_graphs=True"),
        ("request.extend", "clip.mp4", "makes whole clips: --extend"),
        ("search.redo", 2, "makes its clip as a whole, .*: search.redo=2"),
        ("output.preview", True, "shows no guess at a clip under way: output.preview=True"),
        ("request.story", [{"at": 0, "prompt": "a"}, {"at": 1, "prompt": "b"}], "reads one prompt; 2 were given"),
    ],
)
def test_what_it_has_no_place_for_is_refused_by_name(key: str, value: object, why: str, pipeline_of: Pipelines) -> None:
    said = {key: value} | ({"prompt": ""} if key == "request.story" else {})
    with pytest.raises(ConfigError, match=rf"runs through diffusers' MochiPipeline, .*{why}"):
        start(pipeline_of("mochi"), **said)


def test_what_the_pipeline_was_loaded_to_do_is_refused_too(pipeline_of: Pipelines) -> None:
    asked = VideoPipeline(pipeline_of("mochi").model, PerformanceConfig(compile=True))
    with pytest.raises(ConfigError, match=r"runs its blocks as they stand: performance\.compile=True"):
        start(asked)


def test_every_key_of_the_schema_is_served_or_refused() -> None:
    """What is served stands in the schema; what others add to it is refused until it stands in the table."""
    assert set(flat(merge()[0])) >= SERVED


@pytest.mark.parametrize(
    ("layout", "said", "error", "why"),
    [
        ("hunyuan", {"negative_prompt": "a box"}, InputError, "a negative prompt would do nothing"),
        ("cogvideox", {"negative_prompt": "a", "guidance_scale": 1.0}, ConfigError, "guidance_scale=1 is not above 1"),
        ("mochi", {"num_inference_steps": 1}, InputError, "noise levels of MochiPipeline need at least 2"),
        ("cogvideox", {"prompt": "a red ball " * 9}, InputError, "28 tokens long, model .* reads 12; shorten it"),
        ("cogvideox", {"prompt": " "}, InputError, "the prompt is empty"),
        ("cogvideox", {"height": 32}, ConfigError, "height and width go together"),
        ("mochi", {"fit": "pad"}, ConfigError, "fit says how an image is fitted"),
        ("mochi", {"image": "p.png"}, InputError, "p.png"),
        ("cogvideox-i2v", {}, ModelError, "makes video from an image; give one with --image"),
    ],
)
def test_what_a_model_cannot_make_is_refused(
    layout: str, said: dict[str, Any], error: type[VgenError], why: str, pipeline_of: Pipelines
) -> None:
    with pytest.raises(error, match=why):
        start(pipeline_of(layout), **said)


def test_images_are_refused_where_none_are_taken(pipeline_of: Pipelines) -> None:
    with pytest.raises(ModelError, match="makes video from text alone"):
        start(pipeline_of("mochi"), picture(32, 48))
    with pytest.raises(ModelError, match="takes no last image"):
        start(pipeline_of("ltx"), picture(64, 96), last_image=picture(64, 96))


@pytest.mark.parametrize("said", [{"num_frames": 17}, {"height": 48, "width": 48}])
def test_learned_positions_are_of_one_size_and_length(said: dict[str, int], pipeline_of: Pipelines) -> None:
    """The library puts sines in place of learned positions at another length, without a word."""
    with pytest.raises(InputError, match="has learned its positions at 48x32 and 9 frames"):
        start(pipeline_of("cogvideox-i2v"), picture(32, 48), **({"height": 32, "width": 48} | said))


def test_the_negative_prompt_and_guidance_reach_the_model(pipeline_of: Pipelines) -> None:
    pipeline = pipeline_of("hunyuan-cfg")
    plain, guided = start(pipeline, guidance_scale=1.0), start(pipeline, guidance_scale=5.0)
    against = start(pipeline, guidance_scale=5.0, negative_prompt="a blue box")
    assert (plain.job.branched, guided.job.branched) == (False, True)
    assert len({run.clip().sha256() for run in (plain, guided, against)}) == 3
    embedded = pipeline_of("hunyuan")
    runs = [start(embedded, guidance_scale=scale) for scale in (1.0, 6.0)]
    assert not runs[1].job.branched and runs[1].job.guided
    assert len({run.clip().sha256() for run in runs}) == 2


def test_a_long_prompt_of_two_encoders_is_noted(pipeline_of: Pipelines) -> None:
    run = start(pipeline_of("hunyuan"), prompt="a red ball " * 30)
    assert run.notes == ("prompt: the second text encoder reads the first 77 of 91 tokens, the first one all",)


def test_the_best_of_two_is_kept(pipeline_of: Pipelines) -> None:
    pipeline, keys = pipeline_of("ltx"), {"request.prompt": PROMPT, "request.seed": 3, "search.best_of": 2}
    run = pipeline.begin(*merge(("test", keys | {"request.num_inference_steps": 2})))
    assert isinstance(run, BestOf)
    clip = run.clip()
    chosen = clip.record["search"]["chosen"]
    assert clip.sha256() == start(pipeline, seed=chosen).clip().sha256() and chosen in (3, 4)
    with pytest.raises(ConfigError, match=r"shows no guess at a clip under way: search.prune=\[0.5\]"):
        pipeline.begin(*merge(("test", keys | {"search.prune": [0.5]})))


def test_the_call_of_the_pipeline_and_streams(pipeline_of: Pipelines) -> None:
    pipeline = pipeline_of("mochi")
    clip = pipeline(PROMPT, seed=1, num_inference_steps=2)
    assert isinstance(clip, Clip) and clip.frames.shape == (7, 32, 48, 3) and clip.fps == 8
    assert clip.record["model"]["pipeline"] == "MochiPipeline"
    chunks = list(pipeline.stream(PROMPT, seed=1, num_inference_steps=2, sampler="full"))
    assert len(chunks) == 1 and np.array_equal(chunks[0], clip.frames)
    with pytest.raises(ConfigError, match="sampler 'streaming' cannot run"):
        next(pipeline.stream(PROMPT))


def test_a_record_has_the_keys_of_every_other(pipeline_of: Pipelines) -> None:
    from vgen.models.load import load_skeleton

    ours = VideoPipeline(load_skeleton("playground", device=torch.device("cpu"), dtype=torch.float32))
    asked = merge(("test", {"request.prompt": "a red ball rolls"}))
    own, stock = (pipeline.start(*asked).record() for pipeline in (ours, pipeline_of("mochi")))
    assert own.keys() == stock.keys()
    assert (
        stock["model"].keys() - own["model"].keys() == {"pipeline"} and not own["model"].keys() - stock["model"].keys()
    )


@pytest.mark.parametrize("layout", ["hunyuan", "ltx", "cogvideox-i2v"])
def test_the_command_line_makes_a_clip_and_replays_it(layout: str, folder_of: Folders, tmp_path: Path) -> None:
    from PIL import Image

    folder, image = str(folder_of(layout)), tmp_path / "p.png"
    Image.fromarray(picture(32, 48)).save(image)
    words = ["generate", PROMPT, "--model", folder, "--seed", "5", "--num-inference-steps", "2", "--sheet"]
    words += [] if layout == "hunyuan" else ["--image", str(image)]
    done = CliRunner().invoke(app, [*words, "--attention", "radial", "-o", str(tmp_path / "a.mkv")])
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["attention"][0]["pattern"].startswith("Radial") and (tmp_path / "a.sheet.png").is_file()
    assert not (tmp_path / "a.run").exists()
    again = ["replay", str(tmp_path / "a.json"), "--model", folder, "--verify", "-o", str(tmp_path / "b.mkv")]
    done = CliRunner().invoke(app, again)
    assert done.exit_code == 0 and "equal bit for bit" in done.output


def test_models_says_what_a_folder_is(folder_of: Folders) -> None:
    done = CliRunner().invoke(app, ["models", str(folder_of("cogvideox-i2v"))])
    assert done.exit_code == 0 and "takes text and first frame" in done.output and "49" not in done.output
