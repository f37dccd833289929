"""A plan in full, of one request: tokens, work, memory, disk and seconds by stage."""

from dataclasses import asdict, dataclass
from typing import Any

from vgen.job import Job
from vgen.models.loaded import LoadedModel
from vgen.parallel.degrees import ALONE, Degrees
from vgen.plan.flops import Work, work_of
from vgen.plan.machines import Profile
from vgen.plan.memory import PROCESS_MIB, Plan, cached_bytes, tokens_per_frame
from vgen.plan.room import MIB, host_limit_mib

__all__ = ["DENSITIES", "Estimate", "estimate"]

DENSITIES = (0.5, 0.2, 0.1)  # of sparse attention, for what it can give at best
RECORD_MIB = 0.05
COMPRESSED = 0.1  # bytes of a pixel in a clip of the usual quality; a lossless one takes up to 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What one request will take.

    Args:
        tokens_per_frame, tokens_per_pass, tokens: of a latent frame, of the largest pass, of the whole clip.
        work: of one clip.
        clips: clips' worth of work at most, with a search.
        memory: of the device.
        free_mib: what the device has left for a run, weights included.
        host_mib, host_limit_mib: memory of the host that is taken at most, and what its processes may take; None of
            another machine.
        kv_cache_mib: keys and values of finished frames.
        disk_mib: of clip, checkpoint and record.
        sparse_at_best: how much faster the transformer can become, by density of the attention.
        seconds: by stage; None without a profile.
        profile: by which.
    """

    tokens_per_frame: int
    tokens_per_pass: int
    tokens: int
    work: Work
    clips: float
    memory: Plan
    free_mib: float
    host_mib: float
    host_limit_mib: float | None
    kv_cache_mib: float
    disk_mib: dict[str, float]
    sparse_at_best: dict[float, float]
    seconds: dict[str, float] | None
    profile: Profile | None

    def as_json(self) -> dict[str, Any]:
        """For `--format json`."""
        work, memory = self.work, self.memory
        row = {name: value for name, value in asdict(self).items() if name not in ("work", "memory")}
        row["flops"] = asdict(work) | {"transformer": work.transformer, "total": work.total, "density": work.density}
        row["memory_mib"] = asdict(memory) | {"peak": memory.peak, "more": memory.more}
        row["sparse_at_best"] = {f"{density:g}": round(times, 3) for density, times in self.sparse_at_best.items()}
        return row


def estimate(
    job: Job,
    model: LoadedModel,
    plan: Plan,
    *,
    free_mib: float,
    profile: Profile | None,
    here: bool = True,
    degrees: Degrees = ALONE,
) -> Estimate:
    """Everything that is known before a run.

    Args:
        plan: of its memory.
        free_mib: what the device has left, weights that it holds counted as free.
        profile: for the seconds.
        here: whether it is this machine that would run it.
        degrees: how processes share it, of which memory is that of one.
    """
    work, per_frame, clips = work_of(job, model), tokens_per_frame(job, model), _clips(job)
    frames_mib = 3 * job.num_frames * job.height * job.width / MIB
    channels, rows, columns = job.latent_shape
    latents_mib = 4 * channels * job.frames * rows * columns / MIB
    on_cpu = model.device.type == "cpu"
    return Estimate(
        tokens_per_frame=per_frame,
        tokens_per_pass=job.sampling.shown_frames * per_frame,
        tokens=job.frames * per_frame,
        work=work,
        clips=clips,
        memory=plan,
        free_mib=free_mib,
        host_mib=plan.peak if on_cpu else PROCESS_MIB + sum(model.residence.parts_mib.values()),
        host_limit_mib=host_limit_mib() if here else None,
        kv_cache_mib=cached_bytes(job, model, degrees) / MIB,
        disk_mib={
            "clip": frames_mib / 3 * COMPRESSED,
            "clip_lossless_at_most": frames_mib,
            "checkpoint": latents_mib if job.sampling.in_chunks and job.search.best_of == 1 else 0.0,
            "record": RECORD_MIB,
        },
        sparse_at_best={density: work.at_best(density) for density in DENSITIES},
        seconds=None if profile is None else _seconds(job, model, work, clips, profile),
        profile=profile,
    )


def _clips(job: Job) -> float:
    """Clips' worth of denoising that a search makes, at most; those that are dropped on the way as far as they get."""
    search = job.search
    if search.best_of == 1:
        return 1.0 + search.redo
    alive, before, clips = search.best_of, 0.0, 0.0
    for share in (*sorted(search.prune or ()), 1.0):
        clips += alive * (share - before)
        alive, before = -(-alive // 2), share
    return clips


def _seconds(job: Job, model: LoadedModel, work: Work, clips: float, profile: Profile) -> dict[str, float]:
    attention = work.transformer - work.linear
    calls = work.forwards * model.dit.config.num_layers
    denoise = work.linear / profile.matmul + attention / profile.attention + calls * profile.call_s
    return {
        "text": (work.text_encoder + work.image_encoder) / profile.matmul + work.vae_encode / profile.convolution,
        "denoise": clips * denoise,
        "decode": clips * work.vae_decode / profile.convolution,
        "write": job.num_frames * job.height * job.width / 1e6 / profile.write_mpx_s,
    }
