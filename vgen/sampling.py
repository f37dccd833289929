"""From a config's sampler group to the five axes of a rollout.

A preset is a row: it says the value of some options, and the axes that it names decide which options mean anything.
What is said and not used is refused. Numbers of frames may be written by what the model card knows: see WORDS.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from vgen.errors import ConfigError, ModelError
from vgen.models.card import ModelCard
from vgen.presets import sampler_presets
from vgen.samplers import (
    BlendedTimeline,
    CachePositions,
    Capped,
    CoherentTail,
    Euler,
    FixedNoise,
    FrameSchedule,
    FreeInitNoise,
    IndependentNoise,
    LowPass,
    Multistep,
    NoisePolicy,
    NoiseSource,
    PositionScheme,
    ProgressiveNoise,
    PromptSchedule,
    Pyramid,
    Queue,
    Renoise,
    Repeated,
    RescheduledNoise,
    SigmaTable,
    SinkPositions,
    SinkWindow,
    Solver,
    Timeline,
    Trapezoid,
)
from vgen.schema import SamplerConfig, sigmas_problem

__all__ = ["SAMPLER_KEYS", "Sampling", "resolve_sampling"]

SOLVERS: dict[str, type[Euler] | type[Multistep] | type[Renoise]] = {
    "euler": Euler,
    "multistep": Multistep,
    "renoise": Renoise,
}
SAMPLER_KEYS = frozenset(f"sampler.{item.name}" for item in fields(SamplerConfig))
# word for a number of latent frames -> how many a model card says they are
WORDS: dict[str, Callable[[ModelCard], int]] = {
    "block": lambda card: card.causal_block,
    "third": lambda card: max(1, card.trained_window // 3),
    "trained": lambda card: card.trained_window,
    "trained-block": lambda card: card.causal_block * max(1, card.trained_window // card.causal_block - 1),
}
_NO_AXIS = ("name", "force")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """A sampler for one clip, every value decided.

    Args:
        name, force: of the preset, and whether it may run though the model was not trained for it.
        values: what the axes were made from, by option; enough to make them again.
        frames: latent frames, after rounding up.
        schedule, table, solver, policy: the axes, as `Rollout` takes them.
        positions: where the model takes visible frames to stand; None is their own index.
        causal_block: frames per block of a block-causal mask; all shown frames see each other where None.
        notes: what the user should know, one line each.
    """

    name: str
    force: bool
    values: dict[str, Any]
    frames: int
    schedule: FrameSchedule
    table: SigmaTable
    solver: Solver
    policy: SinkWindow | None
    positions: PositionScheme | None
    causal_block: int | None
    notes: tuple[str, ...] = ()

    @property
    def decay(self) -> float:
        """Rate of a bias against far frames; 0 is none."""
        return float(self.values.get("decay", 0.0))

    @property
    def fusion(self) -> tuple[int, int] | None:
        """Window and stride of windows that attention is fused over; none where None."""
        return (self.values["window"], self.values["stride"]) if self.values.get("fusion") else None

    @property
    def windows(self) -> str | None:
        """How windows are put together that the model sees one by one: `mean`, `newest` or `coupled`."""
        return self.values.get("windows")

    @property
    def repeat(self) -> int | None:
        """Latent frame at which the model's clips repeat, for RIFLEx; none where None."""
        return self.values.get("riflex")

    @property
    def cache_frames(self) -> int:
        """Latent frames that a key-value cache has room for; 0 where there is none."""
        if self.policy is None or self.policy.memory != "kv":
            return 0
        return min(self.policy.capacity, self.frames)

    @property
    def latents_held(self) -> int:
        """The most latent frames that are at hand at once, under way or remembered as latents."""
        under_way = self.schedule.in_flight(self.frames)
        if self.policy is None:
            return under_way
        return min(under_way + self.policy.sink + self.policy.retained, self.frames)

    @property
    def whole(self) -> bool:
        """Whether all frames fall together, none are remembered, and none stand outside the clip."""
        return self.schedule.uniform and self.policy is None and not self.in_chunks

    @property
    def in_chunks(self) -> bool:
        """Whether frames are finished before the last of them is begun."""
        return self.schedule.in_flight(self.frames) < self.frames

    @property
    def shown_frames(self) -> int:
        """The most latent frames that one pass of the model shows."""
        if self.windows is not None:
            return min(int(self.values["window"]), self.frames)
        shown = self.schedule.in_flight(self.frames)
        if self.policy is not None and self.policy.memory == "refeed":
            shown = min(max(shown, self.policy.capacity), self.frames)
        return shown

    @property
    def reach(self) -> int:
        """Latent frames from the first position to the last that one pass of the model sees."""
        if self.policy is None:
            return self.shown_frames
        held = self.policy.sink > 0 and self.positions is None
        return self.frames if held else min(self.policy.capacity, self.frames)

    def noise(self, source: NoiseSource) -> NoisePolicy:
        """Axis 3, over the seed's source."""
        values, independent = self.values, IndependentNoise(source)
        match values.get("noise", "independent"):
            case "rescheduled":
                return RescheduledNoise(source=source, window=values["window"], stride=values["stride"])
            case "progressive":
                return ProgressiveNoise(source, alpha=values["alpha"])
            case "fixed":
                return FixedNoise(source)
            case "coherent_tail":
                return CoherentTail(independent, LowPass(space=values["cutoff"], time=None))
            case "freeinit":
                return FreeInitNoise(inner=independent, low_pass=LowPass(space=values["cutoff"], time=values["cutoff"]))
            case _:
                return independent

    def prompts(self, starts: tuple[int, ...]) -> PromptSchedule:
        """Axis 5: prompts that begin at these latent frames."""
        if self.values.get("transition") == "blend" and len(starts) > 1:
            return BlendedTimeline(starts=starts, frames=self.frames)
        return Timeline(starts)

    def resolved(self) -> dict[str, Any]:
        """Dotted config keys that ask for exactly this."""
        said = {f"sampler.{name}": value for name, value in self.values.items()}
        return {"sampler.name": self.name, "sampler.force": self.force} | said


def resolve_sampling(
    config: SamplerConfig, card: ModelCard, scheduler: Any, *, steps: int | None, frames: int, known: int, model: str
) -> Sampling:
    """Decides what the config leaves open, by its preset and the model card, and checks it.

    Args:
        config: the sampler group.
        card: of the model.
        scheduler: the folder's, for the sigma table and the usual solver where neither config nor card has one.
        steps: noise levels; the card's where None.
        frames: latent frames that hold what was asked for; rounded up to what the schedule allows.
        known: latent frames that are clean from the start.
        model: for messages.

    Raises:
        ConfigError: an option that the preset does not use, or a value that is not possible.
        ModelError: the model was not trained for it.
    """
    presets = sampler_presets()
    sigmas = _sigmas(config, card, steps, model)
    steps = len(sigmas) if sigmas else steps or card.num_inference_steps
    options = _Options(config, presets[config.name], card, steps)
    if options.needs not in card.samplers and not config.force:
        able = sorted(name for name, row in presets.items() if row["sampler.needs"] in card.samplers)
        how = f" with lag {config.lag}" if config.lag is not None else ""
        raise ModelError(
            f"model '{model}' was not trained for sampler '{config.name}'{how}; possible: {', '.join(able)} "
            "(--force-sampler runs it all the same)"
        )
    table = SigmaTable.from_scheduler(scheduler, steps) if sigmas is None else SigmaTable.of((0.0, *reversed(sigmas)))
    options.get("sigmas", sigmas)
    policy, positions, mask = _context(options)
    schedule, frames = _schedule(options, policy, table, frames, known)
    if options.get("fusion"):
        options.use_windows()
    _windows(options, schedule)
    _noise(options)
    solver, notes = _solver(options, scheduler, schedule)
    for name in ("decay", "riflex", "transition"):
        options.get(name)
    options.refuse_unused()
    return Sampling(
        name=config.name,
        force=config.force,
        values=options.taken,
        frames=frames,
        schedule=schedule,
        table=table,
        solver=solver,
        policy=policy,
        positions=positions,
        causal_block=mask,
        notes=notes,
    )


def _sigmas(config: SamplerConfig, card: ModelCard, steps: int | None, model: str) -> list[float] | None:
    """Noise levels of the steps, falling: those that were said, else the card's; None leaves them to the scheduler."""
    sigmas = config.sigmas if config.sigmas is not None else card.sigmas or None
    if sigmas is None:
        return None
    problem = sigmas_problem(sigmas)
    if problem is not None:
        raise ConfigError(f"sampler.sigmas={sigmas} is not possible; {problem}")
    if steps in (None, len(sigmas)):
        return sigmas
    levels = ", ".join(f"{sigma:.4g}" for sigma in sigmas)
    if config.sigmas is not None:
        raise ConfigError(f"sampler.sigmas has {len(sigmas)} noise levels ({levels}), asked for {steps} steps")
    raise ConfigError(
        f"{steps} steps asked, and model '{model}' was distilled for {len(sigmas)}, at noise levels {levels}; leave "
        "num_inference_steps out, or say sampler.sigmas"
    )


@dataclass(slots=True)
class _Options:
    """A preset with what was said on top; knows what was taken from it."""

    config: SamplerConfig
    preset: dict[str, Any]
    card: ModelCard
    steps: int
    taken: dict[str, Any] = field(default_factory=dict)

    @property
    def needs(self) -> str:
        """What a model must be trained for: of the preset, unless schedule or lag ask for more."""
        needs, schedule, lag = str(self.preset["sampler.needs"]), self._raw("schedule"), self._raw("lag")
        if schedule == "capped":
            return "forcing"
        if schedule not in (None, "pyramid", "trapezoid") or lag in (None, 0):
            return needs
        if lag == "num_steps" or (isinstance(lag, int) and lag >= self.steps):
            return "causal" if needs == "full" else needs
        return "forcing"

    @property
    def remembers(self) -> bool:
        """Whether there are finished frames to look back on while others are under way."""
        staggered = self._raw("lag") not in (None, 0) or self._raw("clip") is not None
        return self._raw("schedule") in (None, "pyramid") and staggered

    def get(self, name: str, default: Any = None) -> Any:
        """An option, which thereby counts as used."""
        value = self._raw(name)
        value = default if value is None else value
        if value is not None:
            self.taken[name] = value
        return value

    def frames(self, name: str, default: int | str | None = None) -> int:
        """An option that is a number of latent frames, or a word for one."""
        if isinstance(self.taken.get(name), int):  # decided once
            return int(self.taken[name])
        value = self._raw(name)
        value = default if value is None else value
        value = WORDS[value](self.card) if isinstance(value, str) else value
        assert isinstance(value, int), f"preset '{self.config.name}' needs {name}, got {value!r}"
        self.taken[name] = value
        return value

    def use_windows(self) -> tuple[int, int]:
        """Latent frames of a window, and from one to the next."""
        window, stride = self.frames("window", "trained"), self.frames("stride", "third")
        if stride > window:
            raise ConfigError(
                f"sampler.stride={stride} leaves gaps between windows of {window}; possible: 1 to {window}"
            )
        return window, stride

    def refuse_unused(self) -> None:
        """Refuses what was said and had no use."""
        for item in fields(SamplerConfig):
            if item.name in _NO_AXIS or getattr(self.config, item.name) is None or item.name in self.taken:
                continue
            used = sorted({*self.taken} - {"schedule"})
            raise ConfigError(
                f"sampler.{item.name} means nothing to sampler '{self.config.name}' as it is set; "
                f"it uses: {', '.join(used)}"
            )

    def _raw(self, name: str) -> Any:
        said = getattr(self.config, name)
        return self.preset.get(f"sampler.{name}") if said is None else said


def _context(options: _Options) -> tuple[SinkWindow | None, PositionScheme | None, int | None]:
    """Axis 2: policy, positions, and the mask among shown frames."""
    staggered = options.get("schedule", "pyramid") == "pyramid" and options.get("lag", 0) != 0
    block = options.frames("block", "block") if staggered else 1
    mask = block if options.get("mask", "full") == "causal" else None
    memory: Any = options.get("memory", "kv" if staggered else "none") if options.remembers else "none"
    if memory == "none":
        return None, None, mask
    sink = options.frames("sink", 0)
    policy = SinkWindow(
        window=_window(options, sink),
        sink=sink,
        memory=memory,
        noise=options.get("context_noise", 0.0),
        told=options.get("context_label"),
        on_prompt=options.get("on_prompt", "keep"),
        block=block,
    )
    positions: dict[str, PositionScheme | None] = {
        "absolute": None,
        "cache": CachePositions(),
        "sink": SinkPositions(sink),
    }
    return policy, positions[options.get("positions", "absolute")], mask


def _window(options: _Options, sink: int) -> int:
    """Frames in sight behind the sink; by default as many as leave the whole within what was trained."""
    if options.get("window") is None:
        window = options.card.trained_window - sink
        if window < 1:
            raise ConfigError(
                f"sampler.sink={sink} leaves no window: the model was trained on {options.card.trained_window} latent "
                "frames; say sampler.window to go beyond"
            )
        options.taken["window"] = window
        return window
    return options.frames("window")


def _schedule(
    options: _Options, policy: SinkWindow | None, table: SigmaTable, frames: int, known: int
) -> tuple[FrameSchedule, int]:
    """Axis 1, and the latent frames after rounding up."""
    steps, name = options.steps, options.get("schedule", "pyramid")
    if name == "queue":
        window = options.frames("window", "trained")
        lookahead = bool(options.get("lookahead", True))
        primer = bool(options.get("primer", True)) and known < window
        return Queue(num_steps=steps, window=window, lookahead=lookahead, primer=primer), frames
    if name == "capped":
        return _capped(options, table, frames, known), frames
    if name == "repeated":
        return Repeated(num_steps=steps, passes=options.get("passes", 3), fast=bool(options.get("fast"))), frames
    lag = _lag(options, policy)
    if name == "trapezoid":
        return Trapezoid(num_steps=steps, lag=lag), frames
    return _pyramid(options, policy, lag, frames)


def _pyramid(options: _Options, policy: SinkWindow | None, lag: int, frames: int) -> tuple[FrameSchedule, int]:
    clip = options.get("clip")
    if lag == 0 and clip is None:
        return Pyramid(num_steps=options.steps, lag=0, block=frames), frames
    block = options.frames("block", "block") if lag else 1
    if clip is not None:
        clip = options.frames("clip")
        if clip % block:
            near = " or ".join(str(n) for n in (clip // block * block, -(-clip // block) * block) if n)
            raise ConfigError(f"sampler.clip={clip} is no multiple of sampler.block={block}; nearest: {near}")
    frames = -(-frames // block) * block
    ahead = (clip or (policy.window if policy else 0)) if lag and options.get("ahead") else 0
    schedule = Pyramid(num_steps=options.steps, lag=lag, block=block, clip=clip, ahead=ahead // block * block)
    if policy is not None and policy.window < schedule.in_flight(frames):
        raise ConfigError(
            f"sampler.window={policy.window} is smaller than the {schedule.in_flight(frames)} latent frames that a "
            f"step shows (blocks of {block}, lag {lag} of {options.steps})"
        )
    return schedule, frames


def _lag(options: _Options, policy: SinkWindow | None) -> int:
    """The lag in steps; `window` is the least that keeps all unfinished frames in sight."""
    steps, lag = options.steps, options.get("lag", 0)
    if lag == "num_steps":
        lag = steps
    elif lag == "window":
        block = int(options.taken.get("block", 1))
        window = policy.window if policy else options.card.trained_window
        if window < block:
            raise ConfigError(f"sampler.window={window} is smaller than a block of {block}")
        lag = -(-steps // (window // block))
    if not 0 <= lag <= steps:
        raise ConfigError(f"sampler.lag is 0 to the number of steps, {steps}, got {lag}")
    options.taken["lag"] = lag
    return int(lag)


def _capped(options: _Options, table: SigmaTable, frames: int, known: int) -> Capped:
    caps = options.get("caps", [])
    if not known and caps:
        raise ConfigError(f"sampler '{options.config.name}' starts from a picture; give --image or --extend")
    if list(caps) != sorted(caps) or not all(0 <= cap <= 1 for cap in caps):
        raise ConfigError(f"sampler.caps are rising sigmas within 0..1, got {list(caps)}")
    if known + len(caps) >= frames:
        raise ConfigError(
            f"a ramp of {len(caps)} latent frames behind {known} known ones needs more than {frames} in all; "
            "ask for a longer clip or fewer sampler.caps"
        )
    levels = (max(level for level, sigma in enumerate(table.sigmas) if sigma <= cap) for cap in caps)
    return Capped(num_steps=options.steps, caps=tuple(levels))


def _windows(options: _Options, schedule: FrameSchedule) -> None:
    """Takes what windows that the model sees one by one will need."""
    windows = options.get("windows")
    if windows is None:
        return
    together = isinstance(schedule, Pyramid) and schedule.lag == 0 and schedule.clip is None
    if not together or options.get("fusion"):
        raise ConfigError(
            f"sampler.windows={windows} needs frames that fall together: lag 0, no sampler.clip, no sampler.fusion"
        )
    options.use_windows()
    if windows == "coupled":
        options.get("iterations", 1)
        options.get("rate", 0.5)


def _noise(options: _Options) -> None:
    """Takes what the noise policy will need."""
    name = options.get("noise", "independent")
    if name == "rescheduled":
        options.use_windows()
    elif name == "progressive":
        options.get("alpha", 1.0)
    elif name in ("coherent_tail", "freeinit"):
        options.get("cutoff", 0.25)


def _solver(options: _Options, scheduler: Any, schedule: FrameSchedule) -> tuple[Solver, tuple[str, ...]]:
    """The solver that was asked for, else the model's where it can run, else euler; and notes.

    The model's is that of its card, else of the folder's scheduler.
    """
    usual = "multistep" if type(scheduler).__name__ == "UniPCMultistepScheduler" else "euler"
    own = options.card.solver or usual
    asked = options.get("solver")
    solver = _make_solver(asked or own, scheduler)
    refusal = solver.refusal(schedule)
    if refusal is None:
        options.get("solver", own)
        return solver, ()
    if asked is not None:
        raise ConfigError(f"solver '{asked}' cannot run sampler '{options.config.name}': {refusal}")
    options.get("solver", "euler")
    return Euler(), (f"solver euler in place of the model's, {own}: {refusal}",)


def _make_solver(name: str, scheduler: Any) -> Solver:
    if name != "multistep":
        return SOLVERS[name]()
    config = scheduler.config
    return Multistep(order=config.get("solver_order", 2), lower_order_final=config.get("lower_order_final", True))
