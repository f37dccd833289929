"""Samplers: in which order frames lose their noise, and what they may look back on.

One formula covers the family. Blocks of latent frames, S noise levels, lag a: after k steps block i stands at level
S - clip(k - a i, 0, S). a = 0 is ordinary diffusion, a = S strict autoregression, between them lie the rolling and
forcing methods. A sampler is a row of a table over five axes:

    FrameSchedule   which frames a step shows and how far each falls: `Pyramid`, which is the formula, and the few that
                    are not: `Queue`, `Capped`, `Trapezoid`, `Repeated` (a file each; steps.py says what they yield)
    ContextPolicy   which finished frames stay visible, in which form (context.py), at which position (positions.py)
    NoisePolicy     where the noise comes from, keyed and never global (noise.py, frequency.py)
    Solver          from one level to the next (solver.py, multistep.py)
    PromptSchedule  the prompt that each frame sees (prompts.py)

`Rollout` runs them over a `Denoiser`; guidance.py and windows.py make denoisers out of denoisers, search.py redoes what
a `Verifier` finds at fault. fopp.py is the draw of levels that models are trained with for the family. Nothing here
knows a model or an attention kernel.
"""

if __name__ != "vgen.samplers":
    raise ImportError("import this package as `vgen.samplers`; a top-level `samplers` may be somebody else's module")

from vgen.samplers.capped import Capped
from vgen.samplers.context import SinkWindow
from vgen.samplers.frequency import CoherentTail, FreeInitNoise, LowPass, mix
from vgen.samplers.guidance import Branches, Guided, within
from vgen.samplers.multistep import Multistep
from vgen.samplers.noise import (
    FixedNoise,
    GivenNoise,
    IndependentNoise,
    NoiseSource,
    ProgressiveNoise,
    RescheduledNoise,
)
from vgen.samplers.positions import AbsolutePositions, CachePositions, SinkPositions
from vgen.samplers.prompts import BlendedTimeline, Cue, Timeline
from vgen.samplers.protocols import (
    Context,
    ContextPolicy,
    Denoiser,
    FrameSchedule,
    NoisePolicy,
    PositionScheme,
    PromptSchedule,
    Solver,
)
from vgen.samplers.pyramid import Pyramid
from vgen.samplers.queue import Queue
from vgen.samplers.repeated import Repeated
from vgen.samplers.rollout import Progress, Rollout, RolloutState
from vgen.samplers.search import Attempt, Finding, Piece, RedrawnNoise, Verifier, redone, redraw, replayed
from vgen.samplers.sigmas import SigmaTable
from vgen.samplers.solver import Euler, Renoise
from vgen.samplers.steps import Lift, Move, Step
from vgen.samplers.trapezoid import Trapezoid
from vgen.samplers.windows import CoupledWindows, Windowed

__all__ = [
    "AbsolutePositions",
    "Attempt",
    "BlendedTimeline",
    "Branches",
    "CachePositions",
    "Capped",
    "CoherentTail",
    "Context",
    "ContextPolicy",
    "CoupledWindows",
    "Cue",
    "Denoiser",
    "Euler",
    "Finding",
    "FixedNoise",
    "FrameSchedule",
    "FreeInitNoise",
    "GivenNoise",
    "Guided",
    "IndependentNoise",
    "Lift",
    "LowPass",
    "Move",
    "Multistep",
    "NoisePolicy",
    "NoiseSource",
    "Piece",
    "PositionScheme",
    "Progress",
    "ProgressiveNoise",
    "PromptSchedule",
    "Pyramid",
    "Queue",
    "RedrawnNoise",
    "Renoise",
    "Repeated",
    "RescheduledNoise",
    "Rollout",
    "RolloutState",
    "SigmaTable",
    "SinkPositions",
    "SinkWindow",
    "Solver",
    "Step",
    "Timeline",
    "Trapezoid",
    "Verifier",
    "Windowed",
    "mix",
    "redone",
    "redraw",
    "replayed",
    "within",
]
