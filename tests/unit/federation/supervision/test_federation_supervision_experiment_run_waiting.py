"""Which envoys an experiment waits for that has its turn."""

import pytest

from openfl_like.federation.parties import Waiting, WaitKind
from openfl_like.federation.supervision.experiment_run import ExperimentRun
from openfl_like.federation.supervision.run_events import EnvoysThere, Finish, Recovered, WaitForEnvoys
from openfl_like.plan.schema import Admission


@pytest.mark.parametrize(
    ("admission", "awaited"),
    [
        (
            Admission(collaborators=("a", "b", "c"), min_collaborators=2),
            Waiting(WaitKind.ENVOYS, envoys=("c",), more=1),
        ),
        (Admission(min_collaborators=4), Waiting(WaitKind.ENVOYS, more=2)),
    ],
)
def test_while_it_gathers_it_says_which_envoys_it_waits_for(admission: Admission, awaited: Waiting) -> None:
    run = ExperimentRun()
    assert run.waiting(()) is None
    run.handle(Recovered(admission, frozenset(), ()))
    assert run.waiting(("a", "b")) == awaited
    assert run.waiting(("a", "b", "c", "d")) is None
    run.handle(EnvoysThere(("a", "b", "c", "d")))
    assert run.waiting(()) is None


def test_envoys_are_enough_when_those_that_are_wanted_are_among_them() -> None:
    some, anybody = WaitForEnvoys(frozenset("ab"), 2, 1.0), WaitForEnvoys(frozenset(), 2, 1.0)
    assert [some.met_by(("a", "c")), some.met_by(("a", "b", "c"))] == [False, True]
    assert [anybody.met_by(("a",)), anybody.met_by(("x", "y"))] == [False, True]


def test_a_site_that_is_there_without_the_data_is_told_apart_from_one_that_is_not() -> None:
    run = ExperimentRun()
    admission = Admission(collaborators=("a", "b", "c"), timeout_s=5)
    run.handle(Recovered(admission, frozenset(), ("a",)))
    (end,) = run.handle(EnvoysThere(("a",), ("c", "z")))
    assert isinstance(end, Finish)
    assert end.outcome.reason == (
        "1 of 3 envoys were there within 5 s; missing: b, c; there, but without its data or at work for others: c"
    )
