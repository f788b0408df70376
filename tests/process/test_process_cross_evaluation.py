"""Sites score each other's updates in a real federation, whose Aggregator dies in the middle of that."""

from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from federations import PLAN, THREE, federation_of, gate_of

from openfl_like.federation.announcements import ExperimentBegun, UpdateReceived, only
from openfl_like.federation.task import Phase
from openfl_like.federation.validation.scoring import UpdatesScored
from openfl_like.services.local_federation import LocalFederation

pytestmark = pytest.mark.process
SCORED = (
    "admission.collaborators=[site-1, site-2, site-3]",
    "aggregator.settings.rounds_to_train=2",
    "cross_evaluation={metric: loss, margin: 0.01, result: reweigh}",
    "compression_pipeline={template: float16}",
)


def aggregator_of(federation: LocalFederation) -> psutil.Process:
    director = psutil.Process(federation.children["director"].process.pid)
    for child in director.children():
        with suppress(psutil.Error):
            if "aggregator" in child.cmdline() and any(one.status == "LISTEN" for one in child.net_connections()):
                return child
    raise AssertionError("no aggregator is there")


async def test_an_aggregator_that_dies_while_updates_are_scored_goes_on_with_the_scores_that_have_come(
    tmp_path: Path,
) -> None:
    async with federation_of(THREE, tmp_path) as (federation, user), gate_of() as gate:
        undisturbed = await user.submit(PLAN, *SCORED)
        assert (await user.ended(undisturbed)).status == "FINISHED"
        experiment = await user.submit(PLAN, *SCORED, gate.setting)
        gate.open(2, phase=Phase.TRAIN)
        gate.open(2, "site-1", phase=Phase.CROSS_EVALUATE)
        await user.until(experiment, "update_received", round=2, phase="cross_evaluate", collaborator="site-1")
        await gate.arrived(2, "site-2", "site-3", phase=Phase.CROSS_EVALUATE)
        aggregator_of(federation).kill()
        lost = await user.until(experiment, "aggregator_lost")
        await user.until(experiment, "experiment_started", after=lost.sequence)
        gate.open_all()
        ended = await user.ended(experiment)
        assert ended.status == "FINISHED", ended.reason
        history, other = await user.events(experiment), await user.events(undisturbed)
        digests = [(await user.client.experiment(one)).versions[-1].sha256 for one in (experiment, undisturbed)]
    assert digests[0] == digests[1]
    assert [begun.epoch for begun in only(history, ExperimentBegun)] == [1, 2]
    received = [(told.round, told.phase, told.collaborator) for told in only(history, UpdateReceived)]
    assert len(received) == len({*received})
    assert only(history, UpdatesScored) == only(other, UpdatesScored)
    for told in only(history, UpdatesScored):
        assert {*told.scores} == {*THREE}
        assert all(owner != scorer for owner, scorer in told.scorers.items())
