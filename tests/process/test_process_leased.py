"""A simulation whose jobs are leased to workers that come over the network, with certificates, as from other hosts."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from federations import fx_fine, run_fx
from pace import limit
from simulations import KEEPING, KINDS, SAMPLED, digest_in, invented_workspace, lines_of

from openfl_like.pki.roles import Role
from openfl_like.processes.child import Child, fx_command, spawn
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.wire.channel import backoff

pytestmark = pytest.mark.process
REMEMBERING = """
from openfl_like.frameworks.algorithms.base import LocalEnd

class Remembering:
    def shared(self, model):
        return {}

    def begin(self, start):
        pass

    def adjust(self, gradients, weights):
        return gradients

    def after_step(self, weights):
        pass

    def end(self, weights):
        return LocalEnd(state=dict(weights))
"""
FOUND = "workers find the simulation at "


@dataclass
class Lab:
    """A host with a simulation, and others that work for it.

    Args:
        directory: Where everything is.
    """

    directory: Path

    def __post_init__(self) -> None:
        self._pki = ThrowAwayFederation(self.directory)
        self.server = self.folder(Role.AGGREGATOR, "invented")
        self._children: list[Child] = []

    def folder(self, role: Role, name: str, experiment: str = "invented") -> Path:
        """Make a certificate."""
        return self._pki.folder(self._pki.credentials(role, name, experiment))

    async def simulation(self, plan: Path, *arguments: str, listen: str = "localhost:0") -> tuple[Child, str]:
        """Start one, and return it with its address."""
        command = fx_command("simulate", str(plan), "--runtime", "leased", "--listen", listen, *arguments)
        found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def look(line: str) -> None:
            if line.startswith(FOUND) and not found.done():
                found.set_result(line.removeprefix(FOUND).split(": ")[0])

        command += ["--certificates", str(self.server)]
        child = await spawn(command, on_line=look, cwd=self.directory)
        self._children.append(child)
        async with asyncio.timeout(60):
            return child, await found

    async def worker(
        self, name: str, address: str, experiment: str = "invented", heard: Callable[[str], None] = lambda _: None
    ) -> Child:
        """Start one."""
        command = fx_command("worker", "start", "-n", name, "-a", address, "--workers", "1")
        command += ["--certificates", str(self.folder(Role.COLLABORATOR, name, experiment))]
        child = await spawn(command, on_line=heard, cwd=self.directory)
        self._children.append(child)
        return child

    async def close(self) -> None:
        for child in self._children:
            await child.stop()


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    made = Lab(tmp_path)
    try:
        yield made
    finally:
        await made.close()


async def digest_of(child: Child) -> str:
    """The model of a simulation that ends well."""
    lines = await lines_of(child)
    assert await child.wait() == 0, child.tail
    return digest_in("\n".join(lines))


async def exists(path: Path) -> None:
    """Wait until another process has made a file."""
    async with asyncio.timeout(60):
        async for _ in backoff(0.05, 0.1):
            if path.exists():
                return


@asynccontextmanager
async def in_round_two(tmp_path: Path) -> AsyncIterator[Path]:
    """A plan whose second round waits, for as long as the block is open."""
    marker = tmp_path / "waits.here"
    yield invented_workspace(tmp_path / "study", marker)
    marker.with_suffix(".done").touch()
    with suppress(FileNotFoundError):
        marker.unlink()


@pytest.mark.parametrize("kind", [kind for kind in SAMPLED if KEEPING.isdisjoint(kind.values)])
async def test_workers_make_the_same_bytes_as_one_process(lab: Lab, kind: str) -> None:
    plan = invented_workspace(lab.directory / "study")
    alone = digest_in(await fx_fine("simulate", str(plan), *KINDS[kind], cwd=lab.directory))
    simulation, address = await lab.simulation(plan, *KINDS[kind])
    workers = [await lab.worker(name, address) for name in ("north", "south")]
    assert await digest_of(simulation) == alone
    assert [await worker.wait() for worker in workers] == [0, 0]


async def test_the_jobs_of_a_worker_that_is_killed_are_done_by_others(lab: Lab, tmp_path: Path) -> None:
    async with in_round_two(tmp_path) as plan:
        simulation, address = await lab.simulation(plan)
        north = await lab.worker("north", address)
        await exists(tmp_path / "waits.here")
        below = psutil.Process(north.process.pid).children(recursive=True)
        north.kill()
        south = await lab.worker("south", address)
    digest = await digest_of(simulation)
    assert await south.wait() == 0
    assert digest == digest_in(await fx_fine("simulate", str(plan), cwd=tmp_path))
    _, alive = psutil.wait_procs(below, timeout=10)
    assert alive == []


async def test_a_worker_that_is_at_work_when_the_simulation_ends_hears_of_it(lab: Lab, tmp_path: Path) -> None:
    async with in_round_two(tmp_path) as plan:
        simulation, address = await lab.simulation(plan)
        worker = await lab.worker("north", address)
        await exists(tmp_path / "waits.here")
        simulation.process.send_signal(signal.SIGINT)
        assert await simulation.wait() == 130
        async with asyncio.timeout(limit(20)):
            assert await worker.wait() == 0
    assert "the simulation has ended" in "\n".join(await lines_of(worker)) + "\n".join(worker.tail)


async def test_a_simulation_that_is_killed_goes_on_with_the_workers_that_it_had(lab: Lab, tmp_path: Path) -> None:
    async with in_round_two(tmp_path) as plan:
        record = ("--directory", str(tmp_path / "record"))
        simulation, address = await lab.simulation(plan, *record)
        worker = await lab.worker("north", address)
        await exists(tmp_path / "waits.here")
        simulation.kill()
        await simulation.wait()
        again, _ = await lab.simulation(plan, *record, listen=address)
    digest = await digest_of(again)
    assert await worker.wait() == 0
    assert digest == digest_in(await fx_fine("simulate", str(plan), cwd=tmp_path))


async def test_an_algorithm_that_keeps_state_at_sites_is_refused(lab: Lab) -> None:
    plan = invented_workspace(lab.directory / "study")
    (plan.parent / "src" / "remembering.py").write_text(REMEMBERING)
    simulation, address = await lab.simulation(plan, "-s", "algorithm.template=src.remembering:Remembering")
    await lab.worker("north", address)
    assert await simulation.wait() == 1
    assert "any host works for any site" in "\n".join(simulation.tail)


async def test_a_worker_that_comes_first_waits_for_the_simulation(lab: Lab) -> None:
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        address = f"localhost:{taken.getsockname()[1]}"
    lines: asyncio.Queue[str] = asyncio.Queue()
    worker = await lab.worker("north", address, heard=lines.put_nowait)
    async with asyncio.timeout(60):
        while "waiting for it" not in await lines.get():
            pass
    simulation, _ = await lab.simulation(invented_workspace(lab.directory / "study"), listen=address)
    await digest_of(simulation)
    assert await worker.wait() == 0


async def test_a_worker_of_another_experiment_is_refused(lab: Lab) -> None:
    _, address = await lab.simulation(invented_workspace(lab.directory / "study"))
    stranger = await lab.worker("north", address, experiment="another")
    assert await stranger.wait() != 0
    assert "another.aggregator" in "\n".join(stranger.tail)


async def test_a_worker_with_the_certificate_of_another_one_is_refused(lab: Lab) -> None:
    folder = lab.folder(Role.COLLABORATOR, "south")
    child = await spawn(
        fx_command("worker", "start", "-n", "north", "-a", "localhost:1", "--certificates", str(folder)),
        cwd=lab.directory,
    )
    assert await child.wait() == 3
    assert "start it with --name south" in "\n".join(child.tail)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "add --listen HOST:PORT"),
        (("--listen", "localhost:0", "-s", "name=else"), "the plan is called 'else'"),
        (("--listen", "localhost:0", "-s", "simulation={}", "--shard", "bern=bern.yaml"), "have none of the sites'"),
    ],
)
async def test_what_cannot_run_says_so(lab: Lab, arguments: tuple[str, ...], told: str) -> None:
    plan = invented_workspace(lab.directory / "study")
    (lab.directory / "bern.yaml").write_text("template: synthetic\nparams: {classes: 2, features: 8}\n")
    given = ("--certificates", str(lab.server)) if arguments else ()
    code, _, output = await run_fx("simulate", str(plan), "--runtime", "leased", *arguments, *given, cwd=lab.directory)
    assert code == 2
    assert told in output
