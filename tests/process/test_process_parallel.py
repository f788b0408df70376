"""Several experiments at once: with the bytes that each has alone, through the death of a Director, each wait told."""

import asyncio
from pathlib import Path

import pytest
from federations import PLAN, THREE, User, federation_of, fx_fine, gate_of
from pace import limit

from openfl_like.federation.parties import ExperimentSummary, Waiting, WaitKind
from openfl_like.pki.files import load_credentials
from openfl_like.pki.roles import Role
from openfl_like.services.local_federation import LocalFederation
from openfl_like.testing.gate import Gate

pytestmark = pytest.mark.process
TWO_PLACES = {"parallel": 2}


async def begin(user: User, gate: Gate, *sites: str) -> str:
    """Submits an experiment for some sites, which stops at the gate."""
    return await user.submit(PLAN, gate.setting, f"admission.collaborators=[{', '.join(sites)}]")


async def model_of(user: User, experiment: str) -> str:
    """The digest of the last model of an experiment, when it has finished."""
    assert (await user.ended(experiment)).status == "FINISHED"
    return (await user.client.experiment(experiment)).versions[-1].version.digest


async def waits(user: User, experiment: str) -> Waiting:
    """Why an experiment waits, as soon as that is told to who watches it."""
    async with asyncio.timeout(limit(20)):
        async for item in user.watch(experiment):
            if isinstance(item, ExperimentSummary) and item.waiting is not None:
                return item.waiting
    raise AssertionError(f"{experiment} does not wait")


def another_user(federation: LocalFederation, scratch: Path, name: str) -> User:
    scratch.mkdir()
    return User(federation, scratch, load_credentials(federation.issue(Role.USER, name)))


async def test_two_with_disjoint_cohorts_run_at_the_same_time_and_have_the_bytes_that_they_have_alone(
    tmp_path: Path,
) -> None:
    async with federation_of(THREE, tmp_path, settings=TWO_PLACES) as (_, user), gate_of() as gate:
        gate.open(1)
        one, two = await begin(user, gate, "site-1", "site-2"), await begin(user, gate, "site-3")
        await gate.arrived(2)  # all three sites stand in round 2, of two experiments
        gate.open_all()
        together = [await model_of(user, one), await model_of(user, two)]
        alone = [
            await model_of(user, await begin(user, gate, "site-1", "site-2")),
            await model_of(user, await begin(user, gate, "site-3")),
        ]
        assert together == alone
        assert together[0] != together[1]


async def test_who_waits_is_told_why_and_nobody_hears_the_name_of_what_is_not_his(tmp_path: Path) -> None:
    async with federation_of(THREE, tmp_path, settings=TWO_PLACES) as (federation, user), gate_of() as gate:
        running = await begin(user, gate, "site-1", "site-2")
        await gate.arrived(1, "site-1", "site-2")
        bob = another_user(federation, tmp_path / "bob", "bob")
        async with bob.client:
            behind, his = await begin(user, gate, "site-2"), await begin(bob, gate, "site-2", "site-3")
            assert await waits(user, behind) == Waiting(WaitKind.SITE, "site-2", running)
            assert await waits(bob, his) == Waiting(WaitKind.SITE, "site-2", "")
            passing = await begin(user, gate, "site-3")  # does not wait for those that wait for site-2
            await gate.arrived(1, "site-3")
            assert (await user.director.status()).places == 2
            whole = Waiting(WaitKind.PLACE, running=2, places=2)
            assert [item.waiting for item in await user.client.experiments()] == [None, whole, None]
            listed = await fx_fine("experiment", "list", federation=federation)
            assert "waits for a place: 2 of 2 taken" in listed
            gate.open_all()
            for mine in (running, behind, passing):
                assert (await user.ended(mine)).status == "FINISHED"
            assert (await bob.ended(his)).status == "FINISHED"


@pytest.mark.long
async def test_a_director_that_is_killed_with_several_running_loses_nothing(tmp_path: Path) -> None:
    async with federation_of(THREE, tmp_path, settings=TWO_PLACES) as (federation, user), gate_of() as gate:
        gate.open(1)
        one, two = await begin(user, gate, "site-1", "site-2"), await begin(user, gate, "site-3")
        queued = await begin(user, gate, "site-1", "site-3")
        await gate.arrived(2)
        await federation.kill("director")
        await federation.start_director()
        states = {item.id: item.status for item in await user.client.experiments()}
        assert states[queued] == "QUEUED"
        gate.open_all()
        ends = [await model_of(user, experiment) for experiment in (one, two, queued)]
        again = [
            await model_of(user, await begin(user, gate, "site-1", "site-2")),
            await model_of(user, await begin(user, gate, "site-3")),
        ]
        assert ends[:2] == again
        for experiment in (one, two):
            begun = [event for event in await user.events(experiment) if event.kind == "experiment_started"]
            assert len(begun) == 2  # each went on from its last commit, once
