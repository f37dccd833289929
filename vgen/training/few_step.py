"""Stage 4: a causal student of few steps, without guidance: a LoRA over the transformer, with a card of its own.

The student makes clips block by block over its own past, as it will when it samples (Self-Forcing: Huang et al. 2025,
arXiv:2506.08009), re-noising between its steps. At one level of some blocks it learns: its prediction is pulled to
where the teacher's flow ends that starts from the same noisy block, over the same past, with guidance (consistency
distillation of a guided flow: Luo et al. 2023, arXiv:2310.04378). The teacher is the transformer without the LoRA.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import torch
from diffusers import WanPipeline
from omegaconf import OmegaConf
from torch import Tensor

from vgen.files import partial_path, publish, remove
from vgen.models.cache import KVCache
from vgen.models.card import CARD_FILE
from vgen.models.dit import VideoDiT
from vgen.models.files import sha256_of
from vgen.models.passes import PreparedText
from vgen.models.variant import VARIANTS
from vgen.training.config import FewStepRecipe, PlaygroundTraining, stage_digest
from vgen.training.dit import TextToVideo, draw_windows, load_text_to_video, mixed_precision
from vgen.training.folder import FAST
from vgen.training.latents import CachedLatents, read_latents
from vgen.training.levels import shifted
from vgen.training.loop import Learner, Plan, Saving, TrainingRecord, finish, keyed, run
from vgen.training.lora import LORA_FILE, add_lora, lora_weights
from vgen.training.optim import Optimizer
from vgen.training.state import write_training_state
from vgen.training.text import text_states

__all__ = ["Noise", "Rollout", "blocks_of", "self_rollout", "teacher_end", "train_few_step"]

_TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2")
_VALIDATION_CLIPS = 8


class Noise(Protocol):
    """Where a rollout takes its noise from."""

    def __call__(self, frames: tuple[int, ...], step: int) -> Tensor:
        """Standard normal, [B, C, len(frames), H, W]: of the initial noise at step 0, else after that many steps."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """What a student made.

    Args:
        x0_BCTHW: the clips, without gradients.
        loss: mean squared distance from the teacher over what was learnt, as velocities; with gradients.
    """

    x0_BCTHW: Tensor
    loss: Tensor


def blocks_of(frames: int, block: int) -> list[tuple[int, ...]]:
    """Latent frames of each causal block until a clip has so many; whole blocks, as the sampler makes them."""
    return [tuple(range(start, start + block)) for start in range(0, frames, block)]


def self_rollout(
    dit: VideoDiT,
    texts: tuple[Tensor, Tensor],
    known_BCTHW: Tensor,
    *,
    frames: int,
    window: int,
    recipe: FewStepRecipe,
    block: int,
    shift: float,
    guidance_scale: float,
    exit_step: int,
    learnt: Sequence[int],
    noise: Noise,
) -> Rollout:
    """One batch of clips, and what the teacher says to some of their blocks.

    Args:
        dit: transformer with the student's LoRA on it, which this enables and disables.
        texts: states of the prompts and of the empty one, text_BMD each.
        known_BCTHW: clean latents that the clips begin with, of any number of frames from 0 on.
        frames: T of the clips, which are made in whole blocks.
        window: latent frames in sight, those of the block itself included.
        recipe: levels, and steps of the teacher.
        block: latent frames per causal block.
        shift: of the teacher's levels.
        guidance_scale: of the teacher.
        exit_step: index of the level at which the student learns.
        learnt: indices of the blocks in which it does.
        noise: of some frames of the batch: initial at 0, and after the n-th step at n.
    """
    batch, device, sigmas, graded = len(known_BCTHW), known_BCTHW.device, recipe.sigmas, torch.is_grad_enabled()
    own, theirs = (KVCache(layers=len(dit.blocks), capacity=window) for _ in range(2))
    with torch.no_grad():
        dit.disable_lora()
        guided = dit.prepare_text(torch.cat(texts))
        dit.enable_lora()
    made: list[Tensor] = []
    losses: list[Tensor] = []
    for number, at in enumerate(blocks_of(frames, block)):
        clean_BCTHW = known_BCTHW[:, :, at[0] : at[-1] + 1]
        start = clean_BCTHW.shape[2]  # frames of this block that are known
        x0_BCTHW = clean_BCTHW
        if start < len(at):
            x_BCTHW = noise(at, 0).to(device)
            for step, sigma in enumerate(sigmas):
                x_BCTHW[:, :, :start] = clean_BCTHW
                sigma_BT = _levels(batch, len(at), start, sigma, device)
                learns = step == exit_step and number in learnt
                with torch.set_grad_enabled(learns and graded):
                    velocity_BCTHW = dit(x_BCTHW, sigma_BT, texts[0], frames=at, context=own).float()
                if learns:
                    end_BCTHW = teacher_end(
                        dit, x_BCTHW, sigma_BT, guided, at, theirs, recipe.teacher_steps, shift, guidance_scale
                    )
                    target_BCTHW = (x_BCTHW - end_BCTHW) / sigma
                    losses.append((velocity_BCTHW - target_BCTHW)[:, :, start:].square().mean())
                x0_BCTHW = x_BCTHW - sigma_BT[:, None, :, None, None] * velocity_BCTHW.detach()
                if step + 1 < len(sigmas):
                    x_BCTHW = (1 - sigmas[step + 1]) * x0_BCTHW + sigmas[step + 1] * noise(at, step + 1).to(device)
        made.append(x0_BCTHW)
        if at[-1] + 1 < frames:
            _remember(dit, x0_BCTHW, at, (own, texts[0]), (theirs, guided))
            out_of_sight = range(at[-1] + 1 + block - window)
            own.drop(out_of_sight)
            theirs.drop(out_of_sight)
    return Rollout(x0_BCTHW=torch.cat(made, dim=2)[:, :, :frames], loss=torch.stack(losses).mean())


@torch.no_grad()
def teacher_end(
    dit: VideoDiT,
    x_BCTHW: Tensor,
    sigma_BT: Tensor,
    guided: PreparedText,
    frames: tuple[int, ...],
    context: KVCache,
    steps: int,
    shift: float,
    guidance_scale: float,
) -> Tensor:
    """Where the teacher's guided flow ends: Euler's steps from the level of `x` down to 0, over a clean past.

    Args:
        dit: transformer with a LoRA, which is off in here.
        x_BCTHW: noisy frames.
        sigma_BT: their level, one for all that are not clean.
        guided: the prompts and after them, B again, the empty one.
        frames: absolute latent indices.
        context: the past under both.
        steps: from level 1; lower levels take their share.
        shift: of the levels.
        guidance_scale: scale of classifier-free guidance.

    Returns:
        x0_BCTHW.
    """
    top = float(sigma_BT.max())
    straight = top / (shift - (shift - 1) * top)  # the inverse of `shifted`
    count = max(1, round(steps * straight))
    ladder = shifted(torch.linspace(straight, 0.0, count + 1, dtype=torch.float64), shift).tolist()
    clean_BT = (sigma_BT == 0).to(sigma_BT)
    x_BCTHW = x_BCTHW.detach().clone()
    dit.disable_lora()
    for level, below in pairwise(ladder):
        both = [part.repeat(2, *[1] * (part.ndim - 1)) for part in (x_BCTHW, (1 - clean_BT) * level)]
        velocity_BCTHW = dit(both[0], both[1], guided, frames=frames, context=context).float()
        with_text, without = velocity_BCTHW.chunk(2)
        moves = (1 - clean_BT)[:, None, :, None, None] * (below - level)
        x_BCTHW = x_BCTHW + moves * (without + guidance_scale * (with_text - without))
    dit.enable_lora()
    return x_BCTHW


def train_few_step(
    config: PlaygroundTraining,
    *,
    folder: Path,
    cache: Path,
    checkpoints: Path,
    plan: Plan,
    device: torch.device,
    report_every: int = 10,
    save_every_s: float = 180.0,
) -> Iterator[TrainingRecord]:
    """Distils the transformer of a model folder, and writes `variants/fast` into it.

    Args:
        config: the recipe.
        folder: model folder; all but its variant is kept.
        cache: of latents, for prompts and for clips that begin with known frames.
        checkpoints: for full checkpoints; that of an interrupted run is always continued.
        plan: length of this run.
        device: CPU or CUDA.
        report_every: steps between records.
        save_every_s: seconds of training between checkpoints.
    """
    recipe = config.few_step
    latents = read_latents(config, folder=folder, cache=cache, split="train")
    held_out = read_latents(config, folder=folder, cache=cache, split="held_out_seed")
    model = load_text_to_video(folder, device)
    model.encoder.requires_grad_(False)
    lora = add_lora(model.dit, targets=_TARGETS, rank=recipe.rank, alpha=float(recipe.rank), seed=config.seed)
    named = {name: weight for name, weight in model.dit.named_parameters() if weight.requires_grad}
    optimizer = Optimizer(named.items(), by_adam=("",), matrix_lr=0.0, lr=recipe.lr, weight_decay=0.0)
    learner = Learner({"dit": model.dit}, optimizer, average=recipe.average, step=0, next_index=0)
    base = [sha256_of(path) for part in ("text_encoder", "transformer") for path in sorted((folder / part).glob("*"))]
    digest = stage_digest(config, recipe, repr(config.dit), *base)
    saving = Saving(checkpoints=checkpoints, digest=digest, report_every=report_every, save_every_s=save_every_s)

    def step() -> dict[str, float]:
        loss, learner.next_index = _loss(config, model, latents, learner.step, learner.next_index)
        learner.update(loss, plan)
        return {"loss": loss.item()}

    yield from run(
        "few-step",
        learner,
        plan,
        saving,
        step=step,
        validate=lambda: {"held_out": _validation_loss(config, model, held_out)},
    )
    with learner.average_in_place():
        score = _validation_loss(config, model, held_out)
        _write_variant(folder / VARIANTS / FAST, config, model.dit, lora)
    write_training_state(folder, "few_step", learner, seed=config.seed, digest=digest, values={"held_out": score})
    finish(checkpoints)
    yield TrainingRecord(stage="few-step", step=learner.step, done=1.0, eta_s=0.0, values={"held_out": score})


def _loss(
    config: PlaygroundTraining, model: TextToVideo, latents: CachedLatents, step: int, next_index: int
) -> tuple[Tensor, int]:
    """Loss of the rollouts of one step, and the index of the data to go on from."""
    recipe, block = config.few_step, config.dit.causal_block
    generator = keyed(config.seed, "rollout", step)
    late, image = torch.rand(2, generator=generator).tolist()
    exit_step = int(torch.randint(len(recipe.sigmas), (), generator=generator))
    drawing = replace(config.dit, batch=recipe.batch, dropout=0.0, colour_dropout=0.0)
    window, next_index = draw_windows(
        latents, next_index, drawing, mid_clip=float(late < recipe.mid_clip), seed=config.seed
    )
    total = len(blocks_of(config.dit.window, block))
    known = 0 if all(window.from_start) else block * int(torch.randint(1, total, (), generator=generator))
    if known == 0 and image < recipe.image:
        known = 1
    order = (torch.randperm(total - known // block, generator=generator) + known // block).tolist()
    x0_BCTHW = window.x0_BCTHW[:, :, :known].to(model.dit.device)
    return _rolled(
        config, model, window.prompts, x0_BCTHW, exit_step, order[: recipe.blocks], generator
    ).loss, next_index


@torch.no_grad()
def _validation_loss(config: PlaygroundTraining, model: TextToVideo, held_out: CachedLatents) -> float:
    """The same loss for held-out prompts with fixed noise, in every block, at each level."""
    from vgen.playground.worlds import world_named

    world, seeds = world_named(held_out.world), held_out.seeds[:_VALIDATION_CLIPS]
    prompts = [world.caption(world.sample(seed), 0) for seed in seeds]
    known_BCTHW = held_out.x0_BCTHW[: len(seeds), :, :0].float().to(model.dit.device)
    everywhere = range(len(blocks_of(config.dit.window, config.dit.causal_block)))
    losses = [
        _rolled(config, model, prompts, known_BCTHW, level, everywhere, keyed(0, "validation", level)).loss.item()
        for level in range(len(config.few_step.sigmas))
    ]
    return sum(losses) / len(losses)


def _rolled(
    config: PlaygroundTraining,
    model: TextToVideo,
    prompts: list[str],
    known_BCTHW: Tensor,
    exit_step: int,
    learnt: Sequence[int],
    generator: torch.Generator,
) -> Rollout:
    length, (_, channels, _, height, width) = config.dit.text_length, known_BCTHW.shape

    def noise(frames: tuple[int, ...], step: int) -> Tensor:
        return torch.randn((len(prompts), channels, len(frames), height, width), generator=generator)

    with mixed_precision(model.dit.device):
        with torch.no_grad():
            texts = [
                text_states(model.tokenizer, model.encoder, said, length) for said in (prompts, [""] * len(prompts))
            ]
        return self_rollout(
            model.dit,
            (texts[0], texts[1]),
            known_BCTHW,
            frames=config.dit.window,
            window=config.dit.window,
            recipe=config.few_step,
            block=config.dit.causal_block,
            shift=config.dit.shift,
            guidance_scale=config.dit.guidance_scale,
            exit_step=exit_step,
            learnt=learnt,
            noise=noise,
        )


@torch.no_grad()
def _remember(
    dit: VideoDiT,
    x0_BCTHW: Tensor,
    frames: tuple[int, ...],
    own: tuple[KVCache, Tensor],
    theirs: tuple[KVCache, PreparedText],
) -> None:
    """Puts a finished block into the student's past, and into the teacher's, with its prompts and without."""
    clean_B1 = torch.zeros(2 * x0_BCTHW.shape[0], 1, device=x0_BCTHW.device)
    half = x0_BCTHW.shape[0]
    dit(x0_BCTHW, clean_B1[:half], own[1], frames=frames, context=own[0], commit=True)
    dit.disable_lora()
    dit(x0_BCTHW.repeat(2, 1, 1, 1, 1), clean_B1, theirs[1], frames=frames, context=theirs[0], commit=True)
    dit.enable_lora()


def _levels(batch: int, frames: int, known: int, sigma: float, device: torch.device) -> Tensor:
    sigma_BT = torch.full((batch, frames), sigma, device=device)
    sigma_BT[:, :known] = 0
    return sigma_BT


def _write_variant(place: Path, config: PlaygroundTraining, dit: VideoDiT, lora: dict[str, object]) -> None:
    """The LoRA in bfloat16 as diffusers writes it, and what is right for it: the keys of the card that differ.

    All or nothing: a LoRA with the card of the model, or of another LoRA, would sample nonsense.
    """
    weights = {name: tensor.bfloat16() for name, tensor in lora_weights(dit).items()}
    card = {
        "samplers": ["causal"],
        "sampler": "causal",
        "solver": "renoise",
        "sigmas": list(config.few_step.sigmas),
        "num_inference_steps": len(config.few_step.sigmas),
        "guidance_scale": 1.0,
    }
    partial = partial_path(place)
    try:
        WanPipeline.save_lora_weights(partial, weights, transformer_lora_adapter_metadata=lora)
        (partial / LORA_FILE).chmod(0o644)
        (partial / CARD_FILE).write_text(OmegaConf.to_yaml(OmegaConf.create(card)), encoding="utf-8")
        place.parent.mkdir(exist_ok=True)
        publish(partial, place)
    finally:
        remove(partial)
