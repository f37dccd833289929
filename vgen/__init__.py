"""vgen: long clips from video diffusion transformers, and a judge of the cause and physics in them.

The public names load on first use (PEP 562), so that `import vgen` and `vgen --help` stay quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vgen.clip import Clip
    from vgen.errors import VgenError
    from vgen.pipeline import VideoPipeline
    from vgen.schema import GenerateConfig

__version__ = "0.1.0"

__all__ = ["Clip", "GenerateConfig", "VgenError", "VideoPipeline"]

_HOME = {
    "Clip": "vgen.clip",
    "GenerateConfig": "vgen.schema",
    "VgenError": "vgen.errors",
    "VideoPipeline": "vgen.pipeline",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'vgen' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
