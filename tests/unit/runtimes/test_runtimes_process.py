"""Simulation on worker processes: few for many sites, replaced when they die, one a site where they keep state."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from openfl_like.data.shard import build_shard
from openfl_like.data.shard_file import load_shard_config
from openfl_like.federation.events import Event, SendAssignment, TaskFailed, UpdateCommitted
from openfl_like.federation.failure import FailureKind
from openfl_like.federation.task import Assignment, Phase, TaskCall
from openfl_like.plan.load import load_plan
from openfl_like.plan.schema import Plan
from openfl_like.runtimes.loop import Runtime
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.process import process_runtime
from openfl_like.runtimes.sites import SimulatedSites, WorkerWishes, keeps_in_memory
from openfl_like.store.files import ExperimentFiles
from openfl_like.testing.faults.toy_workload import write_workspace

pytestmark = pytest.mark.children
SITES = ("basel", "bern", "chur", "zug", "zurich")
CODE = """
import os, pathlib, signal
from openfl_like.testing.faults.toy_workload import DriftRunner

class Runner(DriftRunner):
    def initialise(self, seed):
        pathlib.Path("was-here").touch()
        super().initialise(seed)

    def dies_once(self):
        if not pathlib.Path("died").exists():
            pathlib.Path("died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.validate()

    def dies(self):
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def sites(tmp_path: Path) -> SimulatedSites:
    """Five sites whose code leaves a file where it works."""
    plan_file, files = write_workspace(tmp_path / "study", {name: float(place) for place, name in enumerate(SITES)})
    (plan_file.parent / "src").mkdir()
    (plan_file.parent / "src" / "code.py").write_text(CODE)
    plan = load_plan(plan_file, ("task_runner.template=src.code:Runner", "algorithm.template=none"))
    shards = {name: build_shard(load_shard_config(path), path.parent) for name, path in files.items()}
    return SimulatedSites(plan, plan_file.parent, tmp_path / "record", shards, files)


class Answers:
    """What a runtime posts besides the sites that have joined."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    def post(self, *events: Event) -> None:
        for event in events:
            if isinstance(event, UpdateCommitted | TaskFailed):
                self._events.put_nowait(event)

    async def next(self) -> Event:
        async with asyncio.timeout(60):
            return await self._events.get()

    async def digests(self, count: int) -> dict[str, str]:
        """The updates of so many sites."""
        answers = [await self.next() for _ in range(count)]
        return {one.update.collaborator: one.update.digest for one in answers if isinstance(one, UpdateCommitted)}


@asynccontextmanager
async def running(sites: SimulatedSites, workers: int = 2) -> AsyncIterator[tuple[Runtime, Answers]]:
    files, answers = ExperimentFiles(sites.directory), Answers()
    files.prepare()
    given = replace(sites, workers=WorkerWishes(count=workers))
    runtime = process_runtime(given, ModelRepository(sites.plan, files))
    async with runtime.running(answers.post):
        yield runtime, answers


def initialise(name: str) -> SendAssignment:
    return SendAssignment(Assignment(0, Phase.INITIALISE, name, (), "", 7))


def workers() -> int:
    return len(psutil.Process().children(recursive=True))


async def test_few_workers_work_for_many_sites_each_in_its_own_folder(sites: SimulatedSites) -> None:
    before = workers()
    async with running(sites) as (runtime, answers):
        await runtime.perform(*map(initialise, SITES))
        digests = await answers.digests(len(SITES))
        assert workers() - before <= 2
    assert sorted(digests) == sorted(SITES)
    assert len(set(digests.values())) == 1  # the initial model depends on the seed alone
    assert all((sites.folder(name) / "was-here").exists() for name in SITES)


async def initial_model(sites: SimulatedSites, runtime: Runtime, answers: Answers) -> str:
    """Have one site make the initial model, and put it where the others find it; return its digest."""
    await runtime.perform(initialise("bern"))
    answer = await answers.next()
    assert isinstance(answer, UpdateCommitted)
    files = ExperimentFiles(sites.directory)
    files.update(0, Phase.INITIALISE, "bern").rename(files.model(0))
    return answer.update.digest


def evaluate(name: str, function: str, model: str) -> SendAssignment:
    return SendAssignment(Assignment(1, Phase.EVALUATE, name, (TaskCall(function, function),), model, 7))


async def test_an_assignment_over_which_a_worker_was_killed_is_performed_by_a_new_one(sites: SimulatedSites) -> None:
    async with running(sites) as (runtime, answers):
        model = await initial_model(sites, runtime, answers)
        await runtime.perform(evaluate("zug", "dies_once", model))
        assert isinstance(await answers.next(), UpdateCommitted)


async def test_a_task_that_ends_every_worker_is_the_site_s_failure(sites: SimulatedSites) -> None:
    async with running(sites) as (runtime, answers):
        model = await initial_model(sites, runtime, answers)
        await runtime.perform(evaluate("zug", "dies", model))
        failed = await answers.next()
        assert isinstance(failed, TaskFailed)
        assert failed.failure.kind is FailureKind.WORKER
        assert "it ended 4 times in a row" in failed.failure.message
        await runtime.perform(initialise("chur"))
        assert isinstance(await answers.next(), UpdateCommitted)


@pytest.mark.parametrize(
    ("section", "kept"),
    [
        ({}, False),
        ({"collaborator": {"settings": {"opt_treatment": "CONTINUE_GLOBAL"}}}, False),
        ({"collaborator": {"settings": {"opt_treatment": "CONTINUE_LOCAL"}}}, False),
        ({"compression_pipeline": {"template": "quantise"}}, True),
    ],
)
def test_a_site_has_a_worker_of_its_own_where_that_keeps_what_changes_results(
    plan_with: Callable[..., Plan], section: dict[str, object], *, kept: bool
) -> None:
    assert keeps_in_memory(plan_with(**section)) == kept


async def test_every_site_has_a_worker_of_its_own_then(sites: SimulatedSites) -> None:
    section = sites.plan.compression_pipeline.model_copy(update={"template": "float16"})
    object.__setattr__(sites, "plan", sites.plan.model_copy(update={"compression_pipeline": section}))
    before = workers()
    async with running(sites) as (runtime, answers):
        await runtime.perform(*map(initialise, SITES))
        await answers.digests(len(SITES))
        assert workers() - before == len(SITES)


async def test_a_worker_that_is_killed_while_it_loads_the_first_site_is_replaced(
    sites: SimulatedSites, tmp_path: Path
) -> None:
    marker = tmp_path / "killed"
    code = sites.workspace / "src" / "code.py"
    kill = f"if not pathlib.Path({str(marker)!r}).exists():\n    pathlib.Path({str(marker)!r}).touch()\n"
    code.write_text(f"{code.read_text()}\n{kill}    os.kill(os.getpid(), signal.SIGKILL)\n")
    async with running(sites, 1) as (runtime, answers):
        await runtime.perform(initialise("bern"))
        assert list(await answers.digests(1)) == ["bern"]
    assert marker.exists()
