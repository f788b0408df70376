"""What goes wrong at a site is told, whatever it is: a Collaborator that says nothing is waited for."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from openfl_like.errors import UnreachableError
from openfl_like.federation.failure import FailedTaskError, Failure, FailureKind
from openfl_like.federation.ports import CollaboratorReport, TaskFailure
from openfl_like.federation.task import Assignment, Phase
from openfl_like.pki.files import Credentials
from openfl_like.plan.schema import Plan
from openfl_like.services.collaborator import Collaborator, CollaboratorArguments
from openfl_like.store.site_files import CollaboratorFiles
from openfl_like.store.site_journal import notes
from openfl_like.wire.aggregator import CollaboratorSession


class DefectiveSession:
    """Cannot give a model.

    Args:
        error: Why not; default: a reason that nobody has thought of.
    """

    def __init__(self, error: Callable[[str], Exception] = ZeroDivisionError) -> None:
        self.error, self.reports = error, list[CollaboratorReport]()

    async def model(self, digest: str, path: Path, recyclable: Path, _admit: Callable[[int], None]) -> None:
        raise self.error(f"{digest} in {path.parent.name} over {recyclable.parent.name}")

    def report(self, report: CollaboratorReport) -> None:
        self.reports.append(report)


def collaborator(directory: Path) -> Collaborator:
    plan = cast("Plan", None)  # neither of them is looked at before there is a model
    credentials = cast("Credentials", None)
    shard = directory / "shard.yaml"
    CollaboratorFiles(directory).prepare()
    return Collaborator(CollaboratorArguments("e-1", plan, directory, shard, "here:1", credentials, directory))


ASSIGNMENT = Assignment(2, Phase.TRAIN, "bern", (), "ab12", 7)


async def test_an_error_that_nobody_has_thought_of_is_told_too(tmp_path: Path) -> None:
    (tmp_path / "shard.yaml").write_text("template: heart_disease\n")
    session = DefectiveSession()
    await collaborator(tmp_path)._attempt(cast("CollaboratorSession", session), ASSIGNMENT)
    told = Failure(FailureKind.TASK, "ab12 in models over models", "ZeroDivisionError")
    assert session.reports == [TaskFailure(2, Phase.TRAIN, told)]
    (noted,) = notes(CollaboratorFiles(tmp_path).performed)[0]
    assert (noted.round, noted.failure) == (2, told.message)


@pytest.mark.parametrize("policy", ["logs: {share: false}\n", "logs: {share: fals}\n"])
async def test_what_code_says_stays_at_a_site_that_keeps_its_logs(
    tmp_path: Path, policy: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "shard.yaml").write_text(f"template: heart_disease\n{policy}")
    session = DefectiveSession()
    await collaborator(tmp_path)._attempt(cast("CollaboratorSession", session), ASSIGNMENT)
    told = Failure(FailureKind.TASK, "what it said stays at the site, which keeps its logs", "ZeroDivisionError")
    assert session.reports == [TaskFailure(2, Phase.TRAIN, told)]
    assert "ab12 in models over models" in caplog.text


@pytest.mark.parametrize(("policy", "told"), [("", "float32[16, 30]"), ("logs: {share: false}\n", "")])
async def test_what_a_batch_was_like_stays_at_a_site_that_keeps_its_logs(
    tmp_path: Path, policy: str, told: str
) -> None:
    (tmp_path / "shard.yaml").write_text(f"template: heart_disease\n{policy}")
    failure = Failure(FailureKind.TASK, "no", "ValueError", samples="float32[16, 30]", targets="int64[16]")
    session = DefectiveSession(partial(FailedTaskError, failure=failure))
    await collaborator(tmp_path)._attempt(cast("CollaboratorSession", session), ASSIGNMENT)
    (report,) = session.reports
    assert isinstance(report, TaskFailure)
    assert (report.failure.samples, bool(report.failure.targets)) == (told, bool(told))


async def test_an_aggregator_that_is_away_is_no_failure_of_the_site(tmp_path: Path) -> None:
    session = DefectiveSession(UnreachableError)
    await collaborator(tmp_path)._attempt(cast("CollaboratorSession", session), ASSIGNMENT)
    assert session.reports == []
    assert notes(CollaboratorFiles(tmp_path).performed) == ((), None)


class LargeModelSession(DefectiveSession):
    """Offers a model of 2 MB."""

    async def model(self, _digest: str, path: Path, _recyclable: Path, admit: Callable[[int], None]) -> None:
        admit(2_000_000)
        raise AssertionError(f"{path.name} was taken")


@pytest.mark.parametrize("policy", ["", "logs: {share: false}\n"])
async def test_a_model_larger_than_the_site_takes_is_refused_in_our_words(tmp_path: Path, policy: str) -> None:
    (tmp_path / "shard.yaml").write_text(f"template: heart_disease\nlimits: {{model_gb: 0.001}}\n{policy}")
    session = LargeModelSession()
    await collaborator(tmp_path)._attempt(cast("CollaboratorSession", session), ASSIGNMENT)
    (report,) = session.reports
    assert isinstance(report, TaskFailure)
    assert str(report.failure) == (
        "refused: ModelTooLargeError: the model of the experiment 'e-1' has 2,000,000 bytes, this site takes 1,000,000 "
        "at most (if it is meant to be that large, raise limits.model_gb in the site's shard.yaml)"
    )
