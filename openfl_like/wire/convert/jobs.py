"""Values of a simulation's jobs to messages and back."""

import re
from collections.abc import Iterable, Sequence

from openfl_like.federation.failure import MAX_NAME, bounded
from openfl_like.federation.jobs import Job, JobAnswer, JobDone, JobFailed, Lease, NoJobs, Terms
from openfl_like.pki.roles import NAME
from openfl_like.wire.convert.rounds import assignment_from, assignment_to, update_from, update_to
from openfl_like.wire.convert.values import digest_from, failure_from, failure_to
from openfl_like.wire.protos import federation_pb2 as pb

MOST_JOBS = 1024
_LEASE = re.compile(r"[0-9a-f]{32}")
SHORTEST_LEASE_S, LONGEST_LEASE_S = 0.1, 3600.0


def terms_to(value: Terms) -> pb.Terms:
    """Return the message of what a worker goes by."""
    return pb.Terms(bundle=value.bundle, lease_s=value.lease_s)


def terms_from(message: pb.Terms) -> Terms:
    """Return what a worker goes by; raises ValueError for what nobody could."""
    if not SHORTEST_LEASE_S <= message.lease_s <= LONGEST_LEASE_S:
        raise ValueError(f"a lease of {message.lease_s:g} s")
    if not message.bundle:  # its digest becomes the name of a folder, which is emptied first
        raise ValueError("no bundle is named")
    return Terms(digest_from(message.bundle), message.lease_s)


def lease_to(value: Lease | NoJobs) -> pb.Lease:
    """Return the message of a lease, or that there are no jobs."""
    if isinstance(value, NoJobs):
        return pb.Lease(ended=value.ended)
    return pb.Lease(id=value.id, jobs=map(_job_to, value.jobs))


def _job_to(job: Job) -> pb.Job:
    return pb.Job(site=job.site, assignment=None if job.assignment is None else assignment_to(job.assignment))


def lease_from(message: pb.Lease) -> Lease | NoJobs:
    """Return a lease, or that there are no jobs; raises ValueError for a malformed one."""
    if not message.id:
        return NoJobs(message.ended)
    if not _LEASE.fullmatch(message.id):  # it becomes a part of the names of files
        raise ValueError(f"{message.id[:64]!a} is not the id of a lease")
    if not 1 <= len(message.jobs) <= MOST_JOBS:
        raise ValueError(f"a lease of {len(message.jobs)} jobs")
    return Lease(message.id, tuple(map(_job_from, message.jobs)))


def _job_from(message: pb.Job) -> Job:
    if not NAME.fullmatch(message.site):  # it becomes the name of a folder
        raise ValueError(f"{message.site[:64]!a} is not the name of a site")
    given = message.HasField("assignment")
    return Job(message.site, assignment_from(message.assignment, message.site) if given else None)


def answers_to(answers: Iterable[JobAnswer]) -> list[pb.JobAnswer]:
    """Return the messages of what came of jobs."""
    return [_answer_to(answer) for answer in answers]


def _answer_to(value: JobAnswer) -> pb.JobAnswer:
    if isinstance(value, JobFailed):
        failure = None if value.failure is None else failure_to(value.failure)
        return pb.JobAnswer(failed=pb.JobFailure(code=value.code, reason=value.reason, failure=failure))
    return pb.JobAnswer(update=None if value.update is None else update_to(value.update), file=value.content)


def answers_from(messages: Sequence[pb.JobAnswer], jobs: Sequence[Job]) -> list[JobAnswer]:
    """Return what came of these jobs; raises ValueError where an answer is malformed, or there are fewer or more."""
    if len(messages) != len(jobs):
        raise ValueError(f"{len(messages)} answers to {len(jobs)} jobs")
    return [_answer_from(message, job) for message, job in zip(messages, jobs, strict=True)]


def _answer_from(message: pb.JobAnswer, job: Job) -> JobAnswer:
    if message.HasField("failed"):
        failed = message.failed
        failure = failure_from(failed.failure) if failed.HasField("failure") else None
        return JobFailed(bounded(failed.code, MAX_NAME), bounded(failed.reason), failure)
    update = update_from(message.update, job.site) if message.HasField("update") else None
    return JobDone(update, message.file if message.HasField("file") else None)
