"""A clip four times the trained length, written while it is made: causal sampling in constant memory."""

from vgen import VideoPipeline
from vgen.video.write import open_writer

if __name__ == "__main__":
    pipe = VideoPipeline.from_pretrained()
    card = pipe.model.card
    seconds = 4 * card.num_frames / card.fps
    with open_writer("stream_long.mp4", fps=card.fps, height=card.height, width=card.width) as writer:
        for chunk_FYX3 in pipe.stream("a blue ball swings back and forth", seconds=seconds, seed=1):
            writer.write(chunk_FYX3)
            print(f"\r{writer.frames_written / card.fps:.1f} of {seconds:.1f} s", end="", flush=True)
    print("\nstream_long.mp4")
