"""The richer playground: one scene of each chain of two events, at 16 frames per second, drawn as a contact sheet."""

from PIL import Image

from vgen.clip import Clip
from vgen.playground.render import render
from vgen.playground.scene_rich import CHAINS
from vgen.playground.simulate import simulate
from vgen.playground.worlds import WORLDS

if __name__ == "__main__":
    world = WORLDS["rich"]
    cast = list(world.scenes("held_out_seed", 200))
    rows = []
    for chain in CHAINS:
        scene = next(scene for scene in cast if (scene.event, scene.then) == chain and scene.bystanders)
        moved = simulate(scene, world.native_frames)
        frames_FYX3 = render([scene], [moved], height=128, width=128)[0].numpy()
        rows.append(Clip(frames=frames_FYX3, fps=float(world.fps)).sheet(columns=8, rows=1))
        print(world.caption(scene, scene.seed))
    page = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        page.paste(row, (0, top))
        top += row.height
    page.save("rich_world.png")
    print("rich_world.png")
