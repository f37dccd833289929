"""The world that the embedded model was trained on: one scene of each event, drawn as a contact sheet."""

from PIL import Image

from vgen.clip import Clip
from vgen.playground.caption import caption
from vgen.playground.render import render
from vgen.playground.scene import EVENTS, FPS, scenes
from vgen.playground.simulate import simulate

if __name__ == "__main__":
    first_of = {scene.event: scene for scene in reversed(list(scenes("held_out_seed", 100)))}
    rows = []
    for event in EVENTS:
        scene = first_of[event]
        frames_FYX3 = render([scene], [simulate(scene, 33)], height=128, width=128)[0].numpy()
        rows.append(Clip(frames=frames_FYX3, fps=float(FPS)).sheet(columns=8, rows=1))
        print(f"{event}: {caption(scene, 0)}")
    page = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        page.paste(row, (0, top))
        top += row.height
    page.save("playground_world.png")
    print("playground_world.png")
