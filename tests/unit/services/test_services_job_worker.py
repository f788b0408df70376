"""A worker of another host: what it tells of its processes' answers, and what it leaves on its disk."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from openfl_like.federation.failure import FailureKind
from openfl_like.federation.jobs import Job, JobAnswer, JobDone, JobFailed, Lease, Terms
from openfl_like.federation.task import Assignment, Phase
from openfl_like.plan.schema import Plan
from openfl_like.processes.batch import Answer, Batch, Setting
from openfl_like.processes.worker import fields_of
from openfl_like.runtimes.process import ProcessWorkers
from openfl_like.services.job_worker import _do, _JoinedSimulation
from openfl_like.tensors.manifest import keep_manifest, manifest_of
from openfl_like.wire.jobs import JobsClient

WORK = Assignment(1, Phase.INITIALISE, "bern", (), "", 7)
LEASE = Lease("ab" * 16, (Job("bern", WORK),))


class Simulation:
    """Takes what a worker tells it.

    Attributes:
        told: What came of the lease.
    """

    def __init__(self) -> None:
        self.told: Sequence[JobAnswer] = ()

    async def complete(self, lease: str, answers: Sequence[JobAnswer]) -> None:
        """Take the answers."""
        assert lease == LEASE.id
        self.told = answers


class Processes:
    """Answer as they are told, with a file for each order."""

    def __init__(self, told: dict[str, object]) -> None:
        self._told = told

    async def answers(self, worker: int, batch: Batch, limit_s: float | None) -> list[Answer]:
        """See `ProcessWorkers`."""
        del worker, limit_s
        for order in batch.orders:
            Path(order.out).write_bytes(b"a model")
            keep_manifest(Path(order.out), manifest_of(Path(order.out)))
        await asyncio.sleep(0)
        return [Answer(self._told) for _ in batch.orders]


async def told_of(told: dict[str, object], folder: Path) -> Sequence[JobAnswer]:
    """What a simulation hears of a lease whose process answers this."""
    simulation, setting = Simulation(), Setting("", "", str(folder / "sites"), "cpu")
    client, plan = cast("JobsClient", simulation), cast("Plan", None)
    work = _JoinedSimulation(client, Terms("cd" * 32, 60.0), plan, setting, folder)
    await _do(work, cast("ProcessWorkers", Processes(told)), 0, LEASE)
    return simulation.told


def good(folder: Path) -> dict[str, object]:
    path = folder / "model"
    path.write_bytes(b"a model")
    update = {"round": 1, "phase": "initialise", "collaborator": "bern", "num_samples": 0, "metrics": {}}
    return {"update": {**update, "digest": manifest_of(path).digest}}


async def test_an_update_travels_and_no_file_of_it_stays(tmp_path: Path) -> None:
    [answer] = await told_of(good(tmp_path), tmp_path)
    assert isinstance(answer, JobDone)
    assert answer.content == b"a model"
    assert list((tmp_path / "updates").iterdir()) == []


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"update": None},
        {"update": {"round": 1}},
        {"update": {**fields_of(WORK)}},
        {"error": None},
        {"error": {"code": "E503", "reason": "x", "failure": {"kind": "nonsense"}}},
    ],
)
async def test_an_answer_that_means_nothing_is_the_failure_of_the_job_alone(
    tmp_path: Path, told: dict[str, object]
) -> None:
    [answer] = await told_of(told, tmp_path)
    assert isinstance(answer, JobFailed)
    assert answer.reason.startswith("its worker answered what is not a valid answer: ")
    assert answer.failure is not None
    assert answer.failure.kind is FailureKind.WORKER
    assert list((tmp_path / "updates").iterdir()) == []
