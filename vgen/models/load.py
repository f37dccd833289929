"""Loads a model from a folder in diffusers format, and nothing that is not on the list.

safetensors only; class names from our own list, never from the folder; no remote code. `folder.py` finds and checks the
folder before a byte of weights is read, `components.py` reads one component; here they are placed and put together.
What runs through a pipeline of diffusers is loaded in `stock/load.py`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import torch

from vgen.errors import ConfigError, ModelError, ResourceError
from vgen.models.components import (
    build_skeleton,
    component_dtypes,
    load_scheduler,
    load_tokenizer,
    load_weights,
    weigh_parts,
)
from vgen.models.dit import VideoDiT
from vgen.models.files import cast_weights
from vgen.models.folder import CheckedFolder, open_folder
from vgen.models.hub import commit_of
from vgen.models.loaded import AnyModel, LoadedModel
from vgen.models.lora import Adapters, merge_lora
from vgen.models.lora_file import LoraFile, open_lora, open_loras
from vgen.models.lora_request import LoraRequest
from vgen.models.quantization import Quantization, stored_bytes
from vgen.models.residence import Residence
from vgen.models.settings import defaults
from vgen.models.stock.load import check_plain, load_stock
from vgen.models.text import PromptEncoder
from vgen.models.vision import ImageEncoder, make_processor
from vgen.placement import STORAGES, TRANSFORMERS, Placement, shares_on_device, weights_on_device

__all__ = ["Shares", "load_model", "load_skeleton"]

MIB = 1 << 20


class Shares(Protocol):
    """How the weights of transformers are shared by several processes; `vgen.parallel.weights` fills it."""

    @property
    def ranks(self) -> int:
        """How many processes share them."""
        ...

    def __call__(self, dit: VideoDiT) -> None:
        """Keeps this process's share of a transformer that was read to the CPU, on the device."""
        ...


def load_model(
    model: str,
    *,
    device: torch.device,
    dtype: torch.dtype,
    free_mib: float | None = None,
    rungs: tuple[Placement, ...] = (Placement(),),
    lora: Sequence[LoraRequest] = (),
    quantization: Quantization | None = None,
    shares: Shares | None = None,
) -> AnyModel:
    """Loads a model by name or path.

    Args:
        model: `playground` for the embedded one, the path of a folder in diffusers format, or a hub id that lies in the
            cache, `ORG/NAME[@REVISION]`; and behind it `:VARIANT` for a variant, whose LoRA is merged on the CPU.
        device: where components run.
        dtype: of the video transformer. The text encoder runs in fp32 on a CPU and in `dtype` elsewhere, the VAE in
            fp32 always: in half precision it gives black frames (a frequent complaint about other engines).
        free_mib: memory of the device that the weights may take; not checked where None.
        rungs: where weights may be kept; they are read into the first that fits, each straight to its place.
        lora: files to put on, held to the model's config before its weights are read.
        quantization: of the video transformers; as computed where None.
        shares: of processes that each keep a part of the video transformers' weights; those of `rungs` all keep them on
            the device then, as they are computed.

    Raises:
        ModelError: not found, incomplete, damaged, pickled, or with classes or settings that are not on our list.
        ResourceError: the weights do not fit into `free_mib` on any rung, a package is missing that the tokenizer
            takes, or the quantization cannot run here.
        ConfigError: weights that are to be stored in a dtype that is no narrower than theirs, or that are quantised and
            changed besides.
    """
    checked = _opened(model, device, dtype, quantization, shared=shares is not None)
    dtypes = component_dtypes(device, dtype)
    if checked.family is not None:
        check_plain(model, checked, rungs, lora)
        _first_fitting(model, weigh_parts(checked, dtypes), rungs[:1], 1, free_mib)
        return load_stock(model, checked, checked.family, device, dtypes)
    parts_mib, blocks = weigh_parts(checked, dtypes), _blocks(checked)
    if shares is not None:
        assert all(rung.offload == "none" and rung.storage is None for rung in rungs), f"shares do not move: {rungs}"
        parts_mib = shares_on_device(parts_mib, shares.ranks, blocks)
    placement = _first_fitting(model, parts_mib, rungs, blocks, free_mib)
    storage = _storage(placement, dtype)
    experts, loras, merged = _experts(checked), _loras(model, checked, lora), _variant_lora(model, checked)

    def read(part: str) -> Any:
        loaded = load_weights(checked, part, dtypes[part]).eval()
        if merged is not None and part == experts[0]:
            merge_lora(loaded, merged)
        if storage is not None and part in TRANSFORMERS:
            loaded.enable_layerwise_casting(storage_dtype=storage, compute_dtype=dtype)
        return loaded

    residence, adapters = Residence(device, placement, read, shared=shares is not None), Adapters(merged)

    def placed(part: str) -> Any:
        loaded = read(part)
        if part in experts:  # its LoRA go where it goes
            changed = merged is not None and part == experts[0]
            adapters.admit(loaded, checked.weights[part], partial(read, part) if changed else None)
            adapters.add([one for one in loras if experts[one.request.transformer - 1] == part])
        whole_mib = sum(map(stored_bytes, loaded.parameters())) / MIB
        if part in experts and shares is not None:
            shares(loaded)
        residence.admit(part, loaded)
        if shares is not None:
            residence.parts_mib |= shares_on_device({part: whole_mib}, shares.ranks, blocks)
        return loaded

    return _put_together(model, checked, residence, adapters, placed)


def load_skeleton(
    model: str,
    *,
    device: torch.device,
    dtype: torch.dtype,
    lora: Sequence[LoraRequest] = (),
    quantization: Quantization | None = None,
    ranks: int = 1,
) -> LoadedModel:
    """A model whose modules stand on the meta device: enough to resolve a request and to plan it, no weights read.

    Args:
        model, device, dtype, lora, quantization: as `load_model` takes them.
        ranks: processes that will share the video transformers' weights.

    Raises:
        ModelError: as `load_model`; or the model runs through a pipeline of diffusers, which is not planned.
        ResourceError, ConfigError: as `load_model`.
    """
    checked = _opened(model, device, dtype, quantization, shared=ranks > 1)
    if checked.family is not None:
        raise ModelError(
            f"model '{model}' runs through diffusers' {checked.pipeline}, which is planned once it is loaded; possible "
            "here: a model of Wan's kind"
        )
    dtypes, experts, loras = component_dtypes(device, dtype), _experts(checked), _loras(model, checked, lora)
    merged = _variant_lora(model, checked)  # in the weights, which weigh as much with it

    def build(part: str) -> Any:
        return cast_weights(build_skeleton(checked, part), dtypes[part]).eval()

    residence, adapters = Residence(device, Placement(), build, shared=ranks > 1), Adapters(merged)
    residence.parts_mib |= weigh_parts(checked, dtypes)
    for one in loras:
        adapters.foresee(one)
        residence.parts_mib[experts[one.request.transformer - 1]] += one.file.stat().st_size / MIB
    if ranks > 1:
        residence.parts_mib |= shares_on_device(residence.parts_mib, ranks, _blocks(checked))
    return _put_together(model, checked, residence, adapters, build)


def _opened(
    model: str, device: torch.device, dtype: torch.dtype, quantization: Quantization | None, *, shared: bool
) -> CheckedFolder:
    """A folder that can be loaded so; `shared` says whether several processes will share its weights."""
    checked = open_folder(model, quantization)
    if quantization is not None:
        quantization.check(device, dtype, sum(part in checked.classes for part in TRANSFORMERS))
    if shared and checked.family is not None:
        raise ModelError(
            f"model '{model}' runs through diffusers' {checked.pipeline}, whose weights are not shared by "
            "parallel.fsdp; possible here: a model of Wan's kind"
        )
    if shared and quantization is not None:
        quantization.refuse_with("parallel.fsdp", "leave it out, or load the weights as they are")
    return checked


def _experts(checked: CheckedFolder) -> list[str]:
    return [part for part in TRANSFORMERS if part in checked.weights]


def _blocks(checked: CheckedFolder) -> int:
    """How many blocks a transformer has."""
    usual = defaults(checked.classes["transformer"])
    return int((usual | checked.configs["transformer"])["num_layers"])


def _loras(model: str, checked: CheckedFolder, asked: Sequence[LoraRequest]) -> list[LoraFile]:
    """LoRA files that fit, by the order of the transformers."""
    if checked.quantization is not None and asked:
        checked.quantization.refuse_with("a LoRA", "leave --lora out, or load the weights as they are")
    return open_loras(asked, [build_skeleton(checked, part) for part in _experts(checked)], model)


def _variant_lora(model: str, checked: CheckedFolder) -> LoraFile | None:
    """The LoRA of the variant that was asked for, which fits."""
    if checked.variant is None or checked.variant.lora is None:
        return None
    if checked.quantization is not None:
        checked.quantization.refuse_with("a variant's LoRA", f"name the model without ':{checked.variant.name}'")
    request = LoraRequest(path=str(checked.variant.lora))
    return open_lora(request, build_skeleton(checked, TRANSFORMERS[0]), model)


def _storage(placement: Placement, dtype: torch.dtype) -> torch.dtype | None:
    """What the transformer's weights are kept in between its layers' calls; None where that is what they run in."""
    if placement.storage is None:
        return None
    storage: torch.dtype = getattr(torch, placement.storage)
    if storage.itemsize >= dtype.itemsize:
        name = str(dtype).removeprefix("torch.")
        raise ConfigError(
            f"weights of {name} stored in {placement.storage} would save nothing; possible: "
            + ", ".join(one for one in STORAGES if getattr(torch, one).itemsize < dtype.itemsize)
        )
    return storage


def _first_fitting(
    model: str, parts_mib: dict[str, float], rungs: tuple[Placement, ...], blocks: int, free_mib: float | None
) -> Placement:
    """The first rung whose weights fit; what else a run takes is not known yet."""
    if free_mib is None:
        return rungs[0]
    needed_mib = [weights_on_device(parts_mib, rung, blocks) for rung in rungs]
    fitting = [rung for rung, needed in zip(rungs, needed_mib, strict=True) if needed <= free_mib]
    if not fitting:
        offload = "" if rungs[-1].offload == "group" else ", or --offload group"
        raise ResourceError(
            f"the weights of model '{model}' take {min(needed_mib):,.0f} MiB, {free_mib:,.0f} MiB are free; "
            f"choose a smaller model, or --dtype bfloat16 where it is float32{offload}"
        )
    return fitting[0]


def _put_together(
    model: str, checked: CheckedFolder, residence: Residence, adapters: Adapters, placed: Callable[[str], Any]
) -> LoadedModel:
    tokenizer = load_tokenizer(checked)
    encoder = placed("text_encoder")
    dits = [placed(part) for part in _experts(checked)]
    return LoadedModel(
        id=model,
        folder=checked.folder,
        card=checked.card,
        prompts=PromptEncoder(tokenizer, encoder, checked.card.text_length),
        vae=placed("vae"),
        dit=dits[0],
        scheduler=load_scheduler(checked),
        residence=residence,
        dit_2=dits[1] if len(dits) > 1 else None,
        boundary=checked.configs["pipeline"].get("boundary_ratio"),
        images=_load_images(checked, placed),
        commit=commit_of(model, checked.folder),
        adapters=adapters,
        quantization=checked.quantization,
        variant=checked.variant,
    )


def _load_images(checked: CheckedFolder, placed: Callable[[str], Any]) -> ImageEncoder | None:
    if "image_encoder" not in checked.weights:
        return None
    return ImageEncoder(make_processor(checked.configs["image_processor"]), placed("image_encoder"))
