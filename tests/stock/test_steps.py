"""Calls with a callback as generators: order, result, errors, leaving early, threads."""

import threading
from collections.abc import Callable

import pytest
import torch

from vgen.stock.steps import steps_of


def counted(upto: int, log: list[str] | None = None) -> Callable[[Callable[[int], None]], str]:
    def call(report: Callable[[int], None]) -> str:
        for step in range(upto):
            if log is not None:
                log.append(f"step {step}")
            report(step)
        return "made"

    return call


def test_reports_come_in_order_and_the_result_last() -> None:
    steps, seen = steps_of(counted(3)), []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            assert end.value == "made"
            break
    assert seen == [0, 1, 2]


def test_a_call_works_only_while_somebody_waits() -> None:
    log: list[str] = []
    steps = steps_of(counted(3, log))
    assert log == []
    next(steps)
    threading.Event().wait(0.05)
    assert log == ["step 0"]
    next(steps)
    assert log == ["step 0", "step 1"]
    steps.close()


def test_leaving_ends_the_call_at_its_next_report() -> None:
    log: list[str] = []
    steps, before = steps_of(counted(1000, log)), threading.active_count()
    assert next(steps) == 0
    steps.close()
    assert log == ["step 0"] and threading.active_count() == before


def test_what_the_call_raises_arrives() -> None:
    def call(report: Callable[[int], None]) -> None:
        report(1)
        raise ValueError("at step 2")

    steps = steps_of(call)
    assert next(steps) == 1
    with pytest.raises(ValueError, match="at step 2"):
        next(steps)


def test_the_call_has_as_many_threads_as_its_caller() -> None:
    def call(report: Callable[[int], None]) -> int:
        report(torch.get_num_threads())
        return 0

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert list(steps_of(call)) == [2]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
