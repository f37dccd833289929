"""Figures of the embedded model and the world it was trained on: `python -m vgen.bench.figures NAME`.

detector   hit rates of the playground's detector on held-out renders, plain and softened
rich       the same of the rich world's detector, with what agrees by chance
vae        PSNR of the embedded VAE on held-out scenes
oracle     largest difference of latents and frames from stock diffusers on the embedded folder
archive    size and time of 20,000 simulated scenes
foreign    image to video from pictures of another world: how much of the first frame is kept
quantized  PSNR of a clip with quantised weights against the same clip without, and what the weights take
radial     density of Radial Attention's published block rule against the figure that its code prints
windows    work of FreeSwim's window in raster order over that in tiles, and how far their outputs differ
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vgen.bench.cold import machine

__all__ = ["FIGURES", "main"]


def detector(count: int) -> dict[str, Any]:
    """Rates on plain and softened renders."""
    from vgen.playground.bars import detector_bars, soften

    return {"plain": detector_bars(count), "softened": detector_bars(count, spoil=soften)}


def rich(count: int) -> dict[str, Any]:
    """Rates on plain and softened renders of the rich world."""
    from vgen.playground.bars import detector_bars, soften

    return {
        "plain": detector_bars(count, world="rich"),
        "softened": detector_bars(count, spoil=soften, world="rich"),
    }


def vae(count: int) -> dict[str, Any]:
    """Mean PSNR in dB over clips of both held-out splits."""
    from vgen.models.folder import embedded_folder
    from vgen.training.config import PlaygroundTraining
    from vgen.training.vae import vae_psnr

    by_split = vae_psnr(embedded_folder(), count, PlaygroundTraining())
    return {"psnr_db": by_split, "least_split_db": min(by_split.values())}


def oracle(count: int) -> dict[str, Any]:
    """Differences from `WanPipeline` and `WanImageToVideoPipeline`, guidance 1 and 5, `count` steps."""
    import numpy as np
    import torch
    from diffusers import WanImageToVideoPipeline, WanPipeline
    from PIL import Image

    from vgen.config import merge
    from vgen.models.folder import embedded_folder
    from vgen.models.vae import latent_frames
    from vgen.pipeline import VideoPipeline
    from vgen.playground.render import render
    from vgen.playground.scene import sample_scene
    from vgen.playground.simulate import simulate

    folder = embedded_folder()
    pipeline = VideoPipeline.from_pretrained(dtype="float32", device="cpu")
    card = pipeline.model.card
    scene = sample_scene(1)
    picture = Image.fromarray(render([scene], [simulate(scene, 1)], height=card.height, width=card.width)[0, 0].numpy())
    rows: dict[str, Any] = {}
    for task, stock_class, image in (("text", WanPipeline, None), ("image", WanImageToVideoPipeline, picture)):
        parts = {} if image is None else {"image_encoder": None, "image_processor": None}
        stock = stock_class.from_pretrained(folder, dtype=torch.float32, **parts)
        stock.set_progress_bar_config(disable=True)
        for guidance in (1.0, 5.0):
            negative = "a blue box" if guidance > 1 else None
            said = {
                "request.prompt": "a red ball rolls to the right",
                "request.negative_prompt": negative,
                "request.guidance_scale": guidance,
                "request.num_inference_steps": count,
                "request.seed": 0,
            }
            spatial = pipeline.model.vae.config.scale_factor_spatial
            frames = latent_frames(card.num_frames)
            shape = (pipeline.model.vae.config.z_dim, frames, card.height // spatial, card.width // spatial)
            initial = torch.randn(shape, generator=torch.Generator().manual_seed(0))
            events = list(pipeline.start(*merge(("oracle", said)), image, initial_CTHW=initial))
            latents = torch.cat([e.latents_BCTHW for e in events if e.latents_BCTHW is not None], dim=2)
            frames_FYX3 = np.concatenate([e.frames_FYX3 for e in events if e.frames_FYX3 is not None])
            asked = {
                "prompt": said["request.prompt"],
                "negative_prompt": negative,
                "height": card.height,
                "width": card.width,
                "num_frames": card.num_frames,
                "num_inference_steps": count,
                "guidance_scale": guidance,
                "max_sequence_length": card.text_length,
            } | ({} if image is None else {"image": image})
            theirs = stock(**asked, latents=initial[None].clone(), output_type="latent").frames
            pictures = stock(**asked, latents=initial[None].clone(), output_type="np").frames[0]
            rows[f"{task}, guidance {guidance:g}"] = {
                "latents": float((latents - theirs).abs().max()),
                "frames": float(np.abs(frames_FYX3 / 255.0 - pictures).max()),
            }
    return {"steps": count, "rows": rows} | {
        f"largest_{kind}": max(row[kind] for row in rows.values()) for kind in ("latents", "frames")
    }


def archive(count: int) -> dict[str, Any]:
    """Simulates `count` scenes of 65 frames and writes them to one file."""
    from vgen.playground.archive import save_trajectories
    from vgen.playground.scene import scenes
    from vgen.playground.simulate import simulate

    since = time.perf_counter()
    cast = list(scenes("train", count))
    moved = [simulate(scene) for scene in cast]
    simulated_s = time.perf_counter() - since
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scenes.safetensors"
        save_trajectories(path, cast, moved)
        return {"clips": count, "simulated_s": round(simulated_s, 1), "mib": path.stat().st_size / 2**20}


def foreign(count: int) -> dict[str, Any]:
    """First-frame PSNR in dB for `count` photographs that come with scikit-image."""
    from importlib.resources import as_file, files
    from statistics import fmean

    from vgen.frames import psnr_db
    from vgen.images import fit_image, load_image
    from vgen.pipeline import VideoPipeline

    pipeline = VideoPipeline.from_pretrained()
    card, kept = pipeline.model.card, {}
    for name in ("astronaut", "chelsea", "coffee", "motorcycle_left", "rocket")[:count]:
        kind = "jpg" if name == "rocket" else "png"
        with as_file(files("skimage").joinpath("data", f"{name}.{kind}")) as path:
            image_YX3 = fit_image(load_image(path).pixels_YX3, height=card.height, width=card.width)
        kept[name] = psnr_db(pipeline("a red ball rolls to the right", image_YX3, seed=1).frames[0], image_YX3)
    return {"psnr_db": kept, "mean_db": fmean(kept.values())}


def radial(count: int) -> dict[str, Any]:
    """Distance from the density that the published code prints at 768x1280, 69 frames, in blocks of `count`."""
    import torch

    from vgen.attention import Radial, RadialBlocks
    from vgen.shapes import TokenGrid

    grid = TokenGrid(frames=tuple(range(18)), height=48, width=80)
    rule = RadialBlocks(Radial(decay=0.2, adjacent="half", sink=1))
    blocks = rule.blocks(grid, grid, block=count, device=torch.device("cpu"))
    density, published = blocks.density(), 0.263368
    return {"kept": blocks.kept_blocks, "density": density, "off_millionths": abs(density - published) * 1e6}


def quantized(count: int) -> dict[str, Any]:
    """The embedded model under each scheme that runs on any device: 9 frames, `count` steps, seed 1."""
    from vgen.frames import psnr_db
    from vgen.models.quantization import SCHEMES
    from vgen.pipeline import VideoPipeline

    def made(scheme: str | None) -> Any:
        pipeline = VideoPipeline.from_pretrained(device="cpu", dtype="float32", quantization=scheme)
        prompt = "a red ball rolls to the right"
        return pipeline(prompt, num_frames=9, num_inference_steps=count, seed=1)

    plain = made(None)
    clips = {name: made(name) for name, scheme in SCHEMES.items() if scheme.capability is None}
    return {
        "psnr_db": {name: psnr_db(clip.frames, plain.frames) for name, clip in clips.items()},
        "weights_mib": {name: clip.record["plan_mib"]["weights"] for name, clip in (clips | {"none": plain}).items()},
    }


def windows(count: int) -> dict[str, Any]:
    """Block densities of the native 31x53 window over `count` frames of 68x120 tokens; outputs on a smaller grid."""
    import torch

    from vgen.attention import InwardWindow, SparseAttention, TokenOrder
    from vgen.attention.planning import plan
    from vgen.shapes import TokenGrid

    grid = TokenGrid(frames=tuple(range(count)), height=68, width=120)
    orders = {"raster": TokenOrder(), "tiles": None}
    density = {
        name: plan(
            InwardWindow(rows=15, columns=26, tiles=order), grid, grid, block=128, device=torch.device("cpu")
        ).density()
        for name, order in orders.items()
    }
    small = TokenGrid(frames=(0, 1, 2), height=17, width=30)
    q, k, v = torch.randn(3, 1, small.tokens, 2, 64, generator=torch.Generator().manual_seed(0))
    outs = [
        SparseAttention(InwardWindow(rows=4, columns=6, tiles=order))(q, k, v, query=small, key=small, layer=0)
        for order in orders.values()
    ]
    return {
        "density": density,
        "raster_over_tiles": density["raster"] / density["tiles"],
        "largest_difference": float((outs[0] - outs[1]).abs().max()),
    }


# name -> (measurement, default count)
FIGURES: dict[str, tuple[Callable[[int], dict[str, Any]], int]] = {
    "archive": (archive, 20_000),
    "detector": (detector, 500),
    "foreign": (foreign, 5),
    "oracle": (oracle, 24),
    "quantized": (quantized, 8),
    "radial": (radial, 128),
    "rich": (rich, 300),
    "vae": (vae, 60),
    "windows": (windows, 21),
}


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m vgen.bench.figures")
    parser.add_argument("name", choices=sorted(FIGURES))
    parser.add_argument("--count", type=int, help="clips, steps or scenes")
    arguments = parser.parse_args()
    measure, usual = FIGURES[arguments.name]
    count = usual if arguments.count is None else arguments.count
    result = measure(count)
    command = f"python -m vgen.bench.figures {arguments.name} --count {count}"
    print(json.dumps({"command": command, "machine": machine()} | result))


if __name__ == "__main__":
    main()
