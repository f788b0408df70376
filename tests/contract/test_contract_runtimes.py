"""Every runtime of a simulation: sites join, work ends in one event, the bytes are the same, and nothing is left."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from tempfile import mkdtemp

import psutil
import pytest

from openfl_like import registry
from openfl_like.data.made_sites import make_sites
from openfl_like.errors import TaskError, UsageError
from openfl_like.federation.devices.profile import SimulatedDevices
from openfl_like.federation.events import Event, EverybodyJoined, SendAssignment, TaskFailed, UpdateCommitted
from openfl_like.federation.task import Assignment, Phase, TaskCall
from openfl_like.pki.roles import Role
from openfl_like.plan.load import load_plan
from openfl_like.plan.simulation import DeviceSection, constant
from openfl_like.runtimes import mpi
from openfl_like.runtimes.leased import leased_runtime
from openfl_like.runtimes.loop import Outward, Post, Runtime
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.process import process_runtime
from openfl_like.runtimes.sites import Listening, SimulatedSites, WorkerWishes
from openfl_like.runtimes.virtual_time import InVirtualTime
from openfl_like.services.job_worker import JobWorkerArguments, run_job_worker
from openfl_like.store.files import ExperimentFiles
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.testing.faults.toy_workload import write_workspace

pytestmark = pytest.mark.children
NAMES = ("bern", "zurich")
VIRTUALLY = " in virtual time"
RUNTIMES = [f"{name}{clock}" for name in registry.BUILTIN["runtime"] for clock in ("", VIRTUALLY)]


@pytest.fixture
def sites(tmp_path: Path) -> SimulatedSites:
    path, _ = write_workspace(tmp_path / "study", dict.fromkeys(NAMES, 3.0))
    each = "{template: 'openfl_like.testing.faults.toy_workload:NumberShard', params: {value: 3.0}}"
    plan = load_plan(path, (f"simulation.sites.each={each}",))
    found = make_sites(plan, path.parent)
    assert found is not None
    return SimulatedSites(plan, path.parent, tmp_path / "record", found.shards, found.files(tmp_path / "shards"))


class Loop:
    """Takes what a runtime posts, and lets virtual time go on when there is nothing else to do."""

    def __init__(self, runtime: Runtime) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self._runtime = runtime

    def post(self, *events: Event) -> None:
        for event in events:
            self.events.put_nowait(event)

    async def next(self) -> Event:
        async with asyncio.timeout(60):
            if isinstance(self._runtime, InVirtualTime) and self.events.empty():
                await self._runtime.advance()
            return await self.events.get()


@pytest.fixture
def other_rank(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another process that is given work, as another rank of MPI is."""
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        executor.submit(int).result()
        monkeypatch.setattr(mpi, "_RANKS", [mpi.OtherRanks(executor, 1)])
        yield


class WithFarWorker:
    """The runtime ``leased`` with a worker that comes over the network, until the run is over.

    Args:
        sites: What is simulated.
        repository: Where models are found.
        place: Where certificates and the worker's files go.
    """

    def __init__(self, sites: SimulatedSites, repository: ModelRepository, place: Path) -> None:
        pki = ThrowAwayFederation(place)
        self._address: asyncio.Queue[str] = asyncio.Queue()
        server = pki.credentials(Role.AGGREGATOR, sites.plan.name)
        listening = Listening("localhost:0", server, self._address.put_nowait)
        self._runtime = leased_runtime(replace(sites, workers=WorkerWishes(listening=listening)), repository)
        self._credentials = pki.credentials(Role.COLLABORATOR, "north", sites.plan.name)
        self._place = place

    @asynccontextmanager
    async def running(self, post: Post) -> AsyncIterator[None]:
        worker = asyncio.create_task(self._work())
        try:
            async with self._runtime.running(post):
                yield
        finally:
            assert await worker

    async def _work(self) -> bool:
        address = await self._address.get()
        return await run_job_worker(JobWorkerArguments(address, self._credentials, self._place / "worker", 1))

    async def perform(self, *commands: Outward) -> None:
        await self._runtime.perform(*commands)


@pytest.fixture
def made(other_rank: None, sites: SimulatedSites) -> Callable[[str], tuple[Runtime, ModelRepository]]:
    def make(named: str) -> tuple[Runtime, ModelRepository]:
        name = named.removesuffix(VIRTUALLY)
        if name == "ray":
            pytest.importorskip("ray", reason="Ray has an environment of its own: make test-ray")
        files = ExperimentFiles(sites.directory / name)
        files.prepare()
        repository = ModelRepository(sites.plan, files)
        factory = registry.resolve("runtime", name)
        assert callable(factory)
        far = name == "leased"
        runtime: Runtime = (
            WithFarWorker(sites, repository, Path(mkdtemp(dir=files.directory))) if far else factory(sites, repository)
        )
        if name != named:
            devices = SimulatedDevices(DeviceSection(speed=constant(10)), 7)
            runtime = InVirtualTime(runtime, devices, sites, repository)
        return runtime, repository

    return make


def installed() -> list[str]:
    """Runtimes that what is installed here allows."""
    return [name for name in RUNTIMES if not name.startswith("ray") or find_spec("ray") is not None]


def initialise(name: str, function: str = "") -> SendAssignment:
    if not function:
        return SendAssignment(Assignment(0, Phase.INITIALISE, name, (), "", 7))
    return SendAssignment(Assignment(1, Phase.EVALUATE, name, (TaskCall(function, function),), "", 7))


@pytest.mark.parametrize("name", RUNTIMES)
async def test_sites_join_and_work_is_answered_and_nothing_is_left(
    name: str, made: Callable[[str], tuple[Runtime, ModelRepository]]
) -> None:
    runtime, _ = made(name)
    loop, before = Loop(runtime), len(psutil.Process().children(recursive=True))
    tasks = asyncio.all_tasks()
    async with runtime.running(loop.post):
        assert await loop.next() == EverybodyJoined()
        await runtime.perform(*(initialise(site) for site in NAMES))
        answers = [await loop.next() for _ in NAMES]
        assert {type(event) for event in answers} == {UpdateCommitted}
        await runtime.perform(initialise("bern", "no_such_function"))
        assert isinstance(await loop.next(), TaskFailed)
    assert loop.events.empty()
    assert asyncio.all_tasks() == tasks
    assert len(psutil.Process().children(recursive=True)) == before


@pytest.mark.parametrize("name", RUNTIMES)
async def test_a_site_that_is_given_two_assignments_at_once_answers_both(
    name: str, made: Callable[[str], tuple[Runtime, ModelRepository]]
) -> None:
    runtime, _ = made(name)
    loop = Loop(runtime)
    async with runtime.running(loop.post):
        assert await loop.next() == EverybodyJoined()
        await runtime.perform(initialise("bern"), initialise("bern", "no_such_function"))
        assert {type(await loop.next()) for _ in range(2)} == {UpdateCommitted, TaskFailed}


async def test_every_runtime_makes_the_same_bytes(made: Callable[[str], tuple[Runtime, ModelRepository]]) -> None:
    digests = set()
    for name in installed():
        runtime, _ = made(name)
        loop = Loop(runtime)
        async with runtime.running(loop.post):
            await runtime.perform(initialise("zurich"))
            while not isinstance(event := await loop.next(), UpdateCommitted):
                pass
            digests.add(event.update.digest)
    assert len(digests) == 1


@pytest.mark.parametrize("name", RUNTIMES)
async def test_code_that_cannot_be_loaded_is_told_before_anything_begins(
    name: str, sites: SimulatedSites, made: Callable[[str], tuple[Runtime, ModelRepository]]
) -> None:
    broken = sites.plan.task_runner.model_copy(update={"template": "src.nothing:Here"})
    object.__setattr__(sites, "plan", sites.plan.model_copy(update={"task_runner": broken}))
    runtime, _ = made(name)
    with pytest.raises(TaskError, match="nothing"):
        async with runtime.running(Loop(runtime).post):
            pytest.fail("it began")


def test_a_process_needs_a_file_for_its_data(sites: SimulatedSites, tmp_path: Path) -> None:
    object.__setattr__(sites, "files", {"bern": sites.files["bern"]})
    with pytest.raises(UsageError, match="zurich"):
        process_runtime(sites, ModelRepository(sites.plan, ExperimentFiles(tmp_path)))
