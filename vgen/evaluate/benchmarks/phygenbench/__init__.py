"""PhyGenBench (Meng et al. 2024, arXiv:2410.05363), its three tiers asked of one judge that sees.

Key phenomenon: does the right frame show what should be seen. Order: do frames follow each other as told. Naturalness:
which of four descriptions fits. The published score asks five models of two routes (`tiers.py`).
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vgen.clip import Clip, spread
from vgen.evaluate.benchmark import Benchmark, Item, ItemError, Measures, Sample, Score
from vgen.evaluate.benchmarks.phygenbench.data import LAST, MIDDLE, items, layout
from vgen.evaluate.benchmarks.phygenbench.tiers import (
    TOP,
    by_category,
    ensemble,
    one_question,
    order_passes,
    route,
    two_questions,
)
from vgen.evaluate.jury import Chat, Cost, Jury, Part, Picture, chat_of
from vgen.evaluate.statistics import mean_share
from vgen.evaluate.vlm.chances import chance_of
from vgen.evaluate.vlm.cost import blanks, cost_of
from vgen.evaluate.vlm.frames import evenly
from vgen.evaluate.vlm.labels import YES_NO, label_of
from vgen.evaluate.vlm.naming import judge_name, prompt_hash
from vgen.evaluate.vlm.shuffle import shuffled

__all__ = ["PHYGENBENCH"]

LOOKED_UP = 32  # frames among which one is looked up
AROUND, AROUND_ORDER = 2, 1  # frames to either side of it that are asked too: by key phenomenon, by order
WATCHED = 26  # frames that naturalness is judged by
LETTERS = ("A", "B", "C", "D")

ASK_FRAME = "Which of these pictures shows best: {what}? Answer with one number, from 1 to {count}."
ASK_SHOWN = "Does this picture show this: {what}? Answer with one word: yes or no."
ASK_WHICH = "Which of these is true of the picture?\nA: {a}\nB: {b}\nAnswer with one letter."
ASK_ORDER = (
    "These pictures are taken from a video, in order. Does what happens from the first to the last of them fit this "
    "description?\nDescription: {what}\nAnswer with one word: yes or no."
)
ASK_NATURAL = (
    "These are frames of a video, in order. It was made for this prompt: {prompt}\nIt should show this law: {law}\n"
    "Which of these descriptions fits it best?\n{choices}\nAnswer with one letter."
)
WORDING = prompt_hash((ASK_FRAME, ASK_SHOWN, ASK_WHICH, ASK_ORDER, ASK_NATURAL))


def _score(item: Item, sample: Sample, jury: Jury) -> Measures:
    chat, clip = chat_of(jury), sample.clip
    if len(clip.frames) < 2:
        raise ItemError("one frame has no order")
    single = _single(chat, clip, item)
    order = _order(chat, clip, item.data["order"])
    natural = _natural(chat, clip, item)
    return {"single": single, "order": order, "natural": natural, "route": route(single, order, natural)}


def _single(chat: Chat, clip: Clip, item: Item) -> int:
    """The first tier, 0 to 3."""
    questions = item.data["single"]
    found = [_phenomenon(chat, clip, question, f"{item.id}/{k}") for k, question in enumerate(questions)]
    if len(found) == 1:
        return one_question(found[0][1])
    return two_questions(sum(match + shown for match, shown in found))


def _phenomenon(chat: Chat, clip: Clip, question: Mapping[str, str], key: str) -> tuple[float, float]:
    """Of the frame where both are largest together: how well it matches, and how surely it shows the statement."""
    if question["Retrieval Prompt"] == LAST:
        return 0.0, _shown(chat, clip, len(clip.frames) - 1, question["Statement"])
    found = []
    for frame in _looked_up(chat, clip, question["Retrieval Prompt"], AROUND)[0]:
        match = _shown(chat, clip, frame, question["Retrieval Prompt"])
        found.append((match, _stated(chat, clip, frame, question, key)))
    return max(found, key=sum)


def _looked_up(chat: Chat, clip: Clip, what: str, reach: int) -> tuple[list[int], int]:
    """The frame that shows something best with its neighbours, of those spread over the clip; and its place in them."""
    frames = spread(len(clip.frames), LOOKED_UP)
    labels = tuple(str(k) for k in range(1, len(frames) + 1))
    pictures = [Picture(clip.frames[frame], f"Picture {label}") for frame, label in zip(frames, labels, strict=True)]
    asked = ASK_FRAME.format(what=what, count=len(frames))
    best = int(label_of(chat.complete([*pictures, asked], labels=labels), labels)) - 1
    start = max(0, best - reach)
    return frames[start : best + reach + 1], best - start


def _shown(chat: Chat, clip: Clip, frame: int, what: str) -> float:
    """How surely a frame shows something, 0 to 1."""
    reply = chat.complete([Picture(clip.frames[frame]), ASK_SHOWN.format(what=what)], labels=YES_NO)
    return chance_of(reply, "yes", YES_NO)


def _stated(chat: Chat, clip: Clip, frame: int, question: Mapping[str, str], key: str) -> float:
    """How surely a frame shows the statement rather than its opposite; which comes first changes by question."""
    texts = (question["Statement"], question["Antonym"])
    order = shuffled(key, range(2))
    asked = ASK_WHICH.format(a=texts[order[0]], b=texts[order[1]])
    reply = chat.complete([Picture(clip.frames[frame]), asked], labels=LETTERS[:2])
    return chance_of(reply, LETTERS[order.index(0)], LETTERS[:2])


def _order(chat: Chat, clip: Clip, question: Mapping[str, str]) -> int:
    """The second tier: how many of three checks pass: up to a frame between, from there on, and throughout."""
    first, last = 0, len(clip.frames) - 1
    before, after, whole = question["Description1"], question["Description2"], question["whole"]
    if question["Retrieval Prompt"] == MIDDLE:
        middle = len(clip.frames) // 2
        runs = ([first, middle], before), ([middle, last], after), ([first, middle, last], whole)
        return sum(_follows(chat, clip, frames, what) for frames, what in runs)
    frames, best = _looked_up(chat, clip, question["Retrieval Prompt"], AROUND_ORDER)
    match = {frame: _shown(chat, clip, frame, question["Retrieval Prompt"]) for frame in frames}
    checks = (
        any(order_passes(match[f], _follows(chat, clip, [first, f], before)) for f in frames[: best + 1]),
        any(order_passes(match[f], _follows(chat, clip, [f, last], after)) for f in frames[best:]),
        order_passes(max(match.values()), _follows(chat, clip, [first, *frames, last], whole)),
    )
    return sum(checks)


def _follows(chat: Chat, clip: Clip, frames: Sequence[int], what: str) -> bool:
    """Whether what happens over some frames is what a description says."""
    pictures = [Picture(clip.frames[frame]) for frame in frames]
    return label_of(chat.complete([*pictures, ASK_ORDER.format(what=what)], labels=YES_NO), YES_NO) == "yes"


def _natural(chat: Chat, clip: Clip, item: Item) -> int:
    """The third tier: which of four descriptions fits, fantastic 0 to real 3; without their names, in any order."""
    order = shuffled(item.id, range(len(LETTERS)))
    reply = chat.complete([*evenly(clip, WATCHED, timed=True), _asked_natural(item)], labels=LETTERS)
    return order[LETTERS.index(label_of(reply, LETTERS))]


def _asked_natural(item: Item) -> str:
    order = shuffled(item.id, range(len(LETTERS)))
    choices = "\n".join(f"{letter}: {item.data['natural'][k]}" for letter, k in zip(LETTERS, order, strict=True))
    return ASK_NATURAL.format(prompt=item.prompt, law=item.data["law"], choices=choices)


def _aggregate(items: Sequence[Item], rows: Mapping[str, Measures], jury: Jury) -> list[Score]:
    scored = [item for item in items if item.id in rows]
    categories, judge = [item.data["category"] for item in scored], judge_name(chat_of(jury), WORDING)
    routes = by_category(f"phygeneval_single_route@{judge}", [rows[item.id]["route"] for item in scored], categories)
    tiers = {
        tier: mean_share([rows[item.id][tier] / TOP for item in scored]) for tier in ("single", "order", "natural")
    }
    return [*routes, *(Score(name=f"{name}@{judge}", figure=tiers[name], group="tiers") for name in tiers)]


def _cost(items: Sequence[Item], jury: Jury) -> Cost:
    return cost_of(chat_of(jury), itertools.chain.from_iterable(map(_messages, items)))


def _messages(item: Item) -> Iterator[list[Part]]:
    """All that may be asked on a clip; checks of the order stop at the first frame that passes."""
    for question in item.data["single"]:
        what, statement = question["Retrieval Prompt"], question["Statement"]
        if what == LAST:
            yield _sent(ASK_SHOWN.format(what=statement), 1)
            continue
        around = 2 * AROUND + 1
        yield _sent(ASK_FRAME.format(what=what, count=LOOKED_UP), LOOKED_UP)
        yield from [_sent(ASK_SHOWN.format(what=what), 1)] * around
        yield from [_sent(ASK_WHICH.format(a=statement, b=question["Antonym"]), 1)] * around
    yield from _order_messages(item.data["order"])
    yield _sent(_asked_natural(item), WATCHED)


def _order_messages(question: Mapping[str, Any]) -> Iterator[list[Part]]:
    times, between = 1, 1
    if question["Retrieval Prompt"] != MIDDLE:
        times, between = AROUND_ORDER + 1, 2 * AROUND_ORDER + 1
        yield _sent(ASK_FRAME.format(what=question["Retrieval Prompt"], count=LOOKED_UP), LOOKED_UP)
        yield from [_sent(ASK_SHOWN.format(what=question["Retrieval Prompt"]), 1)] * between
    for what in ("Description1", "Description2"):
        yield from [_sent(ASK_ORDER.format(what=question[what]), 2)] * times
    yield _sent(ASK_ORDER.format(what=question["whole"]), 2 + between)


def _sent(text: str, pictures: int) -> list[Part]:
    return [*blanks(pictures), text]


PHYGENBENCH: Benchmark = Benchmark(
    name="phygenbench",
    title="PhyGenBench: 160 prompts whose outcome physics tells",
    home="https://github.com/OpenGVLab/PhyGenBench",
    licence="none stated: not to be passed on",
    kind="generator",
    items=items,
    score=_score,
    aggregate=_aggregate,
    layout=layout,
    needs=frozenset({"chat"}),
    cost=_cost,
    recount=ensemble,
    note=(
        "A single-route score: one judge answers what the published score asks CLIP, VQAScore, GPT-4o, LLaVA and "
        "InternVideo2. It must not be compared with published figures, which mix two routes; those come from tier "
        "scores of both (vgen evaluate recount). Statement and opposite are one choice here, descriptions are shown in "
        "an order of their own and without the names that tell their rank, and an answer that is none of those asked "
        "for fails its clip."
    ),
)
