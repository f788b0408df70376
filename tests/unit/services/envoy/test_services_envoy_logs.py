"""What leaves a site of its logs: what shard.yaml allows, and no more than can wait."""

import asyncio
from pathlib import Path

import pytest

from openfl_like.errors import SettingsError
from openfl_like.federation.parties import LogLines
from openfl_like.services.envoy.logs import LOST, MOST_WAITING, SiteLogs
from openfl_like.services.logs.rate_limit import RateLimited, Withheld


def logs(
    tmp_path: Path, policy: str = "", most_waiting: int = MOST_WAITING
) -> tuple[SiteLogs, "asyncio.Queue[LogLines]"]:
    shard = tmp_path / "shard.yaml"
    shard.write_text(f"template: digits\n{policy}")
    outbox: asyncio.Queue[LogLines] = asyncio.Queue()
    return SiteLogs("bern", shard, outbox, most_waiting), outbox


async def test_shard_yaml_decides_each_time_whether_lines_leave(tmp_path: Path) -> None:
    site, outbox = logs(tmp_path)
    shared = await site.route("e1")
    assert (shared.shared, type(shared.outlet)) == (True, RateLimited)
    logs(tmp_path, "logs: {share: false}")
    kept = await site.route("e2")
    assert (kept.shared, type(kept.outlet)) == (False, Withheld)
    site.lost([shared, kept])
    assert outbox.get_nowait() == LogLines("e1", "bern", (LOST,), "envoy")
    assert outbox.get_nowait() == LogLines("e2", "bern", (Withheld("bern").word,), "envoy")
    assert outbox.empty()
    logs(tmp_path, "logs: {shar: false}")
    with pytest.raises(SettingsError, match="shar"):
        await site.route("e3")


async def test_lines_that_cannot_wait_for_a_director_are_dropped_and_counted(tmp_path: Path) -> None:
    site, outbox = logs(tmp_path, most_waiting=1)
    send = (await site.route("e1")).send
    for text in ("one", "two", "three"):
        send(LogLines("e1", "bern", (text,), "worker"))
    assert outbox.get_nowait().lines == ("one",)
    send(LogLines("e1", "bern", ("four",), "worker"))
    told = ("(2 lines are missing here: the director was away)", "four")
    assert outbox.get_nowait() == LogLines("e1", "bern", told, "worker")
