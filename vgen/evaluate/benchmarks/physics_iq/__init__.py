"""Physics-IQ and Physics-IQ Verified: generated continuations of real scenes against what really happened.

Measures how near a clip comes to one filmed outcome, on the scale of how near a second take comes to the first. That is
no test of validity: smooth and still clips gain from it, and a moving camera loses.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

from vgen.evaluate.benchmark import Benchmark, Item, Measures, Sample
from vgen.evaluate.benchmarks.physics_iq.metrics import compare
from vgen.evaluate.benchmarks.physics_iq.scores import ORIGINAL, VERIFIED, scores
from vgen.evaluate.benchmarks.physics_iq.takes import SECONDS, generated, quarter_of, real
from vgen.evaluate.benchmarks.physics_iq.tree import Row, Tree, find, look, rows_of
from vgen.evaluate.jury import Jury
from vgen.evaluate.layout import check_root

__all__ = ["PHYSICS_IQ", "PHYSICS_IQ_VERIFIED"]

ORIGINAL_TABLES = (
    "descriptions.csv",
    "descriptions/descriptions.csv",
    "descriptions_original.csv",
    "descriptions/descriptions_original.csv",
)
VERIFIED_TABLES = (
    "descriptions_base.csv",
    "descriptions/descriptions_base.csv",
    "descriptions/best_practice/descriptions_base.csv",
    "descriptions.csv",
)
NOTE = (
    "Reference matching, not validity: needs a still camera, and gains from little motion. Masks stay in memory, where"
    " the published tool writes and rereads a lossy video; real videos of a rate that the root lacks are mixed from"
    " 30 frames per second as published, but not encoded again. One call scores one run; the leaderboard of Verified"
    " reports mean and standard deviation of four, and gaps below about 1.5 are noise."
)


def _items(name: str, tables: Sequence[str], root: Path | None) -> list[Item]:
    root = check_root(name, root, partial(look, tables=tables))
    tree = find(root, tables)
    assert isinstance(tree, Tree), f"check_root let an incomplete root pass: {tree}"
    rows = rows_of(tree.table)
    second = {(row.scenario, row.view): row for row in rows if row.take == 2}
    first = [row for row in rows if row.take == 1]
    return [_item(number, tree, row, second[row.scenario, row.view]) for number, row in enumerate(first)]


def _item(number: int, tree: Tree, row: Row, second: Row) -> Item:
    return Item(
        id=row.id,
        prompt=row.prompt,
        file=row.file,
        pattern=f"{row.id}_*.mp4",
        stratum=row.category,
        image=tree.base / row.switch_frame,
        seconds=SECONDS,
        number=number,
        data=MappingProxyType({"scenario": row.scenario, "view": row.view, "tree": tree, "takes": (row, second)}),
    )


def _score(item: Item, sample: Sample, jury: Jury) -> Measures:
    """The raw metrics of one clip against take 1, and of take 2 against take 1."""
    tree, (first, second) = item.data["tree"], item.data["takes"]
    size = quarter_of(tree, first)
    ours, fps, cut = generated(sample.clip, size)
    one, two = (real(tree, row, fps, size) for row in (first, second))
    takes = {f"takes_{metric}": value for metric, value in compare(one, two).items()}
    return {
        **compare(one, ours),
        **takes,
        "fps": fps,
        "cut_frames": cut,
        "resampled": one.resampled,
        "masks_made": one.masks_made,
    }


def _benchmark(name: str, title: str, home: str, tables: Sequence[str], headline: str) -> Benchmark:
    """Both have the same clips and metrics; they differ in prompts and in what comes first."""
    return Benchmark(
        name=name,
        title=title,
        home=home,
        licence="CC-BY-4.0",
        kind="generator",
        items=partial(_items, name, tables),
        score=_score,
        aggregate=partial(scores, headline=headline),
        layout=partial(look, tables=tables),
        note=NOTE,
    )


PHYSICS_IQ: Benchmark = _benchmark(
    "physics-iq",
    "Physics-IQ (Motamed et al. 2025, arXiv:2501.09038)",
    "https://github.com/google-deepmind/physics-IQ-benchmark",
    ORIGINAL_TABLES,
    ORIGINAL,
)
PHYSICS_IQ_VERIFIED: Benchmark = _benchmark(
    "physics-iq-verified",
    "Physics-IQ Verified (Rädsch et al. 2026, arXiv:2606.18943)",
    "https://physics-iq-verified.anates.ai",
    VERIFIED_TABLES,
    VERIFIED,
)
