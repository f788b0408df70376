"""The fake federation as a blocking client: what its Director is told to say, it says."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from openfl_like.errors import ConflictError, NotFoundError
from openfl_like.federation.parties import ExperimentSummary, LogLines
from openfl_like.federation.status import Status
from openfl_like.testing.federation import FakeFederation
from openfl_like.testing.performers import FakePerformer

PLAN = Path(__file__).parents[2] / "assets" / "obedient" / "plan.yaml"


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[FakeFederation]:
    with FakeFederation(tmp_path, {"bern": FakePerformer(), "zurich": FakePerformer()}) as made:
        yield made


def _end(federation: FakeFederation, experiment: str) -> ExperimentSummary:
    *_, last = federation.watch(experiment)
    assert isinstance(last, ExperimentSummary)
    return last


def test_experiments_run_one_after_the_other_and_end(federation: FakeFederation) -> None:
    first, second = federation.submit(PLAN), federation.submit(PLAN)
    assert (first.owner, first.status) == ("ada", Status.QUEUED)
    ends = [_end(federation, experiment.id) for experiment in (first, second)]
    assert [end.status for end in ends] == [Status.FINISHED, Status.FINISHED]
    assert ends[0].ended_at <= ends[1].started_at
    assert federation.experiments() == ends


def test_logs_are_what_the_test_put_there(federation: FakeFederation) -> None:
    experiment = federation.submit(PLAN).id
    lines = [LogLines(experiment, site, (f"hello from {site}",), "worker") for site in ("bern", "zurich")]
    federation.fake.logs[experiment] = lines
    assert list(federation.logs(experiment, "zurich")) == lines[1:]
    assert list(federation.logs(experiment, follow=True)) == lines
    assert list(federation.logs(experiment, role="collaborator")) == []


def test_too_few_sites_are_a_failure_and_it_can_be_resumed_when_they_are_there(federation: FakeFederation) -> None:
    asked = federation.submit(PLAN, ["admission.collaborators=[oslo]", "admission.timeout_s=0.01"]).id
    failed = _end(federation, asked)
    assert failed.failure is not None
    assert (failed.status, failed.failure.site) == (Status.FAILED, "oslo")
    federation.fake.sites["oslo"] = FakePerformer()
    assert federation.resume(asked).resumed_by == "ada"
    assert _end(federation, asked).status is Status.FINISHED


def test_there_are_no_checkpoints(federation: FakeFederation, tmp_path: Path) -> None:
    experiment = federation.submit(PLAN).id
    with pytest.raises(NotFoundError):
        federation.checkpoints.fetch(experiment, tmp_path / "checkpoint.tar")
    with pytest.raises(ConflictError):
        federation.cancel(_end(federation, experiment).id)
