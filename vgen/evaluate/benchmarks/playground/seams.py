"""Seams of a clip that was made chunk by chunk, and how fast that went; both from the record of the run.

A seam shows as a jump: from the last frame of a chunk to the first of the next there changes more than from frame to
frame inside. Motion changes from frame to frame too, so each border is held against the inside of the two chunks that
it parts, and not against the whole clip.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from statistics import fmean
from typing import Any

from vgen.evaluate.places import counted
from vgen.frames import Frames, psnr_db
from vgen.records import Record

__all__ = ["borders_of", "run_of", "seam_db"]

MOST_DB = 60.0  # frames nearer than this, a quarter of a grey level, look equal


def borders_of(record: Record) -> list[int]:
    """First frames of all chunks but the first; none where nothing was made in chunks.

    A record counts the frames of each latent frame, and says how many latent frames make a block.
    """
    block = record.get("resolved", {}).get("sampler.block")
    if block is None:
        return []
    starts = [0, *accumulate(record["chunks"])]
    return starts[:-1][block::block]


def seam_db(frames_FYX3: Frames, borders: Sequence[int]) -> float | None:
    """PSNR from frame to frame inside chunks less that across their borders, in dB, in the mean over borders.

    Args:
        frames_FYX3: the clip.
        borders: the first frame of each chunk but the first, rising.

    Returns:
        positive where borders jump, negative where they stand still; None without a border.
    """
    if not borders:
        return None
    alike = [min(MOST_DB, psnr_db(one, other)) for one, other in pairwise(frames_FYX3)]  # [f] from frame f to f + 1
    ends = [0, *borders, len(frames_FYX3)]
    jumps = []
    for before, border, after in zip(ends, borders, ends[2:], strict=False):
        inside = alike[before : border - 1] + alike[border : after - 1]
        if inside:
            jumps.append(fmean(inside) - alike[border - 1])
    return fmean(jumps) if jumps else None


def run_of(record: Record) -> dict[str, Any]:
    """How a clip was made: the sampler, its steps, guidance, how often faster than it plays, and on what."""
    resolved, where = record["resolved"], record["machine"]
    made_per_s = record["frames"]["made"] / record["wall_s"]
    return {
        "sampler": resolved["sampler.name"],
        "steps": resolved["request.num_inference_steps"],
        "guidance": resolved["request.guidance_scale"],
        "real_time": made_per_s / resolved["request.fps"],
        "machine": f"{where['device']}, {counted(where['threads'], 'thread')}",
    }
