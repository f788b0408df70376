"""An experiment of fake sites that work on simulated devices, whose record may be gone on from."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.federation.announcements import (
    Announced,
    CollaboratorAbsent,
    UpdateReceived,
    only,
)
from openfl_like.federation.devices.profile import SimulatedDevices
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.failure import FailureKind
from openfl_like.federation.parties import Outcome
from openfl_like.federation.task import Phase
from openfl_like.plan.schema import Plan
from openfl_like.runtimes.local import LocalRuntime
from openfl_like.runtimes.loop import ExperimentLoop, Outward, Post, Runtime
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.recorder import Record
from openfl_like.runtimes.sites import SimulatedSites
from openfl_like.runtimes.virtual_time import InVirtualTime
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import ExperimentStore
from openfl_like.testing.clock import FakeClock
from openfl_like.testing.performers import FakePerformer, Mistake
from openfl_like.testing.stores import MemoryExperimentStore, MemoryRecord

BERN, CHUR, ZUG = "bern", "chur", "zug"
TASKS = {"train": {"function": "train"}, "validate": {"function": "validate", "kwargs": {"apply": "global"}}}


def shard(train: int, held_out: int = 6) -> ArrayShard:
    data = {
        kind: Dataset(np.zeros((count, 1), np.float32), np.zeros(count, np.int64))
        for kind, count in (("train", train), ("validate", held_out))
    }
    return ArrayShard(data, "", (0.0, 1.0))


def each(**values: float) -> dict[str, Any]:
    """A number of its own for each device, whenever it is asked for."""
    return {"template": "trace", "settings": {"points": {name: [[0, value]] for name, value in values.items()}}}


def there(**spans: list[list[float]]) -> dict[str, Any]:
    """When devices are there, as a trace."""
    return {"template": "trace", "settings": {"points": spans}}


class Reversed:
    """A runtime that answers in the opposite order."""

    def __init__(self, inner: Runtime) -> None:
        self._inner = inner

    @asynccontextmanager
    async def running(self, post: Post) -> AsyncIterator[None]:
        """As the inner one."""
        async with self._inner.running(post):
            yield

    async def perform(self, *commands: Outward) -> None:
        """Hand them on, the last one first."""
        await self._inner.perform(*reversed(commands))


@dataclass(slots=True)
class Devices:
    """An experiment of fake sites on simulated devices.

    Attributes:
        plan: With the devices.
        directory: Where its record is.
        samples: Site -> how many samples it trains on; six are held out at each.
        record: What it has written so far.
        takes: Seconds that pass on this machine with each task.
        backwards: Whether this machine performs what it is given the last one first.
        mistakes: Site -> what its performer does wrong.
        performers: The sites of the last run.
    """

    plan: Plan
    directory: Path
    samples: Mapping[str, int] = field(default_factory=lambda: {BERN: 10, CHUR: 20, ZUG: 30})
    record: MemoryRecord = field(default_factory=MemoryRecord)
    takes: float = 0.0
    backwards: bool = False
    mistakes: dict[str, Mapping[tuple[int, Phase], Mistake]] = field(default_factory=dict)
    performers: dict[str, FakePerformer] = field(default_factory=dict)

    async def run(self, store: ExperimentStore | None = None, *, ahead: bool = False) -> Outcome:
        """Drive it to its end, from where its record is."""
        store = store or MemoryExperimentStore(self.record)
        files = ExperimentFiles(self.directory)
        files.prepare()
        repository, clock = ModelRepository(self.plan, files), FakeClock()
        self.performers = {
            name: FakePerformer(step=float(count), num_samples=count) for name, count in self.samples.items()
        }
        for name, performer in self.performers.items():
            performer.mistakes = self.mistakes.get(name) or self._passes(clock)
        inner: Runtime = LocalRuntime(self.performers, self.performers.__getitem__, repository)
        shards = {name: shard(count) for name, count in self.samples.items()}
        sites = SimulatedSites(self.plan, self.directory, self.directory, shards)
        section, snapshot = self.plan.simulation.devices, store.snapshot()
        assert section is not None
        devices = SimulatedDevices(section, self.plan.seed)
        virtual = InVirtualTime(Reversed(inner) if self.backwards else inner, devices, sites, repository, snapshot)
        versions = [item.version for item in store.versions()]
        names = tuple(sorted(self.samples))
        experiment = (
            Experiment.restore(self.plan, snapshot, versions) if snapshot else Experiment("e1", self.plan, names)
        )
        record = Record(store, repository, pause_s=0.0, beside=virtual.kept)
        async with asyncio.timeout(20):
            return await ExperimentLoop(experiment, virtual, record, clock, virtual, ahead=ahead).run()

    def _passes(self, clock: FakeClock) -> dict[tuple[int, Phase], Mistake]:
        """Let time pass on this machine with every task."""
        loop = asyncio.get_running_loop()

        async def advance() -> None:
            clock.advance(self.takes)

        def wait() -> None:
            asyncio.run_coroutine_threadsafe(advance(), loop).result(10)

        phases = (Phase.TRAIN, Phase.EVALUATE) if self.takes else ()
        rounds = range(1, (self.plan.aggregator.settings.rounds or 0) + 1)
        return {(number, phase): wait for number in rounds for phase in phases}

    @property
    def history(self) -> list[Announced]:
        return MemoryExperimentStore(self.record).events()

    def times(self, kind: type, **wanted: object) -> list[tuple[str, float]]:
        """When announcements of a kind were told, and of whom."""
        return [
            (getattr(event.announcement, "collaborator", ""), event.time)
            for event in self.history
            if isinstance(event.announcement, kind)
            and all(getattr(event.announcement, name) == value for name, value in wanted.items())
        ]

    def answers(self, number: int = 1, phase: Phase = Phase.TRAIN) -> list[tuple[str, float]]:
        return self.times(UpdateReceived, round=number, phase=phase)

    def absences(self) -> list[tuple[str, FailureKind | None]]:
        told = only(self.history, CollaboratorAbsent)
        return [(one.collaborator, one.failure.kind if one.failure else None) for one in told]

    @property
    def digests(self) -> list[str]:
        return [item.version.digest for item in MemoryExperimentStore(self.record).versions()]
