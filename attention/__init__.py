"""Attention over video tokens: what a token may attend to, and how that is computed.

Knows tensors and grids, no model. A model calls a `VideoAttention` with queries, keys and values whose rotary
embedding is already applied; `Dense` is exact softmax attention over all keys, and `block_causal` runs any of them
so that a block of frames sees itself and the past alone.
"""

if __name__ != "vgen.attention":
    raise ImportError("import this package as `vgen.attention`; a top-level `attention` may be somebody else's module")

from vgen.attention.dense import Dense, VideoAttention, block_causal

__all__ = ["Dense", "VideoAttention", "block_causal"]
