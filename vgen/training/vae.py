"""Stage 1: a small Wan autoencoder on rendered clips.

The model is diffusers' own class, so what is saved loads anywhere; training runs it over whole clips (`whole.py`).
Body colours and small things carry extra weight, because 28 dB over a picture that is nine tenths backdrop can hide a
grey ball.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from vgen.training.config import PlaygroundTraining, VAERecipe, stage_digest
from vgen.training.data import crops, held_out_clips, to_model_range
from vgen.training.folder import halved
from vgen.training.loop import Learner, Plan, Saving, TrainingRecord, finish, keyed, named_parameters, run
from vgen.training.optim import Optimizer
from vgen.training.state import MAX_SHARD, read_training_state, write_training_state
from vgen.training.whole import channels_last, decode_whole, encode_whole

__all__ = ["build_vae", "latent_statistics", "reconstruction_loss", "train_vae", "vae_psnr"]

_BY_ADAM = ("conv_in.weight", "decoder.conv_out.weight")

_Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def build_vae(recipe: VAERecipe, seed: int) -> AutoencoderKLWan:
    """A fresh autoencoder: 4x in time, 8x in space."""
    pixels = 3 * recipe.patch_size**2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoencoderKLWan(
            base_dim=recipe.base_dim,
            z_dim=recipe.z_dim,
            dim_mult=list(recipe.dim_mult),
            num_res_blocks=recipe.num_res_blocks,
            is_residual=recipe.is_residual,
            temperal_downsample=[True, True],
            patch_size=recipe.patch_size,
            in_channels=pixels,
            out_channels=pixels,
            scale_factor_temporal=4,
            scale_factor_spatial=8,
            latents_mean=[0.0] * recipe.z_dim,
            latents_std=[1.0] * recipe.z_dim,
        )


def reconstruction_loss(
    vae: AutoencoderKLWan, video_BCFYX: Tensor, noise_BCTHW: Tensor, recipe: VAERecipe
) -> tuple[Tensor, Tensor]:
    """Weighted L1 and squared error, plus a little KL.

    Returns:
        The loss, and the plain mean squared error over -1..1.
    """
    mean_BCTHW, logvar_BCTHW = encode_whole(vae, video_BCFYX)
    mean_BCTHW, logvar_BCTHW = mean_BCTHW.float(), logvar_BCTHW.float()
    error = decode_whole(vae, mean_BCTHW + (0.5 * logvar_BCTHW).exp() * noise_BCTHW).float() - video_BCFYX
    away = (video_BCFYX - video_BCFYX.mean((2, 3, 4), keepdim=True)).abs().mean(1, keepdim=True)
    weight = 1 + recipe.body_weight * away
    squared = error.square()
    kl = 0.5 * (mean_BCTHW.square() + logvar_BCTHW.exp() - 1 - logvar_BCTHW).mean()
    return (weight * (error.abs() + 4 * squared)).mean() + recipe.kl_weight * kl, squared.mean().detach()


def train_vae(
    config: PlaygroundTraining,
    *,
    folder: Path,
    checkpoints: Path,
    plan: Plan,
    resume: bool,
    device: torch.device,
    compiled: bool,
    decoder_only: bool = False,
    report_every: int = 20,
    save_every_s: float = 180.0,
    held_out: int = 4,
) -> Iterator[TrainingRecord]:
    """Trains, and at the end writes the averaged weights with their latent statistics to `folder`/vae.

    Args:
        config: the recipe.
        folder: model folder.
        checkpoints: for full checkpoints; that of an interrupted run is always continued.
        plan: length of this run.
        resume: start from the weights in `folder` with a fresh optimiser, where no run was interrupted.
        device: CPU or CUDA.
        compiled: whether crops go through torch.compile.
        decoder_only: leave the encoder as it is, so that cached latents and a transformer trained on them stay valid.
        report_every: steps between records.
        save_every_s: seconds of training between checkpoints.
        held_out: clips for the score that is printed with each checkpoint; four times as many at the end.
    """
    assert resume or not decoder_only, "a decoder alone can only go on from weights"
    vae, learner = _start(config, folder, resume, device, decoder_only)
    digest = stage_digest(config, config.vae, *(["decoder"] if decoder_only else []))

    def loss_of(video_BCFYX: Tensor, noise_BCTHW: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(device.type, torch.bfloat16):
            return reconstruction_loss(vae, video_BCFYX, noise_BCTHW, config.vae)

    quick: _Loss = torch.compile(loss_of, dynamic=False) if compiled else loss_of

    def step() -> dict[str, float]:
        video_BCFYX, common = _batch(config, learner)
        noise_BCTHW = _latent_noise(config, learner.step, video_BCFYX).to(device)
        loss, squared = (quick if common else loss_of)(video_BCFYX.to(device), noise_BCTHW)
        norm = learner.update(loss, plan)
        return {"loss": loss.item(), "db": 10 * math.log10(4 / squared.item()), "norm": norm}

    saving = Saving(checkpoints=checkpoints, digest=digest, report_every=report_every, save_every_s=save_every_s)
    yield from run("vae", learner, plan, saving, step=step, validate=lambda: {"psnr": _psnr_of(vae, held_out, config)})
    with learner.average_in_place():
        score = _psnr_of(vae, 4 * held_out, config)
        if not decoder_only:
            mean, std = latent_statistics(vae, config)
            vae.register_to_config(latents_mean=mean, latents_std=std)
        halved(vae).save_pretrained(folder / "vae", max_shard_size=MAX_SHARD)
    write_training_state(folder, "vae", learner, seed=config.seed, digest=digest, values={"psnr": score})
    finish(checkpoints)
    yield TrainingRecord(stage="vae", step=learner.step, done=1.0, eta_s=0.0, values={"psnr": score})


def vae_psnr(folder: Path, count: int, config: PlaygroundTraining) -> dict[str, float]:
    """Decibels of `folder`/vae on the first `count` scenes of each held-out split, in fp32 through the stock class."""
    vae = AutoencoderKLWan.from_pretrained(folder / "vae", dtype=torch.float32, use_safetensors=True)
    splits = ("held_out_seed", "held_out_combination")
    return {split: _psnr_of(vae, count, config, split) for split in splits}


@torch.no_grad()
def latent_statistics(
    vae: AutoencoderKLWan, config: PlaygroundTraining, clips: int = 64
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each latent channel over training clips of native length."""
    moments = []
    for index in range(0, clips, 8):
        video_BCFYX, _ = crops(
            index,
            batch=8,
            frames=config.num_frames,
            size=config.size,
            crop=config.size,
            generator=keyed(config.seed, "statistics", index),
            world=config.world,
        )
        mean_BCTHW, _ = encode_whole(vae, video_BCFYX.to(vae.device))
        moments.append(
            torch.stack((mean_BCTHW.mean((0, 2, 3, 4)), mean_BCTHW.square().mean((0, 2, 3, 4)))).double().cpu()
        )
    mean_C, square_C = torch.stack(moments).mean(0)
    return mean_C.tolist(), (square_C - mean_C.square()).sqrt().tolist()


def _start(
    config: PlaygroundTraining, folder: Path, resume: bool, device: torch.device, decoder_only: bool
) -> tuple[AutoencoderKLWan, Learner]:
    """The weights to begin with, and a learner over them with a fresh optimiser."""
    recipe, step, next_index = config.vae, 0, 0
    if resume:
        state = read_training_state(folder, "vae")
        step, next_index = state["step"], state["next_index"]
        vae = AutoencoderKLWan.from_pretrained(folder / "vae", dtype=torch.float32, use_safetensors=True)
    else:
        vae = build_vae(recipe, config.seed)
    channels_last(vae.to(device))
    if decoder_only:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    optimizer = Optimizer(
        [(name, weight) for name, weight in named_parameters({"vae": vae}) if weight.requires_grad],
        by_adam=_BY_ADAM,
        matrix_lr=recipe.matrix_lr,
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
    )
    return vae, Learner({"vae": vae}, optimizer, average=recipe.average, step=step, next_index=next_index)


def _batch(config: PlaygroundTraining, learner: Learner) -> tuple[Tensor, bool]:
    """The step's clips, and whether they have the shape that most steps have."""
    recipe, step = config.vae, learner.step
    frames, crop, batch = recipe.frames, recipe.crop, recipe.batch
    if step % recipe.image_every == recipe.image_every - 1:
        frames, crop = 1, config.size
    elif step % recipe.whole_every == recipe.whole_every // 2:
        crop, batch = config.size, max(1, batch * recipe.crop**2 // config.size**2)
    video_BCFYX, learner.next_index = crops(
        learner.next_index,
        batch=batch,
        frames=frames,
        size=config.size,
        crop=crop,
        generator=keyed(config.seed, "crops", step),
        world=config.world,
    )
    return video_BCFYX.contiguous(memory_format=torch.channels_last_3d), (frames, crop) == (recipe.frames, recipe.crop)


def _latent_noise(config: PlaygroundTraining, step: int, video_BCFYX: Tensor) -> Tensor:
    batch, _, frames, rows, columns = video_BCFYX.shape
    shape = (batch, config.vae.z_dim, (frames - 1) // 4 + 1, rows // 8, columns // 8)
    return torch.randn(shape, generator=keyed(config.seed, "latent noise", step))


@torch.no_grad()
def _psnr_of(vae: AutoencoderKLWan, count: int, config: PlaygroundTraining, split: str = "held_out_seed") -> float:
    """Mean over clips of each clip's PSNR in decibels, over uint8 frames."""
    _, clip_BFYX3 = held_out_clips(split, count, size=config.size, frames=config.num_frames, world=config.world)
    scores = []
    for clip_FYX3 in clip_BFYX3:
        video_BCFYX = to_model_range(clip_FYX3.unsqueeze(0)).to(vae.device)
        decoded_BCFYX = vae.decode(vae.encode(video_BCFYX).latent_dist.mean).sample
        error = ((decoded_BCFYX + 1) * 127.5).round() - (video_BCFYX + 1) * 127.5
        scores.append(20 * math.log10(255) - 10 * error.square().mean().log10().item())
    return sum(scores) / len(scores)
