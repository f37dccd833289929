"""Stage 2: whole clips encoded once, as float16 in an ignored folder; rebuilt from seeds whenever it is gone.

One file per hundred-odd clips, so that an interrupted run goes on. Latents are normalised by the autoencoder's own
measured mean and standard deviation: what the transformer sees.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import load_file, save_file
from torch import Tensor

from vgen.errors import ModelError
from vgen.playground.render import render
from vgen.playground.scene import Scene, Split
from vgen.playground.simulate import simulate
from vgen.playground.worlds import world_named
from vgen.training.config import PlaygroundTraining
from vgen.training.data import to_model_range
from vgen.training.loop import TrainingRecord
from vgen.training.whole import channels_last, encode_whole

__all__ = ["CachedLatents", "cache_latents", "normalised", "read_latents"]

_CLIPS_PER_FILE = 128
_CLIPS_PER_CALL = 4


@dataclass(frozen=True, slots=True)
class CachedLatents:
    """Normalised latents of whole clips, and their scenes.

    Args:
        x0_BCTHW: float16.
        seeds: scene seed of each clip.
        world: of the scenes.
    """

    x0_BCTHW: Tensor
    seeds: list[int]
    world: str = "first"


def cache_latents(
    config: PlaygroundTraining, *, folder: Path, cache: Path, device: torch.device, compiled: bool = False
) -> Iterator[TrainingRecord]:
    """Encodes what is not in the cache yet.

    Args:
        config: how many clips of which split.
        folder: model folder with the autoencoder.
        cache: where `read_latents` will look; a sub-folder names the autoencoder's weights.
        device: CPU or CUDA.
        compiled: whether the encoder goes through torch.compile, which doubles its speed on a CPU.

    Raises:
        ModelError: the folder has no autoencoder.
    """
    place, scenes = _place(config, folder, cache), world_named(config.world).scenes
    vae = AutoencoderKLWan.from_pretrained(folder / "vae", dtype=torch.float32, use_safetensors=True)
    channels_last(vae.to(device).eval())

    def encode(video_BCFYX: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return encode_whole(vae, video_BCFYX)[0]

    quick = torch.compile(encode, dynamic=False) if compiled else encode
    place.mkdir(parents=True, exist_ok=True)
    missing = [job for job in _jobs(config) if not (place / job.file).is_file()]
    began = time.monotonic()
    for done, job in enumerate(missing, start=1):
        drawn = list(scenes(job.split, job.start + job.count))[job.start :]
        x0_BCTHW = torch.cat(
            [_encoded(vae, quick, drawn[i : i + _CLIPS_PER_CALL], config) for i in range(0, job.count, _CLIPS_PER_CALL)]
        )
        partial = place / f"{job.file}.partial"
        save_file({"x0": x0_BCTHW, "seeds": torch.tensor([scene.seed for scene in drawn])}, partial)
        partial.replace(place / job.file)
        eta_s = (time.monotonic() - began) / done * (len(missing) - done)
        clips = {"clips": float(job.start + job.count)}
        yield TrainingRecord(stage="latents", step=done, done=done / len(missing), eta_s=eta_s, values=clips)


def read_latents(config: PlaygroundTraining, *, folder: Path, cache: Path, split: Split) -> CachedLatents:
    """The cached clips of one split.

    Raises:
        ModelError: the cache does not hold them all.
    """
    place = _place(config, folder, cache)
    files = [place / job.file for job in _jobs(config) if job.split == split]
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise ModelError(
            f"{place}: {len(missing)} of {len(files)} files of latents are missing; "
            "run `vgen train playground --stage latents` first"
        )
    parts = [load_file(path) for path in files]
    seeds = [int(seed) for part in parts for seed in part["seeds"]]
    return CachedLatents(torch.cat([part["x0"] for part in parts]), seeds, config.world)


def normalised(vae: AutoencoderKLWan, latents_BCTHW: Tensor) -> Tensor:
    """(latents - mean) / std with the autoencoder's measured statistics."""
    mean_C, std_C = (
        torch.tensor(values, device=latents_BCTHW.device, dtype=latents_BCTHW.dtype)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    return (latents_BCTHW - mean_C.view(1, -1, 1, 1, 1)) / std_C.view(1, -1, 1, 1, 1)


@dataclass(frozen=True, slots=True)
class _Job:
    """One file of the cache: `count` scenes of a split from the `start`-th on."""

    split: Split
    start: int
    count: int

    @property
    def file(self) -> str:
        return f"{self.split}-{self.start:06d}-{self.count}.safetensors"


def _jobs(config: PlaygroundTraining) -> list[_Job]:
    """Held-out clips first: they are few, and every later stage wants them."""
    held_out = config.latents.held_out
    amounts: dict[Split, int] = {
        "held_out_seed": held_out,
        "held_out_combination": held_out,
        "train": config.latents.clips,
    }
    return [
        _Job(split, start, min(_CLIPS_PER_FILE, total - start))
        for split, total in amounts.items()
        for start in range(0, total, _CLIPS_PER_FILE)
    ]


@torch.no_grad()
def _encoded(
    vae: AutoencoderKLWan, encode: Callable[[Tensor], Tensor], drawn: list[Scene], config: PlaygroundTraining
) -> Tensor:
    moved = [simulate(scene, world_named(config.world).frames) for scene in drawn]
    clip_BFYX3 = render(drawn, moved, height=config.size, width=config.size)
    video_BCFYX = to_model_range(clip_BFYX3).to(vae.device).contiguous(memory_format=torch.channels_last_3d)
    return normalised(vae, encode(video_BCFYX).float()).half().cpu().contiguous()


def _place(config: PlaygroundTraining, folder: Path, cache: Path) -> Path:
    """The cache of this encoder and world: other latents would train nonsense; the decoder may change."""
    files = sorted((folder / "vae").glob("*.safetensors"))
    if not files:
        raise ModelError(f"{folder}: no autoencoder in it; run `vgen train playground --stage vae` first")
    weights = {name: value for path in files for name, value in load_file(path).items()}
    stored = json.loads((folder / "vae" / "config.json").read_text())
    digest = hashlib.sha256(json.dumps([stored["latents_mean"], stored["latents_std"]]).encode())
    for name in sorted(weights):
        if name.startswith(("encoder.", "quant_conv.")):
            digest.update(weights[name].half().numpy().tobytes())  # however precisely they are stored
    return cache / (digest.hexdigest()[:12] + ("" if config.world == "first" else f"-{config.world}"))
