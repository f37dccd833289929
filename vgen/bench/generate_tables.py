"""Figures of `vgen bench generate` for people: a table for each model."""

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from vgen.bench.generate_runs import STAGES

__all__ = ["tables"]

Row = dict[str, Any]
NAMES = {"stock": "stock diffusers", "vgen": "vgen, dense", "radial": "vgen, radial"}


def tables(figures: Row) -> Iterator[Table]:
    """A table for each row: seconds of each way, and under it how they stand to each other."""
    for row in figures["rows"].values():
        yield _table(row)


def _table(row: Row) -> Table:
    recipe = row["recipe"]
    height, width = recipe["size"]
    title = (
        f"{row['model']}: {recipe['num_frames']} frames of {width}x{height}, {recipe['num_inference_steps']} steps, "
        f"guidance {recipe['guidance_scale']:g}, {recipe['dtypes']['transformer']}, {recipe['sdpa']}, "
        f"{'compiled' if recipe['compile'] else 'eager'}"
    )
    table = Table(title=title, caption="\n".join(_says(row)), caption_justify="left")
    table.add_column("seconds")
    for column in (*STAGES, "whole", "a forward", "TFLOP/s", "of peak", "peak MiB"):
        table.add_column(column, justify="right")
    for way, made in row["ways"].items():
        table.add_row(
            NAMES[way],
            *(f"{made['stages_s'][stage]:.2f}" for stage in STAGES),
            f"{made['whole_s']:.2f}",
            f"{made['forward_s']:.3f}",
            *("" if made[key] is None else form.format(made[key]) for key, form in _OPTIONAL),
        )
    return table


_OPTIONAL = (("tflops", "{:.3g}"), ("share_of_peak", "{:.0%}"), ("peak_mib", "{:,.0f}"))


def _says(row: Row) -> Iterator[str]:
    yield f"medians of {row['turns']} turns; whole is without write; ratios are of {row['ratio_of']}, least to greatest"
    for name, key in (("vgen over stock", "ratio"), ("dense over radial", "speedup")):
        if key in row:
            yield f"{name}: " + ", ".join(f"{stage} {_spread(row[key][stage])}" for stage in (*STAGES, "whole"))
    if "speedup" in row:
        at = row["speedup"]["at_published_steps"]
        yield (
            f"dense over radial at {at['steps']} steps, {at['dense_first_steps']} of them dense, from the time of each "
            f"kind of pass: {at['whole']:.2f}"
        )
    if row["difference"]:
        apart = row["difference"]
        yield (
            f"vgen and stock differ by {apart['latents']:.2g} in latents ({apart['latents_rms']:.2g} of their root "
            f"mean square) and {apart['frames'] * 255:.2f} of 255 in frames: "
            f"{'within' if apart['within'] else 'BEYOND'} the tolerance"
        )
    peak = next((made["peak"] for made in row["ways"].values() if made["peak"]), None)
    if peak:
        yield f"peak: {peak}"


def _spread(ratio: Row) -> str:
    low, high = ratio["interval"]
    return f"{ratio['median']:.2f} ({low:.2f} to {high:.2f})"
