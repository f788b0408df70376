"""Kill any process in the middle of a round: nothing is lost, and the final model has the same bytes."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from federations import PLAN, THREE, User, collaborators, federation_of, gate_of, shards, workers
from pace import limit

from openfl_like.api.reconnect import watch
from openfl_like.federation.announcements import (
    AggregatorLost,
    Announced,
    ExperimentBegun,
    RoundFinished,
    UpdateReceived,
    only,
)
from openfl_like.federation.parties import ExperimentSummary
from openfl_like.plan.schema import REJOIN_S
from openfl_like.services.local_federation import LocalFederation
from openfl_like.testing.gate import Gate

pytestmark = pytest.mark.process
ROUNDS = 10
ALL = (
    "admission.collaborators=[site-1, site-2, site-3]",
    f"aggregator.settings.rounds_to_train={ROUNDS}",
    f"deadline.rejoin_s={limit(REJOIN_S):g}",
)
HANGING = shards(site_1="site-1", site_2="hanging")


def aggregator_of(federation: LocalFederation) -> psutil.Process:
    """The Aggregator that a Director has started and that listens."""
    director = psutil.Process(federation.children["director"].process.pid)
    for child in director.children():
        with suppress(psutil.Error):
            if "aggregator" in child.cmdline() and any(one.status == "LISTEN" for one in child.net_connections()):
                return child
    raise AssertionError("no aggregator is there")


async def check(user: User, experiment: str) -> list[Announced]:
    """Waits for the end, looks for gaps and for rounds with fewer or doubled contributors, and gives the history."""
    ended = await user.ended(experiment)
    assert ended.status == "FINISHED", ended.reason
    events = await user.events(experiment)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    rounds = only(events, RoundFinished)
    assert [finished.round for finished in rounds] == list(range(ROUNDS + 1))
    assert all(finished.contributors == ("site-1", "site-2", "site-3") for finished in rounds[1:])
    received = only(events, UpdateReceived)
    slots = [(update.round, update.phase, update.collaborator) for update in received]
    assert len(slots) == len(set(slots))
    return events


async def sha256_of(user: User, experiment: str) -> str:
    """What the last model of an ended experiment is."""
    return (await user.client.experiment(experiment)).versions[-1].sha256


@dataclass(frozen=True)
class MidRound:
    """Brings an experiment to where one site has delivered in a round, and the others train."""

    user: User
    gate: Gate
    experiment: str

    async def reach(self, number: int, delivered: str) -> None:
        """Gets there, and stays until the next round is to be reached."""
        self.gate.open(number - 1)
        self.gate.open(number, delivered)
        await self.user.until(self.experiment, "update_received", round=number, phase="train", collaborator=delivered)
        await self.gate.arrived(number, *THREE.keys() - {delivered})


@pytest.mark.long
async def test_whatever_dies_in_mid_round_the_last_model_is_the_same(tmp_path: Path) -> None:
    async with federation_of(THREE, tmp_path) as (federation, user), gate_of() as gate:
        undisturbed, experiment = await user.submit(PLAN, *ALL), await user.submit(PLAN, *ALL, gate.setting)
        middle = MidRound(user, gate, experiment)
        watched: list[Announced | ExperimentSummary] = []

        async def collect() -> None:
            watched.extend([item async for item in watch(user.client.watch, experiment)])

        watching = asyncio.create_task(collect())

        await middle.reach(2, "site-1")
        aggregator_of(federation).kill()
        lost = await user.until(experiment, "aggregator_lost")
        assert isinstance(lost.announcement, AggregatorLost)
        assert lost.announcement.reason.startswith("the aggregator ended: killed by SIGKILL")
        started = await user.until(experiment, "experiment_started", after=lost.sequence)
        assert isinstance(started.announcement, ExperimentBegun)
        assert (started.announcement.resumed, started.announcement.epoch) == (True, 2)

        await middle.reach(3, "site-2")
        workers(federation, "site-1")[0].kill()
        await middle.reach(4, "site-3")
        collaborators(federation, "site-2")[0].kill()
        await middle.reach(5, "site-1")
        await federation.kill("site-3")
        await federation.start_envoy("site-3")

        await middle.reach(6, "site-2")
        await federation.kill("director")
        await federation.start_director()
        await middle.reach(7, "site-3")
        federation.children["director"].process.terminate()
        async with asyncio.timeout(limit(10)):
            await federation.children["director"].wait()
        await federation.start_director()
        gate.open_all()

        events = await check(user, experiment)
        assert await sha256_of(user, experiment) == await sha256_of(user, undisturbed)
        async with asyncio.timeout(limit(20)):
            await watching
        assert [item for item in watched if isinstance(item, Announced)] == events
        assert isinstance(watched[-1], ExperimentSummary)
        starts = [begun.epoch for begun in only(events, ExperimentBegun)]
        assert starts == [1, 2, 3, 4]


@pytest.mark.long
async def test_a_frozen_aggregator_is_replaced_within_twenty_seconds(tmp_path: Path) -> None:
    async with federation_of(THREE, tmp_path) as (federation, user), gate_of() as gate:
        gate.open(2)
        experiment = await user.submit(PLAN, *ALL, gate.setting)
        await gate.arrived(3)
        frozen = aggregator_of(federation)
        frozen.suspend()
        start = time.monotonic()
        lost = await user.until(experiment, "aggregator_lost")
        assert time.monotonic() - start < limit(20)
        assert isinstance(lost.announcement, AggregatorLost)
        assert "did not answer any more" in lost.announcement.reason
        assert not frozen.is_running()
        gate.open_all()
        await check(user, experiment)


@pytest.mark.long
async def test_an_aggregator_that_dies_again_and_again_ends_its_experiment_and_the_queue_goes_on(
    tmp_path: Path,
) -> None:
    async with federation_of(HANGING, tmp_path) as (federation, user):
        experiment = await user.submit(PLAN, "admission.min_collaborators=2")
        good = await user.submit(PLAN, "admission.collaborators=[site-1]")
        after = (await user.until(experiment, "update_received", collaborator="site-1", round=1)).sequence
        for restart in (1, 2, 3):
            aggregator_of(federation).kill()
            lost = await user.until(experiment, "aggregator_lost", after=after, restart=restart)
            after = (await user.until(experiment, "experiment_started", after=lost.sequence)).sequence
        aggregator_of(federation).kill()
        ended = await user.ended(experiment)
        assert ended.status == "FAILED"
        assert "the aggregator ended: killed by SIGKILL" in ended.reason
        assert "it ended 4 times without a finished round" in ended.reason
        assert (await user.ended(good)).status == "FINISHED"
