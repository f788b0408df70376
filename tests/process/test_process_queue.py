"""The queue of a Director: in series, cancelled, failed, and never stopped by one bad experiment."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from federations import PLAN, THREE, another, federation_of, fx_fine, gate_of, shards, workers
from pace import limit

from openfl_like import failpoints
from openfl_like.pki.roles import Role

pytestmark = pytest.mark.process


@pytest.mark.long
async def test_two_experiments_submitted_at_once_run_one_after_the_other(tmp_path: Path) -> None:
    async with federation_of(THREE, tmp_path) as (_, user):
        one, two = await asyncio.gather(
            user.submit(PLAN, "admission.min_collaborators=3", request_id="a" * 16),
            user.submit(PLAN, "admission.min_collaborators=3", request_id="b" * 16),
        )
        first, second = sorted(
            await asyncio.gather(user.ended(one), user.ended(two)), key=lambda summary: summary.started_at
        )
        assert [first.status, second.status] == ["FINISHED", "FINISHED"]
        assert first.ended_at <= second.started_at


async def test_the_same_request_never_makes_two_experiments(tmp_path: Path) -> None:
    async with federation_of(THREE, tmp_path) as (_, user):
        one = await user.submit(request_id="c" * 16)
        again = await user.submit(request_id="c" * 16)
        assert one == again
        assert [summary.id for summary in await user.client.experiments()] == [one]


@pytest.mark.long
async def test_a_running_experiment_is_cancelled_within_three_seconds_and_the_queue_goes_on(tmp_path: Path) -> None:
    async with federation_of(THREE, tmp_path) as (federation, user), gate_of() as gate:
        gate.open(2)
        running = await user.submit(PLAN, gate.setting)
        waiting = await user.submit()
        dropped = await user.submit()
        await gate.arrived(3)
        assert (await user.client.cancel(dropped)).status == "CANCELLED"  # out of the queue
        start = time.monotonic()
        cancelled = await user.client.cancel(running)
        assert time.monotonic() - start < limit(3)
        assert (cancelled.status, cancelled.reason) == ("CANCELLED", "cancelled by user")
        assert (await user.ended(waiting)).status == "FINISHED"
        assert all(child.process.returncode is None for child in federation.children.values())


async def test_a_hanging_task_does_not_hold_up_a_cancellation(tmp_path: Path) -> None:
    sites = shards(site_1="site-1", site_2="hanging")
    async with federation_of(sites, tmp_path) as (_, user):
        experiment = await user.submit(PLAN, "admission.min_collaborators=2")
        await user.until(experiment, "update_received", collaborator="site-1", round=1)
        start = time.monotonic()
        assert (await user.client.cancel(experiment)).status == "CANCELLED"
        assert time.monotonic() - start < limit(3)


@pytest.mark.long
async def test_a_worker_that_raises_fails_its_experiment_and_nothing_else(tmp_path: Path) -> None:
    sites = shards(site_1="site-1", site_2="raising")
    async with federation_of(sites, tmp_path) as (federation, user):
        bad = await user.submit(PLAN, "admission.min_collaborators=2")
        good = await user.submit(PLAN, "admission.collaborators=[site-1]")
        failed = await user.ended(bad)
        assert failed.status == "FAILED"
        for part in ("site-2", "'train'", "ValueError: the scanner is on fire", "obedient.py:"):
            assert part in failed.reason
        assert (await user.ended(good)).status == "FINISHED"
        assert all(child.process.returncode is None for child in federation.children.values())


@pytest.mark.long
async def test_a_task_that_kills_every_worker_fails_its_experiment_and_nothing_else(tmp_path: Path) -> None:
    sites = shards(site_1="site-1", site_2="hanging")
    async with federation_of(sites, tmp_path) as (federation, user):
        bad = await user.submit(PLAN, "admission.min_collaborators=2")
        good = await user.submit(PLAN, "admission.collaborators=[site-1]")
        await user.until(bad, "update_received", collaborator="site-1", round=1)
        victim = None
        for _ in range(4):
            victim = await another(lambda: workers(federation, "site-2"), victim)
            victim.kill()
        failed = await user.ended(bad)
        assert failed.status == "FAILED"
        for part in ("site-2", "'train'", "killed by SIGKILL", "it ended 4 times in a row"):
            assert part in failed.reason
        assert (await user.ended(good)).status == "FINISHED"
        assert all(child.process.returncode is None for child in federation.children.values())


@pytest.mark.long
async def test_an_experiment_whose_aggregator_never_starts_fails_and_those_behind_it_finish(tmp_path: Path) -> None:
    poison = tmp_path / "poison"
    poison.write_text("aggregator.opened=kill@1+")
    switch = {failpoints.SWITCH: f"@{poison}", failpoints.LANDED: str(tmp_path / "landed")}
    async with federation_of(shards(site_1="site-1"), tmp_path, environment=switch) as (federation, user):
        bad = await user.submit(PLAN, "admission.collaborators=[site-1]")
        both = "admission.collaborators=[site-1, site-2]"  # so that no Aggregator of theirs is poisoned, too
        good = [await user.submit(PLAN, both) for _ in range(3)]
        await user.until(bad, "aggregator_lost", restart=3)
        failed = await user.ended(bad)
        poison.write_text("")
        federation.sites = shards(site_1="site-1", site_2="site-2")
        federation.issue(Role.ENVOY, "site-2")
        await federation.start_envoy("site-2")
        assert failed.status == "FAILED"
        assert "killed by SIGKILL" in failed.reason
        assert "it ended 4 times without a finished round" in failed.reason
        assert [(await user.ended(one)).status for one in good] == ["FINISHED"] * 3
    told = json.loads(
        await fx_fine("envoy", "history", "--directory", str(federation.directory / "envoy-site-1"), "--json")
    )
    first = told["data"][0]  # no Aggregator ever told the site how it ended
    assert (first["experiment"], first["end"], first["reason"]) == (bad, "FAILED", failed.reason)


async def test_an_experiment_that_waits_for_its_sites_is_cancelled_at_once(tmp_path: Path) -> None:
    async with federation_of(shards(site_1="site-1"), tmp_path) as (federation, user):
        experiment = await user.submit(PLAN, "admission.collaborators=[site-1, site-9]")
        await user.until(experiment, "experiment_waiting", missing=("site-9",))
        for words in (("status",), ("experiment", "list")):
            assert "waits for envoys: site-9" in await fx_fine(*words, federation=federation)
        start = time.monotonic()
        assert (await user.client.cancel(experiment)).status == "CANCELLED"
        assert time.monotonic() - start < limit(3)
