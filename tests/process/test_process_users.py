"""Many users at one Director: status, metrics with history, models while the experiment runs, logs, the roster."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from federations import PLAN, THREE, User, federation_of, gate_of, shards
from pace import limit

from openfl_like.api.federation import Federation
from openfl_like.errors import FederationError, NotFoundError
from openfl_like.federation.announcements import KINDS, Announced, RoundFinished, only
from openfl_like.federation.parties import EnvoyRecord, LogLines
from openfl_like.pki.files import load_credentials
from openfl_like.pki.roles import Role
from openfl_like.tensors.container import read_tensors
from openfl_like.wire.channel import backoff
from openfl_like.wire.client import director_peer
from openfl_like.wire.envoys import EnvoysClient
from openfl_like.wire.experiments import SERVICE as EXPERIMENTS
from openfl_like.wire.experiments import ExperimentsClient

pytestmark = pytest.mark.process
USERS = 8
ROUNDS = "aggregator.settings.rounds_to_train=9"


async def _roster(user: User, settled: Callable[[list[EnvoyRecord]], bool]) -> list[EnvoyRecord]:
    """Asks for the roster until it is as expected: the Director tells its users of no change in it."""
    async with asyncio.timeout(limit(30)):
        async for _ in backoff(cap_s=0.2):
            records = await user.envoys.envoys()
            if settled(records):
                return records
    raise AssertionError("unreachable")


@pytest.mark.long
async def test_many_users_follow_one_running_experiment_from_its_beginning(tmp_path: Path) -> None:
    loop, reading = asyncio.get_running_loop(), asyncio.Semaphore(0)
    threads = ThreadPoolExecutor(USERS)
    async with federation_of(THREE, tmp_path) as (federation, user), gate_of() as gate:
        gate.open(1)
        experiment = await user.submit(PLAN, ROUNDS, gate.setting)
        await gate.arrived(2)

        def one_user() -> list[int]:
            with Federation(federation.director, federation.user_certificates) as client:
                assert client.experiment(experiment).summary.status == "RUNNING"
                numbers = []
                for item in client.watch(experiment):
                    if isinstance(item, Announced):
                        numbers.append(item.sequence)
                    if len(numbers) == 10:
                        loop.call_soon_threadsafe(reading.release)
                    if len(numbers) == 60:
                        break
                return numbers

        following = asyncio.gather(*(loop.run_in_executor(threads, one_user) for _ in range(USERS)))
        async with asyncio.timeout(limit(60)):
            for _ in range(USERS):
                await reading.acquire()
        gate.open(8)  # each of them is told the rest while it happens
        everybody = await following
        assert everybody == [list(range(1, 61))] * USERS
        await user.client.cancel(experiment)


async def test_models_and_metrics_are_there_while_it_runs_and_afterwards(tmp_path: Path) -> None:
    async with federation_of(THREE, tmp_path) as (_, user), gate_of() as gate:
        gate.open(8)
        experiment = await user.submit(PLAN, ROUNDS, gate.setting)
        await gate.arrived(9)
        for which in ("best", "last"):
            path = tmp_path / f"{which}.safetensors"
            await user.client.model(experiment, which, path)
            assert read_tensors(path)["vector"].shape == (100,)
        with pytest.raises(NotFoundError, match="no model version '999999'"):
            await user.client.model(experiment, "999999", tmp_path / "none")
        record = await user.client.experiment(experiment)
        assert [version.version.round for version in record.versions] == list(range(9))
        assert all("loss" in version.version.metrics for version in record.versions[1:])
        assert json.loads(record.plan)["name"] == "obedient"
        await user.client.cancel(experiment)
        kinds = {event.kind for event in await user.events(experiment)}
        assert kinds <= KINDS.keys()
        assert "round_finished" in kinds
        sources = {lines.source async for lines in user.client.logs(experiment)}
        assert "aggregator" in sources


async def test_the_roster_tells_shards_and_the_state_of_machines(tmp_path: Path) -> None:
    async with federation_of(THREE, tmp_path) as (federation, user):
        records = await _roster(user, lambda records: all(record.devices.cpu_count for record in records))
        assert [(record.name, record.online) for record in records] == [(name, True) for name in sorted(THREE)]
        assert all(
            (record.devices.memory_total_bytes or 0) > 0 and record.shard.sample_shape == (1,) for record in records
        )
        await federation.children["site-2"].stop()
        records = await _roster(user, lambda records: not all(record.online for record in records))
        assert [record.name for record in records if not record.online] == ["site-2"]


@pytest.mark.long
async def test_a_director_that_was_killed_goes_on_with_its_queue_and_its_sites_come_back(tmp_path: Path) -> None:
    async with federation_of(THREE, tmp_path) as (federation, user), gate_of() as gate:
        before = await user.submit()
        assert (await user.ended(before)).status == "FINISHED"
        gate.open(2)
        running = await user.submit(PLAN, ROUNDS, "admission.min_collaborators=3", gate.setting)
        queued = await user.submit()
        await gate.arrived(3)
        await federation.kill("director")
        await federation.start_director()
        gate.open_all()
        ended = await user.ended(running)
        assert ended.status == "FINISHED", ended.reason
        assert (await user.ended(queued)).status == "FINISHED"
        rounds = [told.round for told in only(await user.events(running), RoundFinished)]
        assert rounds == list(range(10))
        assert (await user.client.experiment(before)).summary.status == "FINISHED"


def verbs_of(client: ExperimentsClient, experiment: str, place: Path) -> dict[str, Callable[[], Awaitable[object]]]:
    """Every call on one experiment, by the name of its method on the wire."""

    async def watched() -> list[object]:
        return [item async for item in client.watch(experiment)]

    async def read() -> list[LogLines]:
        return [lines async for lines in client.logs(experiment)]

    return {
        "GetExperiment": lambda: client.experiment(experiment),
        "Watch": watched,
        "ReadLogs": read,
        "FetchModel": lambda: client.model(experiment, "last", place / "model"),
        "FetchResults": lambda: client.fetch_results(experiment, place / "results", 2**20),
        "ExportExperiment": lambda: client.fetch_checkpoint(experiment, place / "checkpoint"),
        "Resume": lambda: client.resume(experiment),
        "Cancel": lambda: client.cancel(experiment),
        "Remove": lambda: client.remove(experiment),
    }


async def test_an_experiment_is_there_for_its_owner_and_admins_only(tmp_path: Path) -> None:
    others = {Role.USER: "bob", Role.ENVOY: "user", Role.GATEWAY: "user"}
    of_one = {method.name for method in EXPERIMENTS.methods} - {"Submit", "ImportExperiment", "ListExperiments"}
    async with federation_of(shards(site_1="site-1"), tmp_path) as (federation, user), gate_of(["site-1"]) as gate:
        gate.open(1)
        experiment = await user.submit(PLAN, ROUNDS, gate.setting)
        await gate.arrived(2)
        for role, name in others.items():
            peer = director_peer(federation.director, load_credentials(federation.issue(role, name)))
            async with ExperimentsClient(peer) as stranger:
                verbs = verbs_of(stranger, experiment, tmp_path)
                assert verbs.keys() == of_one
                for verb, call in verbs.items():
                    with pytest.raises(NotFoundError if role is Role.USER else FederationError) as refused:
                        await call()
                    if role is Role.USER:
                        assert f"there is no experiment '{experiment}'" in refused.value.message, verb
                if role is not Role.ENVOY:
                    assert await stranger.experiments() == []
                    assert [record.running for record in await EnvoysClient(peer).envoys()] == [()]
        assert sorted(path.name for path in tmp_path.iterdir() if path.name in {"model", "results", "checkpoint"}) == []
        namesake = load_credentials(federation.issue(Role.ADMIN, "user"))
        async with User(federation, tmp_path / "admin", namesake).client as admin:
            assert [summary.id for summary in await admin.experiments()] == [experiment]
            assert (await admin.cancel(experiment)).status == "CANCELLED"
            for verb, call in verbs_of(admin, experiment, tmp_path).items():
                if verb == "FetchResults":
                    with pytest.raises(NotFoundError, match="there are no results"):
                        await call()  # its plan has no callbacks
                elif verb not in {"Cancel", "Resume", "Remove"}:
                    await call()
            assert [summary.owner for summary in await user.client.experiments()] == ["user"]
            assert (await admin.remove(experiment)).experiment == experiment
        assert await user.client.experiments() == []
        assert list((federation.state / "experiments").iterdir()) == []


async def test_a_user_who_is_called_like_the_admin_sees_nothing_of_theirs(tmp_path: Path) -> None:
    async with federation_of(shards(site_1="site-1"), tmp_path) as (federation, user):
        (tmp_path / "admin").mkdir()
        admin = User(federation, tmp_path / "admin", load_credentials(federation.issue(Role.ADMIN, "user")))
        async with admin.client:
            theirs = await admin.submit(request_id="ab" * 8)
            assert await user.client.experiments() == []
            with pytest.raises(NotFoundError):
                await user.client.experiment(theirs)
            with pytest.raises(NotFoundError):  # the request is known already: to somebody else
                await user.submit(request_id="ab" * 8)
            assert (await admin.ended(theirs)).status == "FINISHED"
