"""From a merged config and a loaded model to a `Job`: every number decided, checked and explained.

A length is rounded up to what the VAE and the schedule allow, and said; every other number that does not fit is refused
with the nearest that do.
"""

import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vgen.config import GenerateConfig, require_prompt, sampler_presets
from vgen.errors import ConfigError, InputError, ModelError
from vgen.images import fit_image, size_for
from vgen.models.load import LoadedModel
from vgen.models.vae import latent_frames, pixel_frames
from vgen.samplers import Euler, Multistep, Pyramid, Renoise, SigmaTable, SinkWindow, Solver
from vgen.sparsity import ATTENTION_KEYS, AttentionSettings, resolve_attention

__all__ = ["RESOLVED_KEYS", "Job", "resolve"]

SOLVERS: dict[str, type[Euler] | type[Multistep] | type[Renoise]] = {
    "euler": Euler,
    "multistep": Multistep,
    "renoise": Renoise,
}
RESOLVED_KEYS = frozenset(
    {
        *(f"request.{name}" for name in ("prompt", "negative_prompt", "seed", "width", "height", "num_frames", "fps")),
        *(f"request.{name}" for name in ("num_inference_steps", "guidance_scale", "fit")),
        *(f"sampler.{name}" for name in ("name", "lag", "block", "window", "sink", "solver", "force")),
        *ATTENTION_KEYS,
    }
)

SEED_BITS = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One clip to make.

    Args:
        prompt, negative_prompt, seed: as resolved.
        image_YX3, fit: the fitted first frame, and how it was fitted; None for text alone.
        height, width: pixels.
        asked_frames: before rounding up.
        num_frames, fps: of the clip.
        latent_shape: channels, rows and columns of a latent frame.
        frames: latent frames.
        guidance_scale: above 1 runs the second branch.
        sampler, force: name of the preset, and whether it may run though the model was not trained for it.
        schedule, table, solver: the sampler's axes; `solver_name` is the solver's in the config.
        policy: which committed frames stay visible; None where nothing is committed to a memory.
        attention: of the model's self-attention.
        notes: what the user should know, one line each.
    """

    prompt: str
    negative_prompt: str
    seed: int
    image_YX3: NDArray[np.uint8] | None
    fit: str | None
    height: int
    width: int
    asked_frames: int
    num_frames: int
    fps: int
    latent_shape: tuple[int, int, int]
    frames: int
    guidance_scale: float
    sampler: str
    force: bool
    schedule: Pyramid
    table: SigmaTable
    solver: Solver
    solver_name: str
    policy: SinkWindow | None
    attention: AttentionSettings
    notes: tuple[str, ...]

    @property
    def known(self) -> int:
        """Latent frames that are clean from the start."""
        return 0 if self.image_YX3 is None else 1

    @property
    def shown_frames(self) -> int:
        """The most latent frames that one step shows."""
        return _in_flight(self.schedule, self.frames)

    @property
    def cache_frames(self) -> int:
        """Latent frames that the key-value cache has room for."""
        return 0 if self.policy is None else min(self.policy.capacity, self.frames)

    def resolved(self) -> dict[str, Any]:
        """Dotted config keys that ask for exactly this job whatever the defaults become.

        Out of RESOLVED_KEYS, and knobs of the attention pattern.
        """
        resolved: dict[str, Any] = {
            "request.prompt": self.prompt,
            "request.negative_prompt": self.negative_prompt,
            "request.seed": self.seed,
            "request.width": self.width,
            "request.height": self.height,
            "request.num_frames": self.num_frames,
            "request.fps": self.fps,
            "request.num_inference_steps": self.table.num_steps,
            "request.guidance_scale": self.guidance_scale,
            "sampler.name": self.sampler,
            "sampler.lag": self.schedule.lag,
            "sampler.solver": self.solver_name,
            "sampler.force": self.force,
        }
        resolved |= self.attention.resolved()
        if self.fit is not None:
            resolved["request.fit"] = self.fit
        if self.policy is not None:
            resolved |= {
                "sampler.block": self.schedule.block,
                "sampler.window": self.policy.window,
                "sampler.sink": self.policy.sink,
            }
        return resolved


def resolve(
    config: GenerateConfig, said: list[str], model: LoadedModel, image_YX3: NDArray[np.uint8] | None = None
) -> Job:
    """Decides everything that the config leaves open, by the model card and the sampler's preset.

    Args:
        config, said: the merged config, and the keys that somebody set.
        model: what will run it.
        image_YX3: the first frame as loaded, any size.

    Raises:
        InputError, ConfigError, ModelError: what was asked cannot be done with this model.
    """
    request, card = config.request, model.card
    notes: list[str] = []
    require_prompt(request.prompt)
    notes += _read_by(model, "prompt", request.prompt)
    if image_YX3 is None and "request.fit" in said:
        raise ConfigError("fit says how an image is fitted, and there is none")
    if image_YX3 is not None and card.image == "none":
        raise ModelError(f"model '{model.id}' makes video from text alone; an image needs one that takes a first frame")
    height, width = _size(config, model, image_YX3)
    steps = request.num_inference_steps or card.num_inference_steps
    fps = request.fps or card.fps
    asked = _asked_frames(config, card.num_frames, fps)
    per_latent = model.vae.config.scale_factor_temporal
    frames, schedule, policy = _schedule(config, model, steps, latent_frames(asked, per_latent))
    num_frames = pixel_frames(frames, per_latent)
    if num_frames != asked:
        why = f"1 + {per_latent} n" + (f" in blocks of {schedule.block} latent frames" if schedule.lag else "")
        notes.append(f"{asked} frames asked, {num_frames} made: lengths are {why}")
    solver_name, solver = _solver(config, model)
    refusal = solver.refusal(schedule)
    if refusal is not None:
        raise ConfigError(f"solver '{solver_name}' cannot run sampler '{config.sampler.name}': {refusal}")
    fitted = None if image_YX3 is None else fit_image(image_YX3, height=height, width=width, fit=request.fit)
    guidance = card.guidance_scale if request.guidance_scale is None else request.guidance_scale
    if request.negative_prompt and guidance <= 1:
        raise ConfigError(f"a negative prompt works through guidance; guidance_scale={guidance:g} is not above 1")
    if request.negative_prompt:
        notes += _read_by(model, "negative prompt", request.negative_prompt)
    table = SigmaTable.from_scheduler(model.scheduler, steps)
    attention, attention_notes = resolve_attention(config.attention, table.per_step, model.dit.config.num_layers)
    notes += attention_notes
    spatial = model.vae.config.scale_factor_spatial
    return Job(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        seed=secrets.randbits(SEED_BITS) if request.seed is None else request.seed,
        image_YX3=fitted,
        fit=None if fitted is None else request.fit,
        height=height,
        width=width,
        asked_frames=asked,
        num_frames=num_frames,
        fps=fps,
        latent_shape=(model.vae.config.z_dim, height // spatial, width // spatial),
        frames=frames,
        guidance_scale=guidance,
        sampler=config.sampler.name,
        force=config.sampler.force,
        schedule=schedule,
        table=table,
        solver=solver,
        solver_name=solver_name,
        policy=policy,
        attention=attention,
        notes=tuple(notes),
    )


def _read_by(model: LoadedModel, which: str, prompt: str) -> list[str]:
    """Notes on how a model reads a prompt; refuses one of which it would see nothing, or not all."""
    prompts, notes = model.prompts, []
    if model.card.closed_vocabulary:
        words, unknown = prompts.unknown_words(prompt)
        if len(unknown) == len(words):
            raise InputError(
                f"model '{model.id}' knows no word of the {which} {prompt!r}; it knows: "
                f"{', '.join(prompts.vocabulary())}. For any other prompt use --model with a folder of an open-domain "
                "model, such as Wan2.1"
            )
        if unknown:
            notes.append(f"{which}: model '{model.id}' does not know these words: {', '.join(dict.fromkeys(unknown))}")
    tokens = prompts.tokens_of(prompt)
    if tokens > prompts.length:
        raise InputError(f"the {which} is {tokens} tokens long, model '{model.id}' reads {prompts.length}; shorten it")
    return notes


def _size(config: GenerateConfig, model: LoadedModel, image_YX3: NDArray[np.uint8] | None) -> tuple[int, int]:
    request, card = config.request, model.card
    grid = model.vae.config.scale_factor_spatial * model.dit.config.patch_size[1]
    if (request.height is None) != (request.width is None):
        raise ConfigError("height and width go together; give both, or neither")
    if request.height is not None and request.width is not None:
        for name, value in (("height", request.height), ("width", request.width)):
            if value % grid:
                below = value // grid * grid
                near = " or ".join(str(v) for v in (below, below + grid) if v > 0)
                raise InputError(
                    f"{name} {value} is no multiple of {grid}, the grid of model '{model.id}'; nearest: {near}"
                )
        return request.height, request.width
    if image_YX3 is not None:
        return size_for(image_YX3, area_px=card.height * card.width, grid_px=grid)
    return card.height, card.width


def _asked_frames(config: GenerateConfig, native: int, fps: int) -> int:
    request = config.request
    if request.seconds is not None:
        return max(1, int(np.ceil(round(request.seconds * fps, 6))))
    return native if request.num_frames is None else request.num_frames


def _schedule(
    config: GenerateConfig, model: LoadedModel, steps: int, frames: int
) -> tuple[int, Pyramid, SinkWindow | None]:
    """Latent frames after rounding up to whole blocks, the schedule, and the policy of its memory."""
    sampler, card = config.sampler, model.card
    preset = sampler_presets()[sampler.name]

    def setting(name: str, default: Any) -> Any:
        said = getattr(sampler, name)
        return preset.get(f"sampler.{name}", default) if said is None else said

    lag = setting("lag", 0)
    lag = steps if lag == "num_steps" else lag
    if lag > steps:
        raise ConfigError(f"sampler.lag is at most the number of steps, {steps}, got {lag}")
    for name in dict.fromkeys((sampler.name, "causal" if lag else "full")):  # a lag makes causal what is named full
        if name not in card.samplers and not sampler.force:
            raise ModelError(
                f"model '{model.id}' was not trained for sampler '{name}'; possible: {', '.join(card.samplers)} "
                "(--force-sampler runs it all the same)"
            )
    if lag == 0:
        unused = [n for n in ("block", "window", "sink") if getattr(sampler, n) is not None]
        if unused:
            raise ConfigError(f"sampler.{unused[0]} has no meaning where all frames fall together (lag 0)")
        return frames, Pyramid(num_steps=steps, lag=0, block=frames), None
    block = setting("block", card.causal_block)
    policy = SinkWindow(window=setting("window", card.trained_window), sink=setting("sink", 0))
    frames = -(-frames // block) * block
    schedule = Pyramid(num_steps=steps, lag=lag, block=block)
    if policy.window < _in_flight(schedule, frames):
        raise ConfigError(
            f"sampler.window={policy.window} is smaller than the {_in_flight(schedule, frames)} latent frames "
            f"that a step shows (blocks of {block}, lag {lag} of {steps})"
        )
    return frames, schedule, policy


def _in_flight(schedule: Pyramid, frames: int) -> int:
    """The most latent frames between pure noise and clean at once."""
    blocks = frames // schedule.block
    at_most = blocks if schedule.lag == 0 else -(-schedule.num_steps // schedule.lag)
    return min(blocks, at_most) * schedule.block


def _solver(config: GenerateConfig, model: LoadedModel) -> tuple[str, Solver]:
    """The solver that was asked for, or that the folder's scheduler stands for."""
    usual = "multistep" if type(model.scheduler).__name__ == "UniPCMultistepScheduler" else "euler"
    name = config.sampler.solver or usual
    if name == "multistep":
        options = model.scheduler.config
        return name, Multistep(
            order=options.get("solver_order", 2), lower_order_final=options.get("lower_order_final", True)
        )
    return name, SOLVERS[name]()
