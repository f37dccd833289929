"""`vgen train lora` from a folder of clips to a LoRA file: what is decided before a run, and written after it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import WanPipeline

from vgen.errors import InputError
from vgen.files import check_parent, os_errors, partial_path, publish, remove
from vgen.models.card import ModelCard
from vgen.models.folder import describe
from vgen.models.load import load_model
from vgen.models.loaded import LoadedModel, own_model
from vgen.models.schedulers import with_shift
from vgen.models.vae import pixel_frames
from vgen.samplers import SigmaTable
from vgen.schema import AttentionConfig
from vgen.sparsity import AttentionSettings, resolve_attention
from vgen.training.captioned import Captioned, read_captioned
from vgen.training.loop import TrainingRecord
from vgen.training.lora import LORA_FILE, LoraRecipe, LoraTraining, Outcome, expert_of, shift_for
from vgen.training.samples import SampleFile, encode_samples, sample_files

__all__ = ["LoraJob", "notes_on", "recipe_for", "split", "train_lora"]

SIDECAR, README = "training.json", "README.md"
HELD_OUT_SHARE = 10  # one clip in so many


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraJob:
    """What `vgen train lora` is asked for.

    Args:
        data: folder of captioned videos.
        output: folder of the LoRA, which must be new.
        work: folder for latents and checkpoints, kept between runs.
        model: as `--model` takes it.
        attention: of self-attention while training.
        held_out: clips that are not trained on; one in ten where None, and at least one where there are two.
        save_every: steps between checkpoints.
        gradient_checkpointing: compute activations twice instead of keeping them.
    """

    data: Path
    output: Path
    work: Path
    model: str
    attention: AttentionConfig
    held_out: int | None = None
    save_every: int = 100
    gradient_checkpointing: bool = False


def recipe_for(
    model: str, *, num_frames: int | None, width: int | None, height: int | None, fps: int | None, rest: dict[str, Any]
) -> LoraRecipe:
    """A recipe: what is not said of the windows is the model card's, and twice its length; of the rest, the default's.

    Raises:
        ModelError: the model's folder is not whole, or not supported.
    """
    _, card, _ = describe(model)
    sizes: dict[str, Any] = {"width": width or card.width, "height": height or card.height, "fps": fps or card.fps}
    said = {name: value for name, value in rest.items() if value is not None}
    if "rank" in said:
        said = {"alpha": float(said["rank"])} | said
    return LoraRecipe(num_frames=num_frames or 2 * card.num_frames - 1, **sizes, **said)


def train_lora(
    job: LoraJob, recipe: LoraRecipe, accelerator: Accelerator, dtype: torch.dtype
) -> Iterator[TrainingRecord]:
    """Checks, encodes, trains and writes; a run that was killed is gone on with.

    Args:
        job, recipe: what is asked for.
        accelerator: where it runs.
        dtype: of the model's own weights; the LoRA is fp32.

    Raises:
        InputError: the clips or the sizes cannot be used, or the output is there already.
        ModelError, ConfigError: the model, the attention or the targets cannot be used.
        NumericalError: the loss became non-finite.
    """
    _check_output(job.output)
    clips = read_captioned(job.data, num_frames=recipe.num_frames, fps=recipe.fps)
    train, held_out = split(clips, job.held_out)
    model = own_model(load_model(job.model, device=accelerator.device, dtype=dtype))
    expert_of(model, recipe.transformer)
    _check_sizes(model, recipe)
    _check_captions(model, clips)
    recipe = replace(recipe, shift=shift_for(model, height=recipe.height, width=recipe.width))
    attention = _attention(job.attention, model, recipe.shift)
    size = {"height": recipe.height, "width": recipe.width}
    files = [sample_files(model, part, job.work / "latents", **size) for part in (train, held_out)]
    if accelerator.is_main_process:
        _make_work(job.work)
        yield from encode_samples(model, [*files[0], *files[1]], **size)
    accelerator.wait_for_everyone()
    training = LoraTraining(
        model,
        accelerator,
        recipe,
        attention,
        train=files[0],
        held_out=files[1],
        checkpoints=job.work / "checkpoints",
        save_every=job.save_every,
        gradient_checkpointing=job.gradient_checkpointing,
    )
    yield from training
    outcome = training.outcome()
    if accelerator.is_main_process:
        _write(job.output, training, _story(training, attention, outcome, files[0]))
        training.forget()
    accelerator.wait_for_everyone()
    after = {"held_out": outcome.after}
    yield TrainingRecord(stage="after", step=outcome.steps, done=1.0, eta_s=0.0, values=after)


def split(clips: Sequence[Captioned], held_out: int | None) -> tuple[list[Captioned], list[Captioned]]:
    """Clips to train on, and clips to measure on: evenly spread over the names.

    Raises:
        InputError: nothing would be left to train on.
    """
    count = len(clips) // HELD_OUT_SHARE or int(len(clips) > 1) if held_out is None else held_out
    if count >= len(clips):
        raise InputError(f"{count} of {len(clips)} clips are to be held out, which leaves none to train on")
    chosen = {len(clips) * (2 * i + 1) // (2 * count) for i in range(count)}
    return [c for i, c in enumerate(clips) if i not in chosen], [clips[i] for i in sorted(chosen)]


def notes_on(card: ModelCard, recipe: LoraRecipe) -> list[str]:
    """What the user should know before the run."""
    if recipe.num_frames > card.num_frames:
        return []
    return [f"windows of {recipe.num_frames} frames are not longer than the model's own {card.num_frames}"]


def _check_output(output: Path) -> None:
    check_parent(output)
    if output.exists():
        raise InputError(f"'{output}' exists; a LoRA is written to a new folder, so that none is replaced")


def _make_work(work: Path) -> None:
    """The folder for latents and checkpoints, which no repository around it should take in."""
    with os_errors("make a folder at", work):
        work.mkdir(parents=True, exist_ok=True)
        (work / ".gitignore").write_text("*\n", encoding="utf-8")


def _check_sizes(model: LoadedModel, recipe: LoraRecipe) -> None:
    """Holds a window to the model's grid."""
    config = model.vae.config
    grid, per_latent = config.scale_factor_spatial * model.dit.config.patch_size[1], config.scale_factor_temporal
    for name, value in (("height", recipe.height), ("width", recipe.width)):
        if value % grid:
            near = max(grid, grid * round(value / grid))
            raise InputError(f"{name} {value} is no multiple of {grid}, the model's grid; nearest: {near}")
    if (recipe.num_frames - 1) % per_latent:
        below = pixel_frames(1 + (recipe.num_frames - 1) // per_latent, per_latent)
        raise InputError(
            f"{recipe.num_frames} frames are not 1 + {per_latent} n; nearest: {below} and {below + per_latent}"
        )


def _check_captions(model: LoadedModel, clips: Sequence[Captioned]) -> None:
    """Refuses captions of which the model would not see all."""
    prompts = model.prompts
    for clip in clips:
        if prompts.tokens_of(clip.caption) > prompts.length:
            raise InputError(
                f"the caption of {clip.path.name} has {prompts.tokens_of(clip.caption)} tokens, and the model reads "
                f"{prompts.length}; shorten it"
            )
        unknown = prompts.unknown_words(clip.caption)[1] if model.card.closed_vocabulary else []
        if unknown:
            raise InputError(
                f"the caption of {clip.path.name} says '{unknown[0]}', which is not in the model's vocabulary; "
                f"possible: {', '.join(prompts.vocabulary()[:20])}, ..."
            )


def _attention(config: AttentionConfig, model: LoadedModel, shift: float) -> AttentionSettings:
    """As sampling at the card's steps would have it, so that levels which are dense there are dense here."""
    table = SigmaTable.from_scheduler(with_shift(model.scheduler, shift), model.card.num_inference_steps)
    return resolve_attention(config, table.per_step, model.dit.config.num_layers)[0]


def _story(
    training: LoraTraining, attention: AttentionSettings, outcome: Outcome, files: Sequence[SampleFile]
) -> dict[str, Any]:
    """How the LoRA was made; no path of the machine in it."""
    from vgen import __version__

    model = training.model
    return {
        "vgen": __version__,
        "model": {"name": model.card.name, "commit": model.commit, "digests": model.digests()},
        "recipe": asdict(training.recipe),
        "attention": attention.resolved(),
        "processes": training.accelerator.num_processes,
        "clips": len({file.clip.path for file in files}),
        "windows": len(files),
        "outcome": asdict(outcome),
    }


def _write(output: Path, training: LoraTraining, story: dict[str, Any]) -> None:
    """The weights as diffusers writes them, with how they were made beside them; all or nothing."""
    partial = partial_path(output)
    try:
        WanPipeline.save_lora_weights(
            partial, training.weights(), transformer_lora_adapter_metadata=dict(training.config)
        )
        (partial / LORA_FILE).chmod(0o644)
        (partial / SIDECAR).write_text(json.dumps(story, indent=1) + "\n", encoding="utf-8")
        (partial / README).write_text(_readme(story), encoding="utf-8")
        publish(partial, output)
    finally:
        remove(partial)


def _readme(story: dict[str, Any]) -> str:
    recipe, outcome, name = story["recipe"], story["outcome"], story["model"]["name"]
    attention = story["attention"]["attention.name"]
    option = {1: "--lora", 2: "--lora-2"}[recipe["transformer"]]
    on = f"{outcome['held_out']} held-out windows" if outcome["held_out"] else "the training windows"
    return f"""# LoRA for {name}, {recipe["num_frames"]} frames

Trained with `vgen train lora` on {story["windows"]} windows of {story["clips"]} clips, {recipe["num_frames"]} frames of
{recipe["width"]}x{recipe["height"]} at {recipe["fps"]} fps, {outcome["steps"]} steps, rank {recipe["rank"]}, under
attention `{attention}`. Flow-matching loss on {on}: {outcome["before"]:.4f} before, {outcome["after"]:.4f} after.

    vgen generate "..." --model MODEL {option} THIS_FOLDER --num-frames {recipe["num_frames"]} --attention {attention}

diffusers loads it with `load_lora_weights`. `{SIDECAR}` says everything else, with digests of the model's files.
"""
