"""Small worlds with known physics: simulate, render, caption, detect, score.

    seed -> Scene (scene) -> Trajectory (simulate) -> pixels (render)
                  -> text (caption) <-> Claim         pixels -> Detection (see, detect)
    Claim + Detection -> Report (score); the detector's own hit rates (bars); many trajectories in a file (archive)

A second, richer world (`scene_rich`, `bystanders`, `caption_rich`, `detect_rich`) shares simulator and renderer with
the first; `worlds` and `detectors` give both by name.

The public names are the modules', so that asking for a caption does not import torch, OpenCV or pymunk:
`from vgen.playground.caption import caption`.
"""

__all__ = [
    "archive",
    "bars",
    "bystanders",
    "caption",
    "caption_rich",
    "detect",
    "detect_rich",
    "detectors",
    "parts",
    "render",
    "scene",
    "scene_rich",
    "score",
    "see",
    "simulate",
    "surface",
    "worlds",
]
