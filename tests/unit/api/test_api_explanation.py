"""Whom an experiment waits for, and what a machine told around the moment at which something went wrong."""

from dataclasses import replace

from openfl_like.api.explanation import AFTER_S, BEFORE_S, _ahead, around
from openfl_like.federation.parties import ExperimentSummary, Series, Waiting, WaitKind
from openfl_like.federation.status import Status

HOUR = Series(
    30.0,
    tuple(1000.0 + 30.0 * place for place in range(120)),
    {"cpu_percent": tuple(float(place) for place in range(120)), "gpu_percent": (5.0, *(None,) * 119)},
)


def test_it_is_the_part_about_the_moment_and_only_what_was_told_then() -> None:
    found = around(HOUR, 3000.0)
    assert found is not None
    assert found.times[0] <= 3000.0 - BEFORE_S < found.times[1]
    assert found.times[-1] == 3000.0 + AFTER_S - (3000.0 + AFTER_S - 1000.0) % 30.0
    assert set(found.values) == {"cpu_percent"}
    assert len(found.values["cpu_percent"]) == len(found.times)


def test_a_moment_of_which_nothing_is_known_has_none() -> None:
    assert around(HOUR, 1.0) is None
    assert around(HOUR, 90_000.0) is None


def test_one_that_was_submitted_earlier_is_waited_for_only_if_the_director_does_not_say_why() -> None:
    runs = ExperimentSummary("runs", "digits", Status.RUNNING, "", "ada", 1.0)
    earlier, last = (replace(runs, id=name, status=Status.QUEUED) for name in ("earlier", "last"))
    assert _ahead([runs, earlier, last], last) == ("runs", "earlier")
    waits = replace(last, waiting=Waiting(WaitKind.PLACE, running=1, places=1))
    assert _ahead([runs, earlier, waits], waits) == ("runs",)
