"""Stage 3: text encoder and video transformer together, by flow matching with a noise level per latent frame.

x_sigma = (1 - sigma) x0 + sigma eps, and the transformer predicts eps - x0 (Lipman et al. 2023, arXiv:2210.02747), as
Wan does. `levels.py` says which frame has which level; frames that are clean carry no loss.
"""

import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler
from torch import Tensor
from transformers import PreTrainedTokenizerFast, UMT5EncoderModel

from vgen.attention import VideoAttention
from vgen.errors import ConfigError
from vgen.models.dit import VideoDiT
from vgen.models.variant import VARIANTS
from vgen.playground.scene import COLOURS
from vgen.playground.worlds import world_named
from vgen.samplers import SigmaTable
from vgen.schema import AttentionConfig
from vgen.sparsity import AttentionSettings, resolve_attention
from vgen.training.config import DiTRecipe, PlaygroundTraining, stage_digest
from vgen.training.folder import FAST, save_folder
from vgen.training.latents import CachedLatents, read_latents
from vgen.training.levels import MIX_CAUSAL, MIX_FULL, draw_sigmas
from vgen.training.loop import (
    Learner,
    Plan,
    Saving,
    TrainingRecord,
    finish,
    keyed,
    load_checkpoint,
    named_parameters,
    run,
)
from vgen.training.optim import Optimizer
from vgen.training.state import read_training_state, write_training_state
from vgen.training.text import build_text_encoder, build_tokenizer, taught_words, text_states

__all__ = [
    "TextToVideo",
    "Window",
    "build_dit",
    "draw_windows",
    "export_dit",
    "flow_loss",
    "load_text_to_video",
    "mixed_precision",
    "train_dit",
    "trained_attention",
    "validation_loss",
]

_BY_ADAM = (
    "embedder.weight",
    "shared.weight",
    "proj_out.weight",
    "scale_shift_table",
    "relative_attention_bias.weight",
)
_VALIDATION_CLIPS = 32
_CALLS = 1 << 20  # of a plan of sparse attention: many


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A batch of training windows.

    Args:
        x0_BCTHW: clean latents, fp32.
        prompts: one per window; empty where dropped.
        from_start: whether the window begins with latent 0.
    """

    x0_BCTHW: Tensor
    prompts: list[str]
    from_start: list[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextToVideo:
    """What trains together, and the tokenizer."""

    dit: VideoDiT
    tokenizer: PreTrainedTokenizerFast
    encoder: UMT5EncoderModel


def build_dit(recipe: DiTRecipe, channels: int, seed: int) -> VideoDiT:
    """A fresh transformer in Wan's layout; its last layer starts at zero, so that it first predicts nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        dit = VideoDiT(
            patch_size=(1, 2, 2),
            num_attention_heads=recipe.heads,
            attention_head_dim=recipe.head_width,
            in_channels=channels,
            out_channels=channels,
            text_dim=recipe.text_dim,
            freq_dim=256,
            ffn_dim=recipe.ffn_dim,
            num_layers=recipe.layers,
            cross_attn_norm=True,
        )
    torch.nn.init.zeros_(dit.proj_out.weight)
    torch.nn.init.zeros_(dit.proj_out.bias)
    return dit


def draw_windows(
    latents: CachedLatents, index: int, recipe: DiTRecipe, *, mid_clip: float, seed: int
) -> tuple[Window, int]:
    """The windows of one step.

    Each pass over the clips has its own order, keyed by its number. Some windows start at latent 0, the others later in
    the clip and without it, since a sliding window that has moved on does not see latent 0 either.

    Args:
        latents: what to draw from.
        index: windows drawn so far, over all runs.
        recipe: of the stage.
        mid_clip: share of windows that start after latent 0.
        seed: of the run.

    Returns:
        The windows, and the index to go on from.
    """
    total, last = len(latents.seeds), latents.x0_BCTHW.shape[2] - recipe.window
    world = world_named(latents.world)
    clips, prompts, from_start = [], [], []
    orders: dict[int, Tensor] = {}
    for position in range(index, index + recipe.batch):
        epoch = position // total
        if epoch not in orders:
            orders[epoch] = torch.randperm(total, generator=keyed(seed, "order", epoch))
        clip = int(orders[epoch][position % total])
        generator = keyed(seed, "window", position)
        late, drop = torch.rand(2, generator=generator).tolist()
        start = int(torch.randint(1, last + 1, (), generator=generator)) if late < mid_clip and last > 0 else 0
        scene = world.sample(latents.seeds[clip])
        variant = int(torch.randint(world.num_variants(scene), (), generator=generator))
        clips.append(latents.x0_BCTHW[clip, :, start : start + recipe.window])
        prompt = "" if drop < recipe.dropout else world.caption(scene, variant)
        prompts.append(_without_colours(prompt) if drop < recipe.dropout + recipe.colour_dropout else prompt)
        from_start.append(start == 0)
    window = Window(x0_BCTHW=torch.stack(clips).float(), prompts=prompts, from_start=from_start)
    return window, index + recipe.batch


def _without_colours(prompt: str) -> str:
    return " ".join(word for word in prompt.split() if word not in COLOURS)


def flow_loss(
    dit: Callable[..., Tensor],
    x0_BCTHW: Tensor,
    noise_BCTHW: Tensor,
    sigma_BT: Tensor,
    text_BMD: Tensor,
    causal_block: int | None,
) -> Tensor:
    """Mean squared error of the velocity over the frames that are noisy."""
    sigma = sigma_BT[:, None, :, None, None]
    x_BCTHW = (1 - sigma) * x0_BCTHW + sigma * noise_BCTHW
    velocity_BCTHW = dit(x_BCTHW, sigma_BT, text_BMD, causal_block=causal_block).float()
    error_BT = (velocity_BCTHW - (noise_BCTHW - x0_BCTHW)).square().mean((1, 3, 4))
    noisy_BT = (sigma_BT > 0).float()
    return (error_BT * noisy_BT).sum() / noisy_BT.sum()


def train_dit(
    config: PlaygroundTraining,
    *,
    folder: Path,
    cache: Path,
    checkpoints: Path,
    plan: Plan,
    resume: bool,
    device: torch.device,
    compiled: bool,
    attention: AttentionConfig | None = None,
    report_every: int = 20,
    save_every_s: float = 180.0,
) -> Iterator[TrainingRecord]:
    """Trains on cached latents, and at the end writes the whole model folder with averaged weights.

    Args:
        config: the recipe.
        folder: model folder; its `vae` is read and kept.
        cache: of latents.
        checkpoints: for full checkpoints; that of an interrupted run is always continued.
        plan: length of this run.
        resume: start from the weights in `folder` with a fresh optimiser, where no run was interrupted; words of the
            world that they do not know begin fresh.
        device: CPU or CUDA.
        compiled: whether the transformer goes through torch.compile, which takes dense attention alone.
        attention: of self-attention, in training and in the validation; dense where None.
        report_every: steps between records.
        save_every_s: seconds of training between checkpoints.

    Raises:
        ConfigError: an unknown pattern, or one that cannot be compiled.
    """
    settings = trained_attention(config, attention or AttentionConfig(), compiled)
    latents = read_latents(config, folder=folder, cache=cache, split="train")
    held_out = read_latents(config, folder=folder, cache=cache, split="held_out_seed")
    model, learner = _start(config, folder, resume, device)
    sparse = settings.pattern != "dense"
    attended = _Attended(model.dit, settings.build(_CALLS)) if sparse else model.dit
    forward = torch.compile(model.dit, dynamic=False) if compiled else attended
    digest = stage_digest(config, config.dit, *([repr(settings.resolved())] if sparse else []))
    saving = Saving(checkpoints=checkpoints, digest=digest, report_every=report_every, save_every_s=save_every_s)
    yield from run(
        "dit",
        learner,
        plan,
        saving,
        step=lambda: {"loss": _step(config, learner, model, forward, latents, plan)},
        validate=lambda: {"held_out": validation_loss(model, held_out, config, attended)},
    )
    score = _write(config, learner, model, attended, held_out, folder, digest)
    finish(checkpoints)
    yield TrainingRecord(stage="dit", step=learner.step, done=1.0, eta_s=0.0, values={"held_out": score})


def export_dit(config: PlaygroundTraining, *, folder: Path, checkpoints: Path, held_out: CachedLatents) -> float:
    """Writes the model folder from the averaged weights of a checkpoint, while training may go on elsewhere.

    Returns:
        The validation loss of what was written.
    """
    model, learner = _start(config, folder, resume=False, device=torch.device("cpu"))
    digest = stage_digest(config, config.dit)
    assert load_checkpoint(checkpoints, learner, digest), f"no checkpoint in {checkpoints}"
    return _write(config, learner, model, model.dit, held_out, folder, digest)


@torch.no_grad()
def validation_loss(
    model: TextToVideo,
    held_out: CachedLatents,
    config: PlaygroundTraining,
    forward: Callable[..., Tensor] | None = None,
) -> float:
    """Flow loss on held-out clips with fixed prompts, noise and levels; full and block-causal attention, half each.

    Args:
        model: whose text encoder reads the prompts.
        held_out: clips, of which the first few are taken.
        config: the recipe.
        forward: what is asked for velocities, where it is not the model's transformer itself.
    """
    recipe, world, losses = config.dit, world_named(held_out.world), []
    for start in range(0, min(len(held_out.seeds), _VALIDATION_CLIPS), recipe.batch):
        rows = slice(start, start + recipe.batch)
        x0_BCTHW = held_out.x0_BCTHW[rows, :, : recipe.window].float().to(model.dit.device)
        prompts = [world.caption(world.sample(seed), 0) for seed in held_out.seeds[rows]]
        text_BMD = text_states(model.tokenizer, model.encoder, prompts, recipe.text_length)
        for mix, block in ((MIX_FULL, None), (MIX_CAUSAL, recipe.causal_block)):
            generator = keyed(0, f"validation {block}", start)
            noise_BCTHW, sigma_BT = _noise_and_levels(x0_BCTHW, [True] * len(prompts), recipe, mix, generator)
            with mixed_precision(model.dit.device):
                losses.append(flow_loss(forward or model.dit, x0_BCTHW, noise_BCTHW, sigma_BT, text_BMD, block).item())
    return sum(losses) / len(losses)


@dataclass(frozen=True, slots=True)
class _Attended:
    """A transformer whose self-attention is not dense; called as the transformer in `flow_loss`."""

    dit: VideoDiT
    attention: VideoAttention

    def __call__(self, x_BCTHW: Tensor, sigma_BT: Tensor, text_BMD: Tensor, *, causal_block: int | None) -> Tensor:
        return cast(Tensor, self.dit(x_BCTHW, sigma_BT, text_BMD, causal_block=causal_block, attention=self.attention))


def trained_attention(config: PlaygroundTraining, asked: AttentionConfig, compiled: bool) -> AttentionSettings:
    """What the transformer attends with while it trains.

    Raises:
        ConfigError: unknown or not possible; cannot be compiled; or dense in some steps of sampling, which a batch of
            many noise levels does not have.
    """
    scheduler = FlowMatchEulerDiscreteScheduler(shift=config.dit.shift)
    table = SigmaTable.from_scheduler(scheduler, config.dit.num_inference_steps)
    settings = resolve_attention(asked, table.per_step, config.dit.layers)[0]
    if settings.pattern != "dense" and compiled:
        raise ConfigError(f"attention '{settings.pattern}' cannot be compiled in training; add --no-compile")
    if settings.dense_first_steps or settings.dense_last_steps:
        raise ConfigError(
            f"attention '{asked.name}' is dense in {settings.dense_first_steps} first and {settings.dense_last_steps} "
            "last steps of sampling, which training does not have; possible with both 0, in a YAML of the attention"
        )
    return settings


def load_text_to_video(folder: Path, device: torch.device) -> TextToVideo:
    """The text encoder and transformer of a model folder, in fp32."""
    encoder = UMT5EncoderModel.from_pretrained(folder / "text_encoder", dtype=torch.float32, use_safetensors=True)
    return TextToVideo(
        dit=VideoDiT.from_pretrained(folder / "transformer", dtype=torch.float32, use_safetensors=True).to(device),
        tokenizer=PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer", local_files_only=True),
        encoder=encoder.to(device),
    )


def _start(config: PlaygroundTraining, folder: Path, resume: bool, device: torch.device) -> tuple[TextToVideo, Learner]:
    """The weights to begin with, and a learner over them with a fresh optimiser."""
    recipe, step, next_index = config.dit, 0, 0
    if resume:
        state = read_training_state(folder, "dit")
        step, next_index = state["step"], state["next_index"]
        held = load_text_to_video(folder, device)
        old, encoder, dit = held.tokenizer, held.encoder, held.dit
        tokenizer = build_tokenizer(world_named(config.world).vocabulary, recipe.text_length)
        if tokenizer.get_vocab() != old.get_vocab() or tokenizer.model_max_length != old.model_max_length:
            grown = build_text_encoder(recipe, len(tokenizer), config.seed)
            taught_words((old, encoder), (tokenizer, grown))
            encoder = grown
    else:
        tokenizer = build_tokenizer(world_named(config.world).vocabulary, recipe.text_length)
        encoder = build_text_encoder(recipe, len(tokenizer), config.seed)
        dit = build_dit(recipe, config.vae.z_dim, config.seed)
    modules: dict[str, torch.nn.Module] = {"encoder": encoder.to(device).train(), "dit": dit.to(device).train()}
    optimizer = Optimizer(
        named_parameters(modules),
        by_adam=_BY_ADAM,
        matrix_lr=recipe.matrix_lr,
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
    )
    learner = Learner(modules, optimizer, average=recipe.average, step=step, next_index=next_index)
    return TextToVideo(dit=dit, tokenizer=tokenizer, encoder=encoder), learner


def _step(
    config: PlaygroundTraining,
    learner: Learner,
    model: TextToVideo,
    forward: Callable[..., Tensor],
    latents: CachedLatents,
    plan: Plan,
) -> float:
    """One step; returns its loss."""
    recipe, device = config.dit, model.dit.device
    generator = keyed(config.seed, "levels", learner.step)
    causal = float(torch.rand((), generator=generator)) < recipe.causal
    mix, block = (MIX_CAUSAL, recipe.causal_block) if causal else (MIX_FULL, None)
    mid_clip = recipe.mid_clip_causal if causal else recipe.mid_clip_full
    window, learner.next_index = draw_windows(latents, learner.next_index, recipe, mid_clip=mid_clip, seed=config.seed)
    noise_BCTHW, sigma_BT = _noise_and_levels(window.x0_BCTHW, window.from_start, recipe, mix, generator)
    with mixed_precision(device):
        text_BMD = text_states(model.tokenizer, model.encoder, window.prompts, recipe.text_length)
        loss = flow_loss(
            forward, window.x0_BCTHW.to(device), noise_BCTHW.to(device), sigma_BT.to(device), text_BMD, block
        )
    learner.update(loss, plan)
    return loss.item()


def _noise_and_levels(
    x0_BCTHW: Tensor, from_start: list[bool], recipe: DiTRecipe, mix: dict[str, float], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    noise_BCTHW = torch.randn(x0_BCTHW.shape, generator=generator)
    sigma_BT = draw_sigmas(
        from_start,
        frames=x0_BCTHW.shape[2],
        block=recipe.causal_block,
        mix=mix,
        shift=recipe.shift,
        generator=generator,
    )
    return noise_BCTHW.to(x0_BCTHW.device), sigma_BT.to(x0_BCTHW.device)


@contextmanager
def mixed_precision(device: torch.device) -> Iterator[None]:
    """bfloat16 products over fp32 weights."""
    with torch.autocast(device.type, torch.bfloat16), warnings.catch_warnings():
        # RMSNorm of q and k takes its unfused kernel here, which is what we want: its gain stays in fp32
        warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")
        yield


def _write(
    config: PlaygroundTraining,
    learner: Learner,
    model: TextToVideo,
    forward: Callable[..., Tensor],
    held_out: CachedLatents,
    folder: Path,
    digest: str,
) -> float:
    """Writes the model folder with averaged weights, and its training state; the student of the old weights goes."""
    if (folder / VARIANTS / FAST).is_dir():
        shutil.rmtree(folder / VARIANTS / FAST)
    vae = AutoencoderKLWan.from_pretrained(folder / "vae", dtype=torch.float32, use_safetensors=True)
    with learner.average_in_place():
        score = validation_loss(model, held_out, config, forward)
        save_folder(folder, config=config, vae=vae, tokenizer=model.tokenizer, encoder=model.encoder, dit=model.dit)
    write_training_state(folder, "dit", learner, seed=config.seed, digest=digest, values={"held_out": score})
    return score
