"""The detectors by world, and a claim held against what either of them saw."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vgen.playground.caption import Claim
from vgen.playground.detect import Agreement, Detection, agrees, detect, digest
from vgen.playground.detect_rich import RichAgreement, RichDetection, agrees_rich, detect_rich, rich_digest

__all__ = ["DETECTORS", "AnyDetection", "Detector", "agreement_of"]

AnyDetection = Detection | RichDetection


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """What looks at clips of a world.

    Args:
        detect: what a clip [F, Y, X, 3] at so many frames per second shows.
        digest: sha256 of its source.
        aspects: what of it is counted, in the order of reports.
    """

    detect: Callable[[npt.NDArray[np.uint8], float], AnyDetection]
    digest: Callable[[], str]
    aspects: tuple[str, ...]


DETECTORS: dict[str, Detector] = {
    "first": Detector(
        detect=detect,
        digest=digest,
        aspects=("colours", "shapes", "event", "direction", "motion", "overall"),
    ),
    "rich": Detector(
        detect=detect_rich,
        digest=rich_digest,
        aspects=("colours", "shapes", "event", "then", "order", "direction", "motion", "overall"),
    ),
}


def agreement_of(detection: AnyDetection, claim: Claim) -> Agreement | RichAgreement:
    """Holds a detection against a claim by the rules of its world."""
    return agrees_rich(detection, claim) if isinstance(detection, RichDetection) else agrees(detection, claim)
