"""Which steps and layers stay dense."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgen.attention import Schedule
from vgen.errors import ConfigError

SIGMAS = (1.0, 0.9, 0.7, 0.4, 0.1)


@given(st.integers(0, 5), st.integers(0, 5))
def test_first_and_last_steps_by_their_noise_levels(first: int, last: int) -> None:
    if first + last > 5:
        with pytest.raises(ConfigError, match="do not fit into 5 steps"):
            Schedule.of_steps(SIGMAS, first=first, last=last)
        return
    schedule = Schedule.of_steps(SIGMAS, first=first, last=last)
    dense = [schedule.dense(0, sigma) for sigma in SIGMAS]
    assert dense == [step < first or step >= 5 - last for step in range(5)]


def test_leading_layers_at_every_noise_level() -> None:
    schedule = Schedule.of_steps(SIGMAS, layers=2)
    assert [schedule.dense(layer, sigma) for layer in (0, 1, 2) for sigma in (1.0, None)] == [True] * 4 + [False] * 2


def test_a_schedule_by_noise_level_needs_one() -> None:
    with pytest.raises(AssertionError, match="noise level"):
        Schedule.of_steps(SIGMAS, first=1).dense(3, None)


def test_rounding_of_a_noise_level_changes_nothing() -> None:
    schedule = Schedule.of_steps(SIGMAS, first=2, last=1)
    for sigma in SIGMAS:
        assert (
            schedule.dense(0, sigma) == schedule.dense(0, sigma * (1 + 1e-6)) == schedule.dense(0, sigma * (1 - 1e-6))
        )
