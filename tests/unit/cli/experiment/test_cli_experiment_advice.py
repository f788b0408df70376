"""What can be done about an experiment."""

from dataclasses import replace

import pytest
from answers import summary

from openfl_like.api.explanation import Explanation
from openfl_like.cli.experiment.advice import advice
from openfl_like.cli.main import fx
from openfl_like.federation.failure import FailureKind
from openfl_like.federation.history.cause import Cause, Condition, Why
from openfl_like.federation.status import Status

KINDS = [*(kind for kind in FailureKind if kind is not FailureKind.TOLD), None]


def about(
    condition: Condition,
    status: Status,
    cause: Cause | None = None,
    waits_for: tuple[str, ...] = (),
    problems: tuple[str, ...] = (),
) -> str:
    return advice(Explanation(summary(status), Why(condition, "", cause, waits_for), problems=problems))


@pytest.mark.parametrize("kind", KINDS)
def test_every_failure_has_a_cure_and_its_commands_exist(kind: FailureKind | None) -> None:
    told = about(Condition.FAILED, Status.FAILED, Cause("boom", site="bern", kind=kind))
    assert "{" not in told
    assert "digits-1" in told or "submit the plan again" in told
    commands = [part.split(",")[0].split(";")[0].split() for part in told.split("fx ")[1:]]
    for noun, *rest in commands:
        group = fx.get_command(None, noun)  # type: ignore[arg-type] # the group needs no context to find a noun
        assert group is not None
        verbs = getattr(group, "commands", {})
        assert not verbs or rest[0] in verbs, told


def test_code_that_raised_is_named_with_its_line() -> None:
    cause = Cause("boom", "ValueError", "bern", file="src/model.py", line=7, kind=FailureKind.TASK, task="train")
    assert about(Condition.FAILED, Status.FAILED, cause) == "mend src/model.py:7, then submit the plan again"
    odd = Cause("boom", "ValueError", "bern", file="src/{model}.py", line=7, kind=FailureKind.TASK, task="train")
    assert about(Condition.FAILED, Status.FAILED, odd) == "mend src/{model}.py:7, then submit the plan again"


def test_a_file_that_may_be_the_sites_own_is_for_whoever_runs_the_site() -> None:
    cause = Cause("no such file", "FileNotFoundError", "bern", file="table.py", line=7, kind=FailureKind.TASK)
    assert about(Condition.FAILED, Status.FAILED, cause) == (
        "mend table.py:7, or ask whoever runs site bern, if that file is the site's own, then submit the plan again"
    )


def test_who_waits_is_told_whether_there_is_anything_to_do() -> None:
    assert about(Condition.WAITS, Status.QUEUED).startswith("nothing, it starts by itself")
    assert "start what is missing" in about(Condition.WAITS, Status.STARTING, None, ("bern",))
    assert "fx envoy show bern" in about(Condition.WAITS, Status.RUNNING, None, ("bern",))
    assert "fx experiment watch digits-1" in about(Condition.WAITS, Status.RUNNING)
    assert "fx experiment watch digits-1" in about(Condition.WAITS, Status.RUNNING, None, ("aggregator",))
    full = ("there is no room on the disk",)
    told = about(Condition.WAITS, Status.QUEUED, None, full, full)
    assert told.startswith("mend what the Director lacks, and it goes on by itself")


def test_without_a_best_model_the_command_names_the_last_one() -> None:
    fine = Explanation(summary(Status.FINISHED), Why(Condition.FINE, ""), has_best=False)
    assert advice(fine) == "fetch its last model: fx experiment model digits-1 --which last"
    part = replace(summary(Status.FINISHED), degraded=True)
    why = Why(Condition.DEGRADED, "", Cause("boom", site="bern", kind=FailureKind.LEFT))
    assert advice(Explanation(part, why, has_best=False)).endswith("fx experiment model digits-1 --which last")


def test_what_has_ended_well_or_was_cancelled_leads_to_the_next_command() -> None:
    assert "fx experiment model digits-1" in about(Condition.FINE, Status.FINISHED)
    assert "fx experiment resume digits-1" in about(Condition.CANCELLED, Status.CANCELLED)
