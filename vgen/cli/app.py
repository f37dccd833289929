"""The commands of `vgen`, put together."""

from typing import Annotated

import typer

from vgen import __version__
from vgen.cli import attention, bench, convert, evaluate, generate, judge, models, playground, replay, samplers, train
from vgen.cli.together import check_alone

__all__ = ["app"]

app = typer.Typer(
    name="vgen",
    help="Long, physically plausible video from a prompt or an image.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("generate", cls=generate.GenerateCommand)(generate.generate)
app.command("plan", cls=generate.GenerateCommand, help="Say what a clip will take; arguments as of generate.")(
    generate.generate
)
app.command("replay")(replay.replay)
app.command("models")(models.models)
app.command("convert")(convert.convert)
app.command("samplers")(samplers.samplers)
app.add_typer(attention.app, name="attention")
app.add_typer(bench.app, name="bench")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(judge.app, name="judge")
app.add_typer(playground.app, name="playground")
app.add_typer(train.app, name="train")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"vgen {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    check_alone(ctx.invoked_subcommand)
