"""What one process finds out for those that make a clip with it: frames, and what a verifier thinks of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vgen.parallel.peers import Peers
from vgen.samplers import Finding, Verifier

__all__ = ["SharedVerifier", "shared_frames"]


def shared_frames(peers: Peers, frames_FYX3: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """The first process's frames; the others, which decode none, give None."""
    if peers.size == 1:
        assert frames_FYX3 is not None, "who is alone has frames"
        return frames_FYX3
    shape = peers.told(None if frames_FYX3 is None else list(frames_FYX3.shape))
    sent = torch.empty(shape, dtype=torch.uint8) if frames_FYX3 is None else torch.from_numpy(frames_FYX3)
    return peers.from_first(sent.contiguous()).numpy()


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedVerifier:
    """A verifier that only the first process asks; all go by what it finds.

    Args:
        verifier: what is asked.
        peers: those that go by it.
    """

    verifier: Verifier[Any]
    peers: Peers

    def begin(self) -> Any:
        """As `samplers.Verifier`."""
        return self.verifier.begin()

    def __call__(self, past: Any, latents_BCTHW: Tensor, frames: range) -> tuple[Finding, Any]:
        """As `samplers.Verifier`; the others remember nothing."""
        if not self.peers.first:
            score, passed, since, evidence = self.peers.told()
            return Finding(score=score, passed=passed, since=since, evidence=tuple(evidence)), None
        found, seen = self.verifier(past, latents_BCTHW, frames)
        self.peers.told([found.score, found.passed, found.since, list(found.evidence)])
        return found, seen
