"""From preset and options to the axes: what is left open is decided, what is said is used or refused."""

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vgen import sampling as samplings
from vgen import schema
from vgen.config import merge
from vgen.errors import ConfigError, ModelError
from vgen.models.cache import KVCache
from vgen.models.card import TRAININGS, ModelCard
from vgen.presets import sampler_presets
from vgen.samplers import (
    BlendedTimeline,
    CachePositions,
    CoherentTail,
    Euler,
    FixedNoise,
    FreeInitNoise,
    IndependentNoise,
    Multistep,
    NoiseSource,
    ProgressiveNoise,
    Renoise,
    RescheduledNoise,
    Rollout,
    SinkPositions,
    Step,
    Timeline,
    Windowed,
)
from vgen.sampling import WORDS, Sampling, resolve_sampling
from vgen.schema import Frames, SamplerConfig

STEPS = 6
EULER = FlowMatchEulerDiscreteScheduler(shift=3.0)
UNIPC = UniPCMultistepScheduler(
    prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=3.0
)
PRESETS = sorted(sampler_presets())
STAGGERED = {"ar-diffusion", "causal", "diffusion-forcing", "rolling-forcing", "streaming"}
REMEMBERING = STAGGERED | {"story"}
QUEUES = {"fifo", "ouroboros"}
WINDOWED = {"freenoise", "syncos"}
EVERY = set(PRESETS)

# option -> a value, and the presets that use it as they are
USERS: dict[str, tuple[Any, set[str]]] = {
    "block": (1, STAGGERED),
    "ahead": (True, STAGGERED),
    "lookahead": (False, QUEUES),
    "primer": (False, QUEUES),
    "caps": ([0.5], {"tic"}),
    "passes": (2, {"freeinit"}),
    "fast": (True, {"freeinit"}),
    "memory": ("kv", REMEMBERING),
    "window": (3, REMEMBERING | QUEUES | WINDOWED),
    "sink": (1, REMEMBERING),
    "positions": ("cache", REMEMBERING),
    "context_noise": (0.1, REMEMBERING),
    "context_label": (0.2, REMEMBERING),
    "on_prompt": ("flush", REMEMBERING),
    "alpha": (1.5, set()),
    "cutoff": (0.5, {"freeinit", "ouroboros"}),
    "stride": (1, WINDOWED),
    "iterations": (2, {"syncos"}),
    "rate": (0.25, {"syncos"}),
    "mask": ("causal", EVERY),
    "transition": ("blend", EVERY),
    "noise": ("independent", EVERY),
    "solver": ("euler", EVERY),
    "sigmas": ([1.0, 0.9, 0.8, 0.6, 0.4, 0.2], EVERY),
    "decay": (0.5, EVERY),
    "riflex": (9, EVERY),
}
SWITCHES = {"schedule", "lag", "clip", "windows", "fusion"}  # change what else is used


def a_card(block: int = 1, window: int = 3, samplers: tuple[str, ...] = TRAININGS) -> ModelCard:
    return ModelCard(
        name="tiny",
        height=32,
        width=48,
        num_frames=9,
        fps=8,
        num_inference_steps=STEPS,
        guidance_scale=1.0,
        samplers=list(samplers),
        causal_block=block,
        trained_window=window,
    )


def resolved(
    name: str = "full",
    *,
    frames: int = 9,
    known: int = 0,
    steps: int | None = None,
    card: ModelCard | None = None,
    scheduler: Any = EULER,
    **options: object,
) -> Sampling:
    said = {f"sampler.{key}": value for key, value in options.items()}
    merged, _ = merge(("test", {"sampler.name": name} | said))
    return again(merged.sampler, frames, known, steps, card or a_card(), scheduler)


def again(
    config: SamplerConfig, frames: int, known: int, steps: int | None, card: ModelCard, scheduler: Any
) -> Sampling:
    return resolve_sampling(config, card, scheduler, steps=steps, frames=frames, known=known, model="tiny")


def committed(sampling: Sampling, known: int) -> list[int]:
    moves = sampling.schedule.steps(sampling.frames, known=known)
    return [frame for move in moves if isinstance(move, Step) for frame in move.commit if frame >= 0]


@pytest.mark.parametrize("name", PRESETS)
@settings(max_examples=50)
@given(data=st.data())
def test_every_preset_resolves_for_any_length_and_to_itself(name: str, data: st.DataObject) -> None:
    block = data.draw(st.integers(1, 4), "block")
    sink_and_block = 2 * block  # what streaming and rolling-forcing need to have in sight
    card = a_card(block, data.draw(st.integers(sink_and_block, 4 * block + 3), "window"))
    known = data.draw(st.integers(1 if name == "tic" else 0, 4), "known")
    frames = data.draw(st.integers(known + (4 if name == "tic" else 1), 40), "frames")
    steps = data.draw(st.integers(5, 30), "steps")  # diffusion-forcing has a lag of 5
    scheduler = data.draw(st.sampled_from([EULER, UNIPC]), "scheduler")
    config = SamplerConfig(name=name)
    sampling = again(config, frames, known, steps, card, scheduler)
    assert frames <= sampling.frames < frames + block
    assert committed(sampling, known) == list(range(sampling.frames))
    for key, check in schema.CHECKS.items():
        if isinstance(check, Frames) and key.removeprefix("sampler.") in sampling.values:
            assert isinstance(sampling.values[key.removeprefix("sampler.")], int), key
    said = SamplerConfig(**{key.removeprefix("sampler."): value for key, value in sampling.resolved().items()})
    twin = again(said, sampling.frames, known, steps, card, scheduler)
    assert replace(twin, notes=sampling.notes) == sampling
    assert twin.noise(NoiseSource(1)) == sampling.noise(NoiseSource(1))


SOME: dict[str, list[Any]] = {
    "schedule": ["pyramid", "trapezoid", "queue", "capped", "repeated"],
    "lag": [0, 1, 2, STEPS, "num_steps", "window"],
    "block": [1, 2, 3, "block"],
    "clip": [1, 2, 6, "trained-block"],
    "ahead": [True, False],
    "lookahead": [True, False],
    "primer": [True, False],
    "caps": [[], [0.2, 0.9]],
    "memory": ["none", "kv", "refeed"],
    "window": [1, 2, 3, 6, "trained", "third"],
    "sink": [0, 1, 3, "block"],
    "positions": ["absolute", "cache", "sink"],
    "mask": ["full", "causal"],
    "context_noise": [0.2],
    "on_prompt": ["keep", "flush", "recache"],
    "transition": ["cut", "blend"],
    "noise": ["independent", "rescheduled", "progressive", "fixed", "coherent_tail", "freeinit"],
    "solver": ["euler", "multistep", "renoise"],
    "sigmas": [[1.0, 0.5], [0.9, 0.8, 0.7, 0.5, 0.3, 0.1]],
    "fusion": [True, False],
    "windows": ["mean", "newest", "coupled"],
    "stride": [1, 2, 3],
    "iterations": [0, 1],
}


@settings(max_examples=250)
@given(
    name=st.sampled_from(PRESETS),
    options=st.fixed_dictionaries({}, optional={key: st.sampled_from(values) for key, values in SOME.items()}),
    block=st.integers(1, 3),
    window=st.integers(3, 7),
    known=st.integers(0, 3),
    more=st.integers(0, 9),
    scheduler=st.sampled_from([EULER, UNIPC]),
)
def test_whatever_is_said_is_refused_in_one_line_or_runs_to_its_end(
    name: str, options: dict[str, Any], block: int, window: int, known: int, more: int, scheduler: Any
) -> None:
    card, frames = a_card(block, window), max(1, known + more)
    options = dict(list(options.items())[: 1 + more % 4])  # many at once are always refused
    try:
        made = resolved(name, frames=frames, known=known, card=card, scheduler=scheduler, **options)
    except ConfigError as error:
        assert "\n" not in str(error)
        return
    said = {key.removeprefix("sampler."): value for key, value in made.resolved().items()}
    twin = resolved(frames=made.frames, known=known, card=card, scheduler=scheduler, **said)
    assert replace(twin, notes=made.notes) == made
    assert finished(made, known) == made.frames


class Blank:
    """A denoiser that sees nothing and keeps account of what it is shown."""

    def __call__(
        self, x_BCTHW: Tensor, sigma_BT: Tensor, *, frames: Any, cues: Any, context: Any, label_BT: Any = None
    ) -> Tensor:
        assert list(frames) == sorted(set(frames)) and len(frames) == x_BCTHW.shape[2] == sigma_BT.shape[1] == len(cues)
        assert context is None or not {*frames} & {*context.frames}, "a frame is shown beside its own memory"
        return torch.zeros_like(x_BCTHW)

    def commit(self, x0_BCTHW: Tensor, *, frames: Any, cues: Any, context: Any, label: float = 0.0) -> None:
        context.publish(frames, context.reserve(frames))


def finished(made: Sampling, known: int) -> int:
    """Latent frames that a rollout over these axes finishes."""
    shape, noise, denoise = (2, 3, 4), made.noise(NoiseSource(1)), Blank()
    windowed = made.windows and Windowed(denoise=denoise, window=made.values["window"], stride=made.values["stride"])
    rollout: Rollout[Any] = Rollout(
        denoise=windowed or denoise,
        schedule=made.schedule,
        table=made.table,
        solver=made.solver,
        noise=noise,
        frames=made.frames,
        shape=shape,
        policy=made.policy,
        prompts=made.prompts((0, 1) if made.frames > 1 else (0,)),
        known_CTHW=torch.zeros(2, known, 3, 4) if known else None,
    )
    context = KVCache(layers=1, capacity=made.cache_frames) if made.cache_frames else None
    done = [progress.latents_BCTHW for progress in rollout.run(rollout.start(context))]
    return sum(latents.shape[2] for latents in done if latents is not None)


@pytest.mark.parametrize(
    ("block", "window", "words"),
    [
        (1, 3, {"block": 1, "third": 1, "trained": 3, "trained-block": 2}),
        (3, 9, {"block": 3, "third": 3, "trained": 9, "trained-block": 6}),
        (3, 21, {"block": 3, "third": 7, "trained": 21, "trained-block": 18}),
        (3, 8, {"block": 3, "third": 2, "trained": 8, "trained-block": 3}),
        (2, 2, {"block": 2, "third": 1, "trained": 2, "trained-block": 2}),
    ],
)
def test_words_are_what_the_card_knows(block: int, window: int, words: dict[str, int]) -> None:
    card = a_card(block, window)
    assert {word: number(card) for word, number in WORDS.items()} == words
    for word, number in words.items():
        made = resolved(windows="mean", window=word, stride=1, card=card)
        assert made.values["window"] == number and made.shown_frames == min(number, 9)


def test_config_and_sampling_know_the_same_names() -> None:
    frames = schema.CHECKS["sampler.window"]
    assert isinstance(frames, Frames) and set(frames.words) == set(WORDS)
    assert set(schema.SOLVERS) == set(samplings.SOLVERS)
    assert {item.name for item in fields(SamplerConfig)} == {"name", "force", *USERS, *SWITCHES}


@pytest.mark.parametrize("option", USERS)
def test_an_option_is_used_or_refused(option: str) -> None:
    value, users = USERS[option]
    for name in PRESETS:
        values = {option: value} | ({"caps": []} if name == "tic" and option != "caps" else {})
        if name in users:
            assert resolved(name, known=1, **values).values[option] == value, name
            continue
        with pytest.raises(ConfigError) as caught:
            resolved(name, known=1, **values)
        line = str(caught.value)
        assert line.startswith(f"sampler.{option} means nothing to sampler '{name}' as it is set; it uses: "), line
        told = line.rpartition(": ")[2].split(", ")
        assert set(told) >= {"noise", "solver"} and set(told) <= {*USERS, *SWITCHES} and "\n" not in line


@pytest.mark.parametrize(
    ("name", "options", "used"),
    [
        ("full", {"noise": "progressive", "alpha": 2.0}, {"alpha"}),
        ("full", {"noise": "rescheduled"}, {"window", "stride"}),
        ("full", {"noise": "rescheduled", "fusion": True, "window": 2}, {"window", "stride", "fusion"}),
        ("full", {"windows": "newest", "window": 3, "stride": 2}, {"windows", "window", "stride"}),
        ("full", {"windows": "coupled"}, {"windows", "window", "stride", "iterations", "rate"}),
        ("full", {"clip": 2, "memory": "refeed"}, {"clip", "memory", "window"}),
        ("full", {"lag": 2}, {"lag", "block", "memory", "window"}),
        ("full", {"schedule": "queue"}, {"window", "lookahead", "primer"}),
        ("full", {"schedule": "repeated", "passes": 1}, {"passes"}),
        ("diffusion-forcing", {"schedule": "trapezoid", "lag": 3}, {"lag"}),
        ("ar-diffusion", {"schedule": "trapezoid"}, {"lag"}),
        ("streaming", {"noise": "rescheduled"}, {"window", "stride"}),
    ],
)
def test_settings_beyond_presets_resolve_to_themselves(name: str, options: dict[str, Any], used: set[str]) -> None:
    first = resolved(name, frames=7, **options)
    assert used <= set(first.values)
    said = {key.removeprefix("sampler."): value for key, value in first.resolved().items()}
    assert resolved(frames=7, **said) == first


def test_what_a_schedule_cannot_use_is_refused_even_where_its_preset_has_it() -> None:
    values = resolved("diffusion-forcing", schedule="trapezoid", lag=3).values
    assert not {"memory", "window", "context_noise", "ahead", "clip"} & set(values)
    unused: dict[str, Any] = {"memory": "refeed", "window": 3, "clip": 2, "ahead": True}
    for option, value in unused.items():
        with pytest.raises(ConfigError, match=rf"sampler\.{option} means nothing"):
            resolved("diffusion-forcing", schedule="trapezoid", lag=3, **{option: value})
    with pytest.raises(ConfigError, match=r"sampler\.ahead means nothing to sampler 'story'"):
        resolved("story", ahead=True)
    with pytest.raises(ConfigError, match=r"sampler\.memory means nothing to sampler 'fifo'"):
        resolved("fifo", memory="kv")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("causal", {"window": 1, "block": 2}, "window=1 is smaller than the 2 latent frames that a step shows"),
        ("full", {"lag": 1, "window": 2}, "window=2 is smaller than the 6 latent frames"),
        ("rolling-forcing", {"block": 3, "window": 2}, "window=2 is smaller than a block of 3"),
        ("streaming", {"sink": 3}, "sink=3 leaves no window: the model was trained on 3"),
        ("causal", {"lag": 7}, "lag is 0 to the number of steps, 6, got 7"),
        ("ar-diffusion", {"lag": 100}, "lag is 0 to the number of steps, 6, got 100"),
        ("full", {"lag": -1}, "possible: 0 to 1000 steps, or num_steps, window"),
        ("full", {"lag": "trained"}, "possible: 0 to 1000 steps, or num_steps, window"),
        ("full", {"clip": "wide"}, "possible: 1 to 100000 latent frames, or block, third, trained, trained-block"),
        (
            "diffusion-forcing",
            {"clip": 3, "block": 2, "window": 9},
            "clip=3 is no multiple of .*block=2; nearest: 2 or",
        ),
        ("diffusion-forcing", {"clip": 1, "block": 2, "window": 9}, "clip=1 is no multiple of .*block=2; nearest: 2$"),
        ("story", {"clip": 5}, "window=3 is smaller than the 5 latent frames that a step shows"),
        ("tic", {}, "starts from a picture; give --image or --extend"),
        ("tic", {"caps": [0.5, 0.25], "known": 1}, "caps are rising sigmas within 0..1, got"),
        ("tic", {"caps": [0.5, 1.25], "known": 1}, "caps are rising sigmas within 0..1, got"),
        ("tic", {"caps": [-0.5], "known": 1}, "caps are rising sigmas within 0..1, got"),
        ("tic", {"known": 1, "frames": 4}, "a ramp of 3 latent frames behind 1 known ones needs more than 4 in all"),
        ("tic", {"caps": "half", "known": 1}, "caps takes list"),
        ("freenoise", {"stride": 4}, "stride=4 leaves gaps between windows of 3; possible: 1 to 3"),
        ("syncos", {"stride": 4}, "stride=4 leaves gaps"),
        ("full", {"noise": "rescheduled", "stride": 4}, "stride=4 leaves gaps"),
        ("causal", {"windows": "mean"}, "windows=mean needs frames that fall together"),
        ("story", {"windows": "mean"}, "windows=mean needs frames that fall together"),
        ("fifo", {"windows": "mean"}, "windows=mean needs frames that fall together"),
        ("freenoise", {"windows": "mean"}, r"no sampler\.fusion"),
        ("ar-diffusion", {"solver": "multistep"}, "solver 'multistep' cannot run sampler 'ar-diffusion': .* lag"),
        ("fifo", {"solver": "multistep"}, "solver 'multistep' cannot run sampler 'fifo'"),
        ("full", {"solver": "heun"}, "possible: euler, multistep, renoise"),
        ("fullest", {}, "unknown sampler 'fullest'; did you mean 'full'"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, dict) else None,
)
def test_what_cannot_be_is_refused_in_one_line(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        resolved(name, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_asks_for_what_a_model_must_be_trained_for(name: str) -> None:
    needs = sampler_presets()[name]["sampler.needs"]
    known = 1 if name == "tic" else 0
    assert resolved(name, known=known, card=a_card(samplers=(needs,))).name == name
    others = tuple(training for training in TRAININGS if training != needs)
    with pytest.raises(ModelError, match=f"model 'tiny' was not trained for sampler '{name}'; possible: ") as caught:
        resolved(name, known=known, card=a_card(samplers=others))
    possible = str(caught.value).partition("possible: ")[2].partition(" (--force-sampler")[0].split(", ")
    assert possible == [n for n in PRESETS if sampler_presets()[n]["sampler.needs"] in others]
    forced = resolved(name, known=known, card=a_card(samplers=others), force=True)
    assert forced.force and forced.resolved()["sampler.force"] is True


@pytest.mark.parametrize(
    ("name", "options", "needs"),
    [
        ("full", {"lag": 0}, "full"),
        ("full", {"lag": 2}, "forcing"),
        ("full", {"lag": "window"}, "forcing"),
        ("full", {"lag": STEPS}, "causal"),
        ("full", {"lag": "num_steps"}, "causal"),
        ("causal", {"lag": 2}, "forcing"),
        ("causal", {"lag": STEPS}, "causal"),
        ("rolling-forcing", {"lag": STEPS}, "forcing"),
        ("full", {"schedule": "capped"}, "forcing"),
        ("full", {"schedule": "queue"}, "full"),
        ("full", {"schedule": "trapezoid", "lag": 1}, "forcing"),
    ],
)
def test_a_lag_or_a_schedule_may_ask_for_more(name: str, options: dict[str, Any], needs: str) -> None:
    able = [t for t in TRAININGS if not _refused(name, options, t)]
    assert able == [needs]


def _refused(name: str, options: dict[str, Any], training: str) -> bool:
    try:
        resolved(name, known=1, frames=2, card=a_card(window=6, samplers=(training,)), **options)
    except ModelError:
        return True
    return False


def test_the_folders_solver_runs_where_it_can_and_where_not_that_is_said() -> None:
    for name in PRESETS:
        made = resolved(name, known=1, scheduler=UNIPC)
        own = sampler_presets()[name].get("sampler.solver")
        if own is not None:
            assert made.values["solver"] == own and not made.notes
        elif made.schedule.uniform:
            assert isinstance(made.solver, Multistep) and not made.notes
        else:
            assert isinstance(made.solver, Euler) and made.values["solver"] == "euler"
            assert made.notes == (
                f"solver euler in place of the model's, multistep: {Multistep().refusal(made.schedule)}",
            )
    assert isinstance(resolved("causal").solver, Euler)


def test_axes_of_the_presets() -> None:
    source = NoiseSource(3)
    assert resolved("streaming").positions == CachePositions()
    assert resolved("rolling-forcing").positions == SinkPositions(1)
    assert isinstance(resolved("rolling-forcing").solver, Renoise)
    noises = {name: type(resolved(name, known=1).noise(source)) for name in PRESETS}
    special = {
        "freenoise": RescheduledNoise,
        "syncos": FixedNoise,
        "ouroboros": CoherentTail,
        "freeinit": FreeInitNoise,
    }
    assert noises == dict.fromkeys(PRESETS, IndependentNoise) | special
    assert resolved(noise="progressive", alpha=2.0).noise(source) == ProgressiveNoise(source, alpha=2.0)
    assert resolved("freenoise").fusion == (3, 1) and resolved("full").fusion is None
    assert resolved("ar-diffusion").causal_block == 1 and resolved("causal").causal_block is None
    assert resolved("causal").prompts((0, 4)) == Timeline((0, 4))
    assert resolved("freenoise").prompts((0, 4)) == BlendedTimeline(starts=(0, 4), frames=9)
    assert resolved("freenoise").prompts((0,)) == Timeline((0,))


@pytest.mark.parametrize(
    ("name", "options", "frames", "cached", "shown", "chunks", "reach"),
    [
        ("full", {}, 9, 0, 9, False, 9),
        ("causal", {}, 9, 3, 1, True, 3),
        ("causal", {"sink": 1, "window": 4}, 30, 5, 1, True, 30),
        ("streaming", {"window": 4}, 30, 5, 1, True, 5),
        ("streaming", {}, 1, 1, 1, False, 1),
        ("rolling-forcing", {}, 9, 3, 2, True, 3),
        ("story", {}, 9, 0, 3, True, 3),
        ("fifo", {}, 9, 0, 3, True, 3),
        ("freenoise", {}, 9, 0, 9, False, 9),
        ("syncos", {}, 9, 0, 3, False, 3),
    ],
)
def test_what_a_pass_shows_and_remembers(
    name: str, options: dict[str, Any], frames: int, cached: int, shown: int, chunks: bool, reach: int
) -> None:
    made = resolved(name, frames=frames, **options)
    assert (made.cache_frames, made.shown_frames, made.in_chunks, made.reach) == (cached, shown, chunks, reach)


FEW = [1.0, 0.9375, 0.625]


def few_step_card() -> ModelCard:
    return replace(a_card(samplers=("causal",)), num_inference_steps=3, solver="renoise", sigmas=FEW)


@pytest.mark.parametrize("scheduler", [EULER, UNIPC])
def test_the_cards_noise_levels_and_solver_come_before_the_schedulers(scheduler: Any) -> None:
    sampling = resolved("causal", card=few_step_card(), scheduler=scheduler)
    assert sampling.table.per_step == tuple(FEW) and sampling.table.told == (0.0, *reversed(FEW))
    assert sampling.solver == Renoise()
    assert sampling.values["sigmas"] == FEW and sampling.values["solver"] == "renoise"


def test_what_is_said_comes_before_the_card() -> None:
    sampling = resolved("causal", card=few_step_card(), solver="euler", sigmas=[0.8, 0.4])
    assert (sampling.table.per_step, sampling.solver) == ((0.8, 0.4), Euler())
    assert resolved("causal", steps=2, sigmas=[0.8, 0.4]).table.num_steps == 2
    assert resolved("causal", card=few_step_card(), steps=3).table.num_steps == 3


@pytest.mark.parametrize(
    ("steps", "options", "said"),
    [
        (4, {}, r"4 steps asked, and model 'tiny' was distilled for 3, at noise levels 1, 0\.9375, 0\.625; leave"),
        (4, {"sigmas": [1.0, 0.5]}, r"sampler\.sigmas has 2 noise levels \(1, 0\.5\), asked for 4 steps"),
        (None, {"sigmas": []}, r"sampler\.sigmas=\[\] is not possible; possible: numbers that fall"),
        (None, {"sigmas": [0.5, 0.5]}, r"numbers that fall, the first at most 1, the last above 0"),
        (None, {"sigmas": [1.01, 0.5]}, "numbers that fall, the first at most 1, the last above 0"),
        (None, {"sigmas": [0.5, 0.0]}, "numbers that fall, the first at most 1, the last above 0"),
    ],
)
def test_noise_levels_that_cannot_be_are_refused(steps: int | None, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        resolved("causal", card=few_step_card(), steps=steps, **options)
