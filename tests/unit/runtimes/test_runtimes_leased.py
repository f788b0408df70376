"""Jobs that are leased: whose they are, until when, and where their updates go."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from openfl_like.errors import ConflictError, NotFoundError, UpdateRefusedError, UsageError
from openfl_like.federation.failure import FailedTaskError, Failure, FailureKind
from openfl_like.federation.jobs import GivenUp, JobDone, JobFailed, Lease, NoJobs
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.processes.batch import Answer, Batch, Setting, SiteOrder
from openfl_like.processes.worker_client import value_of
from openfl_like.runtimes.leased import LeasedJobs
from openfl_like.runtimes.local import LOADING_S
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.pool import WorkerLostError
from openfl_like.tensors.container import write_tensors
from openfl_like.tensors.manifest import Manifest, keep_manifest, manifest_of
from openfl_like.wire.transfer.chunks import part_of

BUNDLE = Manifest.of_content(b"code").digest


@pytest.fixture
def jobs(tmp_path: Path, repository: ModelRepository) -> LeasedJobs:
    bundle = tmp_path / "bundle.tar"
    bundle.write_bytes(b"code")
    return LeasedJobs(bundle, tmp_path / "leased", repository, lease_s=0.2)


def batch(out: Path, *sites: str) -> Batch:
    work = {site: Assignment(1, Phase.INITIALISE, site, (), "", 7) for site in sites}
    orders = [SiteOrder(site, "", work[site], "", str(out)) for site in sites]
    return Batch(Setting("", "", "", "cpu"), tuple(orders))


async def leased(jobs: LeasedJobs, given: Batch) -> tuple["asyncio.Task[Sequence[Answer]]", Lease]:
    """Have a worker take a batch."""
    jobs.register("north")
    waiting = asyncio.create_task(jobs.done(given))
    lease = await jobs.next_lease("north", BUNDLE)
    assert isinstance(lease, Lease)
    return waiting, lease


async def test_a_lease_that_is_not_renewed_is_lost_and_its_worker_told(jobs: LeasedJobs, tmp_path: Path) -> None:
    waiting, lease = await leased(jobs, batch(tmp_path / "out", "bern"))
    with pytest.raises(WorkerLostError, match=r"'north' was not heard of for 0.2 s"):
        await waiting
    with pytest.raises(NotFoundError):
        jobs.renew("north", lease.id)
    with pytest.raises(NotFoundError):
        jobs.complete("north", lease.id, [JobDone(None)])


async def test_one_that_is_renewed_lasts(jobs: LeasedJobs, tmp_path: Path) -> None:
    waiting, lease = await leased(jobs, batch(tmp_path / "out", "bern"))
    for _ in range(4):
        await asyncio.sleep(0.1)
        assert jobs.renew("north", lease.id) == lease
    jobs.complete("north", lease.id, [JobDone(None)])
    assert await waiting == [Answer({"ready": {}})]


async def test_nobody_answers_for_somebody_else(jobs: LeasedJobs, tmp_path: Path) -> None:
    waiting, lease = await leased(jobs, batch(tmp_path / "out", "bern"))
    jobs.register("south")
    with pytest.raises(NotFoundError):
        jobs.complete("south", lease.id, [JobDone(None)])
    jobs.complete("north", lease.id, GivenUp("killed by SIGKILL"))
    with pytest.raises(WorkerLostError, match="worker 'north' has given jobs up: killed by SIGKILL"):
        await waiting


async def test_who_has_not_registered_is_given_nothing(jobs: LeasedJobs) -> None:
    with pytest.raises(ConflictError):
        await jobs.next_lease("north", BUNDLE)


async def test_at_the_end_whoever_asks_is_told(jobs: LeasedJobs) -> None:
    jobs.register("north")
    asked = asyncio.ensure_future(jobs.next_lease("north", BUNDLE))
    await asyncio.sleep(0)
    await jobs.end()
    assert await asked == NoJobs(ended=True)


async def test_who_has_another_bundle_is_given_nothing(jobs: LeasedJobs) -> None:
    jobs.register("north")
    with pytest.raises(ConflictError, match="another simulation"):
        await jobs.next_lease("north", "ab" * 32)


async def test_a_lease_is_not_renewed_for_ever(jobs: LeasedJobs, tmp_path: Path) -> None:
    jobs.register("north")
    waiting = asyncio.create_task(jobs.done(batch(tmp_path / "out", "bern"), -LOADING_S))
    lease = await jobs.next_lease("north", BUNDLE)
    assert isinstance(lease, Lease)
    await asyncio.sleep(0.01)
    with pytest.raises(NotFoundError):
        jobs.renew("north", lease.id)
    with pytest.raises(TimeoutError):
        await waiting


async def test_a_lease_that_nobody_waits_for_is_not_renewed(jobs: LeasedJobs, tmp_path: Path) -> None:
    waiting, lease = await leased(jobs, batch(tmp_path / "out", "bern"))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(NotFoundError):
        jobs.renew("north", lease.id)


LACKING = JobFailed("E301", "the module 'torch' is not here")


async def test_what_one_worker_lacks_another_one_may_have(jobs: LeasedJobs, tmp_path: Path) -> None:
    jobs.register("south")
    waiting, lease = await leased(jobs, batch(tmp_path / "out", "bern"))
    jobs.complete("north", lease.id, [LACKING])
    with pytest.raises(WorkerLostError, match="'north' could not begin: the module 'torch' is not here"):
        await waiting


async def test_what_the_only_worker_lacks_is_told_as_it_is(jobs: LeasedJobs, tmp_path: Path) -> None:
    waiting, lease = await leased(jobs, batch(tmp_path / "out", "bern"))
    jobs.complete("north", lease.id, [LACKING])
    assert await waiting == [Answer({"error": {"code": LACKING.code, "reason": LACKING.reason}})]


async def test_nothing_that_was_delivered_stays(jobs: LeasedJobs, tmp_path: Path) -> None:
    for outcome in ([JobFailed("E503", "no data", Failure(FailureKind.TASK, "no data", task="train"))], GivenUp("x")):
        waiting, lease = await leased(jobs, batch(tmp_path / "out", "bern"))
        target = jobs.expect_job_update("north", lease.id, 0, Manifest.of_content(b"x"))
        target.path.write_bytes(b"x")
        keep_manifest(target.path, Manifest.of_content(b"x"))
        part_of(target.path).touch()
        jobs.complete("north", lease.id, outcome)
        with suppress(WorkerLostError):
            await waiting
    assert list(jobs.folder.iterdir()) == []


async def test_an_update_in_an_answer_is_no_larger_than_one_that_is_delivered(
    jobs: LeasedJobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_tensors(tmp_path / "model", {"weights": np.zeros(4, np.float32)}, sync=False)
    monkeypatch.setattr(jobs.repository, "manifest", lambda _: model)
    order = SiteOrder("bern", "", Assignment(1, Phase.TRAIN, "bern", (), model.digest, 7), "", str(tmp_path / "out"))
    waiting, lease = await leased(jobs, Batch(Setting("", "", "", "cpu"), (order,)))
    content = b"x" * (1 << 20)
    update = Update(1, Phase.TRAIN, "bern", Manifest.of_content(content).digest, 1)
    jobs.complete("north", lease.id, [JobDone(update, content)])
    [answer] = await waiting
    assert "the update has 1,048,576 bytes" in answer.told["error"]["reason"]


async def test_no_line_of_the_log_is_a_worker_s_own(
    jobs: LeasedJobs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    waiting, lease = await leased(jobs, batch(tmp_path / "out", "bern"))
    jobs.complete("north", lease.id, GivenUp("gone\nERROR all is lost\x1b[2J"))
    with pytest.raises(WorkerLostError):
        await waiting
    assert not {"\n", "\x1b"} & set(caplog.messages[-1])


async def test_why_a_task_failed_is_told_as_values(jobs: LeasedJobs, tmp_path: Path) -> None:
    waiting, lease = await leased(jobs, batch(tmp_path / "out", "bern"))
    failure = Failure(FailureKind.TASK, "no data", "ValueError")
    jobs.complete("north", lease.id, [JobFailed("E503", "task 'train' raised ValueError: no data", failure)])
    told = {"kind": "task", "message": "no data", "error": "ValueError"}
    expected = {"code": "E503", "reason": "task 'train' raised ValueError: no data", "failure": told}
    assert await waiting == [Answer({"error": expected})]


async def test_a_large_update_goes_where_it_is_looked_for(jobs: LeasedJobs, tmp_path: Path) -> None:
    waiting, lease = await leased(jobs, batch(tmp_path / "out", "bern"))
    model = tmp_path / "model"
    manifest = write_tensors(model, {"weights": np.zeros(1 << 17, np.float32)}, sync=False)
    target = jobs.expect_job_update("north", lease.id, 0, manifest)
    model.replace(target.path)
    keep_manifest(target.path, manifest)
    update = Update(1, Phase.INITIALISE, "bern", manifest.digest, 1)
    jobs.complete("north", lease.id, [JobDone(update)])
    [answer] = await waiting
    assert answer.told["update"]["digest"] == manifest_of(tmp_path / "out").digest


async def test_an_update_that_was_not_delivered_is_the_site_s_failure(jobs: LeasedJobs, tmp_path: Path) -> None:
    waiting, lease = await leased(jobs, batch(tmp_path / "out", "bern"))
    jobs.complete("north", lease.id, [JobDone(Update(1, Phase.INITIALISE, "bern", "ab" * 32, 1))])
    [answer] = await waiting
    assert "the update of 'bern' was not delivered" in answer.told["error"]["reason"]


async def test_no_update_is_larger_than_it_can_be_nor_of_another_job(jobs: LeasedJobs, tmp_path: Path) -> None:
    waiting, lease = await leased(jobs, batch(tmp_path / "out", "bern"))
    with pytest.raises(UpdateRefusedError):
        jobs.expect_job_update("north", lease.id, 0, Manifest(1 << 37, 1 << 21, (b"0" * 32,) * (1 << 16)))
    with pytest.raises(UsageError):
        jobs.expect_job_update("north", lease.id, 1, Manifest.of_content(b"x"))
    jobs.complete("north", lease.id, [JobDone(None)])
    await waiting


async def test_whoever_has_given_jobs_up_leaves_them_to_others(jobs: LeasedJobs, tmp_path: Path) -> None:
    jobs.register("south")
    waiting, lease = await leased(jobs, batch(tmp_path / "out", "bern"))
    jobs.complete("north", lease.id, GivenUp("no space left on device"))
    with pytest.raises(WorkerLostError):
        await waiting
    again = asyncio.create_task(jobs.done(batch(tmp_path / "out", "bern")))
    resting = asyncio.ensure_future(jobs.next_lease("north", BUNDLE))
    await asyncio.sleep(0.01)
    assert isinstance(await jobs.next_lease("south", BUNDLE), Lease)
    await jobs.end()
    assert await resting == NoJobs(ended=True)
    with pytest.raises(WorkerLostError):
        await again


@pytest.mark.parametrize("code", ["E503", "E1\x1b", ""])
async def test_an_error_that_is_none_of_ours_is_the_worker_s_failure(
    jobs: LeasedJobs, tmp_path: Path, code: str
) -> None:
    waiting, lease = await leased(jobs, batch(tmp_path / "out", "bern"))
    jobs.complete("north", lease.id, [JobFailed(code, "all is\nlost")])
    [answer] = await waiting
    with pytest.raises(FailedTaskError, match=r"all is\\nlost") as told:
        value_of(answer.told, lambda told: told)
    assert told.value.failure.kind is FailureKind.WORKER


async def test_of_a_lease_that_is_lost_nothing_stays_behind(jobs: LeasedJobs, tmp_path: Path) -> None:
    waiting, lease = await leased(jobs, batch(tmp_path / "out", "bern", "chur"))
    places = [jobs.expect_job_update("north", lease.id, number, Manifest.of_content(b"x")).path for number in (0, 1)]
    part_of(places[0]).write_bytes(b"half of it")
    places[1].write_bytes(b"x")
    keep_manifest(places[1], Manifest.of_content(b"x"))
    jobs.complete("north", lease.id, GivenUp("killed by SIGKILL"))
    with pytest.raises(WorkerLostError):
        await waiting
    assert list((tmp_path / "leased").iterdir()) == []


async def test_an_update_of_a_site_that_was_to_be_loaded_only_goes_nowhere(jobs: LeasedJobs) -> None:
    given = Batch(Setting("", "", "", "cpu"), (SiteOrder("bern"),))
    waiting, lease = await leased(jobs, given)
    update = Update(1, Phase.INITIALISE, "bern", Manifest.of_content(b"x").digest, 1)
    jobs.complete("north", lease.id, [JobDone(update, b"x")])
    assert await waiting == [Answer({"ready": {}})]


async def test_when_the_last_worker_is_lost_it_is_said_that_one_is_waited_for(
    jobs: LeasedJobs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    waiting, _ = await leased(jobs, batch(tmp_path / "out", "bern"))
    with pytest.raises(WorkerLostError):
        await waiting
    assert "no other worker is here: the simulation waits for one" in caplog.messages
