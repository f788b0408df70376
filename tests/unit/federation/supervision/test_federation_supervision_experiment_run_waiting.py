"""Which envoys an experiment waits for that has its turn."""

import pytest

from openfl_like.federation.parties import Waiting, WaitKind
from openfl_like.federation.supervision.experiment_run import ExperimentRun
from openfl_like.federation.supervision.run_events import EnvoysThere, Recovered
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
