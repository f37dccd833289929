"""Two clips that differ in one law from one frame on: what the judge says of each, and why.

The possible one first. `twins.html` shows the evidence against the other in pictures.
"""

import sys
from pathlib import Path

from vgen.clip import Clip
from vgen.judge import examine
from vgen.judge.report.page import to_html
from vgen.judge.report.text import summary
from vgen.playground.twins.draw import draw
from vgen.playground.twins.suite import twin

if __name__ == "__main__":
    law = sys.argv[1] if len(sys.argv) > 1 else "teleport"
    for name, take in zip(("possible", "impossible"), twin(law, 2, severity=0.7), strict=True):
        clip = Clip(frames=draw(take.film, world="playground", height=256, width=256), fps=take.film.fps)
        found = examine(clip.save(f"{name}.mp4"))
        print(f"{name}: {summary(found.report)}\n")
    Path("twins.html").write_text(to_html(found), encoding="utf-8", errors="xmlcharrefreplace")
    print(f"the truth: '{law}' is broken from frame {take.truth.frames[0]} on" if take.truth.frames else "no breach")
