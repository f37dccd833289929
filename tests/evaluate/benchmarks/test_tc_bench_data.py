"""What TC-Bench's published answers add up to; needs a checkout of its repository, named by VGEN_TC_BENCH."""

import os
from pathlib import Path

import pytest

from vgen.evaluate.benchmarks.tc_bench import TC_BENCH_I2V, TC_BENCH_T2V
from vgen.evaluate.benchmarks.tc_bench.replay import human_agreement

pytestmark = pytest.mark.data


@pytest.fixture
def root() -> Path:
    named = os.environ.get("VGEN_TC_BENCH", "")
    if not named:
        pytest.skip("VGEN_TC_BENCH names no checkout of TC-Bench")
    return Path(named)


def test_the_published_row_comes_out(root: Path) -> None:
    assert TC_BENCH_T2V.recount is not None
    tcr, score = (one for one in TC_BENCH_T2V.recount(root) if one.group == "sdxl+seine")
    assert tcr.figure.value == pytest.approx(0.1850, abs=5.1e-5)
    assert score.figure.value == pytest.approx(0.7062, abs=5.1e-5)


def test_agreement_with_people_is_as_it_was_found(root: Path) -> None:
    assert human_agreement(root).value == pytest.approx(0.43, abs=0.05)


def test_the_published_files_are_read_whole(root: Path) -> None:
    assert (len(TC_BENCH_T2V.items(root)), len(TC_BENCH_I2V.items(root))) == (750, 600)
