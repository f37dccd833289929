"""What the answers that TC-Bench's authors published add up to, and how far they follow people's grades.

Needs no judge: a checkout of the repository holds all of it under `eval_results`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from vgen.errors import InputError
from vgen.evaluate.benchmark import Score
from vgen.evaluate.benchmarks.tc_bench.data import MOST, kinds_of
from vgen.evaluate.benchmarks.tc_bench.scores import Answer, Mode, Rows, published_answer, scores, tc_score
from vgen.evaluate.correlation import spearman
from vgen.evaluate.userdata import Row, read_object, row_of
from vgen.judge.card import Figure

__all__ = ["PUBLISHED_JUDGE", "human_agreement", "published_answers", "recount", "replay"]

PUBLISHED_JUDGE = "gpt-4-turbo"
ANSWERS = Path("eval_results") / "gpt_eval"
PEOPLE = Path("eval_results") / "human_eval" / "i2v" / "human_scores_all.json"


def recount(root: Path, mode: Mode) -> list[Score]:
    """`replay` of every generator that a checkout holds answers on; for image-to-video also `human_agreement`.

    Raises:
        InputError: there are no answers, or something is missing or not as published.
    """
    models = sorted(path.stem for path in (root / ANSWERS / mode).glob("*.json"))
    if not models:
        raise InputError(
            f"'{root}': no published answers in {ANSWERS / mode}; name a checkout of TC-Bench's repository"
        )
    found = [
        replace(score, group=f"{model}, {score.group}" if score.group else model)
        for model in models
        for score in replay(root, mode, model)
    ]
    if mode == "t2v":
        return found
    return [
        *found,
        Score(name=f"tc_score@{PUBLISHED_JUDGE}", figure=human_agreement(root), group="Spearman with people"),
    ]


def replay(root: Path, mode: Mode, model: str) -> list[Score]:
    """TCR and TC-Score of a published generator, from the published answers, by the published formulas.

    Args:
        root: a checkout.
        mode: text-to-video or image-to-video.
        model: as its answers are called: `sdxl+seine`.

    Raises:
        InputError: something is missing or not as published.
    """
    kinds, rows = kinds_of(root, mode), published_answers(root, mode, model)
    by_clip = {name: kinds.get(_number(name), "") for name in rows}
    if unknown := [name for name, kind in by_clip.items() if not kind]:
        raise InputError(f"the answers on '{model}' hold '{unknown[0]}', which is no clip of {mode}_prompts.json")
    return scores(rows, by_clip, PUBLISHED_JUDGE, mode)


def published_answers(root: Path, mode: Mode, model: str) -> Rows:
    """By clip: the published verdicts on its assertions, and for image-to-video its similarity.

    Takes the verdicts that stand beside the answers (`correct`), which the published tables are made of; an answer
    without one is read as the authors did.

    Raises:
        InputError: they are missing or not as published.
    """
    path = root / ANSWERS / mode / f"{model}.json"
    similarities = _similarities(root, model) if mode == "i2v" else {}
    rows: dict[str, tuple[Sequence[Answer], float | None]] = {}
    content = read_object(path)
    for name in content.values:
        answers = [_answer(row_of(entry, f"{content.where}, '{name}'")) for entry in content.array(name)]
        if not answers:
            raise content.fault(name, "answers", [])
        rows[name] = (answers, similarities.get(name))
    return rows


def human_agreement(root: Path) -> Figure:
    """Rank correlation of image-to-video TC-Scores with people's mean grade, over the clips that have both.

    Prompts are resampled with all their clips.

    Raises:
        InputError: something is missing or not as published.
    """
    people = read_object(root / PEOPLE)
    grades = {name: _grade(people, name) for name in people.values}
    pairs: list[tuple[float, float, int]] = []
    for model in dict.fromkeys(name.rpartition("_")[0] for name in grades):
        for clip, (answers, similarity) in published_answers(root, "i2v", model).items():
            if similarity is not None and f"{model}_{clip}" in grades:
                pairs.append((tc_score(answers, similarity), grades[f"{model}_{clip}"], _number(clip)))
    ours, theirs, prompts = ([pair[k] for pair in pairs] for k in range(3))
    return spearman(ours, theirs, prompts)


def _answer(row: Row) -> Answer:
    kind = row.text("type")
    if "correct" not in row.values:
        return Answer(kind, published_answer(row.text("gpt_answer")))
    return Answer(kind, row.number("correct", low=0, high=1))


def _similarities(root: Path, model: str) -> Mapping[str, float]:
    path = root / "eval_results" / "i2v_consistency" / "consecutive_frame_sim" / "i2v" / f"{model}.json"
    content = read_object(path)
    return {name: content.number(name, low=-1, high=MOST) for name in content.values}


def _grade(people: Row, name: str) -> float:
    """The mean over annotators and criteria."""
    annotators = people.array(name)
    if not all(isinstance(listed, list) for listed in annotators):
        raise people.fault(name, "a list of grades for each annotator", annotators)
    grades = [grade for listed in annotators for grade in listed]
    if not grades or not all(type(grade) in (int, float) and 1 <= grade <= 5 for grade in grades):
        raise people.fault(name, "grades from 1 to 5", grades)
    return float(sum(grades) / len(grades))


def _number(clip: str) -> int:
    """The prompt of `00012-00003`; -1 for another name."""
    number = clip.partition("-")[0]
    return int(number) if number.isascii() and number.isdigit() else -1
