"""A picture in, a clip out: the playground draws a scene's first frame, the model says how it goes on."""

from vgen import VideoPipeline
from vgen.playground.caption import caption
from vgen.playground.render import render
from vgen.playground.scene import sample_scene
from vgen.playground.simulate import simulate

if __name__ == "__main__":
    scene = sample_scene(7)
    pipe = VideoPipeline.from_pretrained()
    card = pipe.model.card
    first_YX3 = render([scene], [simulate(scene, 1)], height=card.height, width=card.width)[0, 0].numpy()
    clip = pipe(caption(scene, 0), first_YX3, seed=1)
    clip.sheet().save("image_to_video.png")
    print(caption(scene, 0), "->", clip.save("image_to_video.mp4"))
