"""One experiment at a site: whatever goes wrong in the shell around its rules, the Director is told."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest
from offline_site import EXPERIMENT, OBEDIENT, FakeDirector, FakeStandby

from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.history.site import PartEnd, PerformedTasks
from openfl_like.federation.ports import CollaboratorEnded, OrderReply
from openfl_like.federation.task import Phase
from openfl_like.pki.roles import Role
from openfl_like.pki.signing import sign_bundle
from openfl_like.plan.lock import LOCK_NAME
from openfl_like.services.devices.monitors import Monitors
from openfl_like.services.envoy.environments import Environments
from openfl_like.services.envoy.logs import SiteLogs
from openfl_like.services.envoy.record import SiteRecord
from openfl_like.services.envoy.site_experiment import SiteContext, SiteExperiment
from openfl_like.store.site_files import CollaboratorFiles, SiteFiles, algorithm_state
from openfl_like.store.site_journal import note
from openfl_like.testing.stores import memory_stores

LOCK = f"tiny-thing==1.0 --hash=sha256:{'0' * 64}\n"


class DefectiveEnvironments:
    """Environments with a defect that nobody expects."""

    async def provide(self, _workspace: Path, _shard: Path, _on_line: Callable[[str], None]) -> Path | None:
        raise ZeroDivisionError("a defect")


def experiment_of(director: FakeDirector, directory: Path, standby: FakeStandby) -> SiteExperiment:
    files = SiteFiles(directory / "site")
    files.directory.mkdir()
    context = SiteContext(
        credentials=director.envoy,
        shards={"": OBEDIENT / "shards" / "site-1.yaml"},
        monitors=Monitors([], directory),
        standby=standby.as_standby,
        environments=cast("Environments", DefectiveEnvironments()),
        logs=SiteLogs("bern", OBEDIENT / "shards" / "site-1.yaml", asyncio.Queue()),
        record=SiteRecord(memory_stores().site(files), files),
        report=director.reports.put_nowait,
        session=lambda: 1,
        devices_in_use=lambda: (),
        get_ready=lambda: None,
        ended=lambda _: None,
    )
    return SiteExperiment(director.order, files.experiment(EXPERIMENT), context)


async def test_the_end_of_a_collaborator_is_told_although_nothing_can_be_tidied_up_after_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    director, standby = FakeDirector(tmp_path), FakeStandby()
    experiment = experiment_of(director, tmp_path, standby)
    await experiment.prepare(director.as_client)
    reply = await director.hears(OrderReply)
    assert isinstance(reply, OrderReply)
    await experiment.receive_certificate(director.certify(reply.csr))
    CollaboratorFiles(experiment.files.run).progress.mkdir()  # a note that cannot be removed: it is a folder
    standby.child.exit(3)
    async with asyncio.timeout(10):
        told = await director.hears(CollaboratorEnded)
        await experiment.ended.wait()
    assert told == CollaboratorEnded(EXPERIMENT, 3, "exit code 3; last line: its last line")
    assert "tidying up" in caplog.text


async def test_an_order_is_answered_although_a_defect_of_ours_keeps_its_environment_away(tmp_path: Path) -> None:
    director = FakeDirector(tmp_path, lock=LOCK)
    experiment = experiment_of(director, tmp_path, FakeStandby())
    await experiment.prepare(director.as_client)
    async with asyncio.timeout(10):
        told = await director.hears(OrderReply)
        await experiment.ended.wait()
    failure = Failure(FailureKind.ORDER, "a defect", "ZeroDivisionError")
    assert told == OrderReply(EXPERIMENT, accepted=False, reason="a defect", failure=failure)
    assert (experiment.files.workspace / LOCK_NAME).exists()


@dataclass(frozen=True, slots=True)
class SlowRecord(SiteRecord):
    """Takes its time to write an end."""

    asked: threading.Event = field(default_factory=threading.Event)
    written: threading.Event = field(default_factory=threading.Event)

    def end(self, part: int, experiment: str, end: PartEnd, reason: str) -> None:
        self.asked.set()
        self.written.wait(10)
        SiteRecord.end(self, part, experiment, end, reason)


async def test_a_session_that_is_lost_over_a_refusal_leaves_nothing_that_does_not_end(tmp_path: Path) -> None:
    director = FakeDirector(tmp_path)
    experiment = experiment_of(director, tmp_path, FakeStandby())
    director._bundle.unlink()
    record = SlowRecord(experiment._context.record.store, SiteFiles(tmp_path / "site"))
    refused = SiteExperiment(experiment.order, experiment.files, replace(experiment._context, record=record))
    preparing = asyncio.create_task(refused.prepare(director.as_client))
    async with asyncio.timeout(10):
        await director.hears(OrderReply)
        await asyncio.to_thread(record.asked.wait, 10)
        preparing.cancel()
        await asyncio.wait({preparing})
        record.written.set()
        await refused.stop("the envoy ends")
    assert [part.end for part in record.store.parts()] == [PartEnd.REFUSED]


async def test_the_record_has_who_signed_and_how_each_part_ended(tmp_path: Path) -> None:
    director, standby = FakeDirector(tmp_path), FakeStandby()
    experiment = experiment_of(director, tmp_path, standby)
    record = experiment._context.record
    await experiment.prepare(director.as_client)
    reply = await director.hears(OrderReply)
    assert isinstance(reply, OrderReply)
    (part,) = record.store.parts()
    signer = f"fx://{director.pki.name}/user/ada"
    assert (part.experiment, part.identity, part.bundle) == (EXPERIMENT, signer, director.order.bundle)
    assert part.end is None
    await experiment.receive_certificate(director.certify(reply.csr))
    note(record.noted(EXPERIMENT), PerformedTasks(1.0, 3, Phase.TRAIN, ("train",)))
    standby.child.exit(0)
    async with asyncio.timeout(10):
        await experiment.stop("no sites", PartEnd.FAILED)
    (part,) = record.store.parts()
    assert (part.end, part.reason) == (PartEnd.FAILED, "no sites")
    assert [item.round for item in part.performed] == [3]


async def test_the_record_has_a_refusal_and_other_code_under_the_same_id_is_refused_with_nothing_touched(
    tmp_path: Path,
) -> None:
    director = FakeDirector(tmp_path, lock=LOCK)
    experiment = experiment_of(director, tmp_path, FakeStandby())
    await experiment.prepare(director.as_client)
    await director.hears(OrderReply)
    async with asyncio.timeout(10):
        await experiment.ended.wait()
    context = experiment._context
    assert [(part.end, part.reason) for part in context.record.store.parts()] == [(PartEnd.REFUSED, "a defect")]
    kept = algorithm_state(experiment.files.run) / "state.safetensors"
    kept.parent.mkdir(parents=True)
    kept.touch()
    before = sorted(experiment.files.directory.rglob("*"))
    other = FakeDirector(tmp_path / "other")
    mallory = other.pki.credentials(Role.USER, "ada")
    other_code = replace(director.order, bundle="cd" * 32, signature=sign_bundle("cd" * 32, mallory))
    trusting = replace(context, credentials=other.envoy)
    second = SiteExperiment(replace(other_code, certificates=mallory.chain), experiment.files, trusting)
    await second.prepare(other.as_client)
    told = await director.hears(OrderReply)
    assert isinstance(told, OrderReply)
    assert "had another bundle when it was here before" in told.reason
    assert sorted(experiment.files.directory.rglob("*")) == before
