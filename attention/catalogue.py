"""Patterns by name, with typed knobs: what `vgen generate --attention` and `vgen attention show` can ask for.

A new pattern is a function here, whose parameters are its knobs with their defaults and one line of help each, and a
row of `PATTERNS`. Which values make sense the pattern itself knows.
"""

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import Annotated, Any, Literal, TypeAlias

from vgen.attention.bands import TokenBand
from vgen.attention.cycles import PerHead, PerLayer
from vgen.attention.dual_scope import dual_scope
from vgen.attention.mixture import CUBOID, PATCH, MixtureOfBlocks, moba, vmoba
from vgen.attention.order import TokenOrder
from vgen.attention.pattern import AnyPattern, Full, Pattern, require
from vgen.attention.radial import Radial, RadialBlocks
from vgen.attention.temporal import CausalWindow, Sink, UniformFrames
from vgen.attention.windows import STA_TILE, InwardWindow, SlidingTiles, Window
from vgen.errors import ConfigError, nearest

__all__ = ["PATTERNS", "Made", "describe", "make_pattern"]

Made: TypeAlias = AnyPattern | PerHead | PerLayer
Parts: TypeAlias = tuple[Made, ...]
Sizes: TypeAlias = tuple[int, ...]
NAME = "name"  # of a pattern within a list: {name: window, frames: 8}
ALL, AUTO = "all", "auto"


def _radial(
    decay: Annotated[float, "width of the bands, above 0"] = 0.2,
    adjacent: Annotated[Literal["full", "half"], "what neighbouring frames see of each other"] = "full",
    sink: Annotated[int, "leading frames that all see"] = 1,
    min_reach: Annotated[int, "least half width of a band, in tokens"] = 128,
    fidelity: Annotated[Literal["exact", "block"], "by the token, or by the published rule for whole blocks"] = "exact",
) -> Radial | RadialBlocks:
    radial = Radial(decay=decay, adjacent=adjacent, sink=sink, min_reach=min_reach)
    return radial if fidelity == "exact" else RadialBlocks(radial)


def _window(
    frames: Annotated[int | None, "reach to each side in latent frames"] = None,
    rows: Annotated[int | None, "reach in token rows"] = None,
    columns: Annotated[int | None, "reach in token columns"] = None,
    tiles: Annotated[TokenOrder | None, "order of computation, as 2x8x8 or allx4x4"] = None,
) -> Window:
    return Window(frames=frames, rows=rows, columns=columns, tiles=tiles)


def _inward(
    rows: Annotated[int, "reach in token rows; half of the model's native ones"] = 15,
    columns: Annotated[int, "reach in token columns"] = 26,
    tiles: Annotated[TokenOrder | None, "order of computation, as 1x16x8"] = None,
) -> InwardWindow:
    return InwardWindow(rows=rows, columns=columns, tiles=tiles)


def _tiles(
    frames: Annotated[int | None, "reach to each side in tiles"] = 1,
    rows: Annotated[int | None, "reach in tiles"] = 1,
    columns: Annotated[int | None, "reach in tiles"] = 1,
    tile: Annotated[TokenOrder, "frames x rows x columns"] = STA_TILE,
) -> SlidingTiles:
    return SlidingTiles(frames=frames, rows=rows, columns=columns, tile=tile)


def _causal(
    chunk: Annotated[int, "frames that see each other"] = 1,
    window: Annotated[int | None, "latest frames that are seen, the chunk's own among them"] = None,
    sink: Annotated[int, "leading frames that stay visible"] = 0,
    lead: Annotated[int, "frames of a shorter first chunk"] = 0,
) -> CausalWindow:
    return CausalWindow(chunk=chunk, window=window, sink=sink, lead=lead)


def _sink(frames: Annotated[int, "leading frames that all see"] = 1) -> Sink:
    return Sink(frames)


def _uniform(count: Annotated[int, "frames at even distances that all see"] = 16) -> UniformFrames:
    return UniformFrames(count)


def _dual_scope(
    reach: Annotated[int, "near frames to each side"] = 8,
    count: Annotated[int, "frames at even distances that all see"] = 16,
    clips: Annotated[int | None, "parts of the video whose frames see the same; all: each frame is one"] = None,
) -> Pattern:
    return dual_scope(reach=reach, count=count, clips=clips)


def _band(
    along: Annotated[Literal["space", "time"], "frame after frame, or position after position"] = "space",
    density: Annotated[float, "share of the pairs, above 0, at most 1"] = 0.25,
) -> TokenBand:
    return TokenBand(along=along, density=density)


def _moba(
    chunk: Annotated[int, "tokens per chunk of keys"] = 512,
    topk: Annotated[int, "chunks that each query sees, its own included"] = 3,
    causal: Annotated[bool, "no token sees a later one"] = False,
) -> MixtureOfBlocks:
    return moba(chunk=chunk, topk=topk, causal=causal)


def _vmoba(
    frames: Annotated[int, "latent frames per chunk, in every third layer"] = 2,
    patch: Annotated[TokenOrder, "chunks of the layers after those"] = PATCH,
    cuboid: Annotated[TokenOrder, "chunks of the layers after those"] = CUBOID,
    topk: Annotated[Sizes | None, "chunks that are kept per query: one number, or three as [3, 20, 15]"] = None,
    threshold: Annotated[float | None, "share of the scores that is kept instead; 0.25 where neither is said"] = None,
    scope: Annotated[Literal["query_head", "head_global", "overall", "block"], "what competes"] = "query_head",
    fidelity: Annotated[Literal["exact", "block"], "each query chooses, or blocks of them"] = "exact",
) -> PerLayer:
    return vmoba(
        frames=frames,
        patch=patch,
        cuboid=cuboid,
        topk=_three(topk),
        threshold=threshold,
        scope=scope,
        fidelity=fidelity,
    )


def _three(topk: Sizes | None) -> int | tuple[int, int, int] | None:
    if topk is None or len(topk) == 1:
        return None if topk is None else topk[0]
    require(len(topk) == 3, f"vmoba: topk={list(topk)}", "one number, or three")
    return topk[0], topk[1], topk[2]


def _any(of: Annotated[Parts, "list of patterns, as [{name: window, frames: 4}, {name: sink}]"]) -> Pattern:
    return reduce(or_, _static("any", of))


def _all(of: Annotated[Parts, "list of patterns"]) -> Pattern:
    return reduce(and_, _static("all", of))


def _per_head(of: Annotated[Parts, "list of patterns, taken in turn"]) -> PerHead:
    for part in of:
        require(not isinstance(part, PerHead | PerLayer), f"per_head: of {part}", "patterns that do not cycle")
    return PerHead(of)  # type: ignore[arg-type]  # just checked


def _per_layer(of: Annotated[Parts, "list of patterns, taken in turn; per_head among them"]) -> PerLayer:
    for part in of:
        require(not isinstance(part, PerLayer), f"per_layer: of {part}", "patterns, and per_head")
    return PerLayer(of)  # type: ignore[arg-type]  # just checked


def _static(name: str, parts: Parts) -> Sequence[Pattern]:
    require(bool(parts), f"{name}: of no pattern", "at least one")
    for part in parts:
        require(isinstance(part, Pattern), f"{name}: of {part}", "patterns by token that do not look at the data")
    return typing.cast(Sequence[Pattern], parts)


@dataclass(frozen=True, slots=True)
class Row:
    """A pattern by name.

    Args:
        make: its parameters are the knobs.
        about: one line for the help.
    """

    make: Callable[..., Made]
    about: str


PATTERNS: dict[str, Row] = {
    "all": Row(_all, "what all of several patterns keep"),
    "any": Row(_any, "what at least one of several patterns keeps"),
    "band": Row(_band, "Sparse VideoGen's bands along space or time"),
    "causal": Row(_causal, "chunks of frames that see the past, with window and sink"),
    "dual_scope": Row(_dual_scope, "Video-Infinity: near frames, and frames from everywhere"),
    "full": Row(Full, "everything"),
    "inward": Row(_inward, "FreeSwim: window in space, pushed inward at borders"),
    "moba": Row(_moba, "mixture of block attention: each query chooses chunks of keys"),
    "per_head": Row(_per_head, "patterns in turn over the heads"),
    "per_layer": Row(_per_layer, "patterns in turn over the layers"),
    "radial": Row(_radial, "Radial Attention: bands that narrow with distance in time"),
    "sink": Row(_sink, "the leading frames, to be joined with others by `any`"),
    "tiles": Row(_tiles, "Sliding Tile Attention: window of whole tiles"),
    "uniform": Row(_uniform, "frames at even distances"),
    "vmoba": Row(_vmoba, "mixture of blocks for video: chunks of frames, patches and cuboids over the layers"),
    "window": Row(_window, "window in time, rows and columns"),
}


def make_pattern(name: str, knobs: Mapping[str, Any]) -> Made:
    """A pattern from the words of a config or command line.

    Args:
        name: a row of `PATTERNS`.
        knobs: by name, as YAML reads them; `all` for a whole axis, `2x8x8` for a tile.

    Raises:
        ConfigError: unknown pattern or knob, a knob missing, or a value that it cannot have.
    """
    if name not in PATTERNS:
        raise ConfigError(f"unknown attention pattern '{name}'; {nearest(name, PATTERNS)}")
    known = _knobs(name)
    for asked in knobs:
        if asked not in known:
            possible = nearest(asked, known) if known else "it has none"
            raise ConfigError(f"attention pattern '{name}' has no knob '{asked}'; {possible}")
    for knob in known.values():
        if knob.default is inspect.Parameter.empty and knob.name not in knobs:
            raise ConfigError(f"attention pattern '{name}' needs its knob '{knob.name}': {knob.about}")
    return PATTERNS[name].make(**{k: _read(f"{name}: {k}", value, known[k].kind) for k, value in knobs.items()})


def describe() -> list[str]:
    """Lines for the help: each pattern, and under it its knobs with their defaults."""
    lines = []
    for name, row in sorted(PATTERNS.items()):
        lines.append(f"{name}: {row.about}")
        lines += [f"  {knob}" for knob in _knobs(name).values()]
    return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class _Knob:
    """A parameter of a function of `PATTERNS`."""

    name: str
    kind: Any
    default: Any
    about: str

    def __str__(self) -> str:
        choices = f" ({', '.join(typing.get_args(self.kind))})" if typing.get_origin(self.kind) is Literal else ""
        if self.default is inspect.Parameter.empty:
            return f"{self.name}  {self.about}"
        return f"{self.name}={_text(self.default, self.kind)}  {self.about}{choices}"


def _knobs(name: str) -> dict[str, _Knob]:
    make = PATTERNS[name].make
    parameters = inspect.signature(make).parameters
    hints = typing.get_type_hints(make, include_extras=True) if parameters else {}
    found = {}
    for knob, parameter in parameters.items():
        kind, about = typing.get_args(hints[knob])
        found[knob] = _Knob(name=knob, kind=kind, default=parameter.default, about=about)
    return found


def _text(value: Any, kind: Any) -> str:
    if isinstance(value, TokenOrder):
        return "x".join(ALL if size is None else str(size) for size in (value.frames, value.rows, value.columns))
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return _unset(kind) if value is None else str(value)


def _unset(kind: Any) -> str:
    """How None is written: no limit on an axis, or what the pattern itself does then."""
    return ALL if int in typing.get_args(kind) else AUTO


def _read(asked: str, value: Any, kind: Any) -> Any:
    """A value in the type of its knob."""
    if kind == Parts:
        return _parts(asked, value)
    if kind == Sizes:
        return _sizes(asked, value)
    if isinstance(kind, types.UnionType):
        return None if value is None or value == _unset(kind) else _read(asked, value, typing.get_args(kind)[0])
    if kind is TokenOrder:
        return _tile(asked, value)
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            raise ConfigError(f"attention {asked}={value} is not possible; {nearest(str(value), choices)}")
        return value
    possible, words = _PLAIN[kind]
    require(type(value) in possible, f"{asked}={value!r}", words)
    return kind(value)


_PLAIN: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true, false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
}


def _tile(asked: str, value: Any) -> TokenOrder:
    sizes = re.fullmatch(r"(all|[1-9][0-9]*)x(all|[1-9][0-9]*)x(all|[1-9][0-9]*)", str(value))
    if sizes is None:
        raise ConfigError(f"attention {asked}={value} is not possible; possible: FRAMESxROWSxCOLUMNS, such as allx4x4")
    frames, rows, columns = (None if size == ALL else int(size) for size in sizes.groups())
    return TokenOrder(frames, rows, columns)


def _sizes(asked: str, value: Any) -> Sizes:
    sizes = value.split("x") if isinstance(value, str) else value if isinstance(value, Sequence) else [value]
    require(all(re.fullmatch("[0-9]+", str(size)) for size in sizes), f"{asked}={value!r}", "numbers, such as 4x6x4")
    return tuple(int(size) for size in sizes)


def _parts(asked: str, value: Any) -> Parts:
    shaped = isinstance(value, Sequence) and all(isinstance(p, Mapping) and isinstance(p.get(NAME), str) for p in value)
    require(
        shaped and not isinstance(value, str),
        f"{asked}={value!r}",
        "a list such as [{name: window, frames: 4}, {name: sink}]",
    )
    return tuple(make_pattern(part[NAME], {k: v for k, v in part.items() if k != NAME}) for part in value)
