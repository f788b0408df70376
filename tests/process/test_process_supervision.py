"""Nobody gets away from an experiment's end, and nobody who is frozen is waited for without end."""

import asyncio
import contextlib
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
from federations import PLAN, another, collaborators, federation_of, gate_of, shards, workers
from pace import limit

from openfl_like.federation.announcements import RoundFinished, only

pytestmark = [pytest.mark.process, pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to us")]
ESCAPING = shards(site_1="site-1", site_2="escaping")
BOTH = ("admission.collaborators=[site-1, site-2]", "deadline.rejoin_s=40")
GONE_S = 5.0


def escaped(directory: Path) -> list[psutil.Process]:
    """What the task of a site below this directory has started and hidden."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            ours = process.cmdline() == ["sleep", "86399"] and Path(process.cwd()).is_relative_to(directory)
            if ours and not process.environ():
                found.append(process)
    return found


async def gone(processes: list[psutil.Process]) -> None:
    """Waits until these processes are gone, five seconds at most."""
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, limit(GONE_S))
    assert alive == []


async def test_what_a_task_has_hidden_ends_with_its_experiment(tmp_path: Path) -> None:
    async with federation_of(ESCAPING, tmp_path) as (_, user), gate_of(ESCAPING) as gate:
        gate.open(1)
        experiment = await user.submit(PLAN, *BOTH, gate.setting)
        await gate.arrived(2)
        (hidden,) = escaped(tmp_path)
        await user.client.cancel(experiment)
        await gone([hidden])


async def test_and_with_its_collaborator_that_was_killed(tmp_path: Path) -> None:
    async with federation_of(ESCAPING, tmp_path) as (federation, user), gate_of(ESCAPING) as gate:
        gate.open(1)
        experiment = await user.submit(PLAN, *BOTH, gate.setting)
        await gate.arrived(2)
        (hidden,) = escaped(tmp_path)
        collaborators(federation, "site-2")[0].kill()
        await gone([hidden])
        gate.open(2)
        await another(lambda: escaped(tmp_path), hidden)  # the next worker begins to train, and does it again
        await user.client.cancel(experiment)


async def test_and_when_the_next_envoy_starts_if_all_of_them_were_killed(tmp_path: Path) -> None:
    async with federation_of(ESCAPING, tmp_path) as (federation, user), gate_of(ESCAPING) as gate:
        gate.open(1)
        experiment = await user.submit(PLAN, *BOTH, gate.setting)
        await gate.arrived(2)
        (hidden,) = escaped(tmp_path)
        notes = federation.directory / "envoy-site-2" / experiment / "run" / "processes"
        await another(lambda: [hidden] if notes.exists() and str(hidden.pid) in notes.read_text().split() else [], None)
        await federation.kill("site-2")
        assert hidden.is_running()
        await federation.start_envoy("site-2")
        await gone([hidden])
        await user.client.cancel(experiment)


@pytest.mark.long
async def test_a_frozen_worker_and_a_frozen_collaborator_are_replaced_within_twenty_seconds(tmp_path: Path) -> None:
    sites = shards(site_1="site-1", site_2="site-2")
    async with federation_of(sites, tmp_path) as (federation, user), gate_of(sites) as gate:
        experiment = await user.submit(PLAN, *BOTH, gate.setting)
        for number, find in enumerate((workers, collaborators), 1):
            gate.open(number - 1)
            waiting = await gate.arrived(number)
            frozen, start = find(federation, "site-2")[0], time.monotonic()
            frozen.suspend()
            await another(partial(find, federation, "site-2"), frozen)
            assert time.monotonic() - start < limit(20)
            assert not frozen.is_running()
            await gate.arrived(number, "site-2", former=waiting["site-2"])
        gate.open_all()
        ended = await user.ended(experiment)
        assert ended.status == "FINISHED", ended.reason
        finished = only(await user.events(experiment), RoundFinished)
        assert all(told.absent == {} for told in finished)
