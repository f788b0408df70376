"""What sites tell of their machines reaches users, whatever a site's own monitors do."""

import asyncio
import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from federations import OBEDIENT, THREE, User, federation_of, gate_of
from pace import limit

from openfl_like.api.federation import Federation
from openfl_like.errors import NotFoundError
from openfl_like.federation.parties import EnvoyDetail, EnvoyRecord, LogQuery
from openfl_like.processes.child import clean_environment, fx_command
from openfl_like.services.local_federation import LocalFederation

pytestmark = pytest.mark.process

METERS = """
import threading

from openfl_like.federation.parties import DeviceStatistics


class Meter:
    def __init__(self, directory, scale):
        self.scale = scale

    def read(self):
        return DeviceStatistics(extra={"energy_j": self.scale})


class Raises:
    def __init__(self, directory):
        raise OSError("there is no meter")


class Hangs:
    def __init__(self, directory):
        threading.Event().wait()
"""
MONITORS = """
device_monitors:
  - meters:Raises
  - psutil
  - meters:Hangs
  - {template: meters:Meter, settings: {scale: 2.5}}
"""


@pytest.fixture
def metered(tmp_path: Path) -> Path:
    """A shard.yaml whose monitors do all that monitors should not do."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "meters.py").write_text(METERS)
    (folder / "shard.yaml").write_text((OBEDIENT / "shards" / "site-1.yaml").read_text() + MONITORS)
    for module in (OBEDIENT / "shards").glob("*.py"):
        (folder / module.name).write_text(module.read_text())
    return folder / "shard.yaml"


async def told(federation: LocalFederation, user: Federation, name: str) -> EnvoyDetail:
    """Waits until a site has told of its machine over some time; the Director announces no heartbeat."""

    async with asyncio.timeout(limit(30)):
        while True:
            detail = await asyncio.to_thread(user.envoy, name)
            if detail.history and "cpu_percent" in detail.history[0].values and detail.record.devices.extra:
                return detail
            await asyncio.sleep(0.2)


@pytest.mark.long
async def test_monitors_that_raise_and_hang_cost_their_own_numbers_only(metered: Path, tmp_path: Path) -> None:
    sites = {"site-1": metered, "site-2": THREE["site-2"]}
    async with federation_of(sites, tmp_path) as (federation, user):
        with Federation(federation.director, federation.user_certificates) as client:
            detail = await told(federation, client, "site-1")
            record = detail.record
            assert record.online
            assert record.devices.extra == {"energy_j": 2.5}
            assert (record.devices.cpu_count or 0) > 0
            assert record.certificate_ends is not None
            assert 80_000 < record.certificate_ends - record.last_seen < 90_000  # it is valid for a day
            with pytest.raises(NotFoundError, match=r"there is no envoy 'site-9' \(.*known: site-1, site-2\)"):
                client.envoy("site-9")
        experiment = await user.submit()
        ended = await user.ended(experiment)
        assert ended.status == "FINISHED", ended.reason
        log = federation.log("site-1").read_text()
        assert log.count("device monitor 'meters:Raises' (told once): OSError: there is no meter") == 1
        assert log.count("device monitor 'meters:Hangs' (told once): has not answered within 1 s") == 1
        shown = fx(federation, "envoy", "show", "site-1")
        assert "energy_j     2.5" in shown
        assert "the last hour, in means of 30 s" in shown
        told_all = json.loads(fx(federation, "envoy", "show", "site-1", "--json"))["data"]
        assert told_all["record"]["name"] == "site-1"
        assert [series["slot_s"] for series in told_all["history"]] == [30.0, 300.0]


TELLING = """
import os

from src.obedient import Runner as Obedient


class Runner(Obedient):
    def __init__(self, loader, context, **settings):
        super().__init__(loader, context, **settings)
        print(f"told {context.device}, sees '{os.environ['CUDA_VISIBLE_DEVICES']}'", flush=True)
"""
GPUS = """
from openfl_like.federation.parties import DeviceStatistics, GpuStatistics


class Two:
    def __init__(self, directory):
        pass

    def read(self):
        return DeviceStatistics(gpus=(GpuStatistics(0, "A100"), GpuStatistics(1, "A100")))
"""


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """A plan whose task runner tells where it works."""
    workspace = tmp_path / "workspace"
    shutil.copytree(OBEDIENT, workspace, ignore=shutil.ignore_patterns("__pycache__"))
    (workspace / "src" / "telling.py").write_text(TELLING)
    text = (workspace / "plan.yaml").read_text().replace("src.obedient:Runner", "src.telling:Runner")
    (workspace / "plan.yaml").write_text(text)
    return workspace / "plan.yaml"


@pytest.fixture
def sites(tmp_path: Path) -> dict[str, Path]:
    """A site with two GPUs, as its monitor tells, of which it gives one; and one without."""
    folder = tmp_path / "site"
    shutil.copytree(OBEDIENT / "shards", folder)
    (folder / "gpus.py").write_text(GPUS)
    text = (folder / "site-1.yaml").read_text()
    (folder / "site-1.yaml").write_text(text + "device_monitors: [psutil, gpus:Two]\ndevices: [cpu, cuda:1]\n")
    return {"site-1": folder / "site-1.yaml", "site-2": folder / "site-2.yaml"}


async def lines(user: User, experiment: str, site: str) -> list[str]:
    """What the workers of a site have told of their device."""
    found = [line async for logs in user.client.logs(experiment, LogQuery(site)) for line in logs.lines]
    return [line.partition("told ")[2] for line in found if "told " in line]


@pytest.mark.long
async def test_each_worker_gets_what_the_plan_wishes_and_its_site_gives(
    plan: Path, sites: dict[str, Path], tmp_path: Path
) -> None:
    async with federation_of(sites, tmp_path) as (federation, user), gate_of(sites) as gate:
        experiment = await user.submit(plan, "collaborator.settings.device=auto", gate.setting)
        await gate.arrived(1)
        with Federation(federation.director, federation.user_certificates) as client:
            for site, device in (("site-1", "cuda:1"), ("site-2", "cpu")):
                record = await asyncio.to_thread(placed, client, site, experiment)
                assert record.placed == {experiment: device}
            assert f"{experiment} on cuda:1" in fx(federation, "envoy", "list")
            assert [gpu.index for gpu in record.devices.gpus] == []
        await user.client.cancel(experiment)
        assert await lines(user, experiment, "site-1") == ["auto, sees '1'"]
        assert await lines(user, experiment, "site-2") == ["cpu, sees ''"]

        named = await user.submit(plan, "collaborator.settings.device=[cuda:0, cuda, cpu]")
        assert (await user.ended(named)).status == "FINISHED"
        assert await lines(user, named, "site-1") == ["cuda:0, sees '1'"]

        refused = await user.submit(plan, "collaborator.settings.device=cuda:0", "admission.min_collaborators=2")
        ended = await user.ended(refused)
        assert ended.status == "FAILED"
        assert "site 'site-1': the plan wants cuda:0, this site gives cpu, cuda:1" in ended.reason
        assert "site 'site-2': the plan wants cuda:0, this site gives cpu" in ended.reason


def placed(client: Federation, site: str, experiment: str) -> EnvoyRecord:
    """Waits for the heartbeat that says where a worker is."""
    end = time.monotonic() + limit(30)
    while experiment not in (record := client.envoy(site).record).placed:
        assert time.monotonic() < end, record
        time.sleep(0.1)
    return record


def fx(federation: LocalFederation, *words: str) -> str:
    """Gives what a command prints."""
    who = ("-d", federation.director, "--certificates", str(federation.user_certificates))
    command = fx_command(*words, *who)
    done = subprocess.run(
        command, env=clean_environment(), capture_output=True, text=True, timeout=limit(60), check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
