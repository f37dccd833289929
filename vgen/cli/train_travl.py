"""`vgen train travl`: a small critic, trained on twins of playground scenes, for `--judge travl:FOLDER`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vgen.errors import ConfigError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vgen.evaluate.critics.travl import Travl

__all__ = ["travl"]

HELD_OUT = 100  # pairs that it is checked on
PAIRS, PAIRS_ENCODED = 300, 40  # an encoder takes its time, and its features a hundred times the memory

Output = typer.Option("-o", "--output", metavar="FOLDER", help="For the critic; then --judge travl:FOLDER.")
Encoder = typer.Option(
    "--encoder", metavar="DIR", help="Look through this DINO folder, linked beside the weights; else at bare patches."
)
Layer = typer.Option("--layer", min=0, help="Of --encoder, whose features are taken; 12, or its last, by default.")
Pairs = typer.Option(
    "--pairs",
    min=1,
    help="Pairs of scenes to draw: possible, and with one law broken. By default 300, through --encoder 40.",
)
Steps = typer.Option("--steps", min=1, help="Steps of training, each on four pairs.")
Laws = typer.Option("--laws", metavar="NAME,...", help="Laws that are broken in turn (vgen judge rules).")
Seed = typer.Option("--seed", min=0, help="Of the scenes and of the first weights; below 200.")
Resume = typer.Option("--resume", help="Go on from the critic in the output folder.")


def travl(
    output: Annotated[Path, Output],
    encoder: Annotated[Path | None, Encoder] = None,
    layer: Annotated[int | None, Layer] = None,
    pairs: Annotated[int | None, Pairs] = None,
    steps: Annotated[int, Steps] = 600,
    laws: Annotated[str, Laws] = "colour,size,spawn,teleport,vanish",
    seed: Annotated[int, Seed] = 0,
    resume: Annotated[bool, Resume] = False,
) -> None:
    """Train TRAVL's critic on twins of playground scenes; about half a minute on a core as it stands.

    Prints the share of held-out twins that it orders rightly: scenes of other seeds, of the same laws and the same
    world. What it is worth on other videos, that does not say.
    """
    from vgen.cli.quiet import quiet

    quiet()
    from vgen.cli.progress import say, watched
    from vgen.evaluate.critics.training import HELD_OUT_FROM_SEED, check_laws, drawn, first_seed, orders, train_travl
    from vgen.evaluate.critics.travl import PatchFeatures, link_encoder, save_travl
    from vgen.evaluate.places import counted

    named = [law.strip() for law in laws.split(",") if law.strip()]
    check_laws(named)
    first = first_seed(seed)
    critic = _critic(output, encoder, layer, seed, resume)
    if pairs is None:
        pairs = PAIRS if isinstance(critic.features, PatchFeatures) else PAIRS_ENCODED
    say(f"{counted(pairs, 'pair')} of scenes, whose features take up to {2 * pairs * critic.clip_mib:,.0f} MiB")
    twins = [one.twins for one in watched(drawn(critic, pairs=pairs, first=first, laws=named))]
    *_, last = watched(train_travl(critic, twins, steps=steps))
    save_travl(critic, output)
    if encoder is not None:
        say(f"encoder: {link_encoder(encoder, output)} leads to {encoder.resolve()}, which has to stay there")
    say(f"last step: loss {last.loss:.3f}; critic: {output}; use it as --judge travl:{output}")
    held = watched(drawn(critic, pairs=HELD_OUT, first=HELD_OUT_FROM_SEED, laws=named, stage="check"))
    _print([orders(critic, one.twins) for one in held])


def _critic(folder: Path, encoder: Path | None, layer: int | None, seed: int, resume: bool) -> "Travl":
    """The critic to train, new or from the folder, which is there and may be written to."""
    from vgen.evaluate.critics.geophys import open_encoder
    from vgen.evaluate.critics.travl import EncoderFeatures, check_link, holds_travl, new_travl, open_travl
    from vgen.evaluate.places import make_folder

    if layer is not None and encoder is None:
        raise ConfigError("--layer is that of --encoder; name its folder")
    if resume:
        if encoder is not None:
            raise ConfigError("--resume goes on with the encoder that the critic has; leave out --encoder")
        return open_travl(folder)
    if holds_travl(folder):
        raise InputError(f"'{folder}' holds a critic already; go on with it (--resume), or name another folder")
    features = None if encoder is None else EncoderFeatures(encoder=open_encoder(encoder, layer=layer))
    make_folder(folder)
    if encoder is not None:
        check_link(encoder, folder)
    return new_travl(features, seed=seed)


def _print(ordered: "Sequence[bool]") -> None:
    from vgen.evaluate.statistics import share

    figure = share(ordered)
    assert figure.value is not None and figure.interval is not None, "pairs were drawn"
    low, high = figure.interval
    typer.echo(
        f"held-out twins ordered rightly: {figure.value:.2f} [{low:.2f}, {high:.2f}] of {figure.count}; chance 0.50"
    )
