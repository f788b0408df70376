"""What sites tell of their machines reaches users, whatever a site's own monitors do."""

import asyncio
import json
import subprocess
from pathlib import Path

import pytest
from federations import OBEDIENT, THREE, federation_of

from openfl_like.api.federation import Federation
from openfl_like.errors import NotFoundError
from openfl_like.federation.parties import EnvoyDetail
from openfl_like.services.local_federation import LocalFederation
from openfl_like.services.spawn import clean_environment, fx_command

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

    async with asyncio.timeout(30):
        while True:
            detail = await asyncio.to_thread(user.envoy, name)
            if detail.history and "cpu_percent" in detail.history[0].values and detail.record.devices.extra:
                return detail
            await asyncio.sleep(0.2)


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
        told_all = json.loads(fx(federation, "envoy", "show", "site-1", "--json"))
        assert told_all["record"]["name"] == "site-1"
        assert [series["slot_s"] for series in told_all["history"]] == [30.0, 300.0]


def fx(federation: LocalFederation, *words: str) -> str:
    """Gives what a command prints."""
    who = ("-d", federation.director, "--certificates", str(federation.user_certificates))
    command = fx_command(*words, *who)
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
