"""A clip in which something is wrong, and the same request made anew from before that.

Prints what was found behind each piece; clips are compared when they are whole. `redo.png` shows the clip without a
search above the one with it; `rejected.html` the evidence of the laws against the first.
"""

from pathlib import Path

import numpy as np

from vgen import Clip, VideoPipeline
from vgen.judge import examine
from vgen.judge.report.page import to_html
from vgen.judge.report.text import summary

PROMPT, SEED = "a red ball falls and bounces", 0

if __name__ == "__main__":
    pipe = VideoPipeline.from_pretrained()
    plain = pipe(PROMPT, seed=SEED, sampler="causal")
    redone = pipe(PROMPT, seed=SEED, sampler="causal", redo=3)
    for tried in redone.record["search"]["attempts"]:
        first, last = tried["latent_frames"]
        why = "; ".join(one["text"] for one in tried["evidence"]) or "nothing at fault"
        print(f"latent frames {first} to {last}, noise {tried['draw']}: {why}")
    for name, clip in (("plain", plain), ("redone", redone)):
        found = examine(clip, name=name)
        print(summary(found.report))
        if name == "plain":
            Path("rejected.html").write_text(to_html(found), encoding="utf-8", errors="xmlcharrefreplace")
    both = np.concatenate([plain.frames, redone.frames], axis=1)  # one above the other
    Clip(frames=both, fps=plain.fps).sheet(rows=1, columns=9).save("redo.png")
    print("redo.png, rejected.html")
