"""From a merged config and a loaded model to a `Job`: every number decided, checked and explained.

A length is rounded up to what the VAE and the schedule allow, and said; every other number that does not fit is refused
with the nearest that do.
"""

import itertools
import operator
import secrets
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vgen.clip import Clip
from vgen.errors import ConfigError, InputError
from vgen.images import fit_image, size_for
from vgen.layouts import check_images, check_whole, flow_shift_of, guidance_of, interval_of
from vgen.models.loaded import AnyModel, LoadedModel
from vgen.models.schedulers import with_shift
from vgen.models.vae import latent_frames
from vgen.sampling import SAMPLER_KEYS, Sampling, resolve_sampling
from vgen.schema import GenerateConfig, RequestConfig, SearchConfig
from vgen.sparsity import ATTENTION_KEYS, AttentionSettings, resolve_attention
from vgen.step_cache import STEP_CACHE_KEYS, StepCaching, resolve_step_cache
from vgen.story import frames_in, latent_starts, read_by, story_of

__all__ = ["RESOLVED_KEYS", "SEED_BITS", "Job", "asked_frames", "resolve", "size_of"]

RESOLVED_KEYS = frozenset(
    {
        *(f"request.{name}" for name in ("prompt", "negative_prompt", "seed", "width", "height", "num_frames", "fps")),
        *(f"request.{name}" for name in ("num_inference_steps", "guidance_scale", "guidance_scale_2", "flow_shift")),
        *(f"request.{name}" for name in ("fit", "story", "guidance_interval")),
        *SAMPLER_KEYS,
        *ATTENTION_KEYS,
        *STEP_CACHE_KEYS,
        "model.quantization",
        *(f"search.{name}" for name in ("redo", "rules")),
        *(f"performance.{name}" for name in ("mode", "offload", "storage", "vae_tiling", "keep_text_encoder")),
        *(f"performance.{name}" for name in ("compile", "cuda_graphs")),
    }
)

SEED_BITS = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One clip to make.

    Args:
        prompts: as resolved, in the order in which they are seen.
        starts_s: when each begins, in seconds of what is made; the first 0.
        starts: the same in latent frames of the rollout.
        negative_prompt, seed: as resolved.
        image_YX3, last_image_YX3: the first and the last frame, fitted; None where none is given.
        fit: how they were fitted.
        base: a clip to go on from; None for a new one.
        height, width: pixels.
        asked_frames: to be made, before rounding up.
        num_frames, fps: of the clip, those of `base` included.
        latent_shape: channels, rows and columns of a latent frame.
        known: latent frames that are clean from the start.
        guidance_scale: above 1 runs the second branch.
        guidance_scale_2: the same for the expert for low noise; None where there is one transformer.
        guidance_interval: of noise levels at which the second branch runs, the lower end not one; all where None.
        flow_shift: of the sigma table.
        sampling: in which order frames lose their noise.
        attention: of the model's self-attention.
        step_cache: which blocks are skipped between steps.
        search: whether the judge looks on; its rules are names.
        notes: what the user should know, one line each.
    """

    prompts: tuple[str, ...]
    starts_s: tuple[float, ...]
    starts: tuple[int, ...]
    negative_prompt: str
    seed: int
    image_YX3: NDArray[np.uint8] | None
    last_image_YX3: NDArray[np.uint8] | None
    fit: str | None
    base: Clip | None
    height: int
    width: int
    asked_frames: int
    num_frames: int
    fps: int
    latent_shape: tuple[int, int, int]
    known: int
    guidance_scale: float
    guidance_scale_2: float | None
    guidance_interval: tuple[float, float] | None
    flow_shift: float
    sampling: Sampling
    attention: AttentionSettings
    step_cache: StepCaching
    search: SearchConfig
    notes: tuple[str, ...]

    @property
    def prompt(self) -> str:
        """The first prompt, which names the clip."""
        return self.prompts[0]

    @property
    def frames(self) -> int:
        """Latent frames of the rollout, known ones included."""
        return self.sampling.frames

    @property
    def guided(self) -> bool:
        """Whether any step runs the second branch."""
        return max(self.guidance_scale, self.guidance_scale_2 or 0) > 1

    @property
    def sampler(self) -> str:
        """Its name."""
        return self.sampling.name

    @property
    def in_chunks(self) -> bool:
        """Whether frames are finished before the last of them is begun."""
        return self.sampling.in_chunks

    @property
    def levels(self) -> tuple[float, ...]:
        """Noise level of each step, falling."""
        return self.sampling.table.per_step

    @property
    def num_steps(self) -> int:
        """Noise levels."""
        return self.sampling.table.num_steps

    def resolved(self) -> dict[str, Any]:
        """Dotted config keys that ask for exactly this job whatever the defaults become.

        Out of RESOLVED_KEYS, and knobs of the attention pattern.
        """
        story = [{"at": at, "prompt": prompt} for at, prompt in zip(self.starts_s, self.prompts, strict=True)]
        words: dict[str, Any] = {"request.prompt": self.prompt} if len(story) == 1 else {"request.story": story}
        resolved = words | {
            "request.negative_prompt": self.negative_prompt,
            "request.seed": self.seed,
            "request.width": self.width,
            "request.height": self.height,
            "request.num_frames": self.num_frames - (0 if self.base is None else len(self.base.frames)),
            "request.fps": self.fps,
            "request.num_inference_steps": self.num_steps,
            "request.guidance_scale": self.guidance_scale,
            "request.flow_shift": self.flow_shift,
        }
        if self.guidance_scale_2 is not None:
            resolved["request.guidance_scale_2"] = self.guidance_scale_2
        if self.guidance_interval is not None:
            resolved["request.guidance_interval"] = list(self.guidance_interval)
        resolved |= self.sampling.resolved() | self.attention.resolved() | self.step_cache.resolved()
        if self.fit is not None:
            resolved["request.fit"] = self.fit
        if self.search.redo:
            resolved |= {f"search.{name}": getattr(self.search, name) for name in ("redo", "rules")}
        return resolved

    def seen(self, per_latent: int) -> list[dict[str, Any]]:
        """Which frames saw which prompt, for the record: [first, last] of latent frames and of the clip's frames.

        A prompt that turns `into` the next has rows of its own, and so has what the `early_layers` see in its place.
        """
        first = 0 if self.base is None else self.known
        cues = self.sampling.prompts(self.starts).cues(range(first, self.frames), 1.0)
        rows = []
        for sources, alike in itertools.groupby(cues, key=operator.attrgetter("prompt", "other", "early")):
            stop = first + len(tuple(alike))
            named = {
                name: self.prompts[index]
                for name, index in zip(("prompt", "into", "early_layers"), sources, strict=True)
                if index is not None
            }
            frames = [self._first_frame(first, per_latent), self._first_frame(stop, per_latent) - 1]
            rows.append(named | {"latent_frames": [first, stop - 1], "frames": frames})
            first = stop
        return rows

    def _first_frame(self, latent: int, per_latent: int) -> int:
        """Index in the clip of the first frame that a latent frame decodes to."""
        ahead = 0 if self.base is None else len(self.base.frames) - (1 + per_latent * (self.known - 1))
        return ahead + (0 if latent == 0 else 1 + per_latent * (latent - 1))


def resolve(
    config: GenerateConfig,
    said: list[str],
    model: LoadedModel,
    image_YX3: NDArray[np.uint8] | None = None,
    base: Clip | None = None,
    last_image_YX3: NDArray[np.uint8] | None = None,
) -> Job:
    """Decides everything that the config leaves open, by the model card and the sampler's preset.

    Args:
        config, said: the merged config, and the keys that somebody set.
        model: what will run it.
        image_YX3: the first frame as loaded, any size.
        base: a clip to go on from.
        last_image_YX3: the last frame as loaded, any size.

    Raises:
        InputError, ConfigError, ModelError: what was asked cannot be done with this model.
    """
    request = config.request
    prompts, starts_s = story_of(config)
    notes = [note for prompt in prompts for note in read_by(model, "prompt", prompt)]
    _check_pictures(said, model, image_YX3, last_image_YX3, base)
    height, width = size_of(config, model, image_YX3, base)
    shift, shift_notes = flow_shift_of(request, model, height=height, width=width)
    known = _known(model, image_YX3, base)
    length = _length(config, said, model, base=base, known=known, flow_shift=shift)
    sampling = length.sampling
    check_whole(model, sampling, last_image_YX3 is not None)
    starts = _starts(starts_s, model, length, offset=0 if base is None else known)
    fitted, last = (
        None if picture is None else fit_image(picture, height=height, width=width, fit=request.fit)
        for picture in (image_YX3, last_image_YX3)
    )
    guidance, guidance_2, negative_notes = _guidance(request, model)
    attention, attention_notes = resolve_attention(
        config.attention, sampling.table.per_step, model.dit.config.num_layers
    )
    spatial = model.vae.config.scale_factor_spatial
    return Job(
        prompts=prompts,
        starts_s=starts_s,
        starts=starts,
        negative_prompt=request.negative_prompt,
        seed=secrets.randbits(SEED_BITS) if request.seed is None else request.seed,
        image_YX3=fitted,
        last_image_YX3=last,
        fit=None if fitted is None else request.fit,
        base=base,
        height=height,
        width=width,
        asked_frames=length.asked,
        num_frames=length.made + (0 if base is None else len(base.frames)),
        fps=length.fps,
        latent_shape=(model.vae.config.z_dim, height // spatial, width // spatial),
        known=known,
        guidance_scale=guidance,
        guidance_scale_2=guidance_2,
        guidance_interval=interval_of(config, max(guidance, guidance_2 or 0) > 1, sampling.table.per_step),
        flow_shift=shift,
        sampling=sampling,
        attention=attention,
        step_cache=resolve_step_cache(config.step_cache, sampling, known, model),
        search=config.search,
        notes=(*notes, *length.notes, *negative_notes, *shift_notes, *sampling.notes, *attention_notes),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Length:
    """How long a clip becomes, and how it is sampled, which decides that too.

    Args:
        fps: frames per second.
        asked: frames to be made, before rounding up.
        made: frames that are made, those of a clip that is gone on from not among them.
        sampling: in which order they lose their noise.
        notes: what the user should know, one line each.
    """

    fps: int
    asked: int
    made: int
    sampling: Sampling
    notes: tuple[str, ...]


def _length(
    config: GenerateConfig, said: list[str], model: LoadedModel, *, base: Clip | None, known: int, flow_shift: float
) -> _Length:
    """The frames that are asked for, rounded up to what the VAE and the schedule allow."""
    card, per_latent = model.card, model.vae.config.scale_factor_temporal
    fps = _fps(config, card.fps, base)
    asked = asked_frames(config, card.num_frames, fps)
    usual = None if "sampler.name" in said else card.sampler
    sampling = resolve_sampling(
        config.sampler if usual is None else replace(config.sampler, name=usual),
        card,
        with_shift(model.scheduler, flow_shift),
        steps=config.request.num_inference_steps,
        frames=latent_frames(asked, per_latent) if base is None else known + -(-asked // per_latent),
        known=known,
        model=model.id,
    )
    notes = []
    made = per_latent * (sampling.frames - known) if base is not None else 1 + per_latent * (sampling.frames - 1)
    if made != asked:
        why = f"{'' if base is not None else '1 + '}{per_latent} n"
        block = sampling.values.get("block", 1)
        why += f" in blocks of {block} latent frames" if block > 1 else ""
        notes.append(f"{asked} frames asked, {made} made: lengths are {why}")
    return _Length(fps=fps, asked=asked, made=made, sampling=sampling, notes=tuple(notes))


def _starts(starts_s: tuple[float, ...], model: LoadedModel, length: _Length, *, offset: int) -> tuple[int, ...]:
    """The latent frame at which each prompt begins; refuses one that nothing would be seen of."""
    starts = latent_starts(starts_s, length.fps, model.vae.config.scale_factor_temporal, offset=offset)
    if starts[-1] >= length.sampling.frames:
        ends_s = length.made / length.fps
        raise InputError(f"the last prompt starts at {starts_s[-1]:g} s, and the clip ends at {ends_s:g} s")
    return starts


def _check_pictures(
    said: list[str],
    model: LoadedModel,
    image_YX3: NDArray[np.uint8] | None,
    last_image_YX3: NDArray[np.uint8] | None,
    base: Clip | None,
) -> None:
    """Refuses two beginnings, a fit of nothing, and what the model does not take."""
    if image_YX3 is None and "request.fit" in said:
        raise ConfigError("fit says how an image is fitted, and there is none")
    if image_YX3 is not None and base is not None:
        raise ConfigError("an image and a clip to go on from both say how it begins; give one of them")
    check_images(model, image_YX3, last_image_YX3, base)


def _guidance(request: RequestConfig, model: LoadedModel) -> tuple[float, float | None, list[str]]:
    """The guidance scales of the first and the second transformer, and notes on the prompt that they lead away from."""
    first, second = guidance_of(request, model)
    if not request.negative_prompt:
        return first, second, []
    if max(first, second or 0) <= 1:
        raise ConfigError(f"a negative prompt works through guidance; guidance_scale={first:g} is not above 1")
    return first, second, read_by(model, "negative prompt", request.negative_prompt)


def _known(model: LoadedModel, image_YX3: NDArray[np.uint8] | None, base: Clip | None) -> int:
    """Latent frames that are given: an image's one, or the end of a clip as far as a model was trained to see."""
    if base is None:
        return 1 if image_YX3 is not None and model.card.image == "first_latent" else 0
    per_latent = model.vae.config.scale_factor_temporal
    whole = 1 + (len(base.frames) - 1) // per_latent
    return min(whole, max(1, model.card.trained_window - model.card.causal_block))


def _fps(config: GenerateConfig, usual: int, base: Clip | None) -> int:
    """Frames per second; a clip that goes on keeps its own."""
    if base is None:
        return config.request.fps or usual
    if base.fps != round(base.fps):
        raise InputError(f"the clip to go on from has {base.fps:g} fps; possible: a whole number of frames per second")
    if config.request.fps not in (None, base.fps):
        raise ConfigError(f"the clip to go on from has {base.fps:g} fps, asked for {config.request.fps}; leave fps out")
    return round(base.fps)


def size_of(
    config: GenerateConfig, model: AnyModel, image_YX3: NDArray[np.uint8] | None, base: Clip | None = None
) -> tuple[int, int]:
    """Height and width of the frames: as asked for, or of the clip, or the model's own at the image's aspect.

    Raises:
        InputError, ConfigError: off the model's grid, or one without the other.
    """
    request, card = config.request, model.card
    if base is not None:
        height, width = base.frames.shape[1:3]
        if (request.height or height, request.width or width) != (height, width):
            raise ConfigError(f"the clip to go on from is {width}x{height}, asked for {request.width}x{request.height}")
        _on_grid(model, height, width)
        return height, width
    if (request.height is None) != (request.width is None):
        raise ConfigError("height and width go together; give both, or neither")
    if request.height is not None and request.width is not None:
        _on_grid(model, request.height, request.width)
        return request.height, request.width
    if image_YX3 is not None:
        return size_for(image_YX3, area_px=card.height * card.width, grid_px=model.grid_px)
    return card.height, card.width


def _on_grid(model: AnyModel, height: int, width: int) -> None:
    grid = model.grid_px
    for name, value in (("height", height), ("width", width)):
        if value % grid:
            below = value // grid * grid
            near = " or ".join(str(v) for v in (below, below + grid) if v > 0)
            raise InputError(
                f"{name} {value} is no multiple of {grid}, the grid of model '{model.id}'; nearest: {near}"
            )


def asked_frames(config: GenerateConfig, native: int, fps: int) -> int:
    """Frames that are asked for, before rounding; `native` where no length is said."""
    request = config.request
    if request.seconds is not None:
        return max(1, frames_in(request.seconds, fps))
    return native if request.num_frames is None else request.num_frames
