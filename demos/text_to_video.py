"""A prompt in, a clip out: six lines with the embedded model. Writes `text_to_video.mp4` and its contact sheet."""

from vgen import VideoPipeline

if __name__ == "__main__":
    pipe = VideoPipeline.from_pretrained()
    clip = pipe("a red ball rolls to the right across the floor", seed=1)
    clip.sheet().save("text_to_video.png")
    print(clip.save("text_to_video.mp4"))
