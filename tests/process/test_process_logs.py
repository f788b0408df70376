"""Logs that are followed while an experiment runs: of every process, across a restart, but not what a site keeps."""

import asyncio
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from federations import OBEDIENT, federation_of, gate_of
from pace import limit

from openfl_like.api.federation import Federation
from openfl_like.federation.parties import LogLines
from openfl_like.services.envoy.logs import LOST
from openfl_like.services.local_federation import LocalFederation

pytestmark = pytest.mark.process
ROUNDS = 15
PRINTING = """
        self._count = getattr(self, "_count", 0) + 1
        print(f"round {self._count} \\x1b[2J", flush=True)
"""


def _workspace(directory: Path) -> Path:
    """An obedient workspace that prints a line in every round, with what would clear a screen."""
    shutil.copytree(OBEDIENT, directory, ignore=shutil.ignore_patterns("__pycache__"))
    code = directory / "src" / "obedient.py"
    docstring = '"""Moves half of the way, raises or hangs."""\n'
    code.write_text(code.read_text().replace(docstring, docstring + PRINTING))
    return directory / "plan.yaml"


def _site(directory: Path, name: str, more: str = "") -> Path:
    directory.mkdir()
    shutil.copyfile(OBEDIENT / "shards" / "one_number.py", directory / "one_number.py")
    shard = directory / "shard.yaml"
    shard.write_text((OBEDIENT / "shards" / f"{name}.yaml").read_text() + more)
    return shard


def _follow(federation: LocalFederation, experiment: str, on_line: Callable[[str], None]) -> list[LogLines]:
    with Federation(federation.director, federation.user_certificates) as client:
        found = []
        for lines in client.logs(experiment, follow=True):
            found.append(lines)
            for line in lines.lines:
                on_line(line)
        return found


@pytest.mark.long
async def test_who_follows_gets_every_line_of_every_process_once_even_if_the_director_dies(tmp_path: Path) -> None:
    sites = {
        "site-1": _site(tmp_path / "one", "site-1"),
        "site-2": _site(tmp_path / "two", "site-2"),
        "site-3": _site(tmp_path / "three", "site-3", "logs: {share: false}\n"),
    }
    loop, under_way = asyncio.get_running_loop(), asyncio.Event()

    def on_line(line: str) -> None:
        if "round 3 " in line:
            loop.call_soon_threadsafe(under_way.set)

    plan = _workspace(tmp_path / "code")
    async with federation_of(sites, tmp_path) as (federation, user), gate_of() as gate:
        gate.open(4)
        experiment = await user.submit(plan, f"aggregator.settings.rounds_to_train={ROUNDS}", gate.setting)
        following = asyncio.create_task(asyncio.to_thread(_follow, federation, experiment, on_line))
        async with asyncio.timeout(limit(60)):
            await under_way.wait()
        await gate.arrived(5)
        await federation.kill("director")
        gate.open_all()
        await federation.start_director()
        ended = await user.ended(experiment)
        assert ended.status == "FINISHED", ended.reason
        async with asyncio.timeout(limit(40)):
            found = await following
        with Federation(federation.director, federation.user_certificates) as client:
            stored = [(lines.source, line) for lines in client.logs(experiment) for line in lines.lines]
    followed = [(lines.source, line) for lines in found for line in lines.lines]
    assert Counter(followed) == Counter(stored)
    printed = [f"round {number} \\x1b[2J" for number in range(1, ROUNDS + 1)]
    for site in ("site-1", "site-2"):
        told = [line for source, line in followed if source == site]
        came = [line for line in told if line in printed]
        assert came == sorted(set(came), key=printed.index)
        assert came[-9:] == printed[-9:]
        assert came == printed or LOST in told  # what was under way when the Director died
    assert {line for source, line in followed if source == "site-3"} == {
        "(site 'site-3' keeps its logs: logs.share of its shard.yaml is false)"
    }
    assert "\x1b" not in "".join(line for _, line in followed)
    assert any(source == "aggregator" and "is FINISHED" in line for source, line in followed)
    roles = {lines.role for lines in found}
    assert roles - {"envoy"} == {"aggregator", "collaborator", "worker"}  # an Envoy may say what was lost
    own = (federation.directory / "envoy-site-3" / experiment / "collaborator.log").read_text()
    assert f"worker: {printed[-1]}" in own
