"""`vgen train lora`: teaches a model clips longer than its own, as a LoRA under a sparse attention pattern."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vgen.cli.download import Download, ready
from vgen.config import merge, read_config
from vgen.errors import ConfigError, InputError, ResourceError
from vgen.schema import AttentionConfig

__all__ = ["attention_of", "lora"]

Data = typer.Argument(
    metavar="FOLDER", help="Videos with a caption each: clip.mp4 and clip.txt, or one metadata.jsonl for all."
)
Output = typer.Option("-o", "--output", metavar="FOLDER", help="A new folder for the LoRA; then --lora FOLDER.")
Work = typer.Option(help="Folder for latents and checkpoints; a killed run goes on from it.")
Attention = typer.Option(help="Pattern of self-attention, or a YAML of one, as for vgen generate.")
Targets = typer.Option(help="Layers that get a LoRA, by the end of their names, with commas.")
Expert = typer.Option(min=1, max=2, help="2 for the second of two transformers, for low noise.")


def lora(
    data: Annotated[Path, Data],
    output: Annotated[Path, Output],
    model: Annotated[str, typer.Option(help="As for vgen generate.")] = "playground",
    download: Annotated[bool | None, Download] = None,
    num_frames: Annotated[
        int | None, typer.Option(min=1, help="Length to learn, in frames; twice the model's own by default.")
    ] = None,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="The model card's by default.")] = None,
    fps: Annotated[int | None, typer.Option(min=1, help="The model card's by default.")] = None,
    attention: Annotated[str, Attention] = "radial",
    rank: Annotated[int, typer.Option(min=1, max=1024)] = 128,
    alpha: Annotated[float | None, typer.Option(min=1e-3, help="The rank by default.")] = None,
    targets: Annotated[str, Targets] = "to_q,to_k,to_v,to_out.0",
    steps: Annotated[int, typer.Option(min=1, help="Steps of the optimiser.")] = 2000,
    lr: Annotated[float, typer.Option(min=1e-8, max=1, help="Learning rate.")] = 1e-4,
    accumulate: Annotated[int, typer.Option(min=1, help="Windows to a step, in each process.")] = 1,
    caption_dropout: Annotated[float, typer.Option(min=0, max=1, help="Share of windows without caption.")] = 0.1,
    held_out: Annotated[int | None, typer.Option(min=0, help="Clips to measure on; one in ten by default.")] = None,
    transformer: Annotated[int, Expert] = 1,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory, a third more time.")
    ] = False,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 100,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    work: Annotated[Path, Work] = Path(".cache/training/lora"),
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
) -> None:
    """Train a LoRA on a folder of captioned clips.

    Prints the folder of the LoRA, which holds pytorch_lora_weights.safetensors as diffusers loads it. Runs in several
    processes under `accelerate launch` or `torchrun`, each with windows of its own.
    """
    from vgen.cli.generate import size_of
    from vgen.cli.quiet import quiet

    quiet()
    from vgen.cli.progress import say
    from vgen.models.folder import describe
    from vgen.training.lora_run import LoraJob, notes_on, recipe_for, train_lora

    width, height = size_of(size)
    ready(model, download)
    said: dict[str, Any] = {
        "rank": rank,
        "alpha": alpha,
        "targets": tuple(name.strip() for name in targets.split(",") if name.strip()),
        "steps": steps,
        "lr": lr,
        "warmup_steps": min(50, max(1, steps // 10)),
        "accumulate": accumulate,
        "caption_dropout": caption_dropout,
        "transformer": transformer,
        "seed": seed,
    }
    if not said["targets"]:
        raise ConfigError("--targets names no layer; possible: to_q,to_k,to_v,to_out.0")
    recipe = recipe_for(model, num_frames=num_frames, width=width, height=height, fps=fps, rest=said)
    job = LoraJob(
        data=data,
        output=output,
        work=work,
        model=model,
        attention=attention_of(attention),
        held_out=held_out,
        save_every=save_every,
        gradient_checkpointing=gradient_checkpointing,
    )
    accelerator, picked = _accelerator(device, dtype)
    if accelerator.is_main_process:
        for note in notes_on(describe(model)[1], recipe):
            say(f"note: {note}")
    for record in train_lora(job, recipe, accelerator, picked):
        if accelerator.is_main_process:
            say(record.line())
    if accelerator.is_main_process:
        typer.echo(str(output))


def attention_of(named: str) -> AttentionConfig:
    """As `vgen generate --attention` takes it."""
    path = Path(named)
    values = read_config(path, group="attention") if path.suffix in (".yaml", ".yml") else {"attention.name": named}
    return merge((f"attention {named}", values))[0].attention


def _accelerator(device: str, dtype: str) -> Any:
    """Where it runs, and the dtype of the model's own weights."""
    import torch
    from accelerate import Accelerator

    from vgen.machine import pick_dtype

    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"unknown device '{device}'; possible: auto, cpu, cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ResourceError("device 'cuda' was asked for, but torch sees none; possible: cpu")
    cpu = device == "cpu" or not torch.cuda.is_available()
    picked = pick_dtype(dtype, torch.device("cpu" if cpu else "cuda"))
    if picked is torch.float16:
        raise ConfigError("float16 has too small a range to train in; possible: float32, bfloat16")
    return Accelerator(cpu=cpu, mixed_precision="bf16" if picked is torch.bfloat16 else "no"), picked
