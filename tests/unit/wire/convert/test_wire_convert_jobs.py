"""Jobs of a simulation as messages: both ways, and what a peer may not send."""

import math

import pytest

from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.jobs import Job, JobAnswer, JobDone, JobFailed, Lease, NoJobs, Terms
from openfl_like.federation.task import Assignment, Phase, TaskCall, Update
from openfl_like.wire.convert.jobs import (
    MOST_JOBS,
    answers_from,
    answers_to,
    lease_from,
    lease_to,
    terms_from,
    terms_to,
)
from openfl_like.wire.protos import federation_pb2 as pb

ID, DIGEST = "0f" * 16, "ab" * 32
TRAIN = Assignment(3, Phase.TRAIN, "bern", (TaskCall("train", "train", {"epochs": 2}, trains=True),), DIGEST, 7, 1.5)
JOBS = (Job("basel", None), Job("bern", TRAIN))


def test_terms_survive() -> None:
    terms = Terms(DIGEST, 15.0)
    assert terms_from(pb.Terms.FromString(terms_to(terms).SerializeToString())) == terms


@pytest.mark.parametrize(
    ("digest", "lease_s"), [("../x", 15.0), ("", 15.0), (DIGEST, 0.0), (DIGEST, 1e9), (DIGEST, float("nan"))]
)
def test_other_terms_are_refused(digest: str, lease_s: float) -> None:
    with pytest.raises(ValueError, match=r"digest|lease|bundle"):
        terms_from(pb.Terms(bundle=digest, lease_s=lease_s))


@pytest.mark.parametrize("value", [Lease(ID, JOBS), NoJobs(), NoJobs(ended=True)])
def test_a_lease_survives(value: Lease | NoJobs) -> None:
    assert lease_from(pb.Lease.FromString(lease_to(value).SerializeToString())) == value


@pytest.mark.parametrize(
    "message",
    [
        pb.Lease(id="../../x", jobs=[pb.Job(site="bern")]),
        pb.Lease(id=ID),
        pb.Lease(id=ID, jobs=[pb.Job(site="bern")] * (MOST_JOBS + 1)),
        pb.Lease(id=ID, jobs=[pb.Job(site="../bern")]),
        pb.Lease(id=ID, jobs=[pb.Job(site="bern", assignment=pb.Assignment(phase="sleep"))]),
        pb.Lease(id=ID, jobs=[pb.Job(site="bern", assignment=pb.Assignment(phase="train", model="../model"))]),
        pb.Lease(id=ID, jobs=[pb.Job(site="bern", assignment=pb.Assignment(phase="train", deadline_s=math.nan))]),
        pb.Lease(id=ID, jobs=[pb.Job(site="bern", assignment=pb.Assignment(phase="train", deadline_s=0.0))]),
    ],
)
def test_a_lease_that_is_none_is_refused(message: pb.Lease) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        lease_from(message)


def test_answers_survive() -> None:
    update = Update(3, Phase.TRAIN, "bern", DIGEST, 40, {"train": {"loss": 0.5}}, 0.25)
    failed = JobFailed("E503", "no data", Failure(FailureKind.TASK, "no data", "ValueError", task="train"))
    answers: list[JobAnswer] = [JobDone(None), JobDone(update, b"model")]
    sent = [pb.JobAnswer.FromString(one.SerializeToString()) for one in answers_to(answers)]
    assert answers_from(sent, JOBS) == answers
    assert answers_from(answers_to([failed, JobDone(update)]), JOBS) == [failed, JobDone(update)]


def test_there_are_as_many_answers_as_jobs() -> None:
    with pytest.raises(ValueError, match="1 answers to 2 jobs"):
        answers_from(answers_to([JobDone(None)]), JOBS)
