"""What a run will need, before it starts: memory against what the machine has.

An estimate from shapes alone, meant to be a little high; a clip's record holds it beside the measured peak.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import torch

from vgen.errors import ResourceError
from vgen.job import Job
from vgen.models.load import LoadedModel
from vgen.placement import Placement, weights_on_device

__all__ = ["Plan", "check_memory", "free_mib", "in_one_clip", "plan_of"]

RESIDENT = Placement()
MIB = 1 << 20
PROCESS_MIB = 500  # interpreter, torch and its kernels, diffusers
BUFFERS_DIT = 14  # live activations of one block, in units of tokens x width
BUFFERS_VAE = 10  # live activations of the decoder's widest level, in units of that level's output
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
CGROUP_USED = Path("/sys/fs/cgroup/memory.current")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Estimated memory of one run, in MiB.

    Args:
        weights: encoders, transformers and VAE, as many of them as are on the device at once.
        denoise: activations of one forward pass, latents, cached keys and values.
        decode: activations of decoding one latent frame; and the clip that an image's channels are encoded from, for
            models that take those.
        frames: the finished frames that are kept: a chunk of them where each is handed on, all in a `Clip`.
    """

    weights: float
    denoise: float
    decode: float
    frames: float

    @property
    def peak(self) -> float:
        """The most at any one time."""
        return PROCESS_MIB + self.weights + self.more

    @property
    def more(self) -> float:
        """What a process that has loaded the weights will still take."""
        return max(self.denoise, self.decode) + self.frames


def plan_of(job: Job, model: LoadedModel, placement: Placement = RESIDENT) -> Plan:
    """Estimates a job's memory where finished frames are handed on; `in_one_clip` where they stay."""
    dit, vae = model.dit.config, model.vae.config
    value_bytes = model.dit.dtype.itemsize
    _, patch_h, patch_w = dit.patch_size
    channels, rows, columns = job.latent_shape
    per_frame = (rows // patch_h) * (columns // patch_w)
    width = dit.num_attention_heads * dit.attention_head_dim
    branches = 2 if job.guided else 1

    keys_and_values = 2 * dit.num_layers * width * branches
    read = model.prompts.length * (1 if model.dit_2 is None else 2)
    cached = keys_and_values * (job.sampling.cache_frames * per_frame + read)
    tokens = job.sampling.shown_frames * per_frame
    keys = (job.sampling.shown_frames + job.sampling.cache_frames) * per_frame
    activations = tokens * (BUFFERS_DIT * width + 2 * dit.ffn_dim) + 2 * keys * width
    channels = max(channels, dit.in_channels)  # an image's beside the noisy ones
    latents = channels * job.sampling.latents_held * rows * columns

    patch = vae.patch_size or 1
    pixels = job.height * job.width
    decoder_width = vae.decoder_base_dim or vae.base_dim
    tile = model.vae.tile_sample_min_height * model.vae.tile_sample_min_width
    at_once = min(pixels, tile) if placement.vae_tiling else pixels
    decoded = BUFFERS_VAE * vae.scale_factor_temporal * at_once // patch**2 * decoder_width
    shown = 2 * 3 * job.num_frames * pixels if model.card.image == "channels" else 0
    return Plan(
        weights=weights_on_device(model.residence.parts_mib, placement, dit.num_layers),
        denoise=((activations + cached) * value_bytes + 6 * 4 * latents) / MIB,
        decode=(decoded + shown) * 4 / MIB,
        frames=vae.scale_factor_temporal * _frame_mib(job),
    )


def in_one_clip(plan: Plan, job: Job) -> Plan:
    """The same run where all its frames are kept."""
    return replace(plan, frames=job.num_frames * _frame_mib(job))


def _frame_mib(job: Job) -> float:
    return job.height * job.width * 3 / MIB


def free_mib(device: torch.device) -> float:
    """Memory that this process may still take: of the GPU, or of the machine and of its control group."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / MIB
    free = psutil.virtual_memory().available
    if CGROUP_LIMIT.is_file() and CGROUP_USED.is_file():
        limit = CGROUP_LIMIT.read_text().strip()
        if limit != "max":
            free = min(free, int(limit) - int(CGROUP_USED.read_text()))
    return free / MIB


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
