"""What a worker of another host makes of leases: what it tells of them, and what it leaves behind."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from openfl_like.errors import ConflictError, NotFoundError, UnreachableError, UsageError
from openfl_like.federation.failure import FailureKind
from openfl_like.federation.jobs import Job, JobAnswer, JobDone, JobFailed, Lease, NoJobs, Terms
from openfl_like.federation.task import Assignment, Phase
from openfl_like.pki.files import Credentials
from openfl_like.plan.schema import Plan
from openfl_like.processes.batch import Answer, Batch, Setting
from openfl_like.runtimes.process import ProcessWorkers
from openfl_like.services import job_worker
from openfl_like.services.daemon.lock import only_one
from openfl_like.services.job_worker import (
    MOST_MESSAGE_BYTES,
    JobWorkerArguments,
    _do,
    _JoinedSimulation,
    _served,
    run_job_worker,
)
from openfl_like.wire.jobs import JobsClient

LEASE = Lease("0f" * 16, (Job("bern", Assignment(1, Phase.INITIALISE, "bern", (), "", 7)),))
PLAN = Plan.model_validate(
    {
        "name": "x",
        "task_runner": {"template": "a:B"},
        "data_loader": {"template": "numpy"},
        "tasks": {"train": {"function": "train"}},
    }
)
UPDATE = {"round": 1, "phase": "initialise", "collaborator": "bern", "digest": "ab" * 32, "num_samples": 1}


@dataclass
class TalkingClient:
    """Notes what a simulation is told.

    Args:
        renewal: What a renewal raises.
        refusal: What an answer is refused with.
        leases: What is given, one after the other.
    """

    renewal: Exception | None = None
    refusal: Exception | None = None
    leases: Callable[[], Lease | NoJobs] = NoJobs
    told: list[JobAnswer] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    delivered: list[int] = field(default_factory=list)

    async def next_lease(self, bundle: str) -> Lease | NoJobs:
        await asyncio.sleep(0)
        assert bundle == "ab" * 32
        return self.leases()

    async def renew(self, lease: str) -> None:
        assert lease == LEASE.id
        if self.renewal is not None:
            raise self.renewal

    async def complete(self, lease: str, answers: Sequence[JobAnswer]) -> None:
        assert lease == LEASE.id
        if self.refusal is not None:
            raise self.refusal
        self.told.extend(answers)

    async def give_up(self, lease: str, reason: str) -> None:
        assert lease == LEASE.id
        self.given_up.append(reason)

    async def deliver(self, lease: str, job: int, path: Path) -> None:
        assert lease == LEASE.id
        assert job == 0
        self.delivered.append(path.stat().st_size)


@dataclass
class OneAnswer:
    """Workers that answer this, or never.

    Args:
        told: The answer.
        in_file: Bytes of the update's file.
    """

    told: Mapping[str, Any] | None
    in_file: int | None = None

    async def answers(self, worker: int, batch: Batch, limit_s: float | None) -> Sequence[Answer]:
        assert (worker, limit_s) == (0, None)
        if self.told is None:
            await asyncio.get_running_loop().create_future()
        if self.in_file is not None:
            Path(batch.orders[0].out).write_bytes(b"x" * self.in_file)
        return [Answer(self.told or {})]


def joined(client: TalkingClient, folder: Path, lease_s: float = 15.0) -> _JoinedSimulation:
    setting = Setting("", "", str(folder / "sites"), "cpu")
    terms = Terms("ab" * 32, lease_s)
    return _JoinedSimulation(cast("JobsClient", client), terms, PLAN, setting, folder)


async def do(client: TalkingClient, workers: OneAnswer, folder: Path, lease_s: float = 15.0) -> None:
    async with asyncio.timeout(10):
        await _do(joined(client, folder, lease_s), cast("ProcessWorkers", workers), 0, LEASE)


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"ready": {}},
        {"update": None},
        {"update": {**UPDATE, "round": 2}},
        {"update": {**UPDATE, "num_samples": -1}},
        {"update": {**UPDATE, "metrics": {"train": {str(number): 0.0 for number in range(1001)}}}},
        {"error": None},
        {"error": {"code": 1}},
        {"error": {"code": "E503", "reason": "", "failure": {"kind": "?"}}},
    ],
)
async def test_an_answer_that_is_none_is_the_site_s_failure(told: Mapping[str, Any], tmp_path: Path) -> None:
    client = TalkingClient()
    await do(client, OneAnswer(told), tmp_path)
    [answer] = client.told
    assert isinstance(answer, JobFailed)
    assert answer.failure is not None
    assert answer.failure.kind is FailureKind.WORKER


async def test_what_code_says_of_its_failure_can_be_told(tmp_path: Path) -> None:
    client = TalkingClient()
    await do(client, OneAnswer({"error": {"code": "E503\ud800", "reason": "\ud800" + "x" * 100_000}}), tmp_path)
    [answer] = client.told
    assert isinstance(answer, JobFailed)
    assert len((answer.code + answer.reason).encode()) < 10_000


@pytest.mark.parametrize("size", [3, MOST_MESSAGE_BYTES + 1])
async def test_no_file_of_an_update_stays(size: int, tmp_path: Path) -> None:
    client = TalkingClient()
    await do(client, OneAnswer({"update": UPDATE}, size), tmp_path)
    [answer] = client.told
    assert isinstance(answer, JobDone)
    assert (answer.content is None, client.delivered) == ((True, [size]) if size > 3 else (False, []))
    assert list((tmp_path / "updates").iterdir()) == []


@pytest.mark.parametrize("refusal", [UsageError("the message is malformed"), ValueError("no message")])
async def test_jobs_whose_answers_are_refused_are_given_up(refusal: Exception, tmp_path: Path) -> None:
    client = TalkingClient(refusal=refusal)
    await do(client, OneAnswer({"update": UPDATE}, 3), tmp_path)
    assert client.given_up == [str(refusal)]


async def test_nothing_is_done_for_a_lease_that_has_run_out(tmp_path: Path) -> None:
    client = TalkingClient(renewal=NotFoundError("the lease has run out"))
    await do(client, OneAnswer(None), tmp_path, 0.01)
    assert (client.told, client.given_up) == ([], [])


async def test_a_lease_that_nobody_can_be_asked_about_has_run_out(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError):
        await do(TalkingClient(renewal=UnreachableError("gone")), OneAnswer(None), tmp_path, 0.01)


async def test_what_one_process_is_told_of_the_end_holds_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = iter([LEASE])
    work = joined(TalkingClient(leases=lambda: next(given, NoJobs(ended=True))), tmp_path)
    began = asyncio.Event()

    async def endless(*_: object) -> None:
        began.set()
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(job_worker, "_do", endless)
    async with asyncio.timeout(10):
        assert await _served(work, 2)
    assert began.is_set()


async def test_two_workers_never_share_a_directory(tmp_path: Path) -> None:
    settings = JobWorkerArguments("localhost:1", cast("Credentials", None), tmp_path, 1)
    with only_one(tmp_path, "worker"), pytest.raises(ConflictError, match="another worker uses this directory"):
        await run_job_worker(settings)
