"""Who wrote a log line: a field, on its way through a pipe and in a file."""

import pytest

from openfl_like.printable import printable_line
from openfl_like.services.logs.writers import from_file, marked, to_file, unmarked, writer_at


@pytest.mark.parametrize("line", ["", "round 1", "worker: x", "collaborator: x", "\x1eworker", "a: b: c"])
@pytest.mark.parametrize("role", ["collaborator", "worker", "envoy"])
def test_a_line_is_read_as_its_writer_wrote_it(role: str, line: str) -> None:
    assert from_file("bern", to_file("bern", role, line)) == (role, line)
    assert from_file("aggregator", to_file("aggregator", "aggregator", line)) == ("aggregator", line)


def test_a_worker_cannot_take_its_mark_off_or_put_it_on() -> None:
    assert unmarked(marked(printable_line("\x1eone"))) == (True, "\\x1eone")
    assert unmarked("one") == (False, "one")


def test_a_line_of_the_first_version_is_a_collaborator_s_unless_it_says_otherwise() -> None:
    assert from_file("bern", "2026-01-01 connected") == ("collaborator", "2026-01-01 connected")
    assert from_file("bern", "worker: round 1") == ("worker", "round 1")


@pytest.mark.parametrize("role", ["", "director", "aggregator", "boss"])
def test_a_site_s_lines_are_written_by_what_a_site_has(role: str) -> None:
    assert writer_at("bern", role) == "collaborator"
    assert writer_at("aggregator", role) == "aggregator"
