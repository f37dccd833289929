"""Two prompts, one clip: the second begins in the middle, and the record says which frames saw which."""

from vgen import VideoPipeline

STORY = [(0, "a red ball rolls to the right across the floor"), (2.5, "a big green box slides to the left and stops")]

if __name__ == "__main__":
    pipe = VideoPipeline.from_pretrained()
    clip = pipe(STORY, seconds=5, seed=1, sampler="story")
    for row in clip.record["prompts"]:
        print("frames {} to {}: {}".format(*row["frames"], row["prompt"]))
    clip.sheet(columns=9).save("story.png")
    print(clip.save("story.mp4"))
