"""One experiment at a site: whatever goes wrong in the shell around its rules, the Director is told."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from offline_site import EXPERIMENT, OBEDIENT, FakeDirector, FakeStandby

from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.ports import CollaboratorEnded, OrderReply
from openfl_like.plan.lock import LOCK_NAME
from openfl_like.services.devices.monitors import Monitors
from openfl_like.services.envoy.environments import Environments
from openfl_like.services.envoy.logs import SiteLogs
from openfl_like.services.envoy.site_experiment import SiteContext, SiteExperiment
from openfl_like.store.site_files import CollaboratorFiles, SiteFiles

LOCK = f"tiny-thing==1.0 --hash=sha256:{'0' * 64}\n"


class DefectiveEnvironments:
    """Environments with a defect that nobody expects."""

    async def provide(self, _workspace: Path, _shard: Path, _on_line: Callable[[str], None]) -> Path | None:
        raise ZeroDivisionError("a defect")


def experiment_of(director: FakeDirector, directory: Path, standby: FakeStandby) -> SiteExperiment:
    context = SiteContext(
        credentials=director.envoy,
        shards={"": OBEDIENT / "shards" / "site-1.yaml"},
        monitors=Monitors([], directory),
        standby=standby.as_standby,
        environments=cast("Environments", DefectiveEnvironments()),
        logs=SiteLogs("bern", OBEDIENT / "shards" / "site-1.yaml", asyncio.Queue()),
        report=director.reports.put_nowait,
        session=lambda: 1,
        devices_in_use=lambda: (),
        get_ready=lambda: None,
        ended=lambda _: None,
    )
    return SiteExperiment(director.order, SiteFiles(directory / "site").experiment(EXPERIMENT), context)


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
