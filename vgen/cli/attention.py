"""`vgen attention list | show | compare`: patterns of attention, looked at before they are used."""

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from vgen.config import parse_assignments
from vgen.errors import ConfigError, InputError, nearest
from vgen.presets import attention_presets
from vgen.schema import knob_of

__all__ = ["app"]

app = typer.Typer(
    name="attention",
    help="Sparse attention: which patterns there are, what they keep, what they cost, what they change.",
    no_args_is_help=True,
)

BLOCK = 128
LARGEST_GRID = 1 << 22  # tokens
_RUN = {"num_inference_steps", "num_layers", "dense_first_steps", "dense_last_steps", "dense_layers"}
Pattern = Annotated[str, typer.Argument(help="A pattern or preset; `vgen attention list` names them.")]
Words = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE ...]", help="Knobs, as decay=0.2.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_() -> None:
    """Name the patterns with their knobs, and the presets."""
    from vgen.attention.catalogue import describe

    for line in describe():
        typer.echo(line)
    typer.echo("\npresets (configs/attention):")
    for name, values in sorted(attention_presets().items()):
        typer.echo(f"  {name}: " + " ".join(f"{k.removeprefix('attention.')}={v}" for k, v in values.items()))


@app.command("show")
def show(
    pattern: Pattern,
    grid: Annotated[str, typer.Option(metavar="FxHxW", help="Latent frames, token rows and columns per frame.")],
    words: Words = None,
    block: Annotated[int | None, typer.Option(min=1, help="Tokens per block; 128 where not said.")] = None,
    heads: Annotated[int, typer.Option(min=1, help="Heads, for the FLOPs of one layer.")] = 12,
    head_width: Annotated[int, typer.Option(min=1, help="Width of a head, for the FLOPs.")] = 128,
    png: Annotated[Path | None, typer.Option(help="Draw it to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a pattern keeps on a grid of tokens: densities, FLOPs, the most it can save, a picture."""
    frames, height, width = _grid(grid)
    if png is not None:
        _check_png(png)
    name, knobs, run = _choice(pattern, words or [])
    from vgen.attention.catalogue import make_pattern
    from vgen.attention.pattern import BlockPattern, Pattern
    from vgen.attention.show import draw, end_to_end_speedup, summary
    from vgen.shapes import TokenGrid

    made = make_pattern(name, knobs)
    if not isinstance(made, Pattern | BlockPattern):
        why = _WHY_NOT.get(type(made).__name__, "chooses by queries and keys")
        raise ConfigError(
            f"attention '{pattern}' {why}, so a grid alone does not show it; "
            "`vgen attention compare` runs it on a prompt"
        )
    tokens = TokenGrid(frames=tuple(range(frames)), height=height, width=width)
    if block is None:
        block = min(BLOCK, tokens.tokens)
    if block > tokens.tokens:
        raise InputError(f"--block {block} is larger than the {tokens.tokens} tokens of {grid}")
    steps, layers = _shares(run)
    found = summary(
        made, tokens, block=block, heads=heads, head_width=head_width, dense_steps=steps, dense_layers=layers
    )
    if png is not None:
        draw(made, tokens, found).save(png)
    if as_json:
        typer.echo(json.dumps(found.as_dict()))
        return
    end_to_end = end_to_end_speedup(found.effective_density, attention_share=0.8, efficiency=1.0)
    typer.echo(
        f"{found.pattern}\n{frames}x{height}x{width}: {tokens.tokens:,} tokens in {found.blocks:,} blocks of {block}"
    )
    typer.echo(f"kept          {found.kept_blocks:,} of {found.blocks**2:,} pairs of blocks")
    typer.echo(
        f"density       {found.token_density:.4f} of tokens, {found.block_density:.4f} of blocks, "
        f"{found.effective_density:.4f} over a run"
    )
    typer.echo(f"one layer     {found.flops / 1e9:,.1f} GFLOP ({heads} heads of {head_width})")
    typer.echo(
        f"at most       {found.speedup_bound:.2f}x faster attention; {end_to_end:.2f}x a step that is 80 % attention"
    )
    if png is not None:
        typer.echo(str(png))


@app.command("compare")
def compare(
    pattern: Pattern,
    prompt: Annotated[str, typer.Argument(help="What both clips show.")],
    words: Words = None,
    model: Annotated[str, typer.Option(help="A model, by name or folder.")] = "playground",
    seed: Annotated[int | None, typer.Option(min=0, help="Of both clips.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N.")] = "auto",
    png: Annotated[Path | None, typer.Option(help="Draw both clips and the errors to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a prompt dense and sparse: how far attention is off in each layer and step, and the frames in the end.

    KEY=VALUE takes knobs of the pattern, and any config key, as request.num_frames=65 or attention.block=64.
    """
    from vgen.cli.quiet import quiet

    quiet()
    from vgen.bench.compare import compare as run
    from vgen.bench.compare import draw_comparison
    from vgen.cli.progress import say
    from vgen.pipeline import VideoPipeline

    if pattern == "dense":
        raise ConfigError("dense is what a pattern is compared with; name another")
    if png is not None:
        _check_png(png)
    keys = [word if "." in word.partition("=")[0] else f"attention.{word}" for word in words or []]
    values = parse_assignments(keys) | {"attention.name": pattern, "request.prompt": prompt, "model.id": model}
    if seed is not None:
        values["request.seed"] = seed
    found = run(VideoPipeline.from_pretrained(model, device=device), values, say)
    if png is not None:
        draw_comparison(found).save(png)
    result = found.as_dict()
    if as_json:
        typer.echo(json.dumps(result))
        return
    errors = found.errors_SN
    typer.echo("step  relative error of each layer")
    for step, row in enumerate(errors):
        typer.echo(f"{step:4}  " + " ".join(f"{error:7.4f}" for error in row))
    for row in result["attention"]:
        typer.echo(f"layers {row['layers']}, steps {row['steps']}: {row['pattern']} by {row['executor']}, {row['why']}")
    frames = result["frames"]
    typer.echo(
        f"frames: {frames['psnr_db']:.1f} dB, largest difference {frames['largest']} of 255; "
        f"attention did {found.effective_density:.3f} of the dense work; seed {found.seed}"
    )
    if png is not None:
        typer.echo(str(png))


_WHY_NOT = {"PerLayer": "differs by layer", "PerHead": "differs by head"}


def _grid(grid: str) -> tuple[int, int, int]:
    sides = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})x([0-9]{1,6})", grid.lower())
    if sides is None or "0" in sides.groups():
        raise InputError(f"--grid takes FRAMESxROWSxCOLUMNS in tokens, such as 21x45x80, got '{grid[:40]}'")
    frames, height, width = (int(side) for side in sides.groups())
    if frames * height * width > LARGEST_GRID:
        raise InputError(f"--grid {grid} has {frames * height * width:,} tokens; at most {LARGEST_GRID:,}")
    return frames, height, width


def _check_png(png: Path) -> None:
    if png.suffix.lower() != ".png":
        raise InputError(f"--png writes a .png file, got '{png}'")
    if not png.parent.is_dir():
        raise InputError(f"--png {png}: its folder does not exist")


def _choice(asked: str, words: list[str]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The pattern's name and knobs, and what was said of a run; a preset fills what was not said."""
    from vgen.attention.catalogue import PATTERNS

    presets = attention_presets()
    if asked not in presets and asked not in PATTERNS:
        raise ConfigError(f"unknown attention '{asked}'; {nearest(asked, {*presets, *PATTERNS})}")
    said: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"'{word}' is not key=value, such as decay=0.2")
        if name in _RUN:
            said[name] = _whole(name, value)
        elif knob_of(f"attention.{name}") is None:
            raise ConfigError(f"'{name}' is no knob of a pattern; {nearest(name, _RUN)}")
        else:
            key = f"attention.{name}"
            said[name] = parse_assignments([f"{key}={value}"])[key]
    values = {key.removeprefix("attention."): value for key, value in presets.get(asked, {}).items()} | said
    run = {name: values.pop(name) for name in _RUN if name in values}
    pattern = values.pop("name", asked)
    return pattern, {k: v for k, v in values.items() if k not in ("executor", "block")}, run


def _whole(name: str, value: str) -> int:
    if not value.isdecimal():
        raise ConfigError(f"{name} is a whole number, got '{value[:40]}'")
    return int(value)


def _shares(run: dict[str, Any]) -> tuple[float, float]:
    """Shares of dense steps and layers, out of as many as were said."""
    shares = []
    for total, parts in (
        ("num_inference_steps", ("dense_first_steps", "dense_last_steps")),
        ("num_layers", ("dense_layers",)),
    ):
        dense = sum(run.get(part) or 0 for part in parts)
        whole = run.get(total)
        if dense and whole is None and total == "num_inference_steps":
            raise ConfigError(f"{parts[0]} is a share of a run's steps; say {total}=50 beside it")
        if whole is not None and dense > whole:
            raise ConfigError(f"{parts[0]}={dense} is more than {total}={whole}")
        shares.append(dense / whole if whole else 0.0)
    return shares[0], shares[1]
