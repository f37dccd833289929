"""The presets of samplers and of attention: dotted keys by name, from the YAML files of `configs/sampler/` and
`configs/attention/`. A new one is a file there.
"""

import copy
import itertools
import re
from functools import cache
from importlib.resources import files
from typing import Any

from vgen.schema import dotted
from vgen.yaml_text import load_yaml

__all__ = ["attention_presets", "sampler_presets", "sampler_titles"]


def sampler_presets() -> dict[str, dict[str, Any]]:
    """The presets of `configs/sampler/`, by name."""
    return copy.deepcopy(_presets("sampler"))


def sampler_titles() -> dict[str, str]:
    """What each preset of `configs/sampler/` is, in its own first sentence."""
    titles = {}
    for name, text in _preset_texts("sampler").items():
        lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
        words = " ".join(line.removeprefix("# ") for line in lines)
        titles[name] = re.split(r"(?<=\.)\s|\s\(", words)[0].rstrip(".") + "."
    return titles


def attention_presets() -> dict[str, dict[str, Any]]:
    """The presets of `configs/attention/`, by name: dotted keys, of which `attention.name` is the pattern."""
    return copy.deepcopy(_presets("attention"))


@cache  # they come with the package, and a run asks for them several times
def _presets(group: str) -> dict[str, dict[str, Any]]:
    return {name: dotted(load_yaml(text, f"{name}.yaml"), f"{group}.") for name, text in _preset_texts(group).items()}


def _preset_texts(group: str) -> dict[str, str]:
    folder = files("vgen").joinpath("configs", group)
    return {
        preset.name.removesuffix(".yaml"): preset.read_text()
        for preset in folder.iterdir()
        if preset.name.endswith(".yaml")
    }
