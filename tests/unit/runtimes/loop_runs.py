"""An experiment driven by the loop, in a process that may die at any commit."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from openfl_like.federation.announcements import (
    Announced,
    Wanted,
    only,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.parties import Outcome
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.plan.schema import Plan
from openfl_like.runtimes.local import LocalRuntime
from openfl_like.runtimes.loop import Clock, ExperimentLoop
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.recorder import Record
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import Commit, ExperimentStore
from openfl_like.tensors.container import read_tensors
from openfl_like.tensors.memory import TensorMemory
from openfl_like.testing.clock import FakeClock
from openfl_like.testing.performers import FakePerformer
from openfl_like.testing.stores import MemoryExperimentStore, MemoryRecord

PlanWith = Callable[..., Plan]
SITES = ("bern", "zurich")
SAME = "all 2 rounds are done"
LONG = 12
"""Rounds of a run in which many are made between two commits."""


class CrashError(Exception):
    """The process dies here."""


class DyingStore(MemoryExperimentStore):
    """Dies at its nth commit: after it (nothing of the step was acted on), or before (nothing was remembered)."""

    def __init__(self, record: MemoryRecord, nth: int, *, after: bool) -> None:
        super().__init__(record)
        self.left = nth
        self._after = after

    def commit(self, step: Commit) -> list[Announced]:
        self.left -= 1
        if self.left == 0 and not self._after:
            raise CrashError
        records = super().commit(step)
        if self.left == 0:
            raise CrashError
        return records


def sites_of(*names: str) -> dict[str, FakePerformer]:
    return {name: FakePerformer(step=float(number), num_samples=number) for number, name in enumerate(names, 1)}


@dataclass(slots=True)
class Unwritten(FakePerformer):
    """Leaves its updates in memory."""

    repository: ModelRepository | None = None

    def perform(self, assignment: Assignment, model: Path | None, out: Path) -> Update:
        """Train, and let no file be."""
        if assignment.phase is not Phase.TRAIN or self.repository is None:
            return FakePerformer.perform(self, assignment, model, out)
        own = out.parent.parent / f"{id(self)}-{out.name}"  # whoever goes on after a crash has the same spool
        update = FakePerformer.perform(self, assignment, model, own)
        self.repository.in_memory.keep(update, TensorMemory.of(read_tensors(own)))
        own.unlink()
        return update


class Run:
    """One process's worth of an experiment."""

    def __init__(
        self, plan: Plan, store: ExperimentStore, directory: Path, clock: Clock | None = None, *, ahead: bool = False
    ) -> None:
        self.store = store
        self.repository = ModelRepository(plan, ExperimentFiles(directory))
        self.told: list[Announced] = []
        self.clock = clock or FakeClock()
        self._plan, self._ahead = plan, ahead

    def loop(self, performers: Mapping[str, FakePerformer]) -> ExperimentLoop:
        snapshot = self.store.snapshot()
        names = tuple(sorted(performers))
        versions = [item.version for item in self.store.versions()]
        experiment = (
            Experiment.restore(self._plan, snapshot, versions) if snapshot else Experiment("e1", self._plan, names)
        )
        for performer in performers.values():
            if isinstance(performer, Unwritten):
                performer.repository = self.repository
        self.runtime = LocalRuntime(performers, performers.__getitem__, self.repository)
        self.ended = Outcome(experiment.status, experiment.reason) if experiment.status.ended else None
        record = Record(self.store, self.repository, self.told.extend, pause_s=0.0)
        return ExperimentLoop(experiment, self.runtime, record, self.clock, ahead=self._ahead)

    async def to_its_end(self, performers: Mapping[str, FakePerformer]) -> Outcome:
        loop = self.loop(performers)
        if self.ended is not None:
            return self.ended  # as a simulation does
        async with asyncio.timeout(10):
            return await loop.run()

    def only(self, kind: type[Wanted]) -> list[Wanted]:
        return only(self.told, kind)
