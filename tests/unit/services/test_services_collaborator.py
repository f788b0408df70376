"""What goes wrong at a site is told, whatever it is: a Collaborator that says nothing is waited for."""

from pathlib import Path
from typing import cast

from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.ports import CollaboratorReport, TaskFailure
from openfl_like.federation.task import Assignment, Phase
from openfl_like.pki.files import Credentials
from openfl_like.plan.schema import Plan
from openfl_like.services.collaborator import Collaborator, CollaboratorArguments
from openfl_like.wire.aggregator import CollaboratorSession


class DefectiveSession:
    """Cannot give a model, for a reason that nobody has thought of."""

    def __init__(self) -> None:
        self.reports: list[CollaboratorReport] = []

    async def model(self, digest: str, path: Path, recyclable: Path) -> None:
        raise ZeroDivisionError(f"{digest} in {path.parent.name} over {recyclable.parent.name}")

    def report(self, report: CollaboratorReport) -> None:
        self.reports.append(report)


async def test_an_error_that_nobody_has_thought_of_is_told_too(tmp_path: Path) -> None:
    plan = cast("Plan", None)  # neither of them is looked at before there is a model
    credentials = cast("Credentials", None)
    arguments = CollaboratorArguments("e-1", plan, tmp_path, tmp_path / "shard.yaml", "here:1", credentials, tmp_path)
    session = DefectiveSession()
    assignment = Assignment(2, Phase.TRAIN, "bern", (), "ab12", 7)
    await Collaborator(arguments)._attempt(cast("CollaboratorSession", session), assignment)
    told = Failure(FailureKind.TASK, "ab12 in models over models", "ZeroDivisionError")
    assert session.reports == [TaskFailure(2, Phase.TRAIN, told)]
