"""From a published checkpoint of a causal model to a folder in diffusers format that vgen and diffusers load.

Two halves: `plan_conversion` reads and checks everything and writes nothing, `write_conversion` writes. Each tensor of
the file is used once, each of the model comes from the file, and all else comes from the base model's folder.
"""

import errno
import os
import shutil
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from diffusers import WanTransformer3DModel

from vgen.convert.fit import check_fit
from vgen.convert.methods import METHODS
from vgen.convert.states import State, choose_state, read_states
from vgen.errors import ConfigError, InputError, ModelError, ResourceError, listed, nearest
from vgen.files import check_parent, os_errors, partial_path, publish, remove
from vgen.models.card import CARD_FILE, ModelCard
from vgen.models.files import read_json
from vgen.models.folder import describe
from vgen.models.hub import INDEX_FILE
from vgen.models.names import diffusers_name
from vgen.models.variant import split_variant

__all__ = ["Conversion", "check_free", "plan_conversion", "write_conversion"]

MIB = 1 << 20
LINKED = ".safetensors"  # the rest of a base is small, and may be edited
NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP)  # this file system cannot, or not from there


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A checked conversion that has not been written.

    Args:
        base: folder of the model that the checkpoint was trained from.
        config: of the transformer, the base's.
        state: the transformer's tensors by diffusers' names.
        card: of the new folder.
        notes: what the user should know, one line each.
    """

    base: Path
    config: dict[str, Any]
    state: State
    card: ModelCard
    notes: tuple[str, ...]

    @property
    def mib(self) -> float:
        """Size of the transformer."""
        return sum(value.numel() * value.element_size() for value in self.state.values()) / MIB

    def card_text(self) -> str:
        """What `vgen.yaml` will say."""
        said = {key: value for key, value in asdict(self.card).items() if value is not None}
        return yaml.safe_dump(said, sort_keys=False, default_flow_style=None)


def plan_conversion(
    source: Path,
    base: str,
    *,
    method: str,
    part: str | None = None,
    block: int | None = None,
    dtype: torch.dtype | None = None,
) -> Conversion:
    """Reads a checkpoint and holds it to the folder of its base model; writes nothing.

    Args:
        source: a `.safetensors`, `.pt` or `.pth` file with names as in Wan's own code.
        base: folder of the model that it was trained from.
        method: of METHODS; decides the card.
        part: dotted name of the state dict in the file, where there are several.
        block: latent frames per causal block; the method's where None.
        dtype: to store; as in the file where None.

    Raises:
        ModelError: the file or the base cannot be used, or they do not fit each other.
        ConfigError: an unknown method, or a block that it has no room for.
    """
    if method not in METHODS:
        raise ConfigError(f"unknown method '{method}'; {nearest(method, METHODS)}")
    whole, variant = split_variant(base)
    if variant is not None:
        raise ModelError(f"base {base} is a variant, and a checkpoint replaces all weights; possible: {whole}")
    folder, base_card, _ = describe(base)
    _check_base(folder, base_card)
    card = _card(base_card, method, block)
    config = {k: v for k, v in read_json(folder / "transformer" / "config.json").items() if not k.startswith("_")}
    chosen = choose_state(read_states(source), part, source)
    state = _renamed(chosen.state, source)
    check_fit(state, config, source, folder)
    state = _stored(state, dtype, source)
    beside = f"; left aside: {listed(chosen.others)}" if chosen.others else ""
    taken = f"part {chosen.part} of {source.name}" if chosen.part else source.name
    notes = (f"{taken}{beside}", _of_state(state, config), *_of_card(card, method))
    return Conversion(base=folder, config=config, state=state, card=card, notes=notes)


def write_conversion(conversion: Conversion, out: Path) -> tuple[str, ...]:
    """Writes the folder, under a partial name until it is whole and vgen accepts it.

    Returns:
        What the user should know, one line each.

    Raises:
        InputError: something has that name, or nothing can be written there.
        ResourceError: the disk is too small.
        ModelError: vgen would not load the result.
    """
    check_free(out)
    free_mib = shutil.disk_usage(out.parent).free / MIB
    if conversion.mib > free_mib:
        raise ResourceError(f"{out} takes {conversion.mib:,.0f} MiB, {free_mib:,.0f} MiB are free on its disk")
    partial = partial_path(out)
    try:
        with os_errors("write", out):
            partial.mkdir()
            done = _take_over(conversion.base, partial)
            (partial / CARD_FILE).write_text(conversion.card_text(), encoding="utf-8")
            _write_transformer(conversion, partial / "transformer")
            describe(str(partial))
            publish(partial, out)
    finally:
        remove(partial)
    ways = " and ".join(f"{count} {way}" for way, count in sorted(done.items()))
    return (f"all but the transformer is that of {conversion.base}: files {ways}",)


def check_free(out: Path) -> None:
    """Raises InputError where the name is taken or nothing can be written."""
    check_parent(out)
    if out.exists():
        raise InputError(f"'{out}' exists; give another name, or remove it")


def _check_base(folder: Path, card: ModelCard) -> None:
    """Refuses what no causal sampler could run: the folder would be written, and no clip could be made with it."""
    why = None
    if card.image == "channels":
        why = "takes its image in channels of the whole clip, and a causal model makes a clip part by part"
    elif (folder / "transformer_2").is_dir():
        why = "has two transformers, and a checkpoint is one"
    if why is not None:
        raise ModelError(
            f"base {folder} {why}; possible: a text-to-video model of one transformer, such as Wan2.1-T2V-1.3B, or one "
            "that takes a clean first frame, such as Wan2.2-TI2V-5B"
        )


def _renamed(state: State, source: Path) -> State:
    names = {name: diffusers_name(name) for name in state}
    unknown = sorted(name for name, new in names.items() if new is None)
    if unknown:
        raise ModelError(
            f"{source}: {len(unknown)} of {len(state)} tensors are none of Wan's own code: {listed(unknown)}"
        )
    return {str(new): state[name] for name, new in names.items()}


def _stored(state: State, dtype: torch.dtype | None, source: Path) -> State:
    """The tensors as they are written: finite, contiguous, in the dtype asked for."""
    stored = {name: (value if dtype is None else value.to(dtype)).contiguous() for name, value in state.items()}
    wrong = [name for name, value in stored.items() if not torch.isfinite(value).all()]
    if wrong:
        raise ModelError(f"{source}: not finite{'' if dtype is None else f' in {_short(dtype)}'}: {listed(wrong)}")
    return stored


def _card(base: ModelCard, method: str, block: int | None) -> ModelCard:
    way = METHODS[method]
    block = way.causal_block if block is None else block
    if not 1 <= block <= way.trained_window:
        raise ConfigError(f"a block of {block} latent frames is not possible; possible: 1 to {way.trained_window}")
    return replace(
        base,
        name=f"{base.name} {method}",
        num_inference_steps=len(way.sigmas),
        guidance_scale=1.0,
        samplers=list(way.samplers),
        sampler=way.sampler,
        solver="renoise",
        sigmas=list(way.sigmas),
        causal_block=block,
        trained_window=way.trained_window,
    )


def _of_state(state: State, config: dict[str, Any]) -> str:
    dtypes = Counter(_short(value.dtype) for value in state.values())
    held = ", ".join(f"{count} in {name}" for name, count in sorted(dtypes.items()))
    heads, width = config["num_attention_heads"], config["attention_head_dim"]
    return (
        f"{sum(value.numel() for value in state.values()) / 1e6:,.1f} M parameters, tensors {held}; "
        f"{config['num_layers']} layers of {heads} heads of {width}, heads as in the base (shapes do not tell them)"
    )


def _of_card(card: ModelCard, method: str) -> tuple[str, ...]:
    levels = ", ".join(f"{sigma:.4g}" for sigma in card.sigmas)
    line = (
        f"method {method}: sampler {card.sampler}, {card.num_inference_steps} steps at noise levels {levels}, solver "
        f"{card.solver}, no guidance, blocks of {card.causal_block} and {card.trained_window} latent frames in sight"
    )
    note = METHODS[method].note
    return (line,) if note is None else (line, note)


def _take_over(base: Path, new: Path) -> Counter[str]:
    """All components of the base but its transformer; how many files were linked and copied."""
    ways: Counter[str] = Counter()
    index = read_json(base / INDEX_FILE)
    shutil.copyfile(base / INDEX_FILE, new / INDEX_FILE)
    for name, named in index.items():
        if name.startswith("_") or name == "transformer" or not isinstance(named, list) or None in named:
            continue
        for path in sorted((base / name).rglob("*")):
            if path.is_file():
                place = new / path.relative_to(base)
                place.parent.mkdir(parents=True, exist_ok=True)
                ways[_bring(path.resolve(), place)] += 1
    return ways


def _bring(path: Path, place: Path) -> str:
    if place.suffix == LINKED:  # of a download cache, `path` is a blob without one
        try:
            os.link(path, place)
            return "hard-linked"
        except OSError as error:
            if error.errno not in NO_LINK:
                raise
    shutil.copyfile(path, place)
    return "copied"


def _write_transformer(conversion: Conversion, where: Path) -> None:
    with torch.device("meta"):
        stock = WanTransformer3DModel.from_config(conversion.config)
    stock.load_state_dict(conversion.state, assign=True)
    stock.save_pretrained(where, safe_serialization=True)
    for path in where.iterdir():  # written through temporary files, which are private
        path.chmod(0o644)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
