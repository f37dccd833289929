"""Scores the embedded model and writes the record that stands beside its weights: `python -m vgen.bench.results`.

The figures name weights, detector, commit and machine; a test holds weights and detector to those in the tree, so a
change to either means scoring anew.
"""

import json
from pathlib import Path
from typing import Any

from vgen.bench.cold import machine
from vgen.bench.embedded import image_score, text_score
from vgen.bench.stamp import commit
from vgen.files import replacing
from vgen.pipeline import VideoPipeline

__all__ = ["RESULTS", "main"]

RESULTS = Path(__file__).with_name("results") / "embedded.json"
COUNT = 60


def main() -> None:
    """Scores text to video and image to video on held-out prompts; takes about ten minutes on two cores."""
    pipeline = VideoPipeline.from_pretrained()
    result: dict[str, Any] = {
        "command": "python -m vgen.bench.results",
        "commit": commit(),
        "machine": machine(),
        "text": text_score(pipeline, COUNT),
        "image": image_score(pipeline, COUNT),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    with replacing(RESULTS) as partial:
        partial.write_text(json.dumps(result, indent=1) + "\n")
    print(RESULTS)


if __name__ == "__main__":
    main()
