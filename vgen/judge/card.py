"""The calibration card: per rule, which strength counts how much, and how well that did on clips never tuned on.

`card.json` beside this file ships with the package and every report names its digest. `vgen judge calibrate` writes a
new one through `write_card`; a rule that is not in it is uncalibrated and counts for nothing.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from vgen.errors import ConfigError
from vgen.files import os_errors, replacing

__all__ = ["CARD_PATH", "CARD_SCHEMA", "Card", "Figure", "Scale", "load_card", "provisional_card", "write_card"]

CARD_SCHEMA = "vgen judge card 1"
CARD_PATH = Path(__file__).with_name("card.json")
MAX_CARD_BYTES = 8 << 20
PARTS = {"schema", "provisional", "rules", "figures", "severity", "details", "versions", "digest"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure of the test split.

    Args:
        value: the figure; None where there was nothing to measure it on.
        interval: its 95 % bootstrap interval, low and high; None where there is none.
        count: of clips or pairs behind it.
    """

    value: float | None
    interval: tuple[float, float] | None = None
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How one rule's strength becomes a violation, and how good the rule is.

    Args:
        low, threshold, high: strengths at which the violation is 0, .5 (from there on `violated`) and 1; piecewise
            linear in between.
        figures: of the test split, by name: pairwise_accuracy, false_alarms, deciding, auc, ...
    """

    low: float
    threshold: float
    high: float
    figures: Mapping[str, Figure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert 0 <= self.low < self.threshold < self.high < math.inf, f"no scale: {self}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A calibration.

    Args:
        rules: the scale of every calibrated rule.
        provisional: whether the scales are guesses that no calibration has tested; reports say so.
        figures: of the judge as a whole, on the test split.
        severity: law -> what severity .5 of breaking it is, in words.
        details: everything else that a reader may want, as plain JSON: cross-talk, curves, attacks, seeds.
        versions: of what measured.
    """

    rules: Mapping[str, Scale]
    provisional: bool = False
    figures: Mapping[str, Figure] = field(default_factory=dict)
    severity: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON, with `digest`: SHA-256 of everything else in it."""
        content = {"schema": CARD_SCHEMA, **asdict(self)}
        return {**json.loads(_canonical(content)), "digest": _digest(content)}

    @property
    def digest(self) -> str:
        return str(self.as_dict()["digest"])


def provisional_card(thresholds: Mapping[str, float]) -> Card:
    """A card that nothing has tested yet: violations start at half of each threshold and end at its double."""
    scales = {name: Scale(low=at / 2, threshold=at, high=2 * at) for name, at in thresholds.items()}
    return Card(rules=scales, provisional=True)


def write_card(card: Card, path: Path = CARD_PATH) -> None:
    """Writes a card; what stands there is replaced at once or not at all.

    Raises:
        InputError: it cannot be written.
    """
    with replacing(path) as partial:
        partial.write_text(json.dumps(card.as_dict(), indent=1, sort_keys=True, allow_nan=False) + "\n")


@cache
def load_card(path: Path = CARD_PATH) -> Card:
    """Reads and checks a card.

    Raises:
        ConfigError: it is no card, of another schema, or was changed by hand.
        InputError: it cannot be read.
    """
    with os_errors("read", path), path.open("rb") as file:
        data = file.read(MAX_CARD_BYTES + 1)
    try:
        content = json.loads(data)
    except ValueError as error:
        raise ConfigError(f"{path}: not a calibration card: no JSON") from error
    if not isinstance(content, dict) or content.get("schema") != CARD_SCHEMA:
        raise ConfigError(f"{path}: not a calibration card of schema '{CARD_SCHEMA}'")
    if set(content) != PARTS:
        raise ConfigError(f"{path}: a card has {', '.join(sorted(PARTS))}; got {', '.join(sorted(content))}")
    if content.pop("digest") != _digest(content):
        raise ConfigError(f"{path}: its digest is not that of its content; cards are written by vgen judge calibrate")
    del content["schema"]
    content["figures"] = _figures(content["figures"])
    content["rules"] = {
        name: Scale(**{**scale, "figures": _figures(scale["figures"])}) for name, scale in content["rules"].items()
    }
    return Card(**content)


def _figures(stored: Mapping[str, Any]) -> dict[str, Figure]:
    return {
        name: Figure(value=f["value"], interval=tuple(f["interval"]) if f["interval"] else None, count=f["count"])
        for name, f in stored.items()
    }


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(content).encode()).hexdigest()


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, allow_nan=False, separators=(",", ":"))
