"""Materials look unlike each other and leave what is plain as it is; colours stay readable, fixtures stop things."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vgen.playground.parts import MATERIALS, Material
from vgen.playground.render import PALETTES, render
from vgen.playground.scene import COLOURS, FLOOR_Y, SHAPES, Body, Colour, Ledge, Scene, Shape, Shelf, Start
from vgen.playground.see import see
from vgen.playground.simulate import Trajectory, simulate
from vgen.playground.surface import SURFACES

SIZE = 96


def still(
    material: Material, *, colour: Colour = "red", shape: Shape = "ball", palette: int = 0, angle: float = 0.0
) -> Scene:
    return Scene(
        seed=0,
        event="fall",
        direction=None,
        bodies=(Body(shape=shape, colour=colour, size="medium", material=material),),
        starts=(Start(x=0.5, y=0.5, angle=angle),),
        palette=palette,
        friction=0.3,
        restitution=0.0,
    )


def drawn(*scenes: Scene) -> torch.Tensor:
    """First frames [B, Y, X, 3]."""
    return render(scenes, [simulate(scene, 1) for scene in scenes], height=SIZE, width=SIZE)[:, 0].int()


def test_every_material_but_plain_has_a_surface() -> None:
    assert {*SURFACES} == {*MATERIALS} - {"plain"}


def test_a_plain_body_is_drawn_as_ever_beside_others() -> None:
    scenes = [still(material, colour="blue") for material in MATERIALS]
    together = drawn(*scenes)
    for scene, picture in zip(scenes, together, strict=True):
        assert torch.equal(picture, drawn(scene)[0])
    pairs = [(a, b) for a in range(4) for b in range(a)]
    assert all((together[a] - together[b]).abs().max() > 30 for a, b in pairs), "materials can be told apart"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("material", MATERIALS)
def test_colours_and_shapes_stay_readable(material: Material, shape: Shape) -> None:
    for colour in COLOURS:
        for palette in range(len(PALETTES)):
            scene = still(material, colour=colour, shape=shape, palette=palette, angle=0.4 * palette)
            frame_YX3 = drawn(scene)[0].to(torch.uint8).numpy()
            (thing,) = see(np.repeat(frame_YX3[None], 4, axis=0))
            assert (thing.colour, thing.shape) == (colour, shape), (material, palette)
            true = scene.bodies[0].radius * (1.0 if shape == "ball" else 2 / np.sqrt(np.pi))
            assert thing.radius == pytest.approx(true, rel=0.1), (material, colour, palette)


def test_what_turns_with_a_body_and_what_does_not() -> None:
    for material in ("rubber", "wooden"):
        upright, turned = drawn(still(material), still(material, angle=1.0))
        assert (upright - turned).abs().max() > 20
    metal = drawn(still("metal"))[0].float()
    body = metal[SIZE // 2 - 5 : SIZE // 2 + 5, SIZE // 2 - 5 : SIZE // 2 + 5]
    assert body.sum(-1).argmax() // 10 < 5 and body.amin(-1).max() > 180, "a light at its top, nearly white"
    matte = drawn(still("rubber"))[0].float()[SIZE // 2 - 5 : SIZE // 2 + 5, SIZE // 2 - 5 : SIZE // 2 + 5]
    assert matte.amin(-1).max() < 60, "no light of its own"


def test_a_ledge_and_a_shelf_are_drawn_where_they_stop_things() -> None:
    plain = still("plain")
    scene = replace(
        plain,
        ledge=Ledge(wall_x=0.04, edge_x=0.4, height=0.3),
        shelf=Shelf(wall_x=0.96, edge_x=0.7, top=0.6),
        bodies=(*plain.bodies, Body(shape="box", colour="blue", size="small")),
        starts=(Start(x=0.2, y=0.9), Start(x=0.8, y=0.9)),
    )
    changed_YX = (drawn(scene)[0] - drawn(replace(scene, ledge=None, shelf=None))[0]).abs().amax(-1) > 8

    def at(x: float, y: float) -> bool:
        return bool(changed_YX[int((1 - y) * SIZE), int(x * SIZE)])

    assert at(0.2, FLOOR_Y + 0.15) and at(0.38, FLOOR_Y + 0.27) and not at(0.43, FLOOR_Y + 0.15)
    assert at(0.75, 0.59) and not at(0.75, 0.55) and not at(0.67, 0.59) and not at(0.2, FLOOR_Y + 0.33)
    last = simulate(scene, 60).states_NF3[:, -1].astype(float)
    assert last[0, 1] == pytest.approx(FLOOR_Y + 0.3 + 0.085, abs=0.01)
    assert last[1, 1] == pytest.approx(0.6 + 0.065, abs=0.01)


def test_a_body_on_a_shelf_hides_nothing_that_is_not_there() -> None:
    scene = still("metal")
    far = simulate(scene, 4).states_NF3.copy()
    far[:, :, 0] = 7.0
    clip_FYX3 = render([scene], [Trajectory(far, ())], height=32, width=32)[0]
    assert (clip_FYX3 == clip_FYX3[:1]).all()
