"""What makes a run faster and leaves what it computes alone, where it is asked for: `Speed`.

Compiled regions: `vgen/models/regions.py`. Where weights are kept: `vgen/performance.py`.
"""

from dataclasses import dataclass
from typing import Any

from vgen.errors import ConfigError
from vgen.models.loaded import LoadedModel
from vgen.models.quantization import GGUF
from vgen.models.regions import EAGER, Compiler, Regions
from vgen.placement import Placement
from vgen.schema import PerformanceConfig

__all__ = ["Speed", "speed_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What one run is made faster with.

    Args:
        compiler: of the transformers' regions; they run as they stand where None.
    """

    compiler: Compiler | None = None

    @property
    def regions(self) -> Regions:
        """As the transformers run them."""
        return EAGER if self.compiler is None else self.compiler.regions

    def keys(self) -> dict[str, Any]:
        """Config keys that ask for exactly this."""
        return {} if self.compiler is None else {"performance.compile": True}

    def report(self) -> dict[str, Any]:
        """For the record."""
        return {"compile": None if self.compiler is None else self.compiler.report()}


def speed_of(config: PerformanceConfig, model: LoadedModel, placement: Placement) -> Speed:
    """What a request asks for, checked.

    Args:
        config: what was asked for.
        model: what runs.
        placement: of its weights.

    Raises:
        ConfigError: it does not go with how the weights are kept.
        ResourceError: the device or the machine cannot do it.
    """
    if not config.compile:
        return Speed()
    if placement.storage is not None:
        raise ConfigError(
            f"performance.compile with weights stored in {placement.storage}, which are cast at each layer's call, is "
            "not supported; leave one of them out"
        )
    if model.quantization is not None and model.quantization.scheme == GGUF:
        model.quantization.refuse_with("performance.compile", "leave it out")
    return Speed(compiler=Compiler(model.device))
