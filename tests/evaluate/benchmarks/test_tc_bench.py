"""TC-Bench: the published formulas by hand, the published layout, and the traps of the published script."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.evaluate.chats import Asked, jury_of, numbered, without_wording
from vgen.errors import InputError
from vgen.evaluate.benchmark import Benchmark, Item, ItemError, Score
from vgen.evaluate.benchmarks.tc_bench import TC_BENCH_I2V, TC_BENCH_T2V, frame_of
from vgen.evaluate.benchmarks.tc_bench.replay import human_agreement, replay
from vgen.evaluate.benchmarks.tc_bench.scores import Answer, completed, mapped, published_answer, tc_score
from vgen.evaluate.jury import Cost

KINDS = ("attribute binding", "object binding", "background shifts")
COUNTS = {"t2v": 150, "i2v": 120}
DONE, SAME, REST = "transition completion", "transition object consistency", "other objects"

ASSERTIONS = [
    {"frames": [1], "assertion": "Is the apple green in the image?", "type": DONE},
    {"frames": [1, 16], "assertion": "Compared to Frame 1, is the apple red in Frame 16?", "type": DONE},
    {"frames": [1, 5, 9, 13, 16], "assertion": "Is it the same apple?", "type": SAME},
    {"frames": [1], "assertion": "Is there a table?", "type": REST},
]


def write_root(root: Path, mode: str = "t2v") -> Path:
    prompts = [{"id": k, "prompt": f"Apple {k} ripens. ", "type": KINDS[k % 3]} for k in range(COUNTS[mode])]
    write(root / f"{mode}_prompts.json", prompts)
    write(root / f"{mode}_assertions.json", {str(k): ASSERTIONS for k in range(COUNTS[mode])})
    return root


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def figures(found: list[Score] | Any, group: str = "") -> dict[str, float | None]:
    return {named(score): score.figure.value for score in found if score.group == group}


def named(score: Score) -> str:
    """Without the hash of the wording, which published answers do not have."""
    return score.name if score.name.endswith("@gpt-4-turbo") else without_wording(score.name)


def first_item(root: Path, benchmark: Benchmark = TC_BENCH_T2V) -> Item:
    return benchmark.items(root)[0]


def test_places_of_the_grid_are_frames_of_a_clip() -> None:
    assert [frame_of(place, 16) for place in (1, 5, 9, 13, 16)] == [0, 4, 8, 12, 15]
    assert [frame_of(place, 25) for place in (1, 5, 9, 16)] == [0, 6, 13, 24]  # 6.4 and 12.8
    assert [frame_of(place, 8) for place in (1, 5, 6, 16)] == [0, 2, 2, 7]  # 1.87 and 2.33
    assert {frame_of(place, 1) for place in range(1, 17)} == {0}


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("yes, frame 1 and frame 6 show the same chameleon", 1),
        ("no", 0),
        ("no, but yes in part", 1),
        ("Yes", 1),
        ("the eyes are closed", 1),
        ("i cannot tell", 0),
        ("it is unclear", 0.5),
        ("", 0.5),
    ],
)
def test_the_published_reading_is_kept_for_published_answers(text: str, verdict: float) -> None:
    assert published_answer(text) == verdict


def test_a_transition_is_complete_where_nothing_but_other_objects_is_denied() -> None:
    assert completed([Answer(DONE, 1), Answer(SAME, 1), Answer(REST, 0)])
    assert completed([Answer(DONE, 0.5), Answer(SAME, 1)])  # published: half is no denial
    assert not completed([Answer(DONE, 1), Answer(SAME, 0)])


def test_tc_score_by_hand() -> None:
    answers = [Answer(DONE, 1), Answer(DONE, 0.5), Answer(SAME, 0), Answer(REST, 1)]
    assert tc_score(answers) == pytest.approx(2.5 / 4)
    assert tc_score(answers, 0.94) == pytest.approx(2 / 3 * 2.5 / 3 + 1 / 3 * 0.5)
    assert tc_score(answers, 0.5) == pytest.approx(2 / 3 * 2.5 / 3)
    assert tc_score(answers, 1.0005) == pytest.approx(2 / 3 * 2.5 / 3 + 1 / 3)


def test_similarities_count_between_two_marks() -> None:
    assert [mapped(value) for value in (-1, 0.9, 0.92, 0.98, 1)] == pytest.approx([0, 0, 0.25, 1, 1])


def test_items_are_five_samples_of_each_prompt(tmp_path: Path) -> None:
    items = TC_BENCH_T2V.items(write_root(tmp_path))
    assert len(items) == len({item.id for item in items}) == 750
    assert [item.number for item in items] == list(range(750))
    assert (items[7].id, items[7].file, items[7].prompt) == ("00001-00002", "00001-00002.mp4", "Apple 1 ripens.")
    assert items[7].stratum == "object binding"
    assert items == TC_BENCH_T2V.items(tmp_path)


def test_first_frames_are_taken_where_the_user_cut_them(tmp_path: Path) -> None:
    write_root(tmp_path, "i2v")
    (tmp_path / "start_frames").mkdir()
    (tmp_path / "start_frames" / "00001.jpg").touch()
    items = TC_BENCH_I2V.items(tmp_path)
    assert len(items) == 600
    assert (items[0].image, items[5].image) == (None, tmp_path / "start_frames" / "00001.jpg")


def test_frames_are_shown_under_their_names(tmp_path: Path) -> None:
    jury, fake = jury_of(lambda asked: "no" if "red" in asked.text else "Yes.")
    measures = TC_BENCH_T2V.score(first_item(write_root(tmp_path)), numbered(25), jury)
    assert measures == {"answers": [[DONE, 1.0], [DONE, 0.0], [SAME, 1.0], [REST, 1.0]]}
    assert [asked.frames for asked in fake.asked] == [[0], [0, 24], [0, 6, 13, 19, 24], [0]]
    assert fake.asked[2].captions == ["Frame 1", "Frame 5", "Frame 9", "Frame 13", "Frame 16"]
    assert fake.asked[1].labels == ("yes", "no")
    assert ASSERTIONS[1]["assertion"] in fake.asked[1].text  # type: ignore[operator]


def test_names_fit_where_a_short_clip_shows_a_frame_twice(tmp_path: Path) -> None:
    """The published script drops the second one and then names those after it wrongly."""
    jury, fake = jury_of(lambda asked: "yes")
    TC_BENCH_T2V.score(first_item(write_root(tmp_path)), numbered(3), jury)
    assert (fake.asked[2].frames, len(fake.asked[2].captions)) == ([0, 1, 1, 2, 2], 5)


def test_an_answer_that_is_none_fails_the_clip(tmp_path: Path) -> None:
    jury, _ = jury_of(lambda asked: "Yes, there is no apple")
    with pytest.raises(ItemError, match=r"Is the apple green.*said 'Yes, there is no apple'"):
        TC_BENCH_T2V.score(first_item(write_root(tmp_path)), numbered(16), jury)


def test_scores_by_hand(tmp_path: Path) -> None:
    """Two clips of prompt 0: all true; all but one of three that count. One of prompt 1: only the rest is denied."""
    items = TC_BENCH_T2V.items(write_root(tmp_path))
    jury, _ = jury_of(lambda asked: "yes")
    rows = {
        "00000-00000": {"answers": [[DONE, 1.0], [SAME, 1.0], [REST, 1.0]]},
        "00000-00001": {"answers": [[DONE, 1.0], [SAME, 0.0], [REST, 1.0]]},
        "00001-00000": {"answers": [[DONE, 1.0], [SAME, 1.0], [REST, 0.0]]},
    }
    found = TC_BENCH_T2V.aggregate(items, rows, jury)
    assert [named(score) for score in found[:2]] == ["tcr@fake", "tc_score@fake"]
    assert figures(found) == pytest.approx({"tcr@fake": 2 / 3, "tc_score@fake": (1 + 2 / 3 + 2 / 3) / 3})
    assert figures(found, "attribute binding") == pytest.approx({"tcr@fake": 0.5, "tc_score@fake": 5 / 6})
    assert found[0].figure.count == 3


def test_without_similarities_tc_score_is_withheld_and_not_made_another_way(tmp_path: Path) -> None:
    """The published script falls back to the text-to-video formula, clip by clip."""
    items = TC_BENCH_I2V.items(write_root(tmp_path, "i2v"))
    jury, _ = jury_of(lambda asked: "yes")
    answers = [[DONE, 1.0], [SAME, 0.0]]
    rows: dict[str, dict[str, Any]] = {
        "00000-00000": {"answers": answers, "similarity": 0.98},
        "00001-00000": {"answers": answers, "similarity": None},
    }
    found = TC_BENCH_I2V.aggregate(items, rows, jury)
    assert figures(found) == {"tcr@fake": 0.0}
    withheld = [score for score in found if score.group.startswith("withheld")]
    assert [(named(score), score.figure.value) for score in withheld] == [("tc_score@fake", None)]
    assert "1 of 2" in withheld[0].group and "consecutive_frame_sim.json" in withheld[0].group
    rows["00001-00000"]["similarity"] = 0.9
    assert figures(TC_BENCH_I2V.aggregate(items, rows, jury))["tc_score@fake"] == pytest.approx((1 + 2 / 3) / 2)


def test_similarities_lie_beside_the_clips(tmp_path: Path) -> None:
    item = first_item(write_root(tmp_path, "i2v"), TC_BENCH_I2V)
    jury, fake = jury_of(lambda asked: "yes")
    sample = numbered(16, tmp_path / "clips" / "00000-00000.mp4")
    assert TC_BENCH_I2V.score(item, sample, jury)["similarity"] is None
    write(tmp_path / "clips" / "consecutive_frame_sim.json", {"00000-00000": 0.95})
    assert TC_BENCH_I2V.score(item, sample, jury)["similarity"] == 0.95
    write(tmp_path / "clips" / "consecutive_frame_sim.json", {"00000-00000": "high"})
    fake.asked.clear()
    with pytest.raises(InputError, match=r"sim\.json': '00000-00000' should be a number"):
        TC_BENCH_I2V.score(item, sample, jury)
    assert not fake.asked


def test_the_cost_is_that_of_the_messages(tmp_path: Path) -> None:
    jury, fake = jury_of(lambda asked: "yes")
    items = TC_BENCH_T2V.items(write_root(tmp_path))[:3]
    assert TC_BENCH_T2V.cost is not None
    cost = TC_BENCH_T2V.cost(items, jury)
    assert cost == Cost(calls=12, tokens_in=3 * (4 * 10 + (1 + 2 + 5 + 1) * 100), tokens_out=48)
    TC_BENCH_T2V.score(items[0], numbered(16), jury)
    assert len(fake.asked) == 4


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("t2v_prompts.json", lambda c: c[:149], "holds 149 prompts, not 0 to 149"),
        ("t2v_prompts.json", lambda c: [*c[:149], c[0]], "row 150: 'id' should be a number of its own, got 0"),
        ("t2v_prompts.json", lambda c: [{"id": 0, "type": "a"}, *c[1:]], "row 1: 'prompt' should be a text"),
        ("t2v_prompts.json", lambda c: {}, "should be a list"),
        ("t2v_assertions.json", lambda c: {**c, "x": []}, "its keys are the numbers of prompts, got 'x'"),
        ("t2v_assertions.json", lambda c: {**c, "3": []}, "prompt 3: no assertion is on 'transition completion'"),
        (
            "t2v_assertions.json",
            lambda c: {**c, "3": [{**ASSERTIONS[0], "frames": [0]}]},
            "prompt 3, assertion 1: 'frames' should be numbers from 1 to 16",
        ),
        (
            "t2v_assertions.json",
            lambda c: {**c, "3": [{**ASSERTIONS[0], "type": "other"}]},
            "prompt 3, assertion 1: 'type' should be",
        ),
        ("t2v_assertions.json", lambda c: {**c, "3": [{"frames": [1], "type": DONE}]}, "'assertion' should be a text"),
    ],
)
def test_faulty_files_are_named(tmp_path: Path, name: str, change: Any, said: str) -> None:
    write_root(tmp_path)
    write(tmp_path / name, change(json.loads((tmp_path / name).read_text())))
    with pytest.raises(InputError) as caught:
        TC_BENCH_T2V.items(tmp_path)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_root_or_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs its data"):
        TC_BENCH_T2V.items(None)
    with pytest.raises(InputError, match=r"t2v_prompts\.json: missing; t2v_assertions\.json: missing"):
        TC_BENCH_T2V.items(tmp_path)


def test_either_name_of_a_question_is_read(tmp_path: Path) -> None:
    """The published data says `assertion`, the published script reads `question`."""
    write_root(tmp_path)
    renamed = [{**{k: v for k, v in a.items() if k != "assertion"}, "question": a["assertion"]} for a in ASSERTIONS]
    write(tmp_path / "t2v_assertions.json", {str(k): renamed for k in range(150)})
    assert first_item(tmp_path).data["assertions"][0]["question"] == "Is the apple green in the image?"


def answered(correct: float | None, kind: str, text: str = "yes") -> dict[str, Any]:
    answer = {"frames": [1], "gpt_answer": text, "question": "Is it?", "type": kind}
    return answer if correct is None else {**answer, "correct": correct}


def test_published_answers_are_added_up(tmp_path: Path) -> None:
    """Complete; not complete, 1 of 2; complete by a half; read anew as no: 2 of 4, and (1 + .5 + .75 + 0) / 4."""
    write_root(tmp_path)
    write(
        tmp_path / "eval_results" / "gpt_eval" / "t2v" / "sdxl+seine.json",
        {
            "00000-00000": [answered(1, DONE), answered(1, SAME)],
            "00000-00001": [answered(0, DONE, "no"), answered(1, REST)],
            "00001-00000": [answered(0.5, DONE, "unclear"), answered(1, SAME)],
            "00002-00000": [answered(None, DONE, "it is not")],
        },
    )
    found = replay(tmp_path, "t2v", "sdxl+seine")
    assert figures(found) == pytest.approx({"tcr@gpt-4-turbo": 0.5, "tc_score@gpt-4-turbo": 2.25 / 4})
    assert figures(found, "object binding") == pytest.approx({"tcr@gpt-4-turbo": 1, "tc_score@gpt-4-turbo": 0.75})


def write_published(root: Path, answers: Any, model: str) -> None:
    results = root / "eval_results"
    write(results / "gpt_eval" / "i2v" / f"{model}.json", answers)
    similarities = {name: 0.98 for name in answers}
    write(results / "i2v_consistency" / "consecutive_frame_sim" / "i2v" / f"{model}.json", similarities)


def test_a_recount_is_over_every_generator_and_ends_with_people(tmp_path: Path) -> None:
    assert TC_BENCH_I2V.recount is not None and TC_BENCH_T2V.recount is not None
    write_root(tmp_path, "i2v")
    with pytest.raises(InputError, match=r"no published answers in eval_results.gpt_eval.i2v; name a checkout"):
        TC_BENCH_I2V.recount(tmp_path)
    write_published(tmp_path, {"00000-00000": [answered(1, DONE)], "00001-00000": [answered(0, DONE)]}, "seine")
    write_published(tmp_path, {"00000-00000": [answered(0, DONE)]}, "lavie")
    humans = {"seine_00000-00000": [[5]], "seine_00001-00000": [[1]], "lavie_00000-00000": [[2]]}
    write(tmp_path / "eval_results" / "human_eval" / "i2v" / "human_scores_all.json", humans)
    found = TC_BENCH_I2V.recount(tmp_path)
    assert [(score.name, score.group) for score in found[:2]] == [
        ("tcr@gpt-4-turbo", "lavie"), ("tc_score@gpt-4-turbo", "lavie"),
    ]  # fmt: skip
    of_one = {score.name: score.figure.value for score in found if score.group == "seine"}
    assert of_one == pytest.approx({"tcr@gpt-4-turbo": 0.5, "tc_score@gpt-4-turbo": 2 / 3})
    of_kind = {score.name: score.figure.value for score in found if score.group == "seine, object binding"}
    assert of_kind == pytest.approx({"tcr@gpt-4-turbo": 0, "tc_score@gpt-4-turbo": 1 / 3})
    assert (found[-1].group, found[-1].figure) == ("Spearman with people", human_agreement(tmp_path))


def test_agreement_with_people_is_over_clips_that_have_both(tmp_path: Path) -> None:
    """Scores .5, 0, 1/3 of people's means 3, 1.5, 3 in ranks (3, 1, 2) and (2.5, 1, 2.5): 1.5 / root of 2 x 1.5."""
    results = tmp_path / "eval_results"
    answers = {
        "00000-00000": [answered(1, DONE), answered(0, DONE)],
        "00001-00000": [answered(0, DONE)],
        "00002-00000": [answered(0, DONE)],
        "00003-00000": [answered(1, DONE)],
    }
    similarities = {"00000-00000": 0.94, "00001-00000": 0.9, "00002-00000": 0.98, "00004-00000": 1.0}
    write(results / "gpt_eval" / "i2v" / "seine.json", answers)
    write(results / "i2v_consistency" / "consecutive_frame_sim" / "i2v" / "seine.json", similarities)
    humans = {
        "seine_00000-00000": [[5, 1, 3], [3, 3, 3]],
        "seine_00001-00000": [[1, 1, 1], [2, 2, 2]],
        "seine_00002-00000": [[3, 3, 3], [3, 3, 3]],
        "seine_00003-00000": [[1, 1, 1], [1, 1, 1]],  # has no similarity
        "seine_00004-00000": [[5, 5, 5], [5, 5, 5]],  # has no answers
    }
    write(results / "human_eval" / "i2v" / "human_scores_all.json", humans)
    figure = human_agreement(tmp_path)
    assert figure.count == 3
    assert figure.value == pytest.approx(1.5 / (2 * 1.5) ** 0.5)


def test_answers_on_unknown_clips_are_refused(tmp_path: Path) -> None:
    write_root(tmp_path)
    write(tmp_path / "eval_results" / "gpt_eval" / "t2v" / "a.json", {"00150-00000": [answered(1, DONE)]})
    with pytest.raises(InputError, match="'00150-00000', which is no clip"):
        replay(tmp_path, "t2v", "a")


def test_what_was_asked_is_one_word(tmp_path: Path) -> None:
    def answer(asked: Asked) -> str:
        assert asked.text.endswith("Answer with one word: yes or no.")
        return "yes"

    jury, _ = jury_of(answer)
    TC_BENCH_T2V.score(first_item(write_root(tmp_path)), numbered(16), jury)
