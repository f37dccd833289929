"""`Checkpoint`: what a killed run needs to go on, in a folder `<stem>.run` beside its clip.

    record.json                 what was asked and with what, as in the record of a finished clip
    image.png, base.mkv         the first frame, or the clip to go on from, where there is one
    latents-00000012.safetensors   finished latent frames from that one on; never written again
    state.safetensors           where the rollout stands; replaced after each chunk, last of all
    search.json                 of a search, in place of the two above: what it has judged

Keys and values are not stored: the finished frames make them again, to the last bit, in one pass each. Nor are the
frames of a search, whose draws make them again. What is read back is data: safetensors and JSON, and no path is taken
from it.
"""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from vgen.clip import Clip
from vgen.errors import InputError
from vgen.files import check_regular, os_errors, remove, replacing
from vgen.records import read_record
from vgen.samplers import Attempt, Finding, RolloutState

__all__ = ["BASE", "IMAGE", "Checkpoint", "attempt_row"]

SUFFIX = ".run"
MAX_PART_BYTES = 4 << 30  # latents of one chunk, or of all frames under way
MAX_SEARCH_BYTES = 64 << 20
RECORD, STATE, SEARCH = "record.json", "state.safetensors", "search.json"
IMAGE, BASE = "image.png", "base.mkv"
OURS = re.compile(
    r"(record\.json|search\.json|state\.safetensors|image\.png|base(\.partial)?\.mkv|latents-\d{8}\.safetensors)(\.partial-\w+)?"
)


class Checkpoint:
    """The folder of one run.

    Args:
        path: of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.in_use = False
        self._held: tuple[int, Tensor] | None = None

    @classmethod
    def beside(cls, clip: Path) -> "Checkpoint":
        """The one that belongs to a clip."""
        return cls(clip.with_suffix(SUFFIX))

    @property
    def begun(self) -> bool:
        """Whether a chunk has been finished or judged, so that there is something to go on from."""
        return (self.path / STATE).is_file() or (self.path / SEARCH).is_file()

    def check(self) -> None:
        """Refuses a place where there is something already that must not go.

        Raises:
            InputError: another run that may be gone on with, or something else.
        """
        if self.begun:
            raise InputError(
                f"'{self.path}' holds an unfinished run of this name; go on with it (--resume {self.path}) or remove it"
            )
        with os_errors("read", self.path):
            ours = self.path.is_dir() and all(OURS.fullmatch(inner.name) for inner in self.path.iterdir())
            if not ours and (self.path.exists() or self.path.is_symlink()):
                raise InputError(f"cannot keep checkpoints in '{self.path}': it exists and is no run of vgen")

    def begin(self, record: dict[str, Any], *, image_YX3: NDArray[np.uint8] | None, base: Clip | None) -> None:
        """Makes the folder, in place of a run that had not finished a chunk.

        Raises:
            InputError: as `check`, or the system refuses.
        """
        self.check()
        with os_errors("make", self.path):
            remove(self.path)
            self.path.mkdir()
        self.in_use = True
        if image_YX3 is not None:
            with replacing(self.path / IMAGE) as partial:
                Image.fromarray(image_YX3).save(partial, format="PNG")
        if base is not None:
            Clip(frames=base.frames, fps=base.fps).save(self.path / BASE)
        with replacing(self.path / RECORD) as partial:
            partial.write_text(json.dumps(record, allow_nan=False), encoding="utf-8", errors="backslashreplace")

    def add(self, state: RolloutState, first: int, latents_BCTHW: Tensor) -> None:
        """Keeps finished latent frames from `first` on, and then where the rollout stands."""
        self._write(_name(first), {"latents": latents_BCTHW})
        self._write(STATE, state.state_dict())

    def keep_attempts(self, attempts: Sequence[Attempt]) -> None:
        """Keeps all that a search has judged."""
        with replacing(self.path / SEARCH) as partial:
            partial.write_text(json.dumps([attempt_row(one) for one in attempts], allow_nan=False), encoding="utf-8")

    def record(self) -> dict[str, Any]:
        """What was asked.

        Raises:
            InputError: this is no folder of a run, or it had not finished a chunk.
        """
        if not (self.path / RECORD).is_file():
            raise InputError(f"'{self.path}' is no unfinished run; one is a folder <name>{SUFFIX} beside a clip")
        if not self.begun:
            raise InputError(f"'{self.path}' had not finished its first chunk; generate it again")
        return read_record(self.path / RECORD)

    def state(self, context: Any, device: torch.device) -> RolloutState:
        """Where the rollout stood, and from now on goes on.

        Args:
            context: empty yet.
            device: where latents live.

        Raises:
            InputError: it is damaged.
        """
        tensors = {key: value.to(device) for key, value in self._read(STATE).items()}
        try:
            state = RolloutState.from_state_dict(tensors, context=context)
        except (KeyError, RuntimeError, ValueError) as error:  # safetensors, and not ours
            raise InputError(f"'{self.path / STATE}' is damaged: it holds no state of a run") from error
        self.in_use = True
        return state

    def attempts(self) -> list[Attempt]:
        """What a search has judged, in its order.

        Raises:
            InputError: it is damaged.
        """
        path = self.path / SEARCH
        if check_regular(path).st_size > MAX_SEARCH_BYTES:
            raise InputError(f"'{path}' is damaged: no search keeps more than {MAX_SEARCH_BYTES >> 20} MiB")
        with os_errors("read", path):
            text = path.read_text(encoding="utf-8", errors="replace")
        self.in_use = True
        try:
            return [_attempt(row) for row in json.loads(text)]
        except (KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:  # JSON, and not ours
            raise InputError(f"'{path}' is damaged: it holds no attempts of a search") from error

    def finished(self, frames: range) -> Tensor:
        """Clean latents [1, C, T, H, W] of finished frames, on the CPU.

        Raises:
            InputError: they are missing or damaged.
        """
        return torch.cat([self._frame(frame) for frame in frames], dim=2)

    def drop(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _frame(self, frame: int) -> Tensor:
        if self._held is None or not 0 <= frame - self._held[0] < self._held[1].shape[2]:
            starts = (int(path.stem.split("-")[1]) for path in self.path.glob(f"latents-{'[0-9]' * 8}.safetensors"))
            first = max((start for start in starts if start <= frame), default=None)
            latents = None if first is None else self._read(_name(first)).get("latents")
            if first is None or latents is None or latents.ndim != 5 or frame - first >= latents.shape[2]:
                raise InputError(f"'{self.path}' lacks latent frame {frame}; generate it again")
            self._held = first, latents
        first, latents = self._held
        return latents[:, :, frame - first : frame - first + 1]

    def _write(self, name: str, tensors: dict[str, Tensor]) -> None:
        with replacing(self.path / name) as partial:
            partial.write_bytes(save({key: value.cpu().contiguous() for key, value in tensors.items()}))

    def _read(self, name: str) -> dict[str, Tensor]:
        path = self.path / name
        try:
            if check_regular(path).st_size > MAX_PART_BYTES:
                raise InputError(f"'{path}' is damaged: no part of a run is larger than {MAX_PART_BYTES >> 20} MiB")
            with os_errors("read", path):
                tensors = load(path.read_bytes())
        except SafetensorError as error:
            raise InputError(f"'{path}' is damaged: {error}") from error
        wrong = [key for key, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]
        if wrong:
            raise InputError(f"'{path}' is damaged: {wrong[0]} holds values that are not finite")
        return tensors


def _name(first: int) -> str:
    return f"latents-{first:08d}.safetensors"


def attempt_row(attempt: Attempt) -> dict[str, Any]:
    """An attempt as plain JSON, for records and checkpoints."""
    return {
        "latent_frames": [attempt.frames.start, attempt.frames.stop - 1],
        "draw": attempt.draw,
        "step": attempt.step,
        "given": attempt.given,
        "passed": attempt.finding.passed,
        "score": attempt.finding.score,
        "since": attempt.finding.since,
        "evidence": list(attempt.finding.evidence),
    }


def _attempt(row: dict[str, Any]) -> Attempt:
    """The inverse of `attempt_row`."""
    first, last = map(int, row["latent_frames"])
    finding = Finding(
        score=float(row["score"]), passed=bool(row["passed"]), since=int(row["since"]), evidence=tuple(row["evidence"])
    )
    return Attempt(
        frames=range(first, last + 1),
        draw=int(row["draw"]),
        step=int(row["step"]),
        given=bool(row["given"]),
        finding=finding,
    )
