"""From a job to processes that each hold a part of its frames: what they attend to, and why some jobs cannot be cut.

Unless a sampler fuses windows of its own, that is `dual_scope` of as many clips, which one process can run as well: so
a record says it, and a replay needs no processes.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vgen.attention import ClipWindow, UniformFrames, VideoAttention, WindowFusion
from vgen.attention.catalogue import make_pattern
from vgen.attention.pattern import Either
from vgen.errors import ConfigError
from vgen.job import Job
from vgen.parallel.clips import ClipAttention, ClipCut, DualScope, Scope, Windows
from vgen.parallel.peers import Peers
from vgen.schema import AttentionConfig
from vgen.sparsity import record_rows, resolve_attention

__all__ = ["attention_of", "cut_of", "in_clips", "recorded_rows", "uncut"]

NAME = "dual_scope"


def uncut(job: Job) -> str | None:
    """Why the frames of a job cannot be held by several processes; None where they can."""
    sampling = job.sampling
    if not sampling.whole:
        return f"sampler '{job.sampler}' does not move all frames together; possible: full, freeinit, freenoise"
    if sampling.windows is not None:
        return f"sampler '{job.sampler}' shows the model windows, one by one; possible: full, freeinit, freenoise"
    if sampling.causal_block is not None:
        return "with sampler.mask=causal frames see all that is before them; possible: sampler.mask=full"
    if job.step_cache.name == "first-block":
        return "step cache 'first-block' looks at all frames to say which blocks are skipped; possible: mag, taylorseer"
    return None


def in_clips(job: Job, said: list[str], clips: int) -> Job:
    """The job with the attention of processes that hold a part of its frames each.

    Args:
        job: as resolved.
        said: the config's keys that somebody set.
        clips: how many parts.

    Raises:
        ConfigError: another attention was asked for, or a part has no frames to make.
    """
    if clips == 1:
        return job
    attention = job.attention
    if job.sampling.fusion is None and attention.pattern == "dense" and "attention.name" not in said:
        asked = AttentionConfig(name=NAME, knobs={"clips": clips})
        attention, _ = resolve_attention(asked, job.sampling.table.per_step, 0)
        scope = _scope(attention.knobs)
        note = (
            f"attention '{NAME}' for parallel.clips={clips}: each part sees itself, {scope.reach} latent frames to "
            f"each side and {scope.count} from everywhere (attention.reach, attention.count)"
        )
        job = replace(job, attention=attention, notes=(*job.notes, note))
    elif job.sampling.fusion is None:
        _check(job, clips)
    first = len(cut_of(job, clips).own[0])
    if job.known >= first:
        raise ConfigError(
            f"parallel.clips={clips}: the first part has {first} latent frames, and {job.known} are given; ask for "
            "more frames, or for fewer parts"
        )
    return job


def cut_of(job: Job, clips: int) -> ClipCut:
    """Which frames each of so many processes holds and sees; of a job of `in_clips`."""
    fusion = job.sampling.fusion
    scope: Scope = _scope(job.attention.knobs) if fusion is None else Windows(window=fusion[0], stride=fusion[1])
    return ClipCut(frames=job.frames, clips=clips, scope=scope)


def attention_of(job: Job, peers: Peers, calls: int, first_head: int) -> VideoAttention:
    """What the model calls.

    Args:
        job: of `in_clips`, where there are several parts.
        peers: the processes, in the order of their parts.
        calls, first_head: as `AttentionSettings.build` takes them.
    """
    settings, sampling = job.attention, job.sampling
    if peers.size > 1 and sampling.fusion is None:  # what is seen is there, and nothing else
        settings = replace(settings, pattern="dense", knobs={})
    inner = settings.build(calls, decay=sampling.decay, fusion=sampling.fusion, first_head=first_head)
    if peers.size == 1:
        return inner
    if isinstance(inner, WindowFusion):
        inner = replace(inner, frames=job.frames)
    return ClipAttention(inner=inner, cut=cut_of(job, peers.size), peers=peers)


def recorded_rows(attention: VideoAttention, sigmas: Sequence[float]) -> list[dict[str, Any]]:
    """What ran, as `record_rows` has it; of several parts what the first of them did, and the density of all."""
    if not isinstance(attention, ClipAttention):
        return record_rows(attention, sigmas)
    rows, cut = record_rows(attention.inner, sigmas), attention.cut
    if not isinstance(cut.scope, DualScope):
        return rows
    kept = sum(len(own) * (len(own) + len(others)) for own, others in zip(cut.own, cut.others, strict=True))
    density = round(kept / cut.frames**2, 6)
    told = {"pattern": str(cut.scope.pattern(cut.clips)), "density": density, "token_density": density}
    return [row | told for row in rows]


def _scope(knobs: dict[str, object]) -> DualScope:
    pattern = make_pattern(NAME, knobs)
    assert isinstance(pattern, Either), f"near and far frames, got {pattern}"
    near, far = pattern.first, pattern.second
    assert isinstance(near, ClipWindow) and isinstance(far, UniformFrames), f"of clips, got {pattern}"
    return DualScope(reach=near.reach, count=far.count)


def _check(job: Job, clips: int) -> None:
    """Refuses an attention that was asked for and is not what processes with parts of the frames have."""
    settings = job.attention
    if settings.pattern != NAME or settings.knobs.get("clips") != clips:
        knobs = "".join(f" {name}={value}" for name, value in settings.knobs.items())
        raise ConfigError(
            f"parallel.clips={clips} attends by {NAME} with clips={clips}, asked for {settings.pattern}{knobs}; leave "
            f"attention out, or ask for --attention {NAME} attention.clips={clips}"
        )
    dense = max(settings.dense_first_steps, settings.dense_last_steps, settings.dense_layers)
    if dense or settings.executor != "auto" or settings.block is not None:
        raise ConfigError(
            f"parallel.clips={clips}: what a process does not hold it cannot see in dense steps or layers, and what it "
            "sees needs no executor and no block; leave them out"
        )
