"""What is tried again and again is said once, and now and then."""

import logging

import pytest

from openfl_like.services.daemon.repeated_warning import RepeatedWarning

log = logging.getLogger(__name__)


def test_the_same_is_said_again_after_a_while_and_anything_else_at_once(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    warning = RepeatedWarning(log, clock=lambda: now[0], period_s=10)
    for moment, text in ((0, "away"), (1, "away"), (9, "away"), (10, "away"), (11, "away"), (12, "full"), (13, "away")):
        now[0] = moment
        warning.say(text)
    warning.over()
    warning.say("away")
    assert [item.getMessage() for item in caplog.records] == [
        "away", "away (the same 2 times more since)", "full", "away", "away",
    ]  # fmt: skip
