"""`vgen convert`: a causal checkpoint as it was published, into a model folder."""

from pathlib import Path
from typing import Annotated

import typer

from vgen.convert.methods import METHODS
from vgen.errors import ConfigError, nearest
from vgen.schema import DTYPES

__all__ = ["convert"]

Base = typer.Option("--base", metavar="DIR", help="Folder of the model that it was trained from, in diffusers format.")
Output = typer.Option("-o", "--output", metavar="DIR", help="The new folder, which must not exist.")
MethodName = typer.Option(help=f"How it was distilled: {', '.join(METHODS)}.")
Part = typer.Option(help="Which state dict of the file; generator_ema, then generator, model, state_dict if left out.")
Block = typer.Option(min=1, help="Latent frames per block: the method's, 3, if left out; 1 for frame-wise models.")
Dtype = typer.Option(help="To store: float32, bfloat16 or float16; as in the file if left out.")
DryRun = typer.Option("--dry-run", help="Check everything, print the model card, and write nothing.")


def convert(
    source: Annotated[Path, typer.Argument(help="A .safetensors, .pt or .pth file with Wan's own tensor names.")],
    base: Annotated[str, Base],
    output: Annotated[Path, Output],
    method: Annotated[str, MethodName] = "self-forcing",
    part: Annotated[str | None, Part] = None,
    block: Annotated[int | None, Block] = None,
    dtype: Annotated[str | None, Dtype] = None,
    dry_run: Annotated[bool, DryRun] = False,
) -> None:
    """Convert a Self-Forcing, CausVid, LongLive or Rolling Forcing checkpoint into a model folder.

    Text encoder, tokenizer, VAE and scheduler are taken from the base model. A pickled file is opened here alone, and
    one that holds anything but tensors is refused.
    """
    names = [name for name in DTYPES if name != "auto"]
    if dtype is not None and dtype not in names:
        raise ConfigError(f"unknown dtype '{dtype}'; {nearest(dtype, names)}")
    from vgen.cli.quiet import quiet

    quiet()
    import torch

    from vgen.cli.progress import say, show
    from vgen.convert.folder import check_free, plan_conversion, write_conversion

    check_free(output)
    stored = None if dtype is None else getattr(torch, dtype)
    conversion = plan_conversion(source, base, method=method, part=part, block=block, dtype=stored)
    for note in conversion.notes:
        say(note)
    if dry_run:
        say(f"would write {conversion.mib:,.0f} MiB of weights to {output}; nothing is written")
        show(conversion.card_text().rstrip("\n"))
        return
    for note in write_conversion(conversion, output):
        say(note)
    show(str(output))
