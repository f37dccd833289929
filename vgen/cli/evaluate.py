"""`vgen evaluate BENCH | list | doctor | items | recount`: rule-based benchmarks of generators and judges."""

import csv
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vgen.cli.download import Download, ready
from vgen.cli.formats import Format
from vgen.cli.groups import DefaultGroup
from vgen.cli.together import WORDS, Nproc, start
from vgen.errors import ConfigError, InputError, ParallelError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from accelerate import PartialState

    from vgen.evaluate.benchmark import Benchmark
    from vgen.evaluate.jury import Jury
    from vgen.evaluate.runner import Outcome, Task
    from vgen.evaluate.store import Row, Shard

__all__ = ["EvaluateGroup", "app"]

INCOMPLETE = 1  # exit code where not everything that was asked for was scored
FIRST_FRAMES = "first_frames"
PARTS = "parts of a run share a folder; name it with -o"
LONGEST_WAIT = timedelta(days=7)  # of the first of several processes for the last


class EvaluateGroup(DefaultGroup):
    """Its first word is a benchmark where it is no command."""

    default = "run"
    usage = "BENCHMARK [OPTIONS] [KEY=VALUE ...]"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[WORDS] = [ctx.info_name, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="evaluate",
    cls=EvaluateGroup,
    help="Score a generator, or a judge, by a rule-based benchmark. Exit code 1 where something could not be scored.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Bench = typer.Argument(metavar="BENCHMARK", help="Its name (vgen evaluate list).")
Words = typer.Argument(metavar="[KEY=VALUE ...]", help="Config keys of --model, as of vgen generate.")
Root = typer.Option("--root", metavar="DIR", help="The benchmark's data; nothing is downloaded.")
Answers = typer.Argument(
    metavar="PATH", help="tc-bench-t2v, tc-bench-i2v: a checkout of its repository; phygenbench: a result/MODEL.json."
)
DataRoot = typer.Argument(metavar="[ROOT]", help="Its data; or a folder, where it draws its first frames itself.")
Model = typer.Option("--model", help="Score this model of vgen's: a name, folder, or hub id.")
Videos = typer.Option("--videos", metavar="DIR", help="Score videos under the names of vgen evaluate items.")
Command = typer.Option(
    "--command",
    metavar="'CMD ...'",
    help="Call this per item, never through a shell; placeholders: {prompt_file} {output} {image} {seconds} {seed}. "
    "What asks for an image is left out where an item has none.",
)
JudgeSpec = typer.Option("--judge", help="Who is asked: MODEL@https://host/v1, local:DIR, recorded:FILE, measured, ...")
Limit = typer.Option("--limit", min=1, help="So many items, spread over categories.")
Full = typer.Option("--full", help="All items, where the default is a part.")
ShardOption = typer.Option("--shard", metavar="I/N", help="Part I of N; the last to finish adds up all parts.")
Resume = typer.Option("--resume", help="Go on with the scores in the output folder; what failed is tried again.")
Output = typer.Option("-o", "--output", metavar="DIR", help="Folder for scores, clips, table and gallery.")
Seed = typer.Option("--seed", min=0, help="Of the first item; the others count up. 0 where it is not said.")
TimeLimit = typer.Option("--time-limit", min=1.0, help="Seconds that one call of --command may take; 600 by default.")
OutputFormat = typer.Option("--format", help="json: the table on stdout.")


@app.command("run", hidden=True)
def run(
    ctx: typer.Context,
    benchmark: Annotated[str, Bench],
    words: Annotated[list[str] | None, Words] = None,
    model: Annotated[str | None, Model] = None,
    download: Annotated[bool | None, Download] = None,
    videos: Annotated[Path | None, Videos] = None,
    command: Annotated[str | None, Command] = None,
    root: Annotated[Path | None, Root] = None,
    judge: Annotated[str | None, JudgeSpec] = None,
    limit: Annotated[int | None, Limit] = None,
    full: Annotated[bool, Full] = False,
    shard: Annotated[str | None, ShardOption] = None,
    resume: Annotated[bool, Resume] = False,
    output: Annotated[Path | None, Output] = None,
    seed: Annotated[int | None, Seed] = None,
    time_limit: Annotated[float | None, TimeLimit] = None,
    nproc: Annotated[int | None, Nproc] = None,
    output_format: Annotated[Format, OutputFormat] = Format.HUMAN,
) -> None:
    """Score a benchmark."""
    from vgen.cli.quiet import quiet

    quiet()
    if limit is not None and full:
        raise ConfigError("--limit takes a part and --full takes all; give one of them")
    if resume and output is None:
        raise ConfigError("--resume goes on with a folder; name it with -o")
    if shard is not None and nproc is not None:
        raise ConfigError(f"--nproc {nproc} starts processes that each take a part; no --shard")
    if output is None and (nproc or 1) > 1:
        raise ConfigError(PARTS)
    start(ctx.meta[WORDS], nproc)
    bench, part = _benchmark(benchmark), _shard(shard)
    if output is None and part.count > 1:
        raise ConfigError(PARTS)
    from vgen.cli.progress import say, watched
    from vgen.config import parse_assignments
    from vgen.evaluate.runner import Task, evaluate, outcome_of
    from vgen.evaluate.sources import source_of
    from vgen.evaluate.store import CLIPS, Store

    folder = output or _fresh(bench.name)
    Store(folder, {}, part).check(resume=resume)  # before anything is loaded
    if model is not None:
        ready(model, download)
    source = source_of(
        bench,
        model=model,
        videos=videos,
        command=command,
        folder=folder / CLIPS,
        seed=seed,
        limit_s=time_limit,
        values=parse_assignments(words or []),
    )
    task = Task.of(
        bench,
        root=folder / FIRST_FRAMES if bench.draws_root and root is None else root,
        source=source,
        jury=_jury(bench, judge, folder, part),
        limit=0 if full else limit,
    )
    store = Store(folder, task.header, part)
    for line in _announced(task, folder, part, store.kept(resume=resume)):
        say(line)
    for step in watched(evaluate(task, store, shard=part, resume=resume)):
        if step.row.state != "scored" and step.stage == "score":
            say(f"{step.row.item}: {step.row.state}: {step.row.reason}")
    if _is_first():
        _finish(outcome_of(task, store.rows()), folder, output_format)


@app.command("list")
def list_benchmarks(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the benchmarks: what each needs, and where its data comes from."""
    from vgen.evaluate.benchmarks import BENCHMARKS

    if not as_json:
        for bench in BENCHMARKS.values():
            asks = f"asks a {' and a '.join(sorted(bench.needs))}" if bench.needs else "by measurement alone"
            typer.echo(f"{bench.name}: {bench.title}")
            again = "; recounts published answers" if bench.recount else ""
            typer.echo(f"    scores a {bench.kind}, {asks}{again}; data: {bench.home} ({bench.licence})")
        return
    rows = [
        {
            "name": bench.name,
            "title": bench.title,
            "scores": bench.kind,
            "asks": sorted(bench.needs),
            "recounts": bench.recount is not None,
            "root": not bench.draws_root,
            "data": bench.home,
            "licence": bench.licence,
            "note": bench.note,
        }
        for bench in BENCHMARKS.values()
    ]
    typer.echo(json.dumps(rows))


@app.command("doctor")
def doctor(benchmark: Annotated[str, Bench], root: Annotated[Path, typer.Argument(metavar="ROOT")]) -> None:
    """Check a benchmark's data file by file. Exit code 1 where something is missing or wrong."""
    bench = _benchmark(benchmark)
    if bench.layout is None:
        raise ConfigError(f"{bench.name} brings all that it needs; there is nothing to check")
    if not root.is_dir():
        raise InputError(f"'{root}': no such folder")
    found = bench.layout(root)
    faulty = [one for one in found if one.state != "ok"]
    for one in faulty:
        typer.echo(f"{one.state:8} {one.path}{f': {one.detail}' if one.detail else ''}")
    typer.echo(f"{len(found) - len(faulty)} of {len(found)} are as they should be")
    if faulty:
        raise typer.Exit(INCOMPLETE)
    typer.echo(f"{len(bench.items(root))} items")


@app.command("items")
def items(
    benchmark: Annotated[str, Bench],
    root: Annotated[Path | None, DataRoot] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV instead of JSON lines.")] = False,
    limit: Annotated[int | None, Limit] = None,
) -> None:
    """List what is to be made: prompt, first frame, length, seed, and the file name under which --videos finds it."""
    from vgen.evaluate.runner import selected

    bench = _benchmark(benchmark)
    if root is None and bench.draws_root:
        raise ConfigError(
            f"{bench.name} draws first frames; name a folder for them: vgen evaluate items {bench.name} DIR"
        )
    found = bench.items(root)
    rows = [
        {
            "id": item.id,
            "prompt": item.prompt,
            "image": "" if item.image is None else str(item.image),
            "seconds": "" if item.seconds is None else item.seconds,
            "seed": item.number,
            "file": item.file,
            "only_full": item.only_full or "",
        }
        for item in (found if limit is None else selected(found, limit))
        if item.redrawn is None
    ]
    if as_csv:
        writer = csv.DictWriter(sys.stdout, fieldnames=[*rows[0]] if rows else ["id"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return
    for row in rows:
        typer.echo(json.dumps(row))


@app.command("recount")
def recount(
    benchmark: Annotated[str, Bench],
    path: Annotated[Path, Answers],
    output_format: Annotated[Format, OutputFormat] = Format.HUMAN,
) -> None:
    """Add up answers that others published, or that you bring, by the published formulas. Asks no judge."""
    from vgen.evaluate.benchmarks import BENCHMARKS
    from vgen.evaluate.tables import recount_dict, score_rows

    bench = _benchmark(benchmark)
    if bench.recount is None:
        able = ", ".join(one.name for one in BENCHMARKS.values() if one.recount is not None)
        raise ConfigError(f"{bench.name} has no answers to add up; possible: {able}")
    if not path.exists():
        raise InputError(f"'{path}': no such file or folder; answers are at {bench.home}")
    scores = bench.recount(path)
    if output_format is Format.JSON:
        typer.echo(json.dumps(recount_dict(bench.name, scores), allow_nan=False))
    else:
        _table(*score_rows(scores))


def _benchmark(name: str) -> "Benchmark":
    from vgen.evaluate.benchmarks import BENCHMARKS

    if name not in BENCHMARKS:
        raise ConfigError(f"unknown benchmark '{name}'; {nearest(name, BENCHMARKS)}")
    return BENCHMARKS[name]


def _fresh(name: str) -> Path:
    return Path("outputs") / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-evaluate-{name}"


def _jury(bench: "Benchmark", spec: str | None, folder: Path, part: "Shard") -> "Jury":
    """Who answers; a critic is the measuring judge where nobody else was named. What a chat says is kept."""
    from vgen.evaluate.judges import open_judge
    from vgen.evaluate.jury import Jury
    from vgen.evaluate.places import make_folder
    from vgen.evaluate.vlm.recorded import Recorded

    if spec is None:
        return open_judge("measured") if "critic" in bench.needs else Jury()
    if not bench.needs:
        raise ConfigError(f"{bench.name} is decided by measurement alone; it asks no --judge")
    jury = open_judge(spec)
    if jury.chat is None or spec.startswith("recorded:"):
        return jury
    make_folder(folder)
    return Jury(chat=Recorded(folder / part.file.replace("scores", "answers"), jury.chat))


def _shard(text: str | None) -> "Shard":
    """The part that was asked for; that of this process where several were launched together."""
    from vgen.evaluate.store import Shard

    together = _together()
    if text is not None and together is not None:
        raise ConfigError(f"{together.num_processes} processes were launched together, each takes a part; no --shard")
    if text is not None:
        return Shard.parse(text)
    return Shard() if together is None else Shard(together.process_index + 1, together.num_processes)


def _together() -> "PartialState | None":
    """What accelerate knows of processes that it or torchrun has launched together; None where there is only one."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes == 1:
        return None
    import torch
    from accelerate import PartialState

    from vgen.parallel.launched import launched, register
    from vgen.parallel.mesh import own_device

    own_device("auto")  # refuses more processes than devices
    process = launched()
    assert process is not None, "there are several"
    register(process)
    state = PartialState(cpu=not torch.cuda.is_available(), timeout=LONGEST_WAIT)
    assert state.num_processes == processes, f"{processes} processes were launched, accelerate sees {state}"
    return state


def _is_first() -> bool:
    """Whether this process adds up: alone, or the first of those launched together, when all are done."""
    from vgen.parallel.launched import launched, leave

    together = _together()
    if together is None:
        return True
    try:
        together.wait_for_everyone()
    except RuntimeError as error:  # torch's word for a process that has ended
        raise ParallelError("another process has ended; go on with what was scored (--resume)") from error
    process = launched()
    assert process is not None, "there are several"
    leave(process)  # they end while the first adds up
    return bool(together.is_main_process)


def _announced(task: "Task", folder: Path, part: "Shard", kept: "Mapping[str, Row]") -> list[str]:
    """What a run will take, before it starts."""
    from vgen.evaluate.places import counted

    asked, mine = task.asked, task.of_shard(part)
    todo = [item for item in mine if item.id not in kept]
    whole = "" if len(asked) == len(task.items) else f" of {len(task.items)}, {_strata(task)}"
    shard = "" if part.count == 1 else f"; part {part.index} of {part.count}: {len(mine)}"
    again = "" if len(todo) == len(mine) else f"; {len(mine) - len(todo)} scored already"
    lines = [
        f"{task.benchmark.title}: {counted(len(asked), 'item')}{whole}{shard}{again}; {task.source.name}; {folder}"
    ]
    cost = task.cost(todo)
    if cost.calls:
        tokens = f"about {cost.tokens_in:,} tokens in, {cost.tokens_out:,} out"
        lines.append(f"judge {task.jury.name}: {counted(cost.calls, 'call')}, {tokens}")
    if task.left_out:
        lines.append(f"{counted(task.left_out, 'item')} left out: clips for a VAE, which only --model is asked for")
    return [*lines, *(task.source.estimate(todo) if todo else [])]


def _strata(task: "Task") -> str:
    of_items, of_asked = ({item.stratum for item in items} for items in (task.items, task.asked))
    return f"from {len(of_asked)} of {len(of_items)} categories"


def _finish(outcome: "Outcome", folder: Path, output_format: Format) -> None:
    from vgen.cli.progress import say
    from vgen.evaluate.gallery import write_gallery
    from vgen.evaluate.tables import as_dict, write_tables

    tables = write_tables(outcome, folder)
    gallery = write_gallery(outcome, folder / "gallery.html")
    if output_format is Format.JSON:
        typer.echo(json.dumps(as_dict(outcome), allow_nan=False))
    else:
        _print(outcome)
    say(f"table: {tables[0]}; gallery: {gallery}")
    if not outcome.complete:
        raise typer.Exit(INCOMPLETE)


def _print(outcome: "Outcome") -> None:
    from vgen.evaluate.tables import coverage_line, table_rows

    typer.echo(coverage_line(outcome))
    if outcome.scores:
        _table(*table_rows(outcome))
    for remark in outcome.remarks:
        typer.echo(remark)


def _table(header: "Sequence[str]", rows: "Sequence[Sequence[str]]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for place, name in enumerate(header):
        table.add_column(name, justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*map(Text, row))  # brackets are brackets
    Console(width=None if sys.stdout.isatty() else 120).print(table)
