"""The three stages of the embedded model in order: what `vgen train playground` runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

import torch

from vgen.errors import InputError, nearest
from vgen.training.config import PlaygroundTraining
from vgen.training.dit import train_dit
from vgen.training.latents import cache_latents
from vgen.training.loop import Plan, TrainingRecord
from vgen.training.vae import train_vae

__all__ = ["STAGES", "Stage", "train_playground"]

Stage = Literal["vae", "decoder", "latents", "dit", "all"]
STAGES: tuple[Stage, ...] = get_args(Stage)

_VAE_SHARE = 0.25  # of the minutes, where all stages run


def train_playground(
    config: PlaygroundTraining,
    *,
    stage: str,
    minutes: float,
    resume: bool,
    device: torch.device,
    folder: Path,
    work: Path,
    compiled: bool,
) -> Iterator[TrainingRecord]:
    """Runs one stage, or all.

    Args:
        config: the recipes.
        stage: one of `STAGES`. `decoder` goes on with the autoencoder's decoder alone, to which the transformer is
            indifferent. `all` with `resume` leaves the autoencoder as it is, since another encoder would make the
            transformer's weights worthless.
        minutes: of training; with `all` and no `resume`, a quarter of it is the autoencoder's.
        resume: go on from the weights in `folder`, be they of another world.
        device: CPU or CUDA.
        folder: model folder.
        work: ignored folder for checkpoints and latents.
        compiled: whether to use torch.compile, which costs a minute and gains a third.

    Raises:
        InputError: an unknown stage.
    """
    if stage not in STAGES:
        raise InputError(f"unknown stage '{stage}'; {nearest(stage, STAGES)}")
    work.mkdir(parents=True, exist_ok=True)
    (work / ".gitignore").write_text("*\n")
    from_scratch = stage == "all" and not resume
    vae_minutes = minutes * _VAE_SHARE if from_scratch else minutes
    dit_minutes = minutes - vae_minutes if from_scratch else minutes
    past_vae = (work / "dit" / "state.json").is_file()  # `all` was interrupted in its last stage
    if stage in ("vae", "decoder") or (from_scratch and not past_vae):
        yield from train_vae(
            config,
            folder=folder,
            checkpoints=work / ("decoder" if stage == "decoder" else "vae"),
            plan=Plan(minutes=vae_minutes),
            resume=resume or stage == "decoder",
            device=device,
            compiled=compiled,
            decoder_only=stage == "decoder",
        )
    if stage in ("latents", "all"):
        yield from cache_latents(config, folder=folder, cache=work / "latents", device=device, compiled=compiled)
    if stage in ("dit", "all"):
        yield from train_dit(
            config,
            folder=folder,
            cache=work / "latents",
            checkpoints=work / "dit",
            plan=Plan(minutes=dit_minutes),
            resume=resume,
            device=device,
            compiled=compiled,
        )
