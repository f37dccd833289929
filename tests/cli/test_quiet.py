"""The noise filter drops what it knows and nothing else."""

import logging

import pytest

from vgen.cli.quiet import KNOWN, quiet


@pytest.mark.parametrize(("name", "message"), [(name, message) for name in sorted(KNOWN) for message in KNOWN[name]])
def test_known_messages_go_and_others_stay(name: str, message: str, caplog: pytest.LogCaptureFixture) -> None:
    quiet()
    logger = logging.getLogger(name)
    logger.warning("before: %s. After", message)
    logger.warning("something that matters")
    assert [record.message for record in caplog.records] == ["something that matters"]
