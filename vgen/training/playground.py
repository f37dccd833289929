"""The stages of the embedded model in order: what `vgen train playground` runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

import torch

from vgen.errors import ConfigError, InputError, nearest
from vgen.schema import AttentionConfig
from vgen.training.config import PlaygroundTraining
from vgen.training.dit import train_dit
from vgen.training.few_step import train_few_step
from vgen.training.latents import cache_latents
from vgen.training.loop import Plan, TrainingRecord
from vgen.training.vae import train_vae

__all__ = ["STAGES", "Stage", "train_playground"]

Stage = Literal["vae", "decoder", "latents", "dit", "few-step", "all"]
STAGES: tuple[Stage, ...] = get_args(Stage)

# of the minutes, where all stages run: from scratch, and with --resume
_SHARES = {"vae": (0.2, 0.0), "dit": (0.6, 0.75), "few-step": (0.2, 0.25)}


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
    attention: AttentionConfig | None = None,
) -> Iterator[TrainingRecord]:
    """Runs one stage, or all.

    Args:
        config: the recipes.
        stage: one of `STAGES`. `decoder` goes on with the autoencoder's decoder alone, to which the transformer is
            indifferent. `few-step` distils the transformer that is there. `all` with `resume` leaves the autoencoder as
            it is, since another encoder would make the transformer's weights worthless.
        minutes: of training; with `all`, over its stages.
        resume: go on from the weights in `folder`, be they of another world.
        device: CPU or CUDA.
        folder: model folder.
        work: ignored folder for checkpoints and latents.
        compiled: whether to use torch.compile, which costs a minute or two and gains a third.
        attention: of the transformer's self-attention while it trains; dense where None.

    Raises:
        InputError: an unknown stage.
        ConfigError: an attention that is unknown, cannot be compiled, or means nothing to the stage.
    """
    if stage not in STAGES:
        raise InputError(f"unknown stage '{stage}'; {nearest(stage, STAGES)}")
    if attention is not None and attention.name != "dense" and stage not in ("dit", "all"):
        raise ConfigError(f"attention '{attention.name}' means nothing to stage '{stage}'; possible: dit, all")
    work.mkdir(parents=True, exist_ok=True)
    (work / ".gitignore").write_text("*\n")
    from_scratch = stage == "all" and not resume
    # where `all` was interrupted, the stages before that are over
    past = {name: (work / name / "state.json").is_file() for name in ("dit", "few-step")}
    plans = {
        name: Plan(minutes=minutes * (shares[resume] if stage == "all" else 1.0)) for name, shares in _SHARES.items()
    }
    if stage in ("vae", "decoder") or (from_scratch and not any(past.values())):
        yield from train_vae(
            config,
            folder=folder,
            checkpoints=work / ("decoder" if stage == "decoder" else "vae"),
            plan=plans["vae"],
            resume=resume or stage == "decoder",
            device=device,
            compiled=compiled,
            decoder_only=stage == "decoder",
        )
    if stage in ("latents", "all"):
        yield from cache_latents(config, folder=folder, cache=work / "latents", device=device, compiled=compiled)
    if stage == "dit" or (stage == "all" and not past["few-step"]):
        yield from train_dit(
            config,
            folder=folder,
            cache=work / "latents",
            checkpoints=work / "dit",
            plan=plans["dit"],
            resume=resume,
            device=device,
            compiled=compiled,
            attention=attention,
        )
    if stage in ("few-step", "all"):
        yield from train_few_step(
            config,
            folder=folder,
            cache=work / "latents",
            checkpoints=work / "few-step",
            plan=plans["few-step"],
            device=device,
        )
