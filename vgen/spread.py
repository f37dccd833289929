"""From a job to how processes share it: what of the job bears on that, and what cannot be shared."""

from collections.abc import Iterator

from vgen.attention import MixtureOfBlocks, PerHead, PerLayer
from vgen.attention.catalogue import Made, make_pattern
from vgen.clipwise import uncut
from vgen.job import Job
from vgen.models.loaded import LoadedModel
from vgen.models.stock.model import StockModel
from vgen.parallel.degrees import Work

__all__ = ["stock_work", "work_of"]

ALL_HEADS = ("overall", "block")  # what competes over all heads of a layer


def work_of(job: Job, model: LoadedModel, clips: int = 1) -> Work:
    """What several processes could share of a job.

    Args:
        clips: that are asked for, of which this is one.
    """
    config = model.dit.config
    _, patch_h, patch_w = config.patch_size
    _, height, width = job.latent_shape
    return Work(
        heads=config.num_attention_heads,
        tokens_per_frame=(height // patch_h) * (width // patch_w),
        guided=job.guided,
        prompts=len(job.prompts),
        clips=clips,
        one_sequence=_one_sequence(job),
        uncut=uncut(job),
    )


def stock_work(model: StockModel, clips: int = 1) -> Work:
    """The same of a model that runs through a pipeline of diffusers: whole clips alone."""
    return Work(
        heads=1,
        tokens_per_frame=1,
        guided=False,
        clips=clips,
        one_device=f"model '{model.id}' runs through diffusers' {model.pipeline}, which makes a clip in one process",
    )


def _one_sequence(job: Job) -> str | None:
    """Why tokens and heads cannot be split; None where they can."""
    if job.step_cache.name == "first-block":
        return "step cache 'first-block' looks at all tokens to say which blocks are skipped"
    if job.attention.pattern == "dense":
        return None
    wide = [one for one in _parts(make_pattern(job.attention.pattern, job.attention.knobs)) if _spans_heads(one)]
    return f"in {wide[0]} all heads of a layer compete" if wide else None


def _parts(pattern: Made) -> Iterator[Made]:
    if isinstance(pattern, PerHead | PerLayer):
        for part in pattern.patterns:
            yield from _parts(part)
    else:
        yield pattern


def _spans_heads(pattern: Made) -> bool:
    return isinstance(pattern, MixtureOfBlocks) and pattern.scope in ALL_HEADS
