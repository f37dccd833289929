"""Which pipelines of diffusers vgen runs, and the family of each. Loaded when one is asked for: they import much."""

from vgen.models.stock.family import Family

__all__ = ["STOCK", "family_of"]

STOCK = (
    "CogVideoXImageToVideoPipeline",
    "CogVideoXPipeline",
    "HunyuanVideoPipeline",
    "LTXImageToVideoPipeline",
    "LTXPipeline",
    "MochiPipeline",
)


def family_of(pipeline: object) -> Family | None:
    """The family of a pipeline that model_index.json names; None where it is not one of STOCK."""
    match pipeline:
        case "CogVideoXImageToVideoPipeline" | "CogVideoXPipeline":
            from vgen.models.stock.cogvideox import COGVIDEOX

            return COGVIDEOX
        case "HunyuanVideoPipeline":
            from vgen.models.stock.hunyuan import HUNYUAN

            return HUNYUAN
        case "LTXImageToVideoPipeline" | "LTXPipeline":
            from vgen.models.stock.ltx import LTX

            return LTX
        case "MochiPipeline":
            from vgen.models.stock.mochi import MOCHI

            return MOCHI
        case _:
            return None
