"""Kill any process in the middle of a round: nothing is lost, and the final model has the same bytes."""

import asyncio
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from federations import PLAN, THREE, User, collaborators, federation_of, shards, workers

from openfl_like.api.reconnect import watch
from openfl_like.federation.parties import EventRecord, ExperimentSummary
from openfl_like.services.local_federation import LocalFederation

pytestmark = pytest.mark.process
ROUNDS = 80
ALL = ("admission.collaborators=[site-1, site-2, site-3]", f"aggregator.settings.rounds_to_train={ROUNDS}")
HANGING = shards(site_1="site-1", site_2="hanging")


def aggregator_of(federation: LocalFederation) -> psutil.Process:
    """The Aggregator that a Director has started and that listens."""
    director = psutil.Process(federation.children["director"].process.pid)
    for child in director.children():
        with suppress(psutil.Error):
            if "aggregator" in child.cmdline() and any(one.status == "LISTEN" for one in child.net_connections()):
                return child
    raise AssertionError("no aggregator is there")


async def check(user: User, experiment: str) -> list[EventRecord]:
    """Waits for the end, looks for gaps and for rounds with fewer or doubled contributors, and gives the history."""
    ended = await user.ended(experiment)
    assert ended.status == "FINISHED", ended.reason
    events = await user.events(experiment)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    rounds = [event.fields for event in events if event.kind == "round_finished"]
    assert [fields["round"] for fields in rounds] == list(range(ROUNDS + 1))
    assert all(fields["contributors"] == ["site-1", "site-2", "site-3"] for fields in rounds[1:])
    received = [event.fields for event in events if event.kind == "update_received"]
    slots = [(fields["round"], fields["phase"], fields["collaborator"]) for fields in received]
    assert len(slots) == len(set(slots))
    return events


async def sha256_of(user: User, experiment: str) -> str:
    """What the last model of an ended experiment is."""
    return (await user.client.experiment(experiment)).versions[-1].sha256


@pytest.mark.long
async def test_whatever_dies_in_mid_round_the_last_model_is_the_same(tmp_path: Path) -> None:
    async with federation_of(THREE, tmp_path) as (federation, user):
        undisturbed, experiment = await user.submit(PLAN, *ALL), await user.submit(PLAN, *ALL)
        watched: list[EventRecord | ExperimentSummary] = []

        async def collect() -> None:
            watched.extend([item async for item in watch(user.client.watch, experiment)])

        watching = asyncio.create_task(collect())
        await user.until(experiment, "update_received", round=10)
        aggregator_of(federation).kill()
        lost = await user.until(experiment, "aggregator_lost")
        assert str(lost.fields["reason"]).startswith("the aggregator ended: killed by SIGKILL")
        started = await user.until(experiment, "experiment_started", after=lost.sequence)
        assert (started.fields["resumed"], started.fields["epoch"]) == (True, 2)

        await user.until(experiment, "update_received", round=25)
        workers(federation, "site-1")[0].kill()
        await user.until(experiment, "update_received", round=35)
        collaborators(federation, "site-2")[0].kill()
        await user.until(experiment, "update_received", round=45)
        federation.children["site-3"].process.kill()
        await federation.children["site-3"].wait()
        await federation.start_envoy("site-3")

        await user.until(experiment, "update_received", round=55)
        federation.children["director"].process.kill()
        await federation.children["director"].wait()
        await federation.start_director()
        await user.until(experiment, "update_received", round=70)
        federation.children["director"].process.terminate()
        async with asyncio.timeout(10):
            await federation.children["director"].wait()
        await federation.start_director()

        events = await check(user, experiment)
        assert await sha256_of(user, experiment) == await sha256_of(user, undisturbed)
        async with asyncio.timeout(20):
            await watching
        assert [item for item in watched if isinstance(item, EventRecord)] == events
        assert isinstance(watched[-1], ExperimentSummary)
        starts = [event.fields["epoch"] for event in events if event.kind == "experiment_started"]
        assert starts == [1, 2, 3, 4]


@pytest.mark.long
async def test_a_frozen_aggregator_is_replaced_within_twenty_seconds(tmp_path: Path) -> None:
    async with federation_of(THREE, tmp_path) as (federation, user):
        experiment = await user.submit(PLAN, *ALL)
        await user.until(experiment, "update_received", round=3)
        frozen = aggregator_of(federation)
        frozen.suspend()
        start = time.monotonic()
        lost = await user.until(experiment, "aggregator_lost")
        assert time.monotonic() - start < 20
        assert "did not answer any more" in str(lost.fields["reason"])
        assert not frozen.is_running()
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
