"""One run of a study in this process: a simulation from its record, and what came of it as a value."""

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from openfl_like.authoring.baselines import load_shards
from openfl_like.data.made_sites import make_sites
from openfl_like.errors import ExperimentDegradedError, ExperimentFailedError, FederationError, InternalError
from openfl_like.federation.announcements import (
    Announced,
    CollaboratorAdmitted,
    CollaboratorsAdmitted,
    NothingLearnt,
    RoundFinished,
)
from openfl_like.federation.history.cause import explain
from openfl_like.federation.parties import ExperimentSummary
from openfl_like.federation.status import Status
from openfl_like.federation.task import DevicesWorked
from openfl_like.plan.digest import plan_digest, thaw
from openfl_like.plan.schema import Plan
from openfl_like.plan.workspace import SHARDS
from openfl_like.processes.own_end import ended_by_us_alone
from openfl_like.services.simulation import Shards, Simulation, SimulationResult, SimulationSettings, shards_of
from openfl_like.store.ports import Stores
from openfl_like.studies.results import RoundRow, RunState, StudyRunResult, finite
from openfl_like.tasks import TaskOwner, cancel_and_wait


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What a run is started with.

    Attributes:
        run: Its id.
        plan: File of its frozen plan.
        workspace: Where its code is.
        record: Where its record goes; an interrupted run there goes on.
        log: Where what its code writes goes.
        pause_after: After which round it pauses; 0: it does not.
    """

    run: str
    plan: Path
    workspace: Path
    record: Path
    log: Path
    pause_after: int = 0


def perform(order: RunOrder, stores: Stores, tell: Callable[[int], None]) -> StudyRunResult:
    """Run a simulation, or go on with one; whatever goes wrong with it is its result.

    Args:
        order: The run.
        stores: Opens its record.
        tell: Is told the number of each finished round.
    """
    digest = ""
    try:
        plan = thaw(order.plan.read_bytes(), str(order.plan))
        digest = plan_digest(plan)
        with ended_by_us_alone():
            return replace(_simulated(order, plan, stores, tell), plan_digest=digest)
    except FederationError as error:
        return _failed(order, digest, error)
    except (Exception, SystemExit) as error:  # noqa: BLE001 (the process is the run's own; its failure is told)
        return _failed(order, digest, InternalError(f"{type(error).__name__}: {error}"))


def _failed(order: RunOrder, digest: str, error: FederationError) -> StudyRunResult:
    told = f"{error.place}: {error.message}" if error.place else error.message
    return StudyRunResult(order.run, digest, RunState.FAILED, code=error.code, cause=told)


def _simulated(order: RunOrder, plan: Plan, stores: Stores, tell: Callable[[int], None]) -> StudyRunResult:
    shards, files = _sites(plan, order.workspace, order.record)
    settings = SimulationSettings(plan, order.workspace, shards, order.record, files=files, kept=True)
    with Simulation(settings, stores) as simulation:
        return asyncio.run(_followed(simulation, order, tell))


def _sites(plan: Plan, workspace: Path, record: Path) -> tuple[Shards, Mapping[str, Path]]:
    made = make_sites(plan, workspace)
    if made is None:
        files = shards_of(workspace, plan)
        return load_shards(files), files
    return made.shards, made.files(record / SHARDS)


async def _followed(simulation: Simulation, order: RunOrder, tell: Callable[[int], None]) -> StudyRunResult:
    running = TaskOwner().start(simulation.run())
    running.add_done_callback(lambda _: simulation.bus.close())
    told = _History()
    async for event in simulation.bus.tail():
        told.take(event)
        if isinstance(event.announcement, RoundFinished):
            tell(event.announcement.round)
            if order.pause_after and event.announcement.round >= order.pause_after:
                await cancel_and_wait(running)
                return told.result(order.run, RunState.PAUSED)
    result = await running
    return await _ended(simulation, order, result, told)


async def _ended(simulation: Simulation, order: RunOrder, result: SimulationResult, told: "_History") -> StudyRunResult:
    outcome = result.outcome
    if outcome.status is not Status.FINISHED:
        summary = ExperimentSummary(
            order.run, order.run, outcome.status, outcome.reason, "", 0.0, failure=outcome.failure
        )
        why = explain(summary, [event async for event in simulation.bus.tail()])
        cause = str(why.cause) if why.cause is not None else why.sentence
        return replace(told.result(order.run, RunState.FAILED), code=ExperimentFailedError.code, cause=cause)
    found = replace(told.result(order.run, RunState.FINISHED), sha256=result.versions[-1].sha256)
    if outcome.degraded and not result.as_simulated:
        missing = "; ".join(f"site '{name}': {failure}" for name, failure in outcome.shortfalls.items())
        return replace(found, code=ExperimentDegradedError.code, cause=missing)
    return found


class _History:
    """What of a run's history is kept."""

    def __init__(self) -> None:
        self._joules = 0.0
        self._virtual = False
        self._rows: dict[int, RoundRow] = {}
        self._sites: set[str] = set()
        self._together = 0
        self._learnt = True

    def take(self, event: Announced) -> None:
        """Take an event."""
        match event.announcement:
            case DevicesWorked(energy_j=energy):
                self._joules += math.fsum(energy.values())
                self._virtual = True
            case RoundFinished() as told if told.round:
                hours, joules = (event.time / 3600, self._joules) if self._virtual else (None, None)
                self._rows[told.round] = RoundRow(
                    told.round, told.digest, dict(finite(told.metrics)), told.selected, told.contributors, hours, joules
                )
            case CollaboratorAdmitted(name):
                self._sites.add(name)
            case CollaboratorsAdmitted(count):
                self._together = count
            case NothingLearnt():
                self._learnt = False
            case _:
                pass

    def result(self, run: str, state: RunState) -> StudyRunResult:
        """Return what is known."""
        rows = tuple(self._rows[number] for number in sorted(self._rows))
        last = rows[-1].round if rows else 0
        sites = max(self._together, len(self._sites))
        return StudyRunResult(run, "", state, last, learnt=self._learnt, sites=sites, rows=rows)
