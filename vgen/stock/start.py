"""From a request to a `StockRun` that has checked everything and done nothing yet."""

from collections.abc import Sequence

from torch import Tensor

from vgen.attention import VideoAttention
from vgen.images import LoadedImage
from vgen.models.stock.model import StockModel
from vgen.parallel.mesh import Mesh
from vgen.plan import check_memory, free_mib
from vgen.schema import GenerateConfig
from vgen.stock.job import resolve_stock
from vgen.stock.plan import stock_plan
from vgen.stock.refusals import refuse_foreign
from vgen.stock.run import StockRun

__all__ = ["start_stock"]


def start_stock(
    model: StockModel,
    config: GenerateConfig,
    said: list[str],
    *,
    image: LoadedImage | None,
    last_image: LoadedImage | None,
    base: object | None,
    initial_CTHW: Tensor | None,
    attention: VideoAttention | None,
    draws: Sequence[int] | None,
    mesh: Mesh | None = None,
) -> StockRun:
    """As `VideoPipeline.start`, for a model that runs through a pipeline of diffusers.

    Raises:
        VgenError: the request cannot be served.
    """
    refuse_foreign(config, model, base=base, draws=draws)
    pictures = [picture for picture in (image, last_image) if picture is not None]
    first_YX3, last_YX3 = (None if picture is None else picture.pixels_YX3 for picture in (image, last_image))
    job = resolve_stock(config, said, model, first_YX3, last_YX3)
    plan = stock_plan(job, model)
    check_memory(plan, f"{job.num_frames} frames of {job.width}x{job.height}", free_mib(model.dit.device))
    return StockRun(
        model,
        config=config,
        said=said,
        job=job,
        plan=plan,
        notes=(*(note for picture in pictures for note in picture.notes), *job.notes),
        initial_CTHW=initial_CTHW,
        attention=attention,
        mesh=mesh,
    )
