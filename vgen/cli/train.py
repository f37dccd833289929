"""`vgen train`: recipes that make weights."""

from pathlib import Path
from typing import Annotated

import typer

from vgen.cli.train_lora import attention_of, lora
from vgen.cli.train_travl import travl

__all__ = ["app"]

app = typer.Typer(name="train", help="Train a LoRA, the embedded model, or a critic.", no_args_is_help=True)
app.command("lora")(lora)
app.command("travl")(travl)


@app.command("playground")
def playground(
    stage: Annotated[str, typer.Option(help="vae, decoder, latents, dit, few-step or all.")] = "all",
    minutes: Annotated[
        float, typer.Option(min=0.01, help="Training time; ends cleanly with averaged weights.")
    ] = 120.0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the weights in the output folder.")] = False,
    config: Annotated[Path | None, typer.Option(help="Recipe as YAML; the packaged one if not given.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Model folder; the embedded one if not given.")
    ] = None,
    work: Annotated[Path, typer.Option(help="Folder for checkpoints and cached latents, ignored by git.")] = Path(
        ".cache/training"
    ),
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    compiled: Annotated[bool, typer.Option("--compile/--no-compile", help="Use torch.compile.")] = True,
    attention: Annotated[
        str, typer.Option(help="Of the transformer while it trains, as for vgen generate; sparse with --no-compile.")
    ] = "dense",
) -> None:
    """Train autoencoder, text encoder and video transformer on rendered scenes.

    An interrupted run is continued from the work folder. Prints the model folder at the end, progress on stderr.
    """
    from vgen.cli.quiet import quiet

    quiet()
    import torch

    from vgen.cli.progress import say
    from vgen.errors import InputError, ResourceError
    from vgen.models.folder import embedded_folder
    from vgen.training.config import read_training_config
    from vgen.training.playground import train_playground

    if device not in ("cpu", "cuda"):
        raise InputError(f"unknown device '{device}'; possible: cpu, cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ResourceError("device 'cuda' was asked for, but torch sees none; possible: cpu")
    folder = output or embedded_folder()
    records = train_playground(
        read_training_config(config),
        stage=stage,
        minutes=minutes,
        resume=resume,
        device=torch.device(device),
        folder=folder,
        work=work,
        compiled=compiled,
        attention=attention_of(attention),
    )
    for record in records:
        say(record.line())
    typer.echo(str(folder))
