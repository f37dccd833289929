"""TRAVL's idea as a critic of its own: frozen patch features, attention along tracks, and one logit.

The published module sits inside a video language model; here a small head takes the place of that. Features are by
default a fixed random projection of the pixels, so that nothing has to be fetched, or those of a DINO folder. No
weights ship: `vgen train travl` makes them (`training.py` beside this). A critic that was trained on the playground's
twins says nothing about its own merit when it is scored on those.
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from vgen.clip import Clip
from vgen.errors import InputError, ModelError
from vgen.evaluate.benchmark import ItemError
from vgen.evaluate.critics.attention import TravlModel
from vgen.evaluate.critics.geophys import Encoder, open_encoder
from vgen.evaluate.critics.loading import Sight, stride_for
from vgen.evaluate.critics.tracks import follow, on_grid
from vgen.evaluate.jury import Opinion
from vgen.files import os_errors, replacing
from vgen.frames import Frames
from vgen.models.files import check_tensors, read_json, tensor_shapes

__all__ = [
    "EncoderFeatures",
    "Features",
    "PatchFeatures",
    "Travl",
    "check_link",
    "holds_travl",
    "link_encoder",
    "new_travl",
    "open_travl",
    "save_travl",
]

CONFIG, WEIGHTS, ENCODER = "travl.json", "travl.safetensors", "encoder"
SCHEMA = "vgen travl 1"
HEADS = 4
MOST_FRAMES, LEAST_FRAMES = 16, 4
LIMITS = {"side_px": (8, 1024), "patch_px": (1, 256), "width": (4, 1024), "seed": (0, 2**31), "layer": (0, 128)}


class Features(Protocol):
    """Frozen features of the patches of single frames."""

    @property
    def grid(self) -> int:
        """Patches along each side."""
        ...

    @property
    def width(self) -> int:
        """Of a feature."""
        ...

    def __call__(self, frames_FYX3: Frames) -> Tensor:
        """fp32 [F, grid * grid, width], row by row."""
        ...

    def as_dict(self) -> dict[str, Any]:
        """For the config, with `kind`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchFeatures:
    """A fixed random projection of a patch's pixels, and its mean colour.

    Args:
        side_px: of the square that frames are resized to.
        patch_px: side of a patch, a divisor of it.
        width: of a feature; three of it are the colour.
        seed: of the projection.
    """

    side_px: int = 64
    patch_px: int = 8
    width: int = 32
    seed: int = 0

    @property
    def grid(self) -> int:
        return self.side_px // self.patch_px

    def __call__(self, frames_FYX3: Frames) -> Tensor:
        sight = Sight(side_px=self.side_px, mean=(0.5,) * 3, std=(0.25,) * 3)
        pixels_F3YX = sight(frames_FYX3, torch.device("cpu"))
        patches_FPE = torch.nn.functional.unfold(pixels_F3YX, self.patch_px, stride=self.patch_px).mT
        colour_FP3 = patches_FPE.unflatten(-1, (3, -1)).mean(-1)
        inner_FPE = patches_FPE - colour_FP3.repeat_interleave(self.patch_px**2, dim=-1)
        return torch.cat([colour_FP3, inner_FPE @ self._projection(patches_FPE.shape[-1])], dim=-1)

    def as_dict(self) -> dict[str, Any]:
        return {"kind": "patches", **asdict(self)}

    def _projection(self, size: int) -> Tensor:
        draw = np.random.Generator(np.random.Philox(key=self.seed)).standard_normal((size, self.width - 3))
        return torch.from_numpy((draw / math.sqrt(size)).astype(np.float32))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncoderFeatures:
    """Patch features of a DINO folder.

    Args:
        encoder: as `open_encoder` returned it.
    """

    encoder: Encoder

    @property
    def grid(self) -> int:
        return self.encoder.sight.side_px // int(self.encoder.model.config.patch_size)

    @property
    def width(self) -> int:
        return int(self.encoder.model.config.hidden_size)

    def __call__(self, frames_FYX3: Frames) -> Tensor:
        return torch.from_numpy(self.encoder.patches(frames_FYX3).astype(np.float32))

    def as_dict(self) -> dict[str, Any]:
        return {"kind": "encoder", "layer": self.encoder.layer}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Travl:
    """The critic.

    Args:
        features: frozen.
        model: what is trained; on the CPU.
    """

    features: Features
    model: TravlModel

    @property
    def name(self) -> str:
        return f"travl#{digest_of(self.model)}"

    def opinion(self, clip: Clip) -> Opinion:
        """Minus the logit of being implausible.

        Raises:
            ItemError: the logit is not finite.
        """
        if len(clip.frames) < LEAST_FRAMES:
            return Opinion(value=None, reason=f"{len(clip.frames)} frames are fewer than {LEAST_FRAMES}")
        with torch.inference_mode():
            value = float(self.model(*self.seen(clip.frames)))
        if not math.isfinite(value):
            raise ItemError(f"{self.name}: the logit is not finite")
        return Opinion(value=-value)

    @property
    def clip_mib(self) -> float:
        """Memory that the features of a clip take, at most."""
        return MOST_FRAMES * self.features.grid**2 * self.features.width * 4 / 2**20

    def seen(self, frames_FYX3: Frames) -> tuple[Tensor, Tensor]:
        """What the model takes of a clip: z_TPD and index_KT, of at most 16 frames equally far apart."""
        stride = stride_for(len(frames_FYX3), MOST_FRAMES)
        index_KT = on_grid(follow(frames_FYX3, stride), self.features.grid, self.features.grid)
        return self.features(frames_FYX3[::stride]), torch.from_numpy(index_KT)


def new_travl(features: Features | None = None, *, seed: int = 0) -> Travl:
    """An untrained critic; features that need no folder where None."""
    features = features or PatchFeatures()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TravlModel(features.width, HEADS)
    return Travl(features=features, model=model.eval())


def save_travl(critic: Travl, folder: Path | str) -> Path:
    """Writes `travl.json` and `travl.safetensors`; a DINO folder belongs beside them as `encoder` (`link_encoder`).

    Raises:
        InputError: they cannot be written.
    """
    from safetensors.torch import save_file

    path = Path(folder)
    with os_errors("make", path):
        path.mkdir(parents=True, exist_ok=True)
    with replacing(path / WEIGHTS) as partial:
        save_file({name: value.contiguous() for name, value in critic.model.state_dict().items()}, partial)
    with replacing(path / CONFIG) as partial:
        partial.write_text(json.dumps({"schema": SCHEMA, "features": critic.features.as_dict()}, indent=1) + "\n")
    return path


def holds_travl(folder: Path | str) -> bool:
    """Whether a folder holds a critic, or a part of one."""
    return any((Path(folder) / name).exists() for name in (CONFIG, WEIGHTS))


def link_encoder(encoder: Path, folder: Path) -> Path:
    """Puts a link to a DINO folder beside a critic's weights, where `open_travl` looks for it.

    Raises:
        InputError: as `check_link`, or the system makes no links.
    """
    check_link(encoder, folder)
    link = folder / ENCODER
    if not link.exists():
        with os_errors("link", link):
            link.symlink_to(encoder.resolve(), target_is_directory=True)
    return link


def check_link(encoder: Path, folder: Path) -> None:
    """Raises InputError where something else stands in the place of a critic's encoder."""
    link = folder / ENCODER
    if (link.exists() or link.is_symlink()) and link.resolve() != encoder.resolve():
        raise InputError(f"'{link}' is another encoder than '{encoder}'; remove it, or name another folder")


def open_travl(folder: Path | str) -> Travl:
    """Opens what `save_travl` wrote.

    Raises:
        ModelError: it is missing, incomplete, damaged, or no such folder.
    """
    from safetensors.torch import load_file

    path = Path(folder)
    if not path.is_dir():
        raise ModelError(f"no folder '{path}'; none ships: vgen train travl -o {path}")
    config = read_json(path / CONFIG)
    if config.get("schema") != SCHEMA or not isinstance(config.get("features"), dict):
        raise ModelError(f"{path / CONFIG}: should be of schema '{SCHEMA}', got {config.get('schema')!r:.60}")
    critic = new_travl(_features(path, config["features"]))
    if not (path / WEIGHTS).is_file():
        raise ModelError(f"{path}: incomplete, missing {WEIGHTS}")
    check_tensors(critic.model, tensor_shapes([path / WEIGHTS]), path)
    critic.model.load_state_dict(load_file(path / WEIGHTS))
    return critic


def digest_of(model: TravlModel) -> str:
    """Eight digits that name the weights."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:8]


def _features(path: Path, told: dict[str, Any]) -> Features:
    names = {"patches": ("side_px", "patch_px", "width", "seed"), "encoder": ("layer",)}.get(str(told.get("kind")))
    where = path / CONFIG
    if names is None or {*told} != {"kind", *names}:
        raise ModelError(f"{where}: features should be 'patches' or 'encoder', got {told!r:.80}")
    for name in names:
        low, high = LIMITS[name]
        if type(told[name]) is not int or not low <= told[name] <= high:
            raise ModelError(f"{where}: {name} should be {low} to {high}, got {told[name]!r:.40}")
    if told["kind"] == "encoder":
        return EncoderFeatures(encoder=open_encoder(path / ENCODER, layer=told["layer"]))
    if told["side_px"] % told["patch_px"] or told["width"] % HEADS:
        raise ModelError(f"{where}: patch_px should divide side_px, and {HEADS} should divide width")
    return PatchFeatures(**{name: told[name] for name in names})
