"""Figures of `vgen bench samplers` for people: a table or two for each part."""

from collections.abc import Callable, Iterator
from typing import Any

from rich.table import Table

__all__ = ["tables"]

Figures = dict[str, Any]

_LEGEND = "; *: not trained for it"


def tables(figures: dict[str, Figures]) -> Iterator[Table]:
    """The tables of every part that was measured."""
    for part, measured in figures.items():
        yield from _TABLES[part](measured)


def _presets(figures: Figures) -> Iterator[Table]:
    columns = (
        "length",
        "sampler",
        "text",
        "denoise",
        "decode",
        "write",
        "fps",
        "passes",
        "frames shown",
        "peak",
        "run",
    )
    cost = _table(
        "What it costs", *columns, caption=f"seconds; peak MiB, and what the run adds to the loaded model{_LEGEND}"
    )
    for row, new in _grouped(figures["rows"]):
        if new:
            cost.add_section()
        cost.add_row(
            _length(row),
            _name(row),
            *(f"{row['stages_s'][stage]:.1f}" for stage in ("text", "denoise", "decode", "write")),
            f"{row['fps']:.1f}",
            f"{row['passes']:,}",
            f"{row['frames_shown']:,}",
            f"{row['peak_mib']:,.0f}",
            f"+{row['peak_mib'] - row['idle_mib']:,.0f}",
        )
    yield cost
    yield _pictures("What becomes of the picture (one clip)", figures["rows"])


def _pictures(title: str, rows: list[Figures]) -> Table:
    shown = _table(
        title,
        *("length", "sampler", "light", "colour", "tint", "sharp", "motion", "next", "far", "gap", "moving", "warned"),
        caption=(
            "change from the first second to the last; similarity of neighbours and of frames a gap apart; share of "
            f"the picture that moves; warnings of drift{_LEGEND}"
        ),
    )
    for row, new in _grouped(rows):
        if new:
            shown.add_section()
        picture = row["picture"]
        change = picture["change"] or {}
        tints = [value for name in ("red_green", "blue_yellow") if (value := change.get(name)) is not None]
        shown.add_row(
            _length(row),
            _name(row),
            *(_number(change.get(name)) for name in ("brightness", "saturation")),
            _number(max(tints, key=abs, default=None)),
            *(_number(change.get(name)) for name in ("sharpness", "motion")),
            *(_number(picture[name]) for name in ("adjacent", "far")),
            "-" if picture["far_frames"] is None else str(picture["far_frames"]),
            "-" if picture["motion"] is None else f"{picture['motion']:.1%}",
            f"{picture['warned']:.0%}" if "warned" in picture else str(len(picture["warnings"])),
        )
    return shown


def _memory(figures: Figures) -> Iterator[Table]:
    shown = _table("Memory of long clips", "sampler", "length", "frames", "idle", "peak", "grows by", "above idle by")
    for preset, found in figures.items():
        if not isinstance(found, dict) or "growth" not in found:
            continue  # what it was taken on
        for row in found["rows"]:
            last = row is found["rows"][-1]
            shown.add_row(
                preset,
                _length(row),
                f"{row['frames']:,}",
                f"{row['idle_mib']:,.0f} MiB",
                f"{row['peak_mib']:,.0f} MiB",
                f"{found['growth'] - 1:+.1%}" if last else "",
                f"{found['growth_over_idle'] - 1:+.1%}" if last else "",
            )
    yield shown


def _cache(figures: Figures) -> Iterator[Table]:
    shown = _table(
        f"A cache against computing all again: {figures['latent_frames']} latent frames, {figures['steps']} steps",
        *("way", "denoise", "passes", "TFLOP"),
        caption=(
            f"{figures['wall_ratio']:.2f} times faster, {figures['flop_ratio']:.2f} times fewer FLOPs: "
            f"{figures['share']:.0%} of what is possible; latents differ by at most {figures['largest_difference']:.1e}"
        ),
    )
    for way, seconds in figures["seconds"].items():
        shown.add_row(way, f"{seconds:.2f} s", str(figures["passes"][way]), f"{figures['flops'][way] / 1e12:.3f}")
    yield shown


def _freenoise(figures: Figures) -> Iterator[Table]:
    words = {
        "freenoise": "FreeNoise",
        "newest": "the same windows one by one, the newest wins",
        "disjoint": "windows side by side",
        "full": "one full pass",
    }
    shown = _table(
        f"FreeNoise: {figures['latent_frames']} latent frames, {figures['steps']} steps",
        *("way", "denoise", "passes", "FreeNoise over it"),
    )
    for way, seconds in figures["seconds"].items():
        over = "" if way == "freenoise" else f"{figures['over'][way] - 1:+.0%}"
        shown.add_row(words[way], f"{seconds:.2f} s", str(figures["passes"][way]), over)
    yield shown


def _colours(figures: Figures) -> Iterator[Table]:
    shown = _table(
        "Colours of the first frame's objects in the last second",
        *("length", "sampler", "clips", "kept", "95 %", "chance", "empty first frame", "a clip"),
    )
    for row, new in _grouped(figures["rows"]):
        if new:
            shown.add_section()
        shown.add_row(_length(row), _name(row), *_share(row["kept"]), f"{row['seconds']:.0f} s")
    for times, kept in figures["real"].items():
        shown.add_row(f"{times}x", "the real world", *_share(kept), "")
    yield shown
    yield _pictures("What becomes of the picture (means over the clips; changes without sign)", figures["rows"])


def _share(kept: Figures) -> tuple[str, ...]:
    low, high = kept["interval_95"]
    return (
        str(kept["total"]),
        f"{kept['rate']:.0%}",
        f"{low:.0%} to {high:.0%}",
        "-" if kept["chance"] is None else f"{kept['chance']:.0%}",
        str(kept["empty"]),
    )


def _stream(figures: Figures) -> Iterator[Table]:
    shown = _table(
        "Streaming 480p with a model of Wan-1.3B's shape",
        *("context", "TFLOP a chunk", "denoise", "decode", "fps", "with VAE", "bound", "share of it", "peak"),
    )
    for row in figures["rows"]:
        shown.add_row(
            row["context"],
            f"{row['tflop_per_chunk']:.0f}",
            f"{row['denoise_s'] * 1e3:.0f} ms",
            f"{row['decode_s'] * 1e3:.0f} ms",
            f"{row['fps']:.1f}",
            f"{row['fps_with_vae']:.1f}",
            f"{row['bound_fps']:.0f}",
            f"{row['share_of_bound']:.0%}",
            "" if row["peak_mib"] is None else f"{row['peak_mib']:,.0f} MiB",
        )
    yield shown


_TABLES: dict[str, Callable[[Figures], Iterator[Table]]] = {
    "presets": _presets,
    "memory": _memory,
    "cache": _cache,
    "freenoise": _freenoise,
    "colours": _colours,
    "stream": _stream,
}


def _table(title: str, *columns: str, caption: str | None = None) -> Table:
    """Names to the left, figures to the right; what it says below may be long."""
    shown = Table(title=title, caption=caption, title_justify="left", caption_justify="left", min_width=96)
    for column in columns:
        names = column in ("sampler", "way", "context")
        shown.add_column(column, justify="left" if names else "right", no_wrap=True)
    return shown


def _grouped(rows: list[Figures]) -> Iterator[tuple[Figures, bool]]:
    """Rows, and whether one is the first of its length."""
    before = None
    for row in rows:
        yield row, row["times"] != before
        before = row["times"]


def _length(row: Figures) -> str:
    return f"{row['times']}x"


def _name(row: Figures) -> str:
    return f"{row['preset']}{'' if row['trained'] else ' *'}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
