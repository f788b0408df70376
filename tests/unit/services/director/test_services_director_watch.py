"""What somebody sees who watches an experiment in the queue."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from openfl_like.federation.announcements import Announced, ExperimentQueued
from openfl_like.federation.parties import ExperimentSummary, Outcome, Waiting, WaitKind
from openfl_like.federation.status import Status
from openfl_like.pki.authority import Authority
from openfl_like.pki.roles import Role
from openfl_like.services.director.run import RunningExperiment
from openfl_like.services.director.service import Director
from openfl_like.services.director.settings import DirectorFile
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import StoredExperiment
from openfl_like.tasks import background
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.testing.stores import memory_stores


class EndlessRun:
    """An experiment that runs until the Director ends."""

    async def run(self) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError


class OnePlace(Director):
    """A Director whose experiments never end."""

    def prepare(self, summary: ExperimentSummary) -> RunningExperiment:
        self.store.set_status(summary.id, Status.RUNNING, "", 2.0)
        self.dispatcher.tell()
        return cast("RunningExperiment", EndlessRun())


@pytest.fixture
def director(tmp_path: Path) -> Iterator[Director]:
    settings = DirectorFile(sample_shape=(1,), target_shape=(), state=tmp_path)
    stores = memory_stores()
    store = stores.director(settings.files)
    credentials = ThrowAwayFederation(tmp_path / "pki").credentials(Role.DIRECTOR, "director")
    made = OnePlace(settings, credentials, cast("Authority", None), store, stores)
    for number, name in enumerate(("first", "second")):
        ExperimentFiles(settings.files.experiment(name).directory).prepare()
        summary = ExperimentSummary(name, "digits", Status.QUEUED, "", "ada", 1.0 + number)
        store.add(name, StoredExperiment(summary, "cd" * 32, b"", b""))
        made.feeds.of(name).store.announce(1.0, ExperimentQueued("ada"))
    yield made
    made.feeds.close()


async def test_a_reason_that_is_found_after_the_watch_began_is_told_and_so_is_the_end(director: Director) -> None:
    seen: list[str] = []
    async with asyncio.timeout(5), background(director.dispatcher.work()):
        news = director.dispatcher.news()
        async for items in director.watch("second", 0):  # before anybody has looked at the queue
            if seen == ["QUEUED: None"]:
                await news.wait()  # now somebody has
            for item in items:
                seen.append(item.kind if isinstance(item, Announced) else f"{item.status}: {item.waiting}")
                if isinstance(item, ExperimentSummary) and item.waiting is not None:
                    assert item.waiting == Waiting(WaitKind.PLACE, running=1, places=1)
                    await director.cancel("ada", "second")
    assert seen == [
        "QUEUED: None", "experiment_queued", "QUEUED: waits for a place: 1 of 1 taken", "experiment_ended",
        "CANCELLED: None",
    ]  # fmt: skip


async def test_what_is_stored_does_not_wait_for_the_queue(director: Director) -> None:
    found = [items async for items in director.watch("second", 0, stored=True)]
    assert [len(items) for items in found] == [1, 1, 1]


async def test_the_list_and_the_record_say_why_it_waits(director: Director) -> None:
    async with asyncio.timeout(5), background(director.dispatcher.work()):
        await director.dispatcher.news().wait()
        listed = {summary.id: summary.waiting for summary in await director.experiments()}
    assert listed == {"first": None, "second": Waiting(WaitKind.PLACE, running=1, places=1)}
