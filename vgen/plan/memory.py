"""What a run takes of the device's memory, before it starts: a `Plan`, under a placement of the weights.

Each stage is run dry (`drafts.py`) at the largest sizes that the job asks of it; what is held from one stage to the
next is counted here. A clip's record holds the plan beside the measured peak; `vgen.bench.memory` compares them.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from vgen.clipwise import cut_of
from vgen.errors import ResourceError
from vgen.job import Job
from vgen.models.loaded import LoadedModel
from vgen.parallel.degrees import ALONE, Degrees
from vgen.placement import ENCODERS, TRANSFORMERS, Placement, weights_on_device
from vgen.plan.drafts import Draft, Shown, decoding, denoising, encoding, reading_image, reading_text
from vgen.plan.pieces import pieces_of
from vgen.plan.room import MIB

__all__ = [
    "KERNELS_MIB",
    "PROCESS_MIB",
    "Plan",
    "cached_bytes",
    "check_memory",
    "in_one_clip",
    "plan_of",
    "text_bytes",
    "with_holes",
]

RESIDENT = Placement()
PROCESS_MIB = 500  # interpreter, torch and its kernels, diffusers; of the host
# what the first run of a process takes for good: compiled kernels, buffers of matrix products. CPU: measured
# (vgen.bench.memory); CUDA: cuBLAS' workspace as torch documents it, cuDNN's is its own choice
KERNELS_MIB = {"cpu": 40.0, "cuda": 64.0}
SPARSE_COPIES = 4  # queries, keys, values and result, in the order of the pattern's blocks
LATENT_COPIES = 6  # fp32: both branches, the guess, the solver's history, the step's result
# in what the C library keeps of freed tensors: some, and a share of what the run takes, at most; measured likewise
HOLES_MIB, HOLES_SHARE, HOLES_LIMIT_MIB = 60.0, 0.5, 220.0
TEXTS_KEPT = 8  # by a `TextBook`, where prompts are blended


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Estimated memory of one run on its device, in MiB.

    Args:
        weights: encoders, transformers and VAE, as many of them as are on the device at once.
        text, encode, denoise, decode: what each stage takes beside weights, at its highest: states of prompts and
            images; latents of given frames; a pass of the transformer with its caches, texts and latents, and what a
            search holds; frames, with what is still held of the stage before.
        stages: the most that a stage takes, weights included.
        frames: the finished frames that are kept: a chunk of them where each is handed on, all in a `Clip`. None on a
            GPU, whose host holds them.
        kernels: what the libraries take for themselves.
        base: what the process takes before a model is loaded, on a CPU.
        holes: in what is kept of freed tensors for the next ones, on a CPU that has room for them.
    """

    weights: float
    text: float
    encode: float
    denoise: float
    decode: float
    stages: float
    frames: float
    kernels: float
    base: float
    holes: float = 0.0

    @property
    def peak(self) -> float:
        """The most at any one time."""
        return self.base + self.weights + self.more

    @property
    def more(self) -> float:
        """What a process that has loaded the weights will still take."""
        return self.kernels + self.stages - self.weights + self.frames + self.holes


def plan_of(job: Job, model: LoadedModel, placement: Placement = RESIDENT, degrees: Degrees = ALONE) -> Plan:
    """Estimates a job's memory where finished frames are handed on; `in_one_clip` where they stay.

    Args:
        degrees: how processes share the clip; the plan is of the one that decodes it.
    """
    on = model.device.type
    parts, blocks = model.residence.parts_mib, model.dit.config.num_layers
    held = _held(job, model, on, degrees)
    taken = {
        "text": _text(job, model, on),
        "encode": _encode(job, model, on),
        "denoise": held + _denoise(job, model, on, degrees),
        "decode": held + _decode(job, model, placement, on).peak,
    }
    mib = {stage: size / MIB for stage, size in taken.items()}
    stages = max(size + _weights_in(stage, parts, placement, blocks) for stage, size in mib.items())
    weights = weights_on_device(parts, placement, blocks)
    cpu = on == "cpu"
    return Plan(
        **mib,
        weights=weights,
        stages=max(stages, weights),
        frames=_frames_mib(job, _chunk(model)) if cpu else 0.0,
        kernels=KERNELS_MIB[on],
        base=PROCESS_MIB if cpu else 0.0,
    )


def with_holes(plan: Plan) -> Plan:
    """The same run where freed memory is kept."""
    holes = min(HOLES_MIB + HOLES_SHARE * plan.more, HOLES_LIMIT_MIB)
    return replace(plan, holes=holes) if plan.base else plan


def in_one_clip(plan: Plan, job: Job) -> Plan:
    """The same run where all its frames are kept, and once more while they are put together."""
    return replace(plan, frames=2 * _frames_mib(job, job.num_frames)) if plan.base else plan


def check_memory(plan: Plan, what: str, free: float) -> None:
    """Refuses a run that cannot fit.

    Raises:
        ResourceError: with the estimate and what is free.
    """
    if plan.more > free:
        raise ResourceError(
            f"{what} would take about {plan.more:,.0f} MiB more, {free:,.0f} MiB are free; "
            "ask for a smaller --size or fewer frames"
        )


def cached_bytes(job: Job, model: LoadedModel, degrees: Degrees = ALONE) -> int:
    """Keys and values of finished frames, of the guidance branches and heads that a process has."""
    dit = model.dit.config
    width = dit.num_attention_heads * dit.attention_head_dim
    values = 2 * dit.num_layers * width * job.sampling.cache_frames * tokens_per_frame(job, model)
    return values * _branches(job, degrees) * dtype_of(model.dit).itemsize // degrees.ulysses


def text_bytes(job: Job, model: LoadedModel, degrees: Degrees = ALONE) -> int:
    """Keys and values of the prompts, and of an image's states, of a process's branches and all experts."""
    dit = model.dit.config
    width, images = dit.num_attention_heads * dit.attention_head_dim, 0
    if model.images is not None:
        images = _image_count(job) * image_tokens_of(model)
    blended = job.sampling.values.get("transition") == "blend" and len(job.prompts) > 1
    prompts = len(job.prompts) + (TEXTS_KEPT if blended else 0)
    read = 2 * dit.num_layers * width * (model.prompts.length + images) * dtype_of(model.dit).itemsize
    more = 1 if degrees.cfg == 1 else 0  # of two processes one reads the prompts alone
    return read * sum(prompts + more if scale > 1 else prompts for scale in _scales(job))


def tokens_per_frame(job: Job, model: LoadedModel) -> int:
    """Tokens of a latent frame."""
    _, patch_h, patch_w = model.dit.config.patch_size
    _, rows, columns = job.latent_shape
    return int((rows // patch_h) * (columns // patch_w))


def dtype_of(dit: Any) -> torch.dtype:
    """In which a transformer computes, whatever its weights are stored in."""
    dtype: torch.dtype = dit.patch_embedding.weight.dtype
    return dtype


def image_tokens_of(model: LoadedModel) -> int:
    """Tokens of one picture of the image encoder."""
    assert model.images is not None
    config = model.images.encoder.config
    return int((config.image_size // config.patch_size) ** 2 + 1)


def _weights_in(stage: str, parts: dict[str, float], placement: Placement, blocks: int) -> float:
    """Weights that are on the device in a stage."""
    there = dict(parts)
    if placement.offload != "none":
        used = {"text": ENCODERS, "denoise": TRANSFORMERS}.get(stage, ("vae",))
        there = {part: size for part, size in parts.items() if part in used}
    elif not placement.keep_text_encoder and stage != "text":
        there = {part: size for part, size in parts.items() if part not in ENCODERS}
    return weights_on_device(there, placement, blocks)


def _text(job: Job, model: LoadedModel, on: str) -> int:
    encoder, states = model.prompts.encoder, _states(job, model)
    taken = reading_text(Draft.of(encoder, encoder.dtype), model.prompts.length, on).peak
    if model.images is None or not _image_count(job):
        return states + taken
    images = model.images.encoder
    return states + max(taken, reading_image(Draft.of(images, images.dtype), _image_count(job), on).peak)


def _encode(job: Job, model: LoadedModel, on: str) -> int:
    if model.card.image == "channels":
        frames = job.num_frames
    elif job.known:
        frames = 1 + model.vae.config.scale_factor_temporal * (job.known - 1)
    else:
        return _states(job, model)
    size = (job.height, job.width)
    return _states(job, model) + encoding(Draft.of(model.vae, model.vae.dtype), frames, size, on).peak


def _denoise(job: Job, model: LoadedModel, on: str, degrees: Degrees) -> int:
    sampling, dit = job.sampling, model.dit
    frames, fusion = sampling.shown_frames, sampling.fusion
    copies = 0 if job.attention.pattern == "dense" and not sampling.decay else SPARSE_COPIES
    if degrees.clips > 1:
        cut, fusion = cut_of(job, degrees.clips), None
        frames, seen = max(map(len, cut.own)), max(map(len, cut.others))
        copies += -(-2 * (frames + seen) // frames)  # keys and values that came, beside its own
    draft = Draft.of(dit, dtype_of(dit))
    _, height, width = job.latent_shape
    shown = Shown(
        frames=frames,
        height=height,
        width=width,
        held=max(0, sampling.cache_frames - sampling.shown_frames),
        capacity=sampling.cache_frames,
        wrapped=job.frames > sampling.cache_frames > sampling.shown_frames,
        turned=sampling.positions is None,
        causal_block=sampling.causal_block,
        fusion=fusion,
        copies=copies,
        processes=degrees.ulysses,
    )
    text = (model.prompts.length, dit.config.text_dim)
    taken = denoising(draft, shown, dit.config.in_channels, text, on).peak
    if sampling.in_chunks:  # what the decoder remembers while the next chunk is made
        taken += _decode(job, model, RESIDENT, on).kept
    return taken


def _decode(job: Job, model: LoadedModel, placement: Placement, on: str) -> Any:
    _, rows, columns = job.latent_shape
    draft = Draft.of(model.vae, model.vae.dtype)
    return decoding(draft, job.frames, (rows, columns), placement.vae_tiling, on)


def _held(job: Job, model: LoadedModel, on: str, degrees: Degrees) -> int:
    """What stays from the first step to the last frame."""
    channels, rows, columns = job.latent_shape
    latents = _latents(job)
    if model.card.image == "channels":
        latents += 4 * (model.dit.config.in_channels - channels) * job.frames * rows * columns
    held = _states(job, model) + text_bytes(job, model, degrees) + cached_bytes(job, model, degrees) + latents
    return held + _skipped(job, model, degrees) + _searched(job, model, on, degrees)


def _latents(job: Job) -> int:
    """All copies of the latents under way."""
    channels, rows, columns = job.latent_shape
    return LATENT_COPIES * 4 * channels * job.sampling.latents_held * rows * columns


def _skipped(job: Job, model: LoadedModel, degrees: Degrees) -> int:
    """What a step cache keeps of the pass before, of a process's guidance branches and tokens."""
    dit = model.dit.config
    tokens = job.sampling.shown_frames * tokens_per_frame(job, model)
    width = int(dit.num_attention_heads * dit.attention_head_dim)
    each = tokens * width * dtype_of(model.dit).itemsize // (degrees.ulysses * degrees.clips)
    return job.step_cache.held * _branches(job, degrees) * each


def _searched(job: Job, model: LoadedModel, on: str, degrees: Degrees) -> int:
    """What a search holds beside one clip: where both its paths stood behind each piece, or clips and candidates."""
    pixels, search = 3 * job.height * job.width * job.num_frames, job.search
    if search.redo:
        pieces = pieces_of(job)
        cached = cached_bytes(job, model, degrees)
        behind_each = cached + _decode(job, model, RESIDENT, on).kept
        films = pixels * (pieces + 1) // 2  # of the clip so far, behind each piece
        return 2 * (pieces * behind_each + films) - cached
    if search.best_of == 1:
        return 0
    under_way = _latents(job) + text_bytes(job, model, degrees)
    return (search.best_of + 1) * pixels + (search.best_of - 1 if search.prune else 0) * under_way


def _states(job: Job, model: LoadedModel) -> int:
    """Of the text encoder, of each prompt."""
    prompts = {*job.prompts, *((job.negative_prompt,) if job.guided else ())}
    encoder = model.prompts.encoder
    return len(prompts) * model.prompts.length * int(encoder.config.d_model) * int(encoder.dtype.itemsize)


def _image_count(job: Job) -> int:
    return sum(image is not None for image in (job.image_YX3, job.last_image_YX3))


def _branches(job: Job, degrees: Degrees) -> int:
    return 2 if job.guided and degrees.cfg == 1 else 1


def _scales(job: Job) -> list[float]:
    """Guidance of each transformer."""
    return [job.guidance_scale, *([] if job.guidance_scale_2 is None else [job.guidance_scale_2])]


def _chunk(model: LoadedModel) -> int:
    return int(model.vae.config.scale_factor_temporal)


def _frames_mib(job: Job, frames: int) -> float:
    return frames * job.height * job.width * 3 / MIB


def as_json(plan: Plan) -> dict[str, float]:
    """For records and `--format json`."""
    return {name: round(value, 1) for name, value in asdict(plan).items()} | {"peak": round(plan.peak, 1)}
