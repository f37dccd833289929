"""What a run will need, before it starts: memory against what the machine has.

An estimate from shapes alone, meant to be a little high; `vgen.bench.generate` prints it beside the measured peak.
"""

from dataclasses import dataclass
from pathlib import Path

import psutil

from vgen.errors import ResourceError

__all__ = ["Plan", "check_memory", "free_mib"]

MIB = 1 << 20
PROCESS_MIB = 900  # interpreter, torch and its kernels, diffusers
BUFFERS_DIT = 14  # live activations of one block, in units of tokens x width (measured on the embedded model)
BUFFERS_VAE = 10  # live activations of the decoder's widest level, in units of that level's output
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
CGROUP_USED = Path("/sys/fs/cgroup/memory.current")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Estimated memory of one run, in MiB.

    Args:
        weights: text encoder, transformer and VAE as loaded.
        denoise: activations of one forward pass, the latents and the cache.
        decode: activations of decoding one latent frame.
        frames: the finished frames, where they are kept.
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

    @classmethod
    def of(
        cls,
        *,
        weight_bytes: int,
        tokens: int,
        width: int,
        ffn: int,
        value_bytes: int,
        cached_values: int,
        latent_values: int,
        frame_pixels: int,
        vae_width: int,
        num_frames: int,
    ) -> "Plan":
        """From sizes.

        Args:
            weight_bytes: of all components.
            tokens: query tokens of the largest forward pass.
            width, ffn: of the transformer and its feed-forward.
            value_bytes: bytes of one activation.
            cached_values: of all key-value caches.
            latent_values: of all latents of the clip.
            frame_pixels: of one frame.
            vae_width: channels of the decoder's last level.
            num_frames: of the clip.
        """
        activations = tokens * (BUFFERS_DIT * width + 2 * ffn) * value_bytes
        return cls(
            weights=weight_bytes / MIB,
            denoise=(activations + cached_values * value_bytes + 6 * 4 * latent_values) / MIB,
            decode=BUFFERS_VAE * 4 * frame_pixels * vae_width * 4 / MIB,
            frames=num_frames * frame_pixels * 3 / MIB,
        )


def free_mib() -> float:
    """Memory that this process may still take: of the machine, and of its control group where there is one."""
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
