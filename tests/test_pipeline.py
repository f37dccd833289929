"""What the pipeline promises around the sampler: lengths, sizes, images, streaming, causal rollouts, records."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

import vgen.run as run_module
from tests.folders import tiny_folder
from vgen.config import merge
from vgen.errors import ConfigError, InputError, ModelError, NumericalError, ResourceError
from vgen.job import RESOLVED_KEYS
from vgen.machine import pick_device
from vgen.models.dit import VideoDiT
from vgen.pipeline import Run, VideoPipeline
from vgen.samplers import NoiseSource


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> VideoPipeline:
    return VideoPipeline.from_pretrained(tiny_folder(tmp_path_factory.mktemp("tiny"), layout="playground"))


@pytest.fixture(scope="module")
def text_only(tmp_path_factory: pytest.TempPathFactory) -> VideoPipeline:
    return VideoPipeline.from_pretrained(tiny_folder(tmp_path_factory.mktemp("text"), layout="wan2.1"))


def start(pipeline: VideoPipeline, image: Any = None, **values: object) -> Run:
    keys = {f"request.{k}" if "." not in k else k: v for k, v in ({"prompt": "a red ball", "seed": 1} | values).items()}
    run = pipeline.start(*merge(("test", keys)), image)
    assert isinstance(run, Run)
    return run


def latents_of(run: Run) -> torch.Tensor:
    return torch.cat([event.latents_BCTHW for event in run if event.latents_BCTHW is not None], dim=2)


def test_only_a_prompt_is_needed_and_the_card_decides_the_rest(pipeline: VideoPipeline) -> None:
    clip = pipeline("a red ball rolls")
    assert clip.frames.shape == (9, 32, 48, 3) and clip.fps == 8
    assert clip.record["resolved"]["request.num_inference_steps"] == 4
    assert clip.record["frames"] == {"asked": 9, "made": 9, "sha256": clip.sha256()}


def test_the_same_seed_gives_the_same_frames_and_another_does_not(pipeline: VideoPipeline) -> None:
    first, again, other = (pipeline("a red ball", seed=seed) for seed in (5, 5, 6))
    assert first.sha256() == again.sha256() != other.sha256()


@pytest.mark.parametrize(("asked", "made"), [(1, 1), (2, 5), (5, 5), (6, 9), (9, 9)])
def test_lengths_round_up_and_say_so(pipeline: VideoPipeline, asked: int, made: int) -> None:
    run = start(pipeline, num_frames=asked)
    assert run.job.num_frames == made
    assert any("frames asked" in note for note in run.notes) == (asked != made)


def test_seconds_become_frames_at_the_clips_rate(pipeline: VideoPipeline) -> None:
    assert start(pipeline, seconds=0.5, fps=10).job.num_frames == 5
    assert start(pipeline, seconds=0.51, fps=10).job.num_frames == 9


def by_hand(dit: VideoDiT, run: Run, text: torch.Tensor) -> torch.Tensor:
    """A causal rollout without any cache: clean prefix and noisy block through one block-causal pass per step."""
    job, table, block = run.job, run.job.sampling.table, run.job.sampling.values["block"]
    noise = NoiseSource(job.seed)
    clean = torch.empty(1, 16, 0, job.height // 8, job.width // 8)
    for first in range(0, job.frames, block):
        frames = range(first, first + block)
        x = torch.stack([noise.draw("initial", f, 0, (16, *clean.shape[3:])) for f in frames], dim=1)[None]
        for level in range(table.num_steps, 0, -1):
            sigma, to = table.sigmas[level], table.sigmas[level - 1]
            levels = torch.tensor([[0.0] * first + [sigma] * len(frames)], dtype=torch.float64)
            v = dit(torch.cat((clean, x), dim=2), levels, text, causal_block=block)[:, :, first:]
            x = x + (to - sigma) * v
        clean = torch.cat((clean, x), dim=2)
    return clean


@pytest.mark.parametrize("block", [1, 2, 4])
@torch.no_grad()
def test_causal_rollout_with_cache_equals_recomputing_everything(pipeline: VideoPipeline, block: int) -> None:
    run = start(pipeline, num_frames=13, **{"sampler.name": "causal", "sampler.block": block, "sampler.window": 8})
    ours = latents_of(run)
    expected = by_hand(run.model.dit, run, run.model.prompts("a red ball"))
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)


def test_a_longer_causal_clip_begins_with_the_shorter_one(pipeline: VideoPipeline) -> None:
    short, long = (pipeline("a red ball", num_frames=n, seed=3, sampler="causal") for n in (9, 21))
    assert np.abs(long.frames[:9].astype(int) - short.frames.astype(int)).max() <= 1


def test_memory_of_a_causal_run_does_not_grow_with_its_length(pipeline: VideoPipeline) -> None:
    run = start(pipeline, num_frames=61, **{"sampler.name": "causal"})
    rollout, context = run.wiring.rollout()
    held = set()
    for _ in rollout.run(rollout.start(context)):
        held.add(sum(tensor.numel() for key, tensor in context.state_dict().items() if key != "frame_of_slot"))
    policy = run.job.sampling.policy
    assert policy is not None and len(held - {0}) == 1 and len(context.frames) <= policy.capacity


def test_a_long_stream_is_planned_at_what_it_holds_and_a_long_clip_at_all_its_frames(
    pipeline: VideoPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"sampler.name": "streaming", "sampler.force": True}
    short, long = (start(pipeline, num_frames=n, **asked) for n in (1 + 4 * 100, 90_001))
    assert long.plan == short.plan
    free = long.plan.more + 100
    monkeypatch.setattr(run_module, "free_mib", lambda device: free)
    with pytest.raises(ResourceError, match="a Clip of 90001 frames of 48x32 would take about"):
        long.clip()


def test_stream_yields_chunks_as_they_are_finished_and_can_be_left(pipeline: VideoPipeline) -> None:
    stream = pipeline.stream("a red ball", seconds=100.0, seed=3, sampler="causal")
    chunks = [next(stream) for _ in range(3)]
    stream.close()
    assert [len(chunk) for chunk in chunks] == [1, 4, 4]
    clip = pipeline("a red ball", num_frames=9, seed=3, sampler="causal")
    assert np.array_equal(np.concatenate(chunks), clip.frames)


@pytest.mark.parametrize("sampler", ["full", "causal"])
def test_an_image_becomes_the_first_latent(pipeline: VideoPipeline, sampler: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    run = start(pipeline, image, **{"sampler.name": sampler})
    known_CTHW = run.wiring.known_latents()
    assert known_CTHW is not None and torch.equal(latents_of(run)[0, :, :1], known_CTHW)


def test_an_image_sets_the_size_at_the_models_area(pipeline: VideoPipeline) -> None:
    tall = np.zeros((300, 100, 3), dtype=np.uint8)
    job = start(pipeline, tall).job
    assert job.height % 16 == job.width % 16 == 0 and job.height > job.width
    assert job.height * job.width <= 32 * 48


def test_guidance_of_one_needs_no_second_branch_and_more_changes_the_clip(pipeline: VideoPipeline) -> None:
    calls = []
    with patch.object(VideoDiT, "forward", autospec=True, side_effect=VideoDiT.forward) as forward:
        for guidance in (0.0, 1.0, 6.0):
            pipeline("a red ball", seed=1, guidance_scale=guidance)
            calls.append(forward.call_count)
    assert calls == [4, 8, 16]
    plain, guided = (pipeline("a red ball", seed=1, guidance_scale=g) for g in (1.0, 6.0))
    assert plain.sha256() != guided.sha256()


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"prompt": "  "}, InputError, "the prompt is empty"),
        ({"prompt": "zebra"}, InputError, "knows no word of the prompt 'zebra'; it knows: a, ball"),
        ({"prompt": "a ball " * 10}, InputError, "tokens long"),
        ({"height": 33, "width": 48}, InputError, "nearest: 32 or 48"),
        ({"height": 32}, ConfigError, "go together"),
        ({"height": 8192, "width": 8192, "num_frames": 1000}, ResourceError, "ask for a smaller --size"),
        ({"negative_prompt": "a box"}, ConfigError, "not above 1"),
        (
            {"sampler.name": "causal", "sampler.window": 1, "sampler.block": 2},
            ConfigError,
            "smaller than a block of 2|smaller than the 2 latent frames that a step shows",
        ),
        (
            {"sampler.name": "causal", "sampler.lag": 1, "num_frames": 33, "sampler.force": True},
            ConfigError,
            "smaller than the 4 latent frames",
        ),
        ({"fit": "pad"}, ConfigError, "and there is none"),
        ({"negative_prompt": "zebra", "guidance_scale": 3.0}, InputError, "no word of the negative prompt 'zebra'"),
        ({"negative_prompt": "a " * 40, "guidance_scale": 3.0}, InputError, "the negative prompt is 41 tokens long"),
        ({"run.dtype": "bfloat16"}, ConfigError, "was loaded with torch.float32"),
        ({"model.id": "another"}, ConfigError, "asked for another"),
        ({"sampler.window": 3}, ConfigError, r"sampler\.window means nothing to sampler 'full' as it is set; it uses"),
        ({"sampler.lag": 5}, ConfigError, "0 to the number of steps, 4, got 5"),
        (
            {"sampler.lag": 2, "sampler.solver": "multistep", "sampler.window": 3, "sampler.force": True},
            ConfigError,
            "solver 'multistep' cannot run",
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_bad_requests_get_one_line(
    pipeline: VideoPipeline, values: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        start(pipeline, **values)
    assert "\n" not in str(caught.value)


def test_what_the_model_cannot_do_is_refused(text_only: VideoPipeline) -> None:
    with pytest.raises(ModelError, match="makes video from text alone"):
        start(text_only, np.zeros((32, 48, 3), dtype=np.uint8))


def test_an_untrained_sampler_is_refused_unless_forced(
    tmp_path: Path,
) -> None:
    folder = tiny_folder(tmp_path / "full", layout="playground")
    card = folder / "vgen.yaml"
    card.write_text(card.read_text().replace("[full, causal]", "[full]"))
    other = VideoPipeline.from_pretrained(folder)
    with pytest.raises(ModelError, match=r"not trained for sampler 'causal'; possible: fifo, freeinit, freenoise"):
        start(other, **{"sampler.name": "causal"})
    with pytest.raises(ModelError, match="not trained for sampler 'full' with lag num_steps"):
        start(other, **{"sampler.lag": "num_steps"})
    forced = start(other, **{"sampler.name": "causal", "sampler.force": True}).job
    assert other.start(*merge(("record", forced.resolved()))).job.resolved() == forced.resolved()


def test_weights_that_give_no_number_stop_the_run(tmp_path: Path) -> None:
    broken = VideoPipeline.from_pretrained(tiny_folder(tmp_path / "broken", layout="playground"))
    with torch.no_grad():
        broken.model.dit.proj_out.bias[0] = float("nan")
    with pytest.raises(NumericalError, match="step 1 of 4, latent frames 0 to 2"):
        broken("a red ball")


def test_a_decoder_that_gives_no_number_stops_the_run(tmp_path: Path) -> None:
    broken = VideoPipeline.from_pretrained(tiny_folder(tmp_path / "broken", layout="playground"))
    with torch.no_grad():
        broken.model.vae.decoder.conv_out.bias[0] = float("nan")
    with pytest.raises(NumericalError, match="decoder at latent frame 0"):
        broken("a red ball")


def test_a_run_runs_once(pipeline: VideoPipeline) -> None:
    run = start(pipeline)
    run.clip()
    with pytest.raises(AssertionError, match="runs once"):
        run.clip()


def test_what_is_resolved_resolves_to_itself(pipeline: VideoPipeline) -> None:
    for values in (
        {},
        {"sampler.name": "causal", "sampler.sink": 1},
        {"guidance_scale": 3.0, "negative_prompt": "a box"},
    ):
        resolved = start(pipeline, **values).job.resolved()
        assert set(resolved) <= RESOLVED_KEYS
        assert pipeline.start(*merge(("record", resolved))).job.resolved() == resolved


def test_unknown_words_are_said(pipeline: VideoPipeline) -> None:
    run = start(pipeline, prompt="a shiny red ball")
    assert any("does not know these words: shiny" in note for note in run.notes)


def test_devices_are_checked() -> None:
    with pytest.raises(ConfigError, match="unknown device 'gpu'"):
        pick_device("gpu")
    with pytest.raises(ResourceError, match="is not there"):
        pick_device("cuda:99")
