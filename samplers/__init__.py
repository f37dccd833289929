"""Samplers: in which order frames lose their noise, and what they may look back on.

One formula covers the family. Blocks of latent frames, S noise levels, lag a: after k steps block i stands at level
S - clip(k - a i, 0, S). a = 0 is ordinary diffusion, a = S strict autoregression, between them lie the rolling and
forcing methods. A sampler is a row of a table over five axes:

    schedule.py   FrameSchedule   which frames a step shows and how far each falls (`Pyramid`)
    context.py    ContextPolicy   which finished frames stay visible
    noise.py      NoisePolicy     where the noise comes from, keyed and never global
    solver.py     Solver          from one level to the next (`Euler`, `Renoise`; multistep.py: `Multistep`)
    prompts       the text each frame sees (one for all, so far)

`Rollout` runs them over a `Denoiser`. Nothing here knows a model or an attention kernel.
"""

if __name__ != "vgen.samplers":
    raise ImportError("import this package as `vgen.samplers`; a top-level `samplers` may be somebody else's module")

from vgen.samplers.context import SinkWindow
from vgen.samplers.guidance import Branches, BranchTexts, Guided
from vgen.samplers.multistep import Multistep
from vgen.samplers.noise import GivenNoise, IndependentNoise, NoiseSource
from vgen.samplers.protocols import Context, Denoiser, FrameSchedule, NoisePolicy, Solver
from vgen.samplers.rollout import Progress, Rollout, RolloutState
from vgen.samplers.schedule import Pyramid, Step
from vgen.samplers.sigmas import SigmaTable
from vgen.samplers.solver import Euler, Renoise

__all__ = [
    "BranchTexts",
    "Branches",
    "Context",
    "Denoiser",
    "Euler",
    "FrameSchedule",
    "GivenNoise",
    "Guided",
    "IndependentNoise",
    "Multistep",
    "NoisePolicy",
    "NoiseSource",
    "Progress",
    "Pyramid",
    "Renoise",
    "Rollout",
    "RolloutState",
    "SigmaTable",
    "SinkWindow",
    "Solver",
    "Step",
]
