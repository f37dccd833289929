"""What a sparse pattern changes on a real prompt: attention's output per layer and step, and the finished frames."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from vgen.attention import Dense, SparseAttention
from vgen.config import merge
from vgen.frames import Frames, psnr_db
from vgen.pipeline import VideoPipeline
from vgen.shapes import TokenGrid
from vgen.sparsity import record_rows

__all__ = ["Comparison", "Watched", "compare", "draw_comparison"]

_CELL_PX, _MARGIN_PX, _LINE_PX, _COLUMNS = 18, 8, 14, 8


class Watched:
    """Dense attention that also computes a sparse one on the same input, and notes how far that is off.

    Args:
        sparse: what is compared.
    """

    def __init__(self, sparse: SparseAttention) -> None:
        self.sparse = sparse
        self._dense = Dense()
        self._squares: dict[tuple[int, float], list[float]] = {}

    def __call__(
        self,
        q_BLNK: Tensor,
        k_BMNK: Tensor,
        v_BMNK: Tensor,
        *,
        query: TokenGrid,
        key: TokenGrid,
        layer: int,
        sigma: float | None = None,
    ) -> Tensor:
        assert sigma is not None, "errors are noted by noise level"
        out = self._dense(q_BLNK, k_BMNK, v_BMNK, query=query, key=key, layer=layer)
        other = self.sparse(q_BLNK, k_BMNK, v_BMNK, query=query, key=key, layer=layer, sigma=sigma)
        sums = self._squares.setdefault((layer, sigma), [0.0, 0.0])
        sums[0] += float((other.double() - out.double()).square().sum())
        sums[1] += float(out.double().square().sum())
        return out

    def errors(self, sigmas: tuple[float, ...]) -> NDArray[np.float64]:
        """|sparse - dense| / |dense| in the 2-norm, [steps, layers]; NaN where a layer was not called."""
        layers = 1 + max(layer for layer, _ in self._squares)
        found = np.full((len(sigmas), layers), np.nan)
        for (layer, sigma), (off, whole) in self._squares.items():
            if sigma in sigmas:
                found[sigmas.index(sigma), layer] = (off / whole) ** 0.5 if whole else 0.0
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A prompt run dense and sparse, from one seed.

    Args:
        errors_SN: relative error of attention's output on the dense run's own inputs; steps x layers.
        dense_FYX3, sparse_FYX3: the finished frames.
        rows: what the sparse run's record says of its attention.
        effective_density: work of the sparse run's attention over dense.
        seed: of both.
    """

    errors_SN: NDArray[np.float64]
    dense_FYX3: Frames
    sparse_FYX3: Frames
    rows: list[dict[str, Any]]
    effective_density: float
    seed: int

    def as_dict(self) -> dict[str, Any]:
        difference = np.abs(self.dense_FYX3.astype(int) - self.sparse_FYX3.astype(int))
        return {
            "seed": self.seed,
            "attention": self.rows,
            "effective_density": self.effective_density,
            "layer_errors": [[round(float(e), 6) for e in row] for row in self.errors_SN],
            "frames": {
                "psnr_db": psnr_db(self.dense_FYX3, self.sparse_FYX3),
                "largest": int(difference.max()),
                "mean": float(difference.mean()),
            },
        }


def compare(
    pipeline: VideoPipeline, values: dict[str, Any], say: Callable[[str], None] = lambda line: None
) -> Comparison:
    """Runs a prompt dense, watching the pattern beside it, and then with the pattern.

    Args:
        pipeline: whose model runs.
        values: dotted config keys of the sparse run.
        say: told what begins.
    """
    config, said = merge(("compare", values))
    sparse = pipeline.start(config, said)
    job = sparse.job
    config.request.seed, said = job.seed, sorted({*said, "request.seed"})
    watched_by = job.attention.build(calls=1)
    assert isinstance(watched_by, SparseAttention), "dense attention is not compared with itself"
    watched = Watched(watched_by)
    say("dense, with the pattern beside it")
    dense_FYX3 = pipeline.start(config, said, attention=watched).clip().frames
    say("with the pattern")
    attention = job.attention.build(calls=1)
    assert isinstance(attention, SparseAttention), "as above"
    sparse_FYX3 = pipeline.start(config, said, attention=attention).clip().frames
    return Comparison(
        errors_SN=watched.errors(job.levels),
        dense_FYX3=dense_FYX3,
        sparse_FYX3=sparse_FYX3,
        rows=record_rows(attention, job.levels),
        effective_density=attention.effective_density(),
        seed=job.seed,
    )


def draw_comparison(found: Comparison) -> Image.Image:
    """Frames of both runs under each other, and the errors as a map of steps and layers."""
    frames, rows, columns = found.dense_FYX3.shape[:3]
    shown = [i * (frames - 1) // max(1, _COLUMNS - 1) for i in range(min(_COLUMNS, frames))]
    steps, layers = found.errors_SN.shape
    width = max(len(shown) * (columns + 2), layers * _CELL_PX) + 2 * _MARGIN_PX
    height = 3 * (_LINE_PX + _MARGIN_PX) + 2 * rows + steps * _CELL_PX + _LINE_PX
    page = Image.new("RGB", (width, height), "white")
    pen, y = ImageDraw.Draw(page), _MARGIN_PX // 2
    for name, clip in (("dense", found.dense_FYX3), ("sparse", found.sparse_FYX3)):
        pen.text((_MARGIN_PX, y), name, fill="black")
        for column, frame in enumerate(shown):
            page.paste(Image.fromarray(clip[frame]), (_MARGIN_PX + column * (columns + 2), y + _LINE_PX))
        y += _LINE_PX + rows + _MARGIN_PX
    worst = float(np.nanmax(found.errors_SN))
    pen.text((_MARGIN_PX, y), f"relative error; rows: steps, columns: layers; darkest {worst:.3g}", fill="black")
    y += _LINE_PX
    for (step, layer), error in np.ndenumerate(found.errors_SN):
        shade = 255 - round(215 * (0.0 if np.isnan(error) or worst == 0 else error / worst))
        left, top = _MARGIN_PX + layer * _CELL_PX, y + step * _CELL_PX
        pen.rectangle(
            (left, top, left + _CELL_PX - 2, top + _CELL_PX - 2), fill=(shade, shade, 255 - (255 - shade) // 3)
        )
    return page
