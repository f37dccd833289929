"""Long clips from Python: every preset end to end, prompts over time, clips that go on, chunks as they are finished."""

import itertools
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.folders import tiny_folder
from vgen.clip import Clip, clip_of
from vgen.config import merge
from vgen.errors import ConfigError, InputError, ModelError, VgenError
from vgen.frames import Frames
from vgen.models.denoiser import TextBook
from vgen.models.dit import VideoDiT
from vgen.models.passes import TextPerFrame
from vgen.models.vae import encode_frames
from vgen.pipeline import Run, VideoPipeline
from vgen.presets import sampler_presets
from vgen.samplers import RolloutState
from vgen.story import latent_starts

PRESETS = sorted(sampler_presets())
PROMPT, STORY = "a red ball rolls", [(0, "a red ball rolls"), (2, "a blue box falls")]
STEPS = 5  # the lag of diffusion-forcing
PER_LATENT = 4


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> VideoPipeline:
    folder = tiny_folder(tmp_path_factory.mktemp("tiny"), layout="playground", trainings="full, causal, forcing")
    return VideoPipeline.from_pretrained(folder)


@pytest.fixture(scope="module")
def image() -> Frames:
    return np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def base(pipeline: VideoPipeline) -> Clip:
    return pipeline(PROMPT, num_frames=13, seed=2, num_inference_steps=2, sampler="causal")


def start(pipeline: VideoPipeline, image: Any = None, base: Any = None, **values: object) -> Run:
    usual = {"prompt": PROMPT, "seed": 1, "num_inference_steps": STEPS}
    keys = {k if "." in k else f"request.{k}": v for k, v in (usual | values).items() if v is not None}
    run = pipeline.start(*merge(("test", keys)), image, base=base)
    assert isinstance(run, Run)
    return run


def story(*rows: tuple[Any, str]) -> dict[str, object]:
    return {"prompt": None, "story": [{"at": at, "prompt": words} for at, words in rows]}


def latents_of(run: Run) -> torch.Tensor:
    return torch.cat([event.latents_BCTHW for event in run if event.latents_BCTHW is not None], dim=2)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_makes_what_it_promises_and_the_same_again(
    pipeline: VideoPipeline, image: Frames, name: str
) -> None:
    """At the native length and four times it; with a picture, whose latent stays as it is to the last bit."""
    for num_frames, first in ((9, None), (37, image)):
        if name == "tic" and first is None:
            continue  # starts from a picture, and has a ramp of three latent frames
        runs = [start(pipeline, first, num_frames=num_frames, **{"sampler.name": name}) for _ in range(2)]
        assert runs[0].job.num_frames == num_frames
        if first is None:
            one, two = (run.clip() for run in runs)
            assert len(one.frames) == num_frames == one.record["frames"]["made"]
            assert one.record["resolved"]["sampler.name"] == name
            assert one.sha256() == two.sha256() == one.record["frames"]["sha256"]
        else:
            long, same = (latents_of(run) for run in runs)
            assert long.shape[2] == 10 and torch.equal(long, same) and long.isfinite().all()
            known = runs[0].wiring.known_latents()
            assert known is not None and torch.equal(long[0, :, :1], known)
            assert (long[0, :, 1:] - long[0, :, :-1]).abs().amax((0, 2, 3)).min() > 0, "two latent frames are equal"


@pytest.mark.parametrize("name", ["freenoise", "syncos"])
def test_prompts_blend_into_each_other(pipeline: VideoPipeline, name: str) -> None:
    """Latent frames 0 to 8, the second prompt from 4 on: frame 4 lies in the middle of the border."""
    seen: dict[int, set[Any]] = {}
    real = TextBook.__call__

    def spy(book: TextBook, cues: Any) -> Any:
        for cue in cues:
            seen.setdefault(len(cues), set()).add((cue.prompt, cue.other, round(cue.share, 3)))
        return real(book, cues)

    with patch.object(TextBook, "__call__", spy):
        run = start(pipeline, num_frames=33, **story(*STORY), **{"sampler.name": name})
        assert run.job.starts == (0, 4)
        run.clip()
    mixed = {cue for cues in seen.values() for cue in cues if cue[1] is not None}
    assert mixed and all(0 < share < 1 for _, _, share in mixed)
    assert {cue for cues in seen.values() for cue in cues} - mixed == {(0, None, 0.0), (1, None, 0.0)}


# -- prompts over time ------------------------------------------------------------------------------------------------


def holders(known: int, per_latent: int, frames: int) -> list[int]:
    """The latent frame that each new frame is decoded from, counted out: the first of a clip stands for one frame."""
    alone = [] if known else [0]
    return (alone + [(known or 1) + i // per_latent for i in range(frames)])[:frames]


@given(
    times=st.lists(st.integers(1, 3000), min_size=1, max_size=4, unique=True),
    fps=st.integers(1, 60),
    per_latent=st.sampled_from([1, 2, 4, 8]),
    known=st.integers(0, 5),
)
def test_a_prompt_starts_in_the_latent_frame_that_holds_its_first_frame(
    times: list[int], fps: int, per_latent: int, known: int
) -> None:
    """In hundredths of a second, so that the first frame at or after a time is exact in integers."""
    hundredths = [0, *sorted(times)]
    holder = holders(known, per_latent, 30 * fps + 1)
    expected = [holder[-(-time * fps // 100)] for time in hundredths]
    starts_s = tuple(time / 100 for time in hundredths)
    if all(a < b for a, b in itertools.pairwise(expected)):
        assert latent_starts(starts_s, fps, per_latent, offset=known) == (0, *expected[1:])
    else:
        with pytest.raises(ConfigError, match="fall on one latent frame"):
            latent_starts(starts_s, fps, per_latent, offset=known)


@pytest.mark.parametrize("num_frames", [18, 21, 33])
@pytest.mark.parametrize("fps", [8, 5])
@pytest.mark.parametrize("extended", [False, True])
def test_the_record_says_of_every_frame_which_prompt_it_saw(
    pipeline: VideoPipeline, base: Clip, num_frames: int, fps: int, extended: bool
) -> None:
    rows = story((0, "a ball"), (0.85, "a red ball"), ("1.7s", "a blue ball"))
    job = start(
        pipeline, base=Clip(frames=base.frames, fps=fps) if extended else None, num_frames=num_frames, fps=fps, **rows
    ).job
    before = len(base.frames) if extended else 0
    holder = holders(job.known if extended else 0, PER_LATENT, job.num_frames - before)
    seen = job.seen(PER_LATENT)
    assert [row["prompt"] for row in seen] == ["a ball", "a red ball", "a blue ball"]
    told = [(frame, row) for row in seen for frame in range(row["frames"][0], row["frames"][1] + 1)]
    assert [frame for frame, _ in told] == list(range(before, job.num_frames))
    for frame, row in told:
        first, last = row["latent_frames"]
        assert first <= holder[frame - before] <= last
    assert [row["latent_frames"][0] for row in seen[1:]] == [row["latent_frames"][1] + 1 for row in seen[:-1]]


@pytest.mark.parametrize("name", ["full", "causal", "fifo"])
def test_each_frame_reads_its_own_prompt(pipeline: VideoPipeline, name: str) -> None:
    run = start(pipeline, num_frames=33, **story(*STORY), **{"sampler.name": name})
    dit = run.model.dit
    keys = [dit.prepare_text(run.model.prompts(words)).layers[0].k_BMNK for _, words in STORY]
    with patch.object(VideoDiT, "forward", autospec=True, side_effect=VideoDiT.forward) as forward:
        run.clip()
    told: set[tuple[int, int]] = set()
    for call in forward.call_args_list:
        text, frames = call.args[3], call.kwargs["frames"]
        texts = text.frames if isinstance(text, TextPerFrame) else (text,) * len(frames)
        for frame, read in zip(frames, texts, strict=True):
            told |= {(frame, i) for i, key in enumerate(keys) if torch.equal(read.layers[0].k_BMNK, key)}
    assert {pair for pair in told if pair[0] >= 0} == {(frame, int(frame >= 4)) for frame in range(9)}
    assert all(prompt == 0 for frame, prompt in told if frame < 0)


def test_a_new_prompt_changes_nothing_before_it_and_what_is_remembered_as_said(pipeline: VideoPipeline) -> None:
    options = {"sampler.name": "streaming", "sampler.window": 5, "num_frames": 33}
    plain = latents_of(start(pipeline, **options))
    made = {
        way: latents_of(start(pipeline, **story(*STORY), **options, **{"sampler.on_prompt": way}))
        for way in ("keep", "flush", "recache")
    }
    for latents in made.values():
        assert torch.equal(latents[:, :, :4], plain[:, :, :4])
    for one, other in itertools.combinations([plain, *made.values()], 2):
        assert (one[:, :, 4:] - other[:, :, 4:]).abs().amax((0, 1, 3, 4)).min() > 0


def test_a_story_may_begin_with_the_prompt(pipeline: VideoPipeline) -> None:
    whole = start(pipeline, num_frames=33, **story(*STORY)).job
    split = start(pipeline, num_frames=33, story=[{"at": "2 s", "prompt": STORY[1][1]}]).job
    assert (split.prompts, split.starts) == (whole.prompts, whole.starts) == (tuple(w for _, w in STORY), (0, 4))
    assert split.resolved() == whole.resolved() == pipeline.start(*merge(("r", whole.resolved()))).job.resolved()
    alone = start(pipeline, **story((0, PROMPT))).job.resolved()
    assert alone["request.prompt"] == PROMPT and "request.story" not in alone


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "a story without prompts"),
        ([{"at": 1, "prompt": "a ball"}], "the first prompt starts at 1 s; say what is seen from 0 s on"),
        ([{"at": 0, "prompt": "a ball"}, {"at": 3, "prompt": "a box"}, {"at": 2, "prompt": "a ball"}], "2 s follows 3"),
        ([{"at": 0, "prompt": "a ball"}, {"at": 0, "prompt": "a box"}], "0 s follows 0 s"),
        (
            [{"at": 0, "prompt": "a ball"}, {"at": 4.2, "prompt": "a box"}],
            "starts at 4.2 s, and the clip ends at 4.125",
        ),
        ([{"at": 0, "prompt": "a ball"}, {"at": 1e300, "prompt": "a box"}], "the clip ends at"),
        (
            [{"at": 0, "prompt": "a ball"}, {"at": 0.6, "prompt": "a box"}, {"at": 1, "prompt": "a ball"}],
            "set them furth",
        ),
        ([{"at": 0, "prompt": "a ball"}, {"at": 2, "prompt": " "}], "the prompt is empty"),
        ([{"at": 0, "prompt": "a ball"}, {"at": 2, "prompt": "zebra"}], "knows no word of the prompt 'zebra'"),
        ([{"at": 0, "prompt": None}], "a story is a list of {at: seconds, prompt: words}"),
        (["a ball"], "a story is a list of {at: seconds, prompt: words}"),
        ([{"at": 0, "prompt": "a ball", "for": 3}], "a story is a list of {at: seconds, prompt: words}"),
        ([{"at": "noon", "prompt": "a ball"}], "starts at a time such as 4s, got 'noon'"),
        ([{"at": -1, "prompt": "a ball"}], "starts at a time such as 4s, got '-1'"),
        ([{"at": True, "prompt": "a ball"}], "starts at a time such as 4s, got 'True'"),
        ([{"at": "nan", "prompt": "a ball"}], "starts at a time such as 4s"),
        ([{"at": 10**400, "prompt": "a ball"}], "starts at a time such as 4s"),
        ([{"at": [0], "prompt": "a ball"}], "starts at a time such as 4s"),
        ("a ball", "request.story takes list, got 'a ball'"),
        ({"at": 0, "prompt": "a ball"}, "request.story takes list"),
    ],
)
def test_bad_stories_get_one_line(pipeline: VideoPipeline, rows: Any, message: str) -> None:
    with pytest.raises(VgenError) as caught:
        start(pipeline, num_frames=33, prompt=None, story=rows)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@given(words=st.text(min_size=1, max_size=30))
def test_the_words_of_a_story_are_taken_as_they_stand(words: str) -> None:
    rows = [{"at": 0, "prompt": words}, {"at": "4s", "prompt": "${" + words}]
    assert merge(("test", {"request.story": rows}))[0].request.story == rows


# -- going on from a clip ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["causal", "fifo", "full", "story"])
def test_a_clip_goes_on_from_another_which_stays_as_it_is(pipeline: VideoPipeline, base: Clip, name: str) -> None:
    run = start(pipeline, base=base, num_frames=6, **{"sampler.name": name})
    assert run.job.num_frames == 13 + 8 and "6 frames asked, 8 made: lengths are 4 n" in run.notes[0]
    clip = run.clip()
    assert np.array_equal(clip.frames[:13], base.frames) and len(clip.frames) == 21
    assert clip.record["frames"] == {"asked": 6, "made": 21, "sha256": clip.sha256()}
    assert clip.record["extends"] == {"frames": 13, "sha256": base.sha256()}
    assert clip.record["prompts"] == [{"prompt": PROMPT, "latent_frames": [2, 3], "frames": [13, 20]}]
    twice = start(pipeline, base=clip, num_frames=4, **{"sampler.name": name}).clip()
    assert np.array_equal(twice.frames[:21], clip.frames) and len(twice.frames) == 25


def test_what_is_known_of_a_clip_is_its_encoded_end(pipeline: VideoPipeline, base: Clip) -> None:
    run = start(pipeline, base=base, num_frames=8, **{"sampler.name": "causal"})
    tail = torch.from_numpy(base.frames[-5:]).permute(3, 0, 1, 2)[None] / 127.5 - 1.0
    expected = encode_frames(pipeline.model.vae, tail)
    assert run.job.known == 2  # as many as leave a block of the trained window
    rollout, context = run.wiring.rollout()
    done = [step.latents_BCTHW for step in rollout.run(rollout.start(context)) if step.latents_BCTHW is not None]
    latents = torch.cat(done, dim=2)
    assert latents.shape[2] == 4
    torch.testing.assert_close(latents[:, :, :2], expected, rtol=0, atol=1e-6)


def test_a_clip_may_be_named_in_several_ways(pipeline: VideoPipeline, base: Clip, tmp_path: Path) -> None:
    base.save(tmp_path / "a.mkv")
    made = {
        pipeline(PROMPT, extend=source, num_frames=4, seed=1, num_inference_steps=1).sha256()
        for source in (base, tmp_path / "a.mkv", str(tmp_path / "a.json"))
    }
    assert len(made) == 1


@pytest.mark.parametrize("kind", [".mkv", ".mp4", ".gif", ".png", ""])
def test_a_record_means_the_clip_beside_it(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InputError, match="no clip of that name beside the record"):
        clip_of(tmp_path / "a.json")
    Clip(frames=np.zeros((2, 16, 16, 3), np.uint8), fps=8).save(tmp_path / f"a{kind}")
    assert clip_of(tmp_path / "a.json") == tmp_path / f"a{kind}"


@pytest.mark.parametrize(
    ("values", "change", "message"),
    [
        ({"width": 64, "height": 32}, {}, "the clip to go on from is 48x32, asked for 64x32"),
        ({"fps": 9}, {}, "the clip to go on from has 8 fps, asked for 9; leave fps out"),
        ({}, {"fps": 7.5}, "has 7.5 fps; possible: a whole number"),
        ({}, {"frames": np.zeros((5, 40, 48, 3), np.uint8)}, "height 40 is no multiple of 16"),
        ({"prompt": None, "story": [{"at": 0, "prompt": "a"}, {"at": 0.3, "prompt": "a"}]}, {}, "fall on one latent"),
    ],
)
def test_a_clip_that_does_not_fit_gets_one_line(
    pipeline: VideoPipeline, base: Clip, values: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    other = Clip(frames=change.get("frames", base.frames), fps=change.get("fps", base.fps))
    with pytest.raises(VgenError, match=message) as caught:
        start(pipeline, base=other, num_frames=8, **values)
    assert "\n" not in str(caught.value)


def test_a_clip_and_an_image_are_too_much_and_some_models_take_neither(
    pipeline: VideoPipeline, base: Clip, image: Frames
) -> None:
    with pytest.raises(ConfigError, match="an image and a clip to go on from both say how it begins"):
        start(pipeline, image, base=base)
    model = replace(pipeline.model, card=replace(pipeline.model.card, image="none"))
    with pytest.raises(ModelError, match="makes video from text alone"):
        start(VideoPipeline(model), base=base)
    with pytest.raises(InputError, match="no clip of that name"):
        start(pipeline, extend="nowhere.json")


# -- chunks, and what is held ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "first"), [("full", 13), ("streaming", 1), ("fifo", 1), ("story", 5)])
def test_any_sampler_streams_and_gives_the_frames_of_the_clip(pipeline: VideoPipeline, name: str, first: int) -> None:
    """`first`: frames that are there when the first chunk of latents is finished."""
    asked: dict[str, Any] = {"num_frames": 13, "seed": 3, "num_inference_steps": 2, "sampler": name}
    with patch.object(VideoDiT, "forward", autospec=True, side_effect=VideoDiT.forward) as forward:
        counts, chunks = [], []
        for chunk in pipeline.stream(PROMPT, **asked):
            chunks.append(chunk)
            counts.append(forward.call_count)
    at_once = sum(len(chunk) for chunk, count in zip(chunks, counts, strict=True) if count == counts[0])
    assert at_once == first
    assert np.array_equal(np.concatenate(chunks), pipeline(PROMPT, **asked).frames)


def test_leaving_a_stream_stops_it(pipeline: VideoPipeline) -> None:
    threads = threading.active_count()
    with patch.object(VideoDiT, "forward", autospec=True, side_effect=VideoDiT.forward) as forward:
        stream = pipeline.stream(PROMPT, seconds=60.0, seed=3)
        for chunk in stream:
            assert len(chunk) == 1
            break
        stream.close()
        calls = forward.call_count
        assert next(stream, None) is None and forward.call_count == calls <= 5
    assert threading.active_count() == threads


def held(state: RolloutState) -> tuple[int, int]:
    """Tensors and bytes of a rollout's state, with its memory."""
    tensors = [*state.latents.values(), *state.history.values()]
    if state.context is not None:
        tensors += state.context.state_dict().values()
    return len(tensors), sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@pytest.mark.parametrize("name", ["streaming", "fifo", "ouroboros", "rolling-forcing", "ar-diffusion", "story"])
def test_what_is_held_does_not_grow_with_the_length(pipeline: VideoPipeline, name: str) -> None:
    most = []
    for num_frames in (33, 129):
        run = start(pipeline, num_frames=num_frames, num_inference_steps=4, **{"sampler.name": name})
        rollout, context = run.wiring.rollout()
        state = rollout.start(context)
        sizes = [held(state) for _ in rollout.run(state)]
        most.append((max(count for count, _ in sizes), max(size for _, size in sizes)))
    assert most[0] == most[1]


def test_the_record_says_where_one_prompt_turns_into_the_next(pipeline: VideoPipeline) -> None:
    rows = story((0, "a ball"), ("1.6s", "a box"))
    job = start(pipeline, num_frames=33, fps=8, **rows, **{"sampler.name": "freenoise"}).job
    seen = job.seen(PER_LATENT)
    assert [(row["prompt"], row.get("into")) for row in seen] == [
        ("a ball", None),
        ("a ball", "a box"),
        ("a box", None),
    ]
    assert {row.get("early_layers") for row in seen} == {"a box", None} and "early_layers" not in seen[-1]
    assert [row["latent_frames"][0] for row in seen] == [0, *(row["latent_frames"][1] + 1 for row in seen[:-1])]
