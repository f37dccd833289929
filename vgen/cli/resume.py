"""`vgen generate --resume`: goes on with a killed run, so that its frames are those of an uninterrupted one."""

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vgen.cli.download import ready
from vgen.cli.formats import Format
from vgen.cli.together import joined
from vgen.config import merge
from vgen.errors import ConfigError, InputError, ModelError
from vgen.schema import OutputConfig, ParallelConfig

if TYPE_CHECKING:
    from vgen.checkpoint import Checkpoint
    from vgen.parallel.mesh import Mesh

__all__ = ["go_on"]

_FREE_HERE = (  # change no pixel beyond rounding
    "performance.offload",
    "performance.keep_text_encoder",
    *(f"parallel.{item.name}" for item in fields(ParallelConfig)),
)
# the first three only find the model, its weights and its LoRA, which are compared by digest
_FREE = ("model.id", "model.gguf", "model.lora", *_FREE_HERE)


def go_on(folder: Path, layers: list[tuple[str, dict[str, Any]]], output_format: Format, download: bool | None) -> None:
    """Finishes the clip whose checkpoint stands in `folder`.

    Args:
        folder: `<name>.run`, or the clip beside it.
        layers: what else was said; it must not differ from what the run was asked for.
        output_format: of what is told at the end.
        download: whether a model of the hub may be fetched, as `ready` takes it.

    Raises:
        InputError, ConfigError, ModelError: no such run, or one of another request, model or version.
    """
    from vgen.cli.quiet import quiet

    quiet()
    from vgen.checkpoint import BASE, IMAGE, Checkpoint
    from vgen.cli.output import make_all
    from vgen.cli.past import base_of, check_gguf, check_model, checked, image_of, loras_of, model_of, set_threads
    from vgen.machine import machine
    from vgen.models.lora_request import lora_request
    from vgen.pipeline import VideoPipeline

    if not folder.name:
        raise InputError(f"'{folder}' is no unfinished run; one is a folder <name>.run beside a clip")
    checkpoint = Checkpoint.beside(folder)
    past = checkpoint.record()
    resolved = checked(past, checkpoint.path)
    path, output = _output(checkpoint, past)
    asked = {key: value for _, values in layers for key, value in values.items() if value is not None}
    _same_request(checkpoint.path, past, asked)
    _same_versions(checkpoint.path, past)
    model = model_of(past, asked.get("model.id"), checkpoint.path)
    device, dtype = str(resolved.pop("run.device")), str(resolved.pop("run.dtype"))
    resolved |= {key: value for key, value in asked.items() if key in _FREE_HERE}
    config, said = merge((f"run {checkpoint.path}", resolved))
    world, _ = joined(replace(config, run=replace(config.run, device=device)))
    if world.first:
        ready(model, download)
    world.peers.told()
    check_model(past, model, checkpoint.path)
    set_threads(past["machine"].get("threads"))
    named = [f"{one.path}@{one.scale!r}" for one in map(lora_request, asked.get("model.lora") or ())]
    gguf = asked.get("model.gguf")
    check_gguf(past, gguf or [], checkpoint.path)
    pipeline = VideoPipeline.from_pretrained(
        model,
        device=device,
        dtype=dtype,
        performance=config.performance,
        lora=loras_of(past, named, checkpoint.path),
        quantization=config.model.quantization,
        gguf=gguf,
        parallel=config.parallel,
    )
    if past["model"].get("lora_fused") is True:
        pipeline.fuse_lora()
    if pipeline.model.digests() != past["model"].get("digests"):
        raise ModelError(f"{checkpoint.path}: made with other weights than those of model '{pipeline.model.id}'")
    _tell_other_machine(past["machine"], machine(pipeline.device))
    image_YX3, base = image_of(past, checkpoint.path / IMAGE), base_of(past, checkpoint.path / BASE)
    run = pipeline.start(config, said, image_YX3, base=base)
    _tell_other_processes(past.get("parallel"), run.mesh)
    make_all([run], [path], output, output_format, resume=checkpoint)


def _output(checkpoint: "Checkpoint", past: dict[str, Any]) -> tuple[Path, OutputConfig]:
    """What the run was writing, and where: of the record only the kind is taken, and checked."""
    output = past.get("output")
    suffix = output.get("suffix") if isinstance(output, dict) else None
    if not isinstance(output, dict) or str(suffix).lower() not in (".mp4", ".mkv", ".gif", ".png", ""):
        raise InputError(f"{checkpoint.path}: writes a clip of kind {str(suffix)[:20]!r}, which vgen does not")
    wanted = OutputConfig(sheet=output.get("sheet") is True, preview=output.get("preview") is True)
    return checkpoint.path.with_suffix(str(suffix)), wanted


def _same_request(folder: Path, past: dict[str, Any], asked: dict[str, Any]) -> None:
    """Refuses what differs both from what was said then and from what became of it."""
    requested = past["request"]
    for key, value in asked.items():
        if key not in _FREE and value not in (past["resolved"].get(key), requested.get(key)):
            there = requested.get(key, past["resolved"].get(key))
            raise ConfigError(
                f"{folder}: {key} is {str(there)[:60]!r} there, asked for {str(value)[:60]!r}; "
                "a resumed run keeps its request"
            )


def _same_versions(folder: Path, past: dict[str, Any]) -> None:
    from vgen.machine import versions

    for name, now in versions().items():
        if past["versions"].get(name) != now:
            raise ConfigError(
                f"{folder}: begun with {name} {past['versions'].get(name)!r:.40}, this is {now!r}; "
                "frames would not be the same, so generate it again"
            )


def _tell_other_processes(then: object, mesh: "Mesh") -> None:
    from vgen.cli.progress import say

    now = None if mesh.world.size == 1 else mesh.record()
    if then != now:
        begun = then.get("processes") if isinstance(then, dict) else 1
        say(f"note: begun by {begun!s:.10} processes, {mesh.world.size} go on: frames are equal within rounding")


def _tell_other_machine(then: dict[str, Any], now: dict[str, Any]) -> None:
    from vgen.cli.progress import say

    changed = [
        f"{name} was {str(then.get(name))[:40]!r}, is {is_!r}" for name, is_ in now.items() if then.get(name) != is_
    ]
    if changed:
        say(f"note: on another machine frames are equal within rounding, not bit for bit; {'; '.join(changed)}")
