"""How a job's clip comes in pieces: moments at which no frame is under way."""

from vgen.job import Job
from vgen.samplers import Step

__all__ = ["pieces_of"]


def pieces_of(job: Job) -> int:
    """How often a search may stop and look: as `samplers.search` cuts a rollout."""
    pieces, under_way = 0, set[int]()
    for move in job.sampling.schedule.steps(job.frames, known=job.known):
        under_way |= {*move.frames}
        if isinstance(move, Step) and move.commit:
            under_way -= {*range(min(under_way), move.commit.stop)}
            pieces += not under_way
    return max(1, pieces)
