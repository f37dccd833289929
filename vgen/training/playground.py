"""The stages of the embedded model in order: what `vgen train playground` runs."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args

import torch

from vgen.errors import ConfigError, InputError, nearest
from vgen.schema import AttentionConfig
from vgen.training.config import PlaygroundTraining
from vgen.training.dit import train_dit, trained_attention
from vgen.training.few_step import train_few_step
from vgen.training.latents import cache_latents
from vgen.training.loop import Plan, TrainingRecord
from vgen.training.vae import train_vae

__all__ = ["STAGES", "Stage", "train_playground"]

Stage = Literal["vae", "decoder", "latents", "dit", "few-step", "all"]
STAGES: tuple[Stage, ...] = get_args(Stage)

# of the minutes, where all stages run: from scratch, and with --resume
_SHARES = {"vae": (0.2, 0.0), "dit": (0.6, 0.75), "few-step": (0.2, 0.25)}
_OVER = "all.json"  # in the work folder: stages that a run of all has behind it


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
        ConfigError: an attention that is unknown, cannot be compiled, or is asked of another stage; a student to
            resume; or `all` over the unfinished run of one stage.
    """
    if stage not in STAGES:
        raise InputError(f"unknown stage '{stage}'; {nearest(stage, STAGES)}")
    if stage == "few-step" and resume:
        raise ConfigError("a student of few steps always starts from its teacher; leave --resume out")
    if attention is not None and attention.name != "dense":
        if stage != "dit":
            raise ConfigError(f"attention '{attention.name}' is trained in one stage alone; possible: --stage dit")
        trained_attention(config, attention, compiled)
    work.mkdir(parents=True, exist_ok=True)
    (work / ".gitignore").write_text("*\n")
    plans = {
        name: Plan(minutes=minutes * (shares[resume] if stage == "all" else 1.0)) for name, shares in _SHARES.items()
    }

    def vae(decoder_only: bool) -> Iterator[TrainingRecord]:
        return train_vae(
            config,
            folder=folder,
            checkpoints=work / ("decoder" if decoder_only else "vae"),
            plan=plans["vae"],
            resume=resume or decoder_only,
            device=device,
            compiled=compiled,
            decoder_only=decoder_only,
        )

    def latents() -> Iterator[TrainingRecord]:
        return cache_latents(config, folder=folder, cache=work / "latents", device=device, compiled=compiled)

    def dit() -> Iterator[TrainingRecord]:
        return train_dit(
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

    def few_step() -> Iterator[TrainingRecord]:
        return train_few_step(
            config,
            folder=folder,
            cache=work / "latents",
            checkpoints=work / "few-step",
            plan=plans["few-step"],
            device=device,
        )

    stages: dict[str, Callable[[], Iterator[TrainingRecord]]] = {
        "vae": lambda: vae(decoder_only=False),
        "decoder": lambda: vae(decoder_only=True),
        "latents": latents,
        "dit": dit,
        "few-step": few_step,
    }
    if stage != "all":
        yield from stages[stage]()
        return
    over = _over(work)
    for name in ("latents", "dit", "few-step") if resume else ("vae", "latents", "dit", "few-step"):
        if name not in over:
            yield from stages[name]()
            over.append(name)
            (work / _OVER).write_text(json.dumps(over))
    (work / _OVER).unlink()


def _over(work: Path) -> list[str]:
    """The stages that an interrupted run of all has behind it.

    Raises:
        ConfigError: a stage by itself was interrupted here, whose checkpoint does not belong to a run of all.
    """
    if (work / _OVER).is_file():
        return list(json.loads((work / _OVER).read_text()))
    for name in ("vae", "dit", "few-step"):
        if (work / name / "state.json").is_file():
            raise ConfigError(
                f"{work} holds an unfinished run of stage '{name}'; finish it with --stage {name}, or remove its folder"
            )
    (work / _OVER).write_text("[]")
    return []
