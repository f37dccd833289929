"""What makes a run faster and leaves what it computes alone, where it is asked for: `Speed`.

Compiled regions: `vgen/models/regions.py`. CUDA graphs: `vgen/models/graphs.py`. Where weights are kept:
`vgen/performance.py`.
"""

from dataclasses import dataclass
from typing import Any

from vgen.errors import ConfigError
from vgen.job import Job
from vgen.models.graphs import CudaCapture, Graphs
from vgen.models.loaded import LoadedModel
from vgen.models.quantization import GGUF
from vgen.models.regions import EAGER, Compiler, Regions
from vgen.parallel.degrees import ALONE, Degrees
from vgen.placement import Placement
from vgen.schema import PerformanceConfig

__all__ = ["SPEEDS", "Speed", "speed_of"]

SPEEDS = ("compile", "cuda_graphs")  # fields of `PerformanceConfig`


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What one run is made faster with.

    Args:
        compiler: of the transformers' regions; they run as they stand where None.
        graphs: of their passes; each is launched anew where None.
    """

    compiler: Compiler | None = None
    graphs: Graphs | None = None

    @property
    def regions(self) -> Regions:
        """As the transformers run them."""
        return EAGER if self.compiler is None else self.compiler.regions

    def keys(self) -> dict[str, Any]:
        """Config keys that ask for exactly this."""
        asked = {"performance.compile": self.compiler, "performance.cuda_graphs": self.graphs}
        return {key: True for key, what in asked.items() if what is not None}

    def report(self) -> dict[str, Any]:
        """For the record."""
        asked = {"compile": self.compiler, "cuda_graphs": self.graphs}
        return {name: None if what is None else what.report() for name, what in asked.items()}


def speed_of(
    config: PerformanceConfig, model: LoadedModel, job: Job, placement: Placement, degrees: Degrees = ALONE
) -> Speed:
    """What a request asks for, checked.

    Args:
        config: what was asked for.
        model, job: what runs, and what it makes.
        placement: of its weights.
        degrees: how processes share it.

    Raises:
        ConfigError: the device or the machine cannot do it, or it does not go with how the weights are kept, or with
            what the job asks for.
    """
    return Speed(
        compiler=_compiler(model, placement, degrees) if config.compile else None,
        graphs=_graphs(model, job, placement, degrees) if config.cuda_graphs else None,
    )


def _compiler(model: LoadedModel, placement: Placement, degrees: Degrees) -> Compiler:
    if degrees.fsdp:
        raise ConfigError(
            "performance.compile with parallel.fsdp, which brings weights anew at each call, is not supported; "
            "leave one of them out"
        )
    if placement.storage is not None:
        raise ConfigError(
            f"performance.compile with weights stored in {placement.storage}, which are cast at each layer's call, is "
            "not supported; leave one of them out"
        )
    if model.quantization is not None and model.quantization.scheme == GGUF:
        model.quantization.refuse_with("performance.compile", "leave it out")
    return Compiler(model.device)


def _graphs(model: LoadedModel, job: Job, placement: Placement, degrees: Degrees) -> Graphs:
    if model.device.type != "cuda":
        raise ConfigError(
            f"performance.cuda_graphs records work of a CUDA device, and the model is on {model.device}; leave it out"
        )
    sampling = job.sampling
    against = {
        f"attention.name={job.attention.pattern}": job.attention.pattern != "dense",
        f"sampler.decay={sampling.decay:g}": bool(sampling.decay),
        "sampler.fusion": sampling.fusion is not None,
        f"step_cache.name={job.step_cache.name}": job.step_cache.name != "none",
        f"performance.offload={placement.offload}": placement.offload != "none",
        f"weights stored in {placement.storage}": placement.storage is not None,
        f"search.redo={job.search.redo}": bool(job.search.redo),
        "quantised weights": model.quantization is not None,
        f"parallel: {degrees}": degrees.fsdp or degrees.ulysses * degrees.clips > 1,
    }
    for what, is_so in against.items():
        if is_so:
            raise ConfigError(
                f"performance.cuda_graphs replays passes as they were recorded, and with {what} they differ in more "
                "than their inputs; leave one of them out"
            )
    return Graphs(CudaCapture())
