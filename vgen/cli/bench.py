"""`vgen bench attention | generate | samplers | search | step-cache`: measured comparisons."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from vgen.errors import ConfigError

__all__ = ["app"]

app = typer.Typer(name="bench", help="Measure this machine.", no_args_is_help=True)


@app.command("attention")
def attention(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Few and short cases, for a look.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Write the figures beside those of vgen.bench.")] = False,
) -> None:
    """Time every executor of sparse attention against dense attention, in turns, in one run."""
    from vgen.cli.quiet import quiet as hush

    hush()
    from vgen.bench.attention import main

    main([f"--{name}" for name, asked in (("json", as_json), ("quick", quick), ("write", write)) if asked])


@app.command("generate")
def generate(
    models: Annotated[
        str | None, typer.Option(help="By commas: embedded, tiny; on a GPU wan-1b3-480p, wan-14b-720p, ...")
    ] = None,
    parts: Annotated[str | None, typer.Option(help="dense, sparse; by commas. Both if left out.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16.")] = "auto",
    compiled: Annotated[bool, typer.Option("--compile", help="Both engines compiled; both are eager if not.")] = False,
    steps: Annotated[int | None, typer.Option(help="Of the clip.")] = None,
    pairs: Annotated[int | None, typer.Option(help="Turns that are timed.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Keep the figures beside those of vgen.bench.")] = False,
) -> None:
    """Time clips, stage by stage, against stock diffusers on the same weights, and radial against dense attention.

    Ends with 1 where the engines' outputs differ by more than the tolerance. On a CPU about four minutes.
    """
    from vgen.cli.quiet import quiet as hush

    hush()
    from rich.console import Console

    from vgen.bench.generate import PARTS, RESULTS, Asked, bench_generate
    from vgen.bench.generate_tables import tables
    from vgen.cli.progress import say

    asked = Asked(
        models=_words(models) or None,
        parts=_words(parts) or tuple(PARTS),
        device=device,
        dtype=dtype,
        compile=compiled,
        steps=steps,
        pairs=pairs,
    )
    figures = bench_generate(asked, say=say, results=RESULTS if write else None)
    if as_json:
        typer.echo(json.dumps(figures))
    else:
        console = Console(width=None if sys.stdout.isatty() else 120)
        for table in tables(figures):
            console.print(table)
    if not figures["within"]:
        say("the engines' outputs differ by more than the tolerance; their times are not compared")
        raise typer.Exit(1)


@app.command("samplers")
def samplers(
    parts: Annotated[
        str | None, typer.Option(help="presets, memory, cache, freenoise, colours, stream; by commas.")
    ] = None,
    presets: Annotated[str | None, typer.Option(help="Samplers, by commas; all, or those that are judged.")] = None,
    lengths: Annotated[str | None, typer.Option(help="Times the model's own length, by commas.")] = None,
    steps: Annotated[int | None, typer.Option(help="Of the sampler.")] = None,
    count: Annotated[int | None, typer.Option(help="Prompts of the part colours.")] = None,
    model: Annotated[str, typer.Option(help="Name or folder.")] = "playground",
    device: Annotated[str | None, typer.Option(help="cuda or cuda:N: measure the part stream.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Keep the figures beside those of vgen.bench.")] = False,
    case: Annotated[str | None, typer.Option(hidden=True, help="One clip, as JSON: what each clip runs in.")] = None,
) -> None:
    """Time every sampler, and see what becomes of its picture on long clips.

    Without --parts: presets at 1, 4 and 10 times the model's length, which takes about 40 minutes on two cores.
    """
    from vgen.cli.quiet import quiet as hush

    hush()
    if case is not None:
        from vgen.bench.sampler_clips import Case, run_case
        from vgen.cli.output import write_run

        typer.echo(json.dumps(run_case(Case(**json.loads(case)), write_run)))
        return
    from rich.console import Console

    from vgen.bench.sampler_tables import tables
    from vgen.bench.samplers import RESULTS, Asked, bench_samplers

    asked = Asked(
        parts=_words(parts) or (("presets",) if device is None else ("stream",)),
        presets=_words(presets) or None,
        lengths=tuple(map(_whole, _words(lengths))) or None,
        steps=steps,
        count=count,
        device=device,
        model=model,
    )
    figures = bench_samplers(asked, results=RESULTS if write else None)
    if as_json:
        typer.echo(json.dumps(figures))
        return
    console = Console(width=None if sys.stdout.isatty() else 120)
    for table in tables(figures):
        console.print(table)


@app.command("search")
def search(
    count: Annotated[int, typer.Option(min=2, help="Held-out prompts.")] = 40,
    candidates: Annotated[int, typer.Option(min=2, help="Whole clips per prompt.")] = 8,
    redo: Annotated[int, typer.Option(min=1, help="Clips' worth of steps to mend a clip with.")] = 7,
    sampler: Annotated[str, typer.Option(help="Of all clips.")] = "causal",
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    work: Annotated[Path | None, typer.Option(metavar="DIR", help="Keeps each clip's row, to go on from.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Keep the figures beside those of vgen.bench.")] = False,
) -> None:
    """Compare the best of several clips, and one that is redone from its faults, with the first and a random clip.

    By laws and a detector that no search sees. 40 prompts of 8 candidates take about an hour on two cores.
    """
    from vgen.cli.quiet import quiet as hush

    hush()
    from vgen.bench.search import RESULTS, Asked, bench_search
    from vgen.cli.progress import say

    asked = Asked(count=count, candidates=candidates, redo=redo, sampler=sampler, jobs=jobs)
    store = None if work is None else work / "search.jsonl"
    found = bench_search(asked, store=store, say=say, results=RESULTS if write else None)
    if as_json:
        typer.echo(json.dumps(found))
        return
    for part in ("figure", "gain", "laws", "detector", "circular"):
        for name, figure in found[part].items():
            low, high = figure["interval_95"] or (float("nan"),) * 2
            typer.echo(f"{part:10}{name:18}{figure['value']:>8.3f}  [{low:.3f}, {high:.3f}]")
    typer.echo(f"{'steps':10}{'redo over best':18}{found['steps']['redo_over_best']:>8.3f}")


@app.command("step-cache")
def step_cache(
    model: Annotated[str, typer.Option(help="Name, folder or hub id.")] = "playground",
    prompt: Annotated[
        str | None, typer.Option(help="Of the clips; two of the embedded model's world if left out.")
    ] = None,
    image: Annotated[str | None, typer.Option(help="Their first frame, for models that need one.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Of the sampler.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N.")] = "auto",
    calibrate: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="Only measure the ratios of MagCache, and write them.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Keep the figures beside those of vgen.bench.")] = False,
) -> None:
    """See what step caches save and change; or measure, with --calibrate, what MagCache needs to know of a model.

    On the embedded model about ten minutes on one core; a calibration takes as long as one clip.
    """
    from vgen.cli.quiet import quiet as hush

    hush()
    from vgen.bench.step_cache import RESULTS, Asked, bench_step_cache, write_ratios
    from vgen.bench.step_cache import calibrate as measure
    from vgen.cli.progress import say
    from vgen.pipeline import VideoPipeline

    asked = Asked(model=model, device=device, prompt=prompt, image=image, steps=steps)
    if calibrate is not None:
        if calibrate.suffix not in (".yaml", ".yml") or write or as_json:
            raise ConfigError("--calibrate writes a FILE.yaml and nothing else; leave --write and --json out")
        write_ratios(measure(asked, VideoPipeline.from_pretrained(model, device=device)), calibrate)
        typer.echo(calibrate)
        say(f"use it with: vgen generate ... --config {calibrate}")
        return
    found = bench_step_cache(asked, say=say, results=RESULTS if write else None)
    if as_json:
        typer.echo(json.dumps(found))
        return
    for row in found["rows"]:
        knobs = ", ".join(f"{knob} {value:g}" for knob, value in row["knobs"].items())
        typer.echo(
            f"{row['cache']:12}{knobs:20}skipped {row['skipped']:>4.0%}  time x{row['time_ratio']:.2f}  "
            f"{row['psnr_db']:.1f} dB"
        )


def _words(listed: str | None) -> tuple[str, ...]:
    """What is named, by commas; each once."""
    return tuple(dict.fromkeys(word.strip() for word in (listed or "").split(",") if word.strip()))


def _whole(word: str) -> int:
    if not word.isdecimal():
        raise ConfigError(f"--lengths takes whole numbers, such as 1,4,10, got '{word[:20]}'")
    return int(word)
