"""`vgen playground render | caption | score`: the small world that trains and tests the embedded model."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from vgen.errors import InputError

__all__ = ["app"]

app = typer.Typer(
    name="playground",
    help="A small world with known physics: draw it, caption it, score a model on it.",
    no_args_is_help=True,
)

Seed = Annotated[int, typer.Argument(min=0, help="Number of the scene; the same number is the same scene.")]
WorldName = Annotated[str, typer.Option("--world", help="first, or rich: materials, bystanders, two events in a row.")]


@app.command("caption")
def caption(
    seed: Seed,
    variants: Annotated[int, typer.Option(min=1, help="How many wordings.")] = 3,
    world: WorldName = "first",
) -> None:
    """Print wordings of one scene's caption."""
    from vgen.playground.worlds import world_named

    place = world_named(world)
    scene = place.sample(seed)
    for variant in range(variants):
        typer.echo(place.caption(scene, variant))


@app.command("render")
def render(
    seed: Seed,
    output: Annotated[Path, typer.Option("-o", "--output", help="As for vgen generate.")] = Path("scene.mp4"),
    size: Annotated[int, typer.Option(min=16, max=4096, help="Height and width in pixels.")] = 96,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Frames: up to 65 at 12 per second, of the rich world up to 97 at 16.")
    ] = None,
    world: WorldName = "first",
) -> None:
    """Simulate and draw one scene; its truth goes into the record."""
    from vgen.clip import Clip
    from vgen.playground.render import render as draw
    from vgen.playground.simulate import laws_of, simulate
    from vgen.playground.worlds import world_named
    from vgen.records import check_record

    check_record(output)
    place = world_named(world)
    if frames is not None and frames > place.frames:
        raise InputError(f"--frames {frames} is longer than a clip of the {world} world; possible: 1 to {place.frames}")
    scene = place.sample(seed)
    trajectory = simulate(scene, frames or place.native_frames)
    pixels_FYX3 = draw([scene], [trajectory], height=size, width=size)[0].numpy()
    record = {
        "schema": "playground scene 1",
        "scene": seed,
        "caption": place.caption(scene, 0),
        "split": place.split_of(scene),
        "laws": list(laws_of(scene)),
        "moments": [{"kind": m.kind, "frame": m.frame, "bodies": list(m.bodies)} for m in trajectory.moments],
    }
    if world != "first":
        record |= {"world": world}
    typer.echo(str(Clip(frames=pixels_FYX3, fps=float(scene.fps), record=record).save(output)))


@app.command("score")
def score(
    model: Annotated[str, typer.Argument(help="A model, by name or folder.")] = "playground",
    count: Annotated[int, typer.Option(min=2, help="Held-out prompts, half of each kind.")] = 60,
    sampler: Annotated[str | None, typer.Option(help="Other than full.")] = None,
    steps: Annotated[int | None, typer.Option(help="Other than the model card's.")] = None,
    image: Annotated[bool, typer.Option("--image", help="Image-to-video: how well the first frame is kept.")] = False,
    world: WorldName = "first",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make clips of held-out prompts and see whether they show what was said."""
    from vgen.cli.quiet import quiet

    quiet()
    from vgen.bench.embedded import image_score, text_score
    from vgen.pipeline import VideoPipeline
    from vgen.playground.worlds import world_named

    world_named(world)
    if image and (sampler is not None or steps is not None):
        raise InputError("--image scores the model card's own sampler and steps; leave --sampler and --steps out")
    pipeline = VideoPipeline.from_pretrained(model)
    if image:
        result = image_score(pipeline, count, world=world)
    else:
        result = text_score(pipeline, count, sampler=sampler, steps=steps, world=world)
    typer.echo(json.dumps(result) if as_json else _table(result))


def _table(result: dict[str, Any]) -> str:
    if "first_frame_psnr_db" in result:
        row = result["first_frame_psnr_db"]
        return f"first frame kept at {row['mean']:.1f} dB (least {row['least']:.1f}) over {row['clips']} clips"
    lines = [f"{'':22}{'generated':>26}{'renders':>10}{'chance':>9}"]
    for split, aspects in result["generated"]["scores"].items():
        lines.append(split)
        for aspect, seen in aspects.items():
            if seen["total"]:
                low, high = seen["interval_95"]
                real = result["rendered"]["scores"][split][aspect]["rate"]
                chance = "" if seen["chance"] is None else f"{seen['chance']:.2f}"
                shown = f"{seen['rate']:.2f} [{low:.2f}, {high:.2f}] of {seen['total']}"
                lines.append(f"  {aspect:20}{shown:>26}{real:>10.2f}{chance:>9}")
    return "\n".join(lines)
