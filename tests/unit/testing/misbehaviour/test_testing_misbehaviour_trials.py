"""What is drawn, and what is held to be wrong: a checker that accepts everything proves nothing."""

import pytest

from openfl_like.federation.history.cause import Cause, Condition, Why
from openfl_like.federation.status import Status
from openfl_like.testing.misbehaviour.trials import Interleaving, interleavings, wrong
from openfl_like.testing.misbehaviour.workload import ACTS, Harm

FIRST, SECOND = {("site-1", 1): "raises"}, {("site-2", 2): "is killed"}
BOTH = {("site-1", 1): "raises", ("site-2", 1): "sleeps"}
FINE = Why(Condition.FINE, "")


def why(site: str, number: int | None, phase: str = "train", message: str = "boom") -> Why:
    return Why(Condition.FAILED, "", Cause(message, site=site, phase=phase, round=number))


RIGHT = [
    (Interleaving({}, quorum=False), Status.FINISHED, FINE),
    (Interleaving({("site-1", 1): "floods its output"}, quorum=False), Status.FINISHED, FINE),
    (Interleaving(FIRST, quorum=False), Status.FAILED, why("site-1", 1)),
    (Interleaving(FIRST | SECOND, quorum=True), Status.FINISHED, why("site-1", 1)),
    (Interleaving(BOTH, quorum=True), Status.FAILED, why("site-2", 1)),
    (Interleaving({("site-1", 1): "closes all that is open"}, quorum=False), Status.FINISHED, FINE),
    (Interleaving({("site-1", 1): "closes all that is open"}, quorum=False), Status.FAILED, why("site-1", 1)),
]
WRONG = [
    (Interleaving({}, quorum=False), Status.FAILED, why("site-1", 1)),
    (Interleaving({}, quorum=False), Status.FAILED, FINE),
    (Interleaving(FIRST, quorum=False), Status.FINISHED, FINE),
    (Interleaving(FIRST, quorum=False), Status.FAILED, FINE),
    (Interleaving(FIRST, quorum=False), Status.FAILED, why("site-2", 1)),
    (Interleaving(FIRST, quorum=False), Status.FAILED, why("site-1", None)),
    (Interleaving(FIRST, quorum=False), Status.FAILED, why("site-1", 1, "evaluate")),
    (Interleaving(FIRST, quorum=False), Status.FAILED, why("site-1", 1, message="")),
    (Interleaving(FIRST | SECOND, quorum=False), Status.FAILED, why("site-2", 2)),
    (Interleaving(FIRST, quorum=True), Status.FINISHED, FINE),
    (Interleaving(BOTH, quorum=True), Status.FINISHED, why("site-1", 1)),
]


@pytest.mark.parametrize(("run", "status", "told"), RIGHT)
def test_what_had_to_come_is_accepted(run: Interleaving, status: Status, told: Why) -> None:
    assert wrong(run, status, told) == ""


@pytest.mark.parametrize(("run", "status", "told"), WRONG)
def test_what_must_not_come_is_named(run: Interleaving, status: Status, told: Why) -> None:
    assert wrong(run, status, told) != ""


def test_two_hundred_runs_have_every_act_and_a_seed_means_the_same_again() -> None:
    drawn = list(interleavings(1, 200))
    assert {name for run in drawn for name in run.acts.values()} == set(ACTS)
    assert drawn == list(interleavings(1, 200)) != list(interleavings(2, 200))
    assert {harm for harm, _ in ACTS.values()} == set(Harm)
