"""Resumption, from the Director's queue to the Aggregator's record: told once, done once, to the same bytes."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest

from openfl_like.errors import ConflictError, NotFoundError
from openfl_like.federation.announcements import (
    Announced,
    ExperimentBegun,
    ExperimentQueued,
    ExperimentResumed,
    RoundFinished,
    only,
)
from openfl_like.federation.events import CancelRequested
from openfl_like.federation.parties import ExperimentSummary, Outcome
from openfl_like.federation.status import Status
from openfl_like.pki.authority import Authority
from openfl_like.pki.roles import Role
from openfl_like.plan.schema import Plan
from openfl_like.runtimes.local import LocalRuntime
from openfl_like.runtimes.loop import ExperimentLoop
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.recorder import Record
from openfl_like.services.aggregator.opening import open_experiment
from openfl_like.services.director.run import RunningExperiment
from openfl_like.services.director.service import Director
from openfl_like.services.director.settings import DirectorFile
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import ExperimentStore, StoredExperiment, Stores
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.testing.clock import FakeClock
from openfl_like.testing.performers import FakePerformer
from openfl_like.testing.stores import memory_stores

NAME = "digits-1"
PLAN = Plan.model_validate(
    {
        "name": "digits",
        "aggregator": {"settings": {"rounds_to_train": 4}},
        "task_runner": {"template": "src.model:Runner"},
        "data_loader": {"template": "src.model:Loader"},
        "tasks": {"train": {"function": "train"}, "validate": {"function": "validate"}},
    }
)


# ---- the Aggregator


class Process:
    """One Aggregator's worth of an experiment in a directory, with its sites."""

    def __init__(self, directory: Path, stores: Stores) -> None:
        self.files = ExperimentFiles(directory)
        self.files.prepare()
        self.store = stores.experiment(self.files)
        self.sites = {"bern": FakePerformer(0.5, 1), "zurich": FakePerformer(0.25, 3)}
        self._cancel_in = -1

    async def run(self, cancel_in: int = -1) -> Outcome:
        """Runs it to its end, or until it is cancelled after a round."""
        self._cancel_in = cancel_in
        repository = ModelRepository(PLAN, self.files)
        self.store.take_epoch()
        experiment = open_experiment(NAME, PLAN, self.store, self.files, tuple(self.sites))
        runtime = LocalRuntime(self.sites, self.sites.__getitem__, repository)
        self._loop = ExperimentLoop(experiment, runtime, Record(self.store, repository, self._told), FakeClock())
        async with asyncio.timeout(20):
            return await self._loop.run()

    def _told(self, events: Sequence[Announced]) -> None:
        if any(told.round == self._cancel_in for told in only(events, RoundFinished)):
            self._loop.post(CancelRequested("ada"))

    def kinds(self) -> list[str]:
        wanted = {"experiment_started", "experiment_ended", "experiment_resumed"}
        return [event.kind for event in self.store.events() if event.kind in wanted]

    def resumed_by(self, name: str) -> None:
        self.store.announce(1.0, ExperimentResumed(name))


@pytest.fixture
def stores() -> Stores:
    return memory_stores()


@pytest.fixture
def process(tmp_path: Path, stores: Stores) -> Iterator[Callable[[str], Process]]:
    made: list[Process] = []

    def make(name: str) -> Process:
        made.append(Process(tmp_path / name, stores))
        return made[-1]

    yield make
    for one in made:
        one.store.close()


@pytest.mark.parametrize("round_number", [0, 2])
async def test_a_resumed_experiment_has_the_bytes_of_the_undisturbed_one(
    process: Callable[[str], Process], round_number: int
) -> None:
    undisturbed, first = process("undisturbed"), process("cancelled")
    await undisturbed.run()
    assert await first.run(cancel_in=round_number) == Outcome(Status.CANCELLED, "cancelled by ada")
    first.resumed_by("bob")
    second = process("cancelled")
    outcome = await second.run()
    assert (outcome.status, outcome.reason) == (Status.FINISHED, "4 of 4 rounds are done")
    versions, wanted = second.store.versions(), undisturbed.store.versions()
    assert [item.version for item in versions] == [item.version for item in wanted]
    assert versions[-1].sha256 == wanted[-1].sha256 != ""
    again = min(job.round for job in second.sites["zurich"].performed)
    assert again == round_number + 1
    assert second.kinds() == [
        "experiment_started", "experiment_ended", "experiment_resumed", "experiment_started", "experiment_ended",
    ]  # fmt: skip
    assert [begun.resumed for begun in only(second.store.events(), ExperimentBegun)] == [False, True]


async def test_what_nobody_resumed_stays_ended(process: Callable[[str], Process]) -> None:
    await process("one").run(cancel_in=1)
    second = process("one")
    assert (await second.run()).status is Status.CANCELLED
    assert second.sites["bern"].performed == []


async def test_a_resumption_is_for_one_life_only(process: Callable[[str], Process]) -> None:
    first = process("one")
    await first.run(cancel_in=1)
    first.resumed_by("bob")
    assert (await process("one").run(cancel_in=2)).status is Status.CANCELLED
    third = process("one")
    assert (await third.run()).status is Status.CANCELLED
    assert third.kinds()[-1] == "experiment_ended"


# ---- the Director


class ReachedError(Exception):
    """The queue has come to an experiment."""


class Idle(Director):
    """A Director that runs nothing."""

    def prepare(self, summary: ExperimentSummary) -> RunningExperiment:
        self._tell_resumed(summary)
        raise ReachedError(summary.id)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> ThrowAwayFederation:
    return ThrowAwayFederation(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def director(tmp_path: Path, pki: ThrowAwayFederation, stores: Stores) -> Iterator[Director]:
    settings = DirectorFile(sample_shape=(1,), target_shape=(), state=tmp_path)
    store = stores.director(settings.files)
    summary = ExperimentSummary(NAME, "digits", Status.QUEUED, "", "ada", 1.0)
    store.add("00ff", StoredExperiment(summary, "cd" * 32, b"", b""))
    authority = cast("Authority", None)  # issues certificates to what runs, and nothing does
    made = Idle(settings, pki.credentials(Role.DIRECTOR, "director"), authority, store, stores)
    yield made
    made.feeds.close()
    store.close()


@pytest.fixture
def record(director: Director, stores: Stores) -> Iterator[ExperimentStore]:
    files = ExperimentFiles(director.settings.state / "experiments" / NAME)
    files.prepare()
    store = stores.experiment(files)
    store.announce(1.0, ExperimentQueued("ada"))
    yield store
    store.close()


async def test_who_resumes_it_is_told_in_its_history(director: Director, record: ExperimentStore) -> None:
    assert (await director.cancel("ada", NAME)).status is Status.CANCELLED
    summary = await director.resume("bob", NAME)
    assert (summary.status, summary.reason, summary.resumed_by, summary.ended_at) == (Status.QUEUED, "", "bob", 0.0)
    with pytest.raises(ReachedError, match=NAME):
        await director.dispatcher.work()
    history = [event.announcement for event in record.events()]
    assert [told.kind for told in history] == ["experiment_queued", "experiment_ended", "experiment_resumed"]
    assert history[-1] == ExperimentResumed("bob")


async def test_it_can_be_cancelled_and_resumed_again(director: Director, record: ExperimentStore) -> None:
    for _ in range(2):
        await director.cancel("ada", NAME)
        await director.resume("bob", NAME)
    kinds = [event.kind for event in record.events()]
    assert kinds == ["experiment_queued", *["experiment_ended", "experiment_resumed"] * 2]


async def test_a_director_that_died_before_it_told_so_tells_it_at_its_next_start(
    director: Director, record: ExperimentStore
) -> None:
    await director.cancel("ada", NAME)
    director.store.requeue(NAME, "bob")
    for _ in range(2):
        with pytest.raises(ReachedError):
            await director.dispatcher.work()
    assert only(record.events(), ExperimentResumed) == [ExperimentResumed("bob")]


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING, Status.FINISHED])
async def test_what_is_not_over_or_has_finished_is_not_resumed(
    director: Director, record: ExperimentStore, status: Status
) -> None:
    director.store.set_status(NAME, status, "", 2.0)
    with pytest.raises(ConflictError, match=f"'{NAME}' is {status}; only one that FAILED or was CANCELLED"):
        await director.resume("bob", NAME)
    with pytest.raises(NotFoundError):
        await director.resume("bob", "ghost")
    assert [event.kind for event in record.events()] == ["experiment_queued"]


async def test_who_watches_it_again_sees_both_lives(director: Director, record: ExperimentStore) -> None:
    await director.cancel("ada", NAME)
    await director.resume("bob", NAME)
    seen: list[str] = []
    async with asyncio.timeout(5):
        async for items in director.watch(NAME, 0):
            seen += [item.kind for item in items if isinstance(item, Announced)]
            if seen[-1:] == ["experiment_resumed"]:
                await director.cancel("ada", NAME)
    assert seen == ["experiment_queued", "experiment_ended", "experiment_resumed", "experiment_ended"]
    assert len(record.events()) == 4
