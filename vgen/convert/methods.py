"""What a causal model is right with, by the method that it was distilled by."""

from dataclasses import dataclass

__all__ = ["METHODS", "Method", "warped"]

TRAIN_STEPS = 1000


def warped(timesteps: tuple[int, ...], shift: float) -> tuple[float, ...]:
    """Noise levels of timesteps on the straight table of 1000, after the timestep shift."""
    straight = (timestep / TRAIN_STEPS for timestep in timesteps)
    return tuple(shift * sigma / (1 + (shift - 1) * sigma) for sigma in straight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way of distilling a video model into a causal one of few steps; all of them re-noise between steps.

    Args:
        samplers: ways of noising that it trains (see `ModelCard`).
        sampler: the preset that is its own way of sampling.
        sigmas: falling noise levels, one for each step.
        causal_block: latent frames per block.
        trained_window: latent frames seen at once, attention sink included.
        note: what the card cannot say.
    """

    samplers: tuple[str, ...]
    sampler: str
    sigmas: tuple[float, ...]
    causal_block: int = 3
    trained_window: int = 21
    note: str | None = None


METHODS = {
    # Huang et al. 2025, arXiv:2506.08009
    "self-forcing": Method(samplers=("causal",), sampler="causal", sigmas=warped((1000, 750, 500, 250), 5.0)),
    # Yin et al. 2024, arXiv:2412.07772: raw timesteps, of a table of shift 8; blocks at levels of their own in training
    "causvid": Method(samplers=("causal", "forcing"), sampler="causal", sigmas=(1.0, 0.757, 0.522)),
    # Yang et al. 2025, arXiv:2509.22622: 12 frames in sight, of which 3 are the sink
    "longlive": Method(
        samplers=("causal",),
        sampler="streaming",
        sigmas=warped((1000, 750, 500, 250), 5.0),
        trained_window=12,
        note="LongLive 1.0 itself leaves frames at their absolute positions, for which say sampler.positions=absolute",
    ),
    # Liu et al. 2025, arXiv:2509.25161
    "rolling-forcing": Method(
        samplers=("forcing",), sampler="rolling-forcing", sigmas=warped((1000, 800, 600, 400, 200), 5.0)
    ),
}
