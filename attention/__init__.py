"""Attention over video tokens: what a token may attend to, and how that is computed.

Knows tensors and grids, no model. A model calls a `VideoAttention` with queries, keys and values whose rotary
embedding is already applied: `Dense` sees all keys, `SparseAttention` what a pattern keeps. `block_causal` runs any of
them so that a block of frames sees itself and the past alone.

    pattern.py, catalogue.py   what is kept, by token; names and knobs. radial, windows, temporal, dual_scope, ...
    order.py                   in which order tokens stand while it is computed
    planning.py, blocks.py     from a pattern to a map of blocks
    executors/                 who computes a map
    video.py, schedule.py      what a model calls
"""

if __name__ != "vgen.attention":
    raise ImportError("import this package as `vgen.attention`; a top-level `attention` may be somebody else's module")

from vgen.attention.bands import TokenBand
from vgen.attention.bias import BiasRule, DualScopeBoost, TemporalDecay
from vgen.attention.blocks import BlockMap
from vgen.attention.cycles import PerHead, PerLayer
from vgen.attention.dense import Dense, VideoAttention, block_causal
from vgen.attention.dual_scope import ClipWindow, dual_scope
from vgen.attention.fusion import WindowFusion
from vgen.attention.linear import LinearAttention
from vgen.attention.mixture import MixtureOfBlocks, moba, vmoba
from vgen.attention.order import TokenOrder
from vgen.attention.pattern import AdaptivePattern, BlockPattern, Full, Pattern
from vgen.attention.place import Place
from vgen.attention.radial import Radial, RadialBlocks
from vgen.attention.schedule import Schedule
from vgen.attention.temporal import CausalWindow, Sink, UniformFrames
from vgen.attention.video import Ran, SparseAttention
from vgen.attention.windows import InwardWindow, SlidingTiles, Window

__all__ = [
    "AdaptivePattern",
    "BiasRule",
    "BlockMap",
    "BlockPattern",
    "CausalWindow",
    "ClipWindow",
    "Dense",
    "DualScopeBoost",
    "Full",
    "InwardWindow",
    "LinearAttention",
    "MixtureOfBlocks",
    "Pattern",
    "PerHead",
    "PerLayer",
    "Place",
    "Radial",
    "RadialBlocks",
    "Ran",
    "Schedule",
    "Sink",
    "SlidingTiles",
    "SparseAttention",
    "TemporalDecay",
    "TokenBand",
    "TokenOrder",
    "UniformFrames",
    "VideoAttention",
    "Window",
    "WindowFusion",
    "block_causal",
    "dual_scope",
    "moba",
    "vmoba",
]
