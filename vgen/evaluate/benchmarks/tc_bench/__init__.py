"""TC-Bench (Feng et al. 2024, arXiv:2406.08656): whether what a prompt says should change does, and the rest stays.

A root is a checkout of its repository. Every prompt has assertions about frames of a grid from 1 to 16, each a question
that a judge answers with yes or no. `data.py` reads them, `scores.py` adds up the answers, `replay.py` those that its
authors published.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vgen.clip import Clip
from vgen.evaluate.benchmark import Benchmark, Item, ItemError, Measures, Sample, Score
from vgen.evaluate.benchmarks.tc_bench.data import GRID, MOST, assertions_of, layout, prompts_of
from vgen.evaluate.benchmarks.tc_bench.replay import recount
from vgen.evaluate.benchmarks.tc_bench.scores import SIMILARITIES, Answer, Mode, scores
from vgen.evaluate.jury import Cost, Jury, Picture, chat_of
from vgen.evaluate.layout import check_root, one_of
from vgen.evaluate.userdata import read_object
from vgen.evaluate.vlm.cost import blanks, cost_of
from vgen.evaluate.vlm.labels import YES_NO, label_of
from vgen.evaluate.vlm.naming import judge_name, prompt_hash

__all__ = ["TC_BENCH_I2V", "TC_BENCH_T2V", "frame_of"]

SAMPLES = 5  # of each prompt
ASK = (
    "The pictures are Frame {shown} of a video, where Frame 1 is its first and Frame {grid} its last. {question} "
    "Answer with one word: yes or no."
)
WORDING = prompt_hash((ASK,))


def frame_of(place: int, frames: int) -> int:
    """The frame of a clip at a place of the grid: 1 is its first, 16 its last."""
    return round((place - 1) / (GRID - 1) * (frames - 1))


def _items(root: Path | None, mode: Mode) -> list[Item]:
    root = check_root(f"tc-bench-{mode}", root, partial(layout, mode=mode))
    asserted, found = assertions_of(root, mode), []
    for number, entry in sorted(prompts_of(root, mode).items()):
        starts = (f"start_frames/{number:05d}.png", f"start_frames/{number:05d}.jpg") if mode == "i2v" else ()
        for sample in range(SAMPLES):
            name = f"{number:05d}-{sample:05d}"
            found.append(
                Item(
                    id=name,
                    prompt=entry["prompt"],
                    file=f"{name}.mp4",
                    stratum=entry["type"],
                    image=one_of(root, starts),
                    number=number * SAMPLES + sample,
                    data={"assertions": asserted[number]},
                )
            )
    return found


def _asked(assertion: Mapping[str, Any]) -> str:
    shown = ", ".join(str(place) for place in assertion["frames"])
    return ASK.format(shown=shown, grid=GRID, question=assertion["question"])


def _answer(assertion: Mapping[str, Any], clip: Clip, jury: Jury) -> Answer:
    """Each frame under its own name: where a short clip shows one frame twice, the names still fit."""
    pictures = [
        Picture(clip.frames[frame_of(place, len(clip.frames))], f"Frame {place}") for place in assertion["frames"]
    ]
    reply = chat_of(jury).complete([*pictures, _asked(assertion)], labels=YES_NO)
    try:
        return Answer(assertion["type"], float(label_of(reply, YES_NO) == "yes"))
    except ItemError as error:
        raise ItemError(f"'{assertion['question']}': {error}") from error


def _score(item: Item, sample: Sample, jury: Jury) -> Measures:
    answers = [_answer(assertion, sample.clip, jury) for assertion in item.data["assertions"]]
    return {"answers": [[answer.kind, answer.correct] for answer in answers]}


def _score_i2v(item: Item, sample: Sample, jury: Jury) -> Measures:
    similarity = _similarity(sample.path, item.id)  # first: a damaged file should not cost a call
    return {**_score(item, sample, jury), "similarity": similarity}


def _similarity(clip: Path, name: str) -> float | None:
    path = clip.parent / SIMILARITIES
    if not path.is_file():
        return None
    content = read_object(path)
    return content.number(name, low=-1, high=MOST) if name in content.values else None


def _aggregate(items: Sequence[Item], rows: Mapping[str, Measures], jury: Jury, mode: Mode) -> list[Score]:
    kinds = {item.id: item.stratum for item in items}
    read = {
        name: ([Answer(kind, correct) for kind, correct in row["answers"]], row.get("similarity"))
        for name, row in rows.items()
    }
    return scores(read, kinds, judge_name(chat_of(jury), WORDING), mode)


def _cost(items: Sequence[Item], jury: Jury) -> Cost:
    asked = (assertion for item in items for assertion in item.data["assertions"])
    return cost_of(chat_of(jury), ([*blanks(len(a["frames"]), caption="Frame 1"), _asked(a)] for a in asked))


NOTE = (
    "An answer that is not plainly yes or no fails its clip; the published rule reads 'yes' anywhere in it as yes and "
    "counts the rest that lacks 'no' as half. The published answers were given to other questions than those in the "
    "published files, so no score made now is comparable with the published tables."
)
NOTE_I2V = (
    f" TC-Score needs the CLIP similarity of neighbouring frames, which the user brings as {SIMILARITIES}; without it "
    "TC-Score is withheld, where the published script falls back to another formula. First frames are cut by the user "
    "from the videos that the prompts name, into start_frames/00000.png."
)


def _benchmark(mode: Mode, words: str, score: Callable[[Item, Sample, Jury], Measures], note: str) -> Benchmark:
    return Benchmark(
        name=f"tc-bench-{mode}",
        title=f"TC-Bench, {words}: does what should change change, and the rest stay",
        home="https://github.com/weixi-feng/TC-Bench",
        licence="MIT",
        kind="generator",
        items=partial(_items, mode=mode),
        score=score,
        aggregate=partial(_aggregate, mode=mode),
        layout=partial(layout, mode=mode),
        needs=frozenset({"chat"}),
        cost=_cost,
        recount=partial(recount, mode=mode),
        note=note,
    )


TC_BENCH_T2V: Benchmark = _benchmark("t2v", "text to video", _score, NOTE)
TC_BENCH_I2V: Benchmark = _benchmark("i2v", "image to video", _score_i2v, NOTE + NOTE_I2V)
