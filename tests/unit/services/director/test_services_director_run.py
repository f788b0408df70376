"""What the Director does with the reports of several sites at once."""

import asyncio
from contextlib import closing
from pathlib import Path
from typing import cast

from openfl_like.federation.parties import ExperimentSummary, LogLines
from openfl_like.federation.status import Status
from openfl_like.services.director.run import ExperimentRun, RunContext
from openfl_like.services.director.settings import DirectorFile
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import ExperimentStore, StoredExperiment
from openfl_like.store.sqlite.stores import SQLITE
from openfl_like.tensors.manifest import file_digest
from openfl_like.testing.faults.checkpoint_moves import EXPERIMENT, OfflineDirector
from openfl_like.wire.aggregator import AggregatorClient


class Waiting:
    """What is prepared for the next experiment."""

    def prepare(self) -> None:
        return None


class OnlySettings:
    """A desk with nothing on it but director.yaml."""

    def __init__(self, state: Path) -> None:
        self.logged: list[LogLines] = []
        self.on_log = self.logged.append
        self.standby = Waiting()
        self.settings = DirectorFile(sample_shape=(1,), target_shape=(), state=state)


class Quiet(OnlySettings):
    """A desk whose experiment has a history, and an idle standby."""

    def __init__(self, state: Path, told: list[Status], store: ExperimentStore) -> None:
        super().__init__(state)
        self.history = store.events
        self.on_status = lambda status, _: told.append(status)


class Told:
    """An Aggregator that hears of a second loss while it is told of the first."""

    def __init__(self, lost: dict[str, str]) -> None:
        self.lost = lost
        self.heard: list[str] = []

    async def report_loss(self, site: str, reason: str) -> None:
        self.heard.append(f"{site}: {reason}")
        self.lost["site-2"] = "killed"


async def test_the_last_lines_of_an_aggregator_are_kept_and_told(tmp_path: Path) -> None:
    summary = ExperimentSummary("e-1", "e", Status.RUNNING, "", "user", 1.0)
    context = OnlySettings(tmp_path)
    files = ExperimentFiles(tmp_path / "e-1")
    files.log("aggregator").parent.mkdir(parents=True)
    dispatch = ExperimentRun(cast("RunContext", context), StoredExperiment(summary, "", b"", b""), files)
    dispatch._lines.add("'e-1' is FINISHED")
    await dispatch._clean_up()
    assert files.log("aggregator").read_text() == "'e-1' is FINISHED\n"
    assert context.logged == [LogLines("e-1", "aggregator", ("'e-1' is FINISHED",), "aggregator")]


async def test_a_site_that_is_lost_while_another_one_is_told_of_disturbs_nobody(tmp_path: Path) -> None:
    summary = ExperimentSummary("e-1", "e", Status.RUNNING, "", "user", 1.0)
    context = cast("RunContext", OnlySettings(tmp_path))
    dispatch = ExperimentRun(context, StoredExperiment(summary, "", b"", b""), ExperimentFiles(tmp_path / "e-1"))
    dispatch._lost["site-1"] = "ended"
    told = Told(dispatch._lost)
    await dispatch._report_losses(cast("AggregatorClient", told))
    assert told.heard == ["site-1: ended"]
    await dispatch._report_losses(cast("AggregatorClient", told))
    assert told.heard[1:] == ["site-1: ended", "site-2: killed"]


async def test_one_that_is_cancelled_before_it_began_never_begins(tmp_path: Path) -> None:
    here = OfflineDirector.founded(tmp_path, "here")
    here._furnish()
    with closing(SQLITE.experiment(here.files)) as store:
        told: list[Status] = []
        context = cast("RunContext", Quiet(here.state, told, store))
        summary = ExperimentSummary(EXPERIMENT, "e", Status.QUEUED, "", "ada", 1.0)
        stored = StoredExperiment(summary, file_digest(here.files.bundle), b"", b"")
        dispatch = ExperimentRun(context, stored, here.files)
        running = asyncio.create_task(dispatch.run())
        await asyncio.sleep(0)
        await dispatch.cancel("ada")
        outcome = await running
    assert (outcome.status, outcome.reason, told) == (Status.CANCELLED, "cancelled by ada", [])
