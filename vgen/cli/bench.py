"""`vgen bench attention`: measured comparisons."""

from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(name="bench", help="Measure this machine.", no_args_is_help=True)


@app.callback()
def _root() -> None:
    """Keeps `attention` a word of its own while it is the only one."""


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
