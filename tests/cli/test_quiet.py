"""The noise filter drops what it knows and nothing else."""

import logging

import pytest

from vgen.cli.quiet import KNOWN, quiet


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_known_messages_go_and_others_stay(name: str, caplog: pytest.LogCaptureFixture) -> None:
    quiet()
    logger = logging.getLogger(name)
    logger.warning("before: %s. After", KNOWN[name])
    logger.warning("something that matters")
    assert [record.message for record in caplog.records] == ["something that matters"]
