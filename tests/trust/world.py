"""One good input of every kind that vgen reads, small, written once: what the mutants are made from."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file

from tests.convert.files import originals, save_pickled
from tests.folders import layout_transformer, tiny_folder
from vgen.checkpoint import Checkpoint
from vgen.cli import _run
from vgen.clip import Clip
from vgen.run import Event, Run

__all__ = ["MODEL", "PROMPT", "make_world"]

MODEL = "model"
PROMPT = "a red ball rolls to the right"
PICTURES = ("a.png", "a.jpg", "a.gif", "a.tif", "a.webp", "a.bmp", "a.ppm", "moving.png", "turned.jpg", "deep.tif")
CONFIG = """\
request:
  prompt: a red ball
  seconds: 1.0
  seed: 3
  guidance_scale: 1.0
sampler:
  name: streaming
  sink: 1
  window: 3
attention:
  name: radial
  decay: 0.5
search:
  best_of: 1
"""
STORY = """\
- {at: 0s, prompt: a red ball rolls}
- at: 1.0s
  prompt: "a blue box falls to the right"
"""
PROMPTS = "a red ball rolls\n\na blue box falls to the right\n"


def make_world(root: Path) -> Path:
    """Writes all of it into `root`."""
    tiny_folder(root / MODEL, layout="playground", trainings="full, causal, forcing")
    _write_pictures(root)
    noise_FYX3 = np.random.default_rng(0).integers(0, 255, (6, 32, 48, 3), np.uint8)
    noise_FYX3[:, 8:24, 8:40] = 90
    for name in ("a.mp4", "a.mkv", "moving.gif", "frames"):
        Clip(frames=noise_FYX3, fps=8.0).save(root / name)
    for name in ("a.mov", "a.m4v"):
        shutil.copyfile(root / "a.mp4", root / name)
    (root / "config.yaml").write_text(CONFIG)
    (root / "story.yaml").write_text(STORY)
    (root / "attention.yaml").write_text("name: radial\ndecay: 0.5\n")
    (root / "prompts.txt").write_text(PROMPTS)
    state = originals(layout_transformer("playground"))
    save_file(state, root / "causal.safetensors")
    save_pickled({"generator_ema": state}, root / "causal.pt")
    save_pickled({"generator_ema": state}, root / "old.pt", old=True)
    _write_runs(root)
    return root


def _write_pictures(root: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (24, 32, 3), np.uint8)
    picture = Image.fromarray(pixels)
    for name in PICTURES[:7]:
        picture.save(root / name)
    said = PngImagePlugin.PngInfo()
    said.add_text("fps", "8", zip=True)
    others = [Image.fromarray(255 - pixels), picture.convert("L").convert("RGB")]
    picture.save(root / "moving.png", save_all=True, append_images=others, duration=100, pnginfo=said)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(root / "turned.jpg", exif=exif)
    deep: NDArray[np.uint16] = pixels[..., 0].astype(np.uint16) * 256
    Image.fromarray(deep).save(root / "deep.tif", compression="tiff_lzw")


def _write_runs(root: Path) -> None:
    """`done.mkv` with its record, and `killed.run`, stopped after its second chunk."""
    begin = ["generate", PROMPT, "--model", str(root / MODEL), "--seed", "4"]
    assert _run([*begin, "-o", str(root / "done.mkv")]) == 0
    chunked = [*begin, "--sampler", "streaming", "--num-frames", "21", "-o", str(root / "killed.mkv")]
    real = Run.events

    def events(run: Run, *args: Checkpoint, **words: dict[str, object]) -> Iterator[Event]:
        for event in real(run, *args, **words):  # type: ignore[arg-type]
            yield event
            if event.stage == "decode" and event.done >= 5:
                raise KeyboardInterrupt

    with mock.patch.object(Run, "events", events):
        assert _run(chunked) == 130
    (root / "killed.partial.mkv").unlink()
    assert json.loads((root / "killed.run" / "record.json").read_text())["seed"] == 4
