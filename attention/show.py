"""What a pattern keeps on a grid, as figures and as a picture."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vgen.attention.blocks import BlockMap
from vgen.attention.counting import kept_pairs
from vgen.attention.pattern import BlockPattern, Pattern
from vgen.attention.place import Place
from vgen.attention.planning import plan
from vgen.shapes import TokenGrid

__all__ = ["Summary", "draw", "effective_density", "end_to_end_speedup", "summary"]

_MAP_PX, _FRAME_PX, _MARGIN_PX, _LINE_PX = 640, 72, 8, 14
_COLOURS = np.array([(244, 244, 240), (143, 190, 226), (24, 84, 140)], dtype=np.uint8)  # by state: none, part, full
_SEEN, _UNSEEN, _SELF = (24, 84, 140), (226, 226, 220), (214, 69, 40)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What one pattern costs on one grid.

    Args:
        blocks: blocks of queries.
        kept_blocks: pairs of blocks that are computed.
        token_density: share of the pairs of tokens that are kept; None where a coarse rule drops or adds tokens.
        block_density: share of the pairs of tokens that lie in computed blocks.
        effective_density: the same over a run with its dense layers and steps.
        flops: of one layer: 4 x density x L x M x heads x head width.
    """

    pattern: str
    grid: TokenGrid
    block: int
    blocks: int
    kept_blocks: int
    token_density: float
    block_density: float
    effective_density: float
    flops: float

    @property
    def speedup_bound(self) -> float:
        """At most this much faster attention, by a kernel as good as the dense one."""
        return 1 / self.effective_density

    def as_dict(self) -> dict[str, Any]:
        return {
            "pattern": self.pattern,
            "grid": f"{len(self.grid.frames)}x{self.grid.height}x{self.grid.width}",
            "tokens": self.grid.tokens,
            "block": self.block,
            "blocks": self.blocks,
            "kept_blocks": self.kept_blocks,
            "density": {
                "token": self.token_density,
                "block": self.block_density,
                "effective": self.effective_density,
            },
            "flops": self.flops,
            "speedup_bound": self.speedup_bound,
        }


def summary(
    pattern: Pattern | BlockPattern,
    grid: TokenGrid,
    *,
    block: int,
    heads: int,
    head_width: int,
    dense_steps: float = 0.0,
    dense_layers: float = 0.0,
) -> Summary:
    """Figures of a pattern that does not look at the data.

    Args:
        dense_steps, dense_layers: share of the steps and layers that stay dense, 0..1.
    """
    blocks = plan(pattern, grid, grid, block=block, device=torch.device("cpu"))
    density = blocks.density()
    token = kept_pairs(pattern, grid, grid) / grid.tokens**2 if isinstance(pattern, Pattern) else density
    return Summary(
        pattern=str(pattern),
        grid=grid,
        block=block,
        blocks=len(blocks.query_edges) - 1,
        kept_blocks=blocks.kept_blocks,
        token_density=token,
        block_density=density,
        effective_density=effective_density(density, dense_steps=dense_steps, dense_layers=dense_layers),
        flops=4 * density * grid.tokens**2 * heads * head_width,
    )


def effective_density(density: float, *, dense_steps: float, dense_layers: float) -> float:
    """Density over a run: s + (1 - s) (l + (1 - l) density), with shares s of dense steps and l of dense layers."""
    return dense_steps + (1 - dense_steps) * (dense_layers + (1 - dense_layers) * density)


def end_to_end_speedup(effective: float, *, attention_share: float, efficiency: float) -> float:
    """1 / (1 - a + a density / e): of a step whose share `a` is attention, on a kernel of efficiency `e`."""
    return 1 / (1 - attention_share + attention_share * effective / efficiency)


def draw(pattern: Pattern | BlockPattern, grid: TokenGrid, figures: Summary) -> Image.Image:
    """The map of blocks, and what the token in the middle of the clip sees, frame by frame."""
    blocks = plan(pattern, grid, grid, block=figures.block, device=torch.device("cpu"))
    table = _map(blocks)
    strip = _strip(pattern, grid) if isinstance(pattern, Pattern) else None
    lines = _lines(figures)
    width = max(table.width, 0 if strip is None else strip.width) + 2 * _MARGIN_PX
    height = table.height + _LINE_PX * len(lines) + 3 * _MARGIN_PX
    page = Image.new("RGB", (width, height + (0 if strip is None else strip.height + _MARGIN_PX)), "white")
    pen, y = ImageDraw.Draw(page), _MARGIN_PX
    for line in lines:
        pen.text((_MARGIN_PX, y), line, fill="black")
        y += _LINE_PX
    page.paste(table, (_MARGIN_PX, y + _MARGIN_PX))
    if strip is not None:
        page.paste(strip, (_MARGIN_PX, y + table.height + 2 * _MARGIN_PX))
    return page


def _lines(figures: Summary) -> list[str]:
    grid = figures.grid
    return [
        f"{figures.pattern} on {len(grid.frames)}x{grid.height}x{grid.width} tokens",
        f"density {figures.token_density:.3f} of tokens, {figures.block_density:.3f} in blocks of {figures.block} "
        f"({figures.kept_blocks:,} of {figures.blocks**2:,})",
        "rows: blocks of queries; columns: blocks of keys; dark: whole, light: in part",
    ]


def _map(blocks: BlockMap) -> Image.Image:
    """One pixel or more per pair of blocks; where blocks are many, the mean of theirs."""
    state = blocks.state_BNUV[0, 0].cpu().numpy()
    picture = Image.fromarray(_COLOURS[state])
    scale = max(1, _MAP_PX // max(state.shape))
    if scale > 1:
        return picture.resize((state.shape[1] * scale, state.shape[0] * scale), Image.Resampling.NEAREST)
    side = min(_MAP_PX, max(state.shape))
    return picture.resize((side, side), Image.Resampling.BOX)


def _strip(pattern: Pattern, grid: TokenGrid) -> Image.Image:
    """Each frame as the middle token of the middle frame sees it."""
    middle = len(grid.frames) // 2
    at = torch.tensor(grid.frames[middle]), torch.tensor(grid.height // 2), torch.tensor(grid.width // 2)
    axes = torch.tensor(grid.frames), torch.arange(grid.height), torch.arange(grid.width)
    t, h, w = torch.meshgrid(*axes, indexing="ij")
    shape = (len(grid.frames), grid.height, grid.width)
    seen_THW = pattern.keeps(Place(*at, grid), Place(t, h, w, grid)).expand(shape).numpy()
    cell = max(1, _FRAME_PX // max(grid.height, grid.width))
    rows, columns = grid.height * cell, grid.width * cell
    per_row = max(1, _MAP_PX // (columns + 4))
    lines = -(-len(grid.frames) // per_row)
    page = Image.new("RGB", (per_row * (columns + 4), lines * (rows + _LINE_PX)), "white")
    for position, frame in enumerate(grid.frames):
        left, top = position % per_row * (columns + 4), position // per_row * (rows + _LINE_PX)
        pixels = _frame(seen_THW[position], own=position == middle, at=(grid.height // 2, grid.width // 2))
        page.paste(Image.fromarray(pixels.repeat(cell, 0).repeat(cell, 1)), (left, top + _LINE_PX - 2))
        ImageDraw.Draw(page).text((left, top), str(frame), fill=_SELF if position == middle else "black")
    return page


def _frame(seen: NDArray[np.bool_], *, own: bool, at: tuple[int, int]) -> NDArray[np.uint8]:
    pixels = np.where(seen[..., None], np.array(_SEEN), np.array(_UNSEEN)).astype(np.uint8)
    if own:
        pixels[at] = _SELF
    return pixels
