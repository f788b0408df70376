"""What submitted code says of a failure: it may be no text, or fail itself."""

import os

import pytest

from openfl_like.federation.failure import MAX_MESSAGE, FailureKind, failure_from_fields, one_line


class MuteError(Exception):
    """One that cannot say what it is about."""

    def __str__(self) -> str:
        raise RuntimeError("even this fails")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("first\nsecond\r\n\tthird"), "first second third"),
        (MuteError(), "it cannot say what happened: its own __str__ raises"),
        (OSError(f"no {os.fsdecode(b'caf' + bytes([0xE9]))}"), "no caf\\udce9"),
        (ValueError("x" * 5000), "x" * MAX_MESSAGE),
    ],
)
def test_what_an_exception_says_is_one_line_that_every_encoding_takes(error: Exception, said: str) -> None:
    assert one_line(error) == said
    assert one_line(error).encode()


def test_what_another_process_says_is_taken_so_that_it_can_be_passed_on() -> None:
    fields = {"kind": "task", "message": "half \udce9", "error": "\ud800Error", "file": "y" * 999}
    failure = failure_from_fields(fields)
    assert (failure.kind, failure.message, failure.error) == (FailureKind.TASK, "half \\udce9", "\\ud800Error")
    assert len(failure.file) == 200
