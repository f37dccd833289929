"""A small world with known physics: simulate, render, caption, detect, score.

    seed -> Scene (scene) -> Trajectory (simulate) -> pixels (render)
                  -> text (caption) <-> Claim         pixels -> Detection (see, detect)
    Claim + Detection -> Report (score); the detector's own hit rates (bars); many trajectories in a file (archive)

The public names are the modules', so that asking for a caption does not import torch, OpenCV or pymunk:
`from vgen.playground.caption import caption`.
"""

__all__ = ["archive", "bars", "caption", "detect", "render", "scene", "score", "see", "simulate"]
