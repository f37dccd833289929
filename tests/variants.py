"""Variants in tiny model folders."""

from pathlib import Path

from tests.folders import layout_transformer
from tests.loras import Pairs, random_pairs, write_pairs

FAST = "sampler: causal\nsolver: renoise\nnum_inference_steps: 2\nsigmas: [1.0, 0.5]\n"


def variant_pairs(layout: str = "wan2.1", seed: int = 5) -> Pairs:
    return random_pairs(layout_transformer(layout), seed=seed)


def write_variant(folder: Path, name: str = "fast", *, card: str | None = FAST, pairs: Pairs | None = None) -> Path:
    """A variant of a model folder; without a card where None, with a LoRA where there are pairs."""
    place = folder / "variants" / name
    place.mkdir(parents=True)
    if card is not None:
        (place / "vgen.yaml").write_text(card)
    if pairs is not None:
        write_pairs(place / "lora.safetensors", pairs, kind="wan")
    return place
