"""A model small enough to train in a second, trained once for all tests of this folder."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from vgen.training.config import DiTRecipe, LatentsRecipe, PlaygroundTraining, VAERecipe
from vgen.training.dit import train_dit
from vgen.training.latents import cache_latents
from vgen.training.loop import Plan, TrainingRecord
from vgen.training.vae import train_vae


def tiny_config() -> PlaygroundTraining:
    """32x32 pixels, 9 frames; all parts of the real recipe at the least size."""
    return PlaygroundTraining(
        size=32,
        num_frames=9,
        vae=VAERecipe(base_dim=8, batch=2, frames=9, crop=16),
        latents=LatentsRecipe(clips=6, held_out=4),
        dit=DiTRecipe(
            text_dim=16, text_layers=1, text_heads=2, heads=1, head_width=24, ffn_dim=32, layers=2, batch=8, average=0.9
        ),
    )


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run of all stages left.

    Args:
        config: its recipe.
        folder: the model folder.
        work: checkpoints and latents.
        vae, dit: records of the two stages.
    """

    config: PlaygroundTraining
    folder: Path
    work: Path
    vae: list[TrainingRecord]
    dit: list[TrainingRecord]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The tiny model after 40 steps of the autoencoder and 120 of the transformer."""
    base, cpu, config = tmp_path_factory.mktemp("trained"), torch.device("cpu"), tiny_config()
    folder, work = base / "model", base / "work"
    vae = train_vae(
        config,
        folder=folder,
        checkpoints=work / "vae",
        plan=Plan(minutes=1, steps=40, warmup_steps=5),
        resume=False,
        device=cpu,
        compiled=False,
        held_out=1,
    )
    vae_records = list(vae)
    list(cache_latents(config, folder=folder, cache=work / "latents", device=cpu))
    dit = train_dit(
        config,
        folder=folder,
        cache=work / "latents",
        checkpoints=work / "dit",
        plan=Plan(minutes=1, steps=120, warmup_steps=10),
        resume=False,
        device=cpu,
        compiled=False,
    )
    return Trained(config, folder, work, vae_records, list(dit))
