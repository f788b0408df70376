"""The same plan with all its sites on this machine: the loop of the real federation over another runtime."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from openfl_like.data.parts import MadeShards
from openfl_like.data.shard import ShardDescriptor
from openfl_like.errors import DamagedError, PlanError, UsageError
from openfl_like.events.bus import EventBus
from openfl_like.events.callbacks.orders import CodeOfCallbacks
from openfl_like.federation.announcements import ExperimentEnded
from openfl_like.federation.components import check_needs
from openfl_like.federation.failure import OF_DEVICES
from openfl_like.federation.parties import Outcome, PublishedVersion
from openfl_like.federation.parts.source import WorkspaceParts
from openfl_like.federation.reports.progress import TaskProgressed
from openfl_like.federation.status import Status
from openfl_like.federation.task import DevicesWorked
from openfl_like.frameworks.batched.obstacles import NotBatched
from openfl_like.numbered_names import NumberedNames, sorted_names
from openfl_like.plan.bundles.packing import packing_of
from openfl_like.plan.schema import Plan
from openfl_like.plan.workspace import SHARDS, check_site_name, shards_in
from openfl_like.registry import resolve
from openfl_like.runtimes.loop import ExperimentLoop, Runtime, SystemClock
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.recorder import Record
from openfl_like.runtimes.sites import NO_WISHES, RuntimeFactory, SimulatedSites, WorkerWishes, log_reason
from openfl_like.runtimes.virtual_time import InVirtualTime
from openfl_like.services.aggregator.opening import open_experiment, place_initial_model
from openfl_like.services.aggregator.recovery import check_models, check_server_state, mend_round, put_back_files
from openfl_like.services.daemon.lock import only_one
from openfl_like.services.devices.placement import place_here
from openfl_like.services.devices.simulated import VirtualTotals, devices_of
from openfl_like.services.experiment_callbacks import ExperimentCallbacks
from openfl_like.services.simulation_inputs import SimulationInputs, check_inputs
from openfl_like.store.files import RESULTS, ExperimentFiles
from openfl_like.store.ports import Stores

Shards = Mapping[str, ShardDescriptor]


@dataclass(frozen=True, slots=True)
class SimulationSettings:
    """What a simulation is started with.

    Attributes:
        plan: The plan.
        workspace: Where its code is.
        shards: Site name -> its shard.
        directory: Where the record goes.
        models: Where the initial model is that the plan names; None: in the workspace.
        files: Site name -> its shard.yaml, for runtimes that load the data in other processes.
        runtime: Where the tasks run: a name of the kind ``runtime``.
        kept: Whether the record stays: then it remembers what it was made with.
        sandbox: Whether workers confine themselves, where the runtime has any.
        workers: What workers are like, where the runtime has any.
        examine: Is called with the site and whatever goes wrong in the runtime ``local``, where it went wrong.
        tell: Is told why sites work alone, where the runtime would have many of them work at once.
        results: Where the plan's callbacks write; None: they are left out.
    """

    plan: Plan
    workspace: Path
    shards: Shards
    directory: Path
    models: Path | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    runtime: str = "local"
    kept: bool = False
    sandbox: bool = False
    workers: WorkerWishes = NO_WISHES
    examine: Callable[[str, Exception], None] | None = None
    tell: Callable[[NotBatched], None] = log_reason
    results: Path | None = None


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """How a simulation ended, the versions it published, and what it came to in virtual time if it went by that."""

    outcome: Outcome
    versions: tuple[PublishedVersion, ...]
    virtual: VirtualTotals | None = None

    @property
    def as_simulated(self) -> bool:
        """Whether nothing went wrong but what the plan has its simulated devices do."""
        kinds = {failure.kind for failure in self.outcome.shortfalls.values()}
        return self.virtual is not None and self.outcome.status is Status.FINISHED and kinds <= OF_DEVICES


def shards_of(workspace: Path, plan: Plan) -> dict[str, Path]:
    """Find the simulated sites: ``shards/<site>.yaml`` in the workspace, or those of them that the plan names.

    Raises:
        UsageError: If there are none, or one that the plan names is missing, or one is called as no site can be.
    """
    found = shards_in(workspace)
    wanted = plan.admission.collaborators or tuple(found)
    absent = [name for name in wanted if name not in found]
    if absent or not found:
        raise UsageError(
            f"there is no shard for {', '.join(absent) or 'any site'}",
            place=str(workspace / SHARDS),
            cure="write shards/<site>.yaml for each simulated site, name them with --shard NAME=FILE, or have the plan "
            "make them (simulation.sites)",
        )
    return {name: found[name] for name in wanted}


class Simulation:
    """A simulated experiment, as a context manager; its bus can be followed while it runs.

    Args:
        settings: What to run. With the directory of an interrupted simulation it goes on where it was.
        stores: Opens its record.

    Attributes:
        packing: What of the workspace a federation would send.
        had_ended: Whether its record had ended before: nothing is trained then.
    """

    def __init__(self, settings: SimulationSettings, stores: Stores) -> None:
        self._settings = settings
        self._stores = stores
        self.had_ended = False

    def __enter__(self) -> "Simulation":
        """Open the record.

        Raises:
            UsageError: If a site is called as none can be, or the record cannot be kept.
            ConflictError: If another simulation keeps its record there.
            BundleError: If the workspace cannot be sent to sites, so that no federation would take it.
            DamagedError: If it goes on from files that are damaged.
        """
        with ExitStack() as stack:
            self._open(stack)
            self._stack = stack.pop_all()
        return self

    def _open(self, stack: ExitStack) -> None:
        plan, workspace = self._settings.plan, self._settings.workspace
        parts = WorkspaceParts(workspace)  # whoever simulates has brought it
        check_needs(plan, simulated=True, parts=parts)
        self.packing = packing_of(workspace, plan)
        files = ExperimentFiles(self._settings.directory)
        try:
            if self._settings.kept:
                stack.enter_context(only_one(files.directory, "simulation"))
            files.prepare()
        except OSError as error:
            told = f"the record cannot be kept: {error.strerror}"
            raise UsageError(told, place=str(files.directory), cure="name another --directory") from error
        self._store = self._stores.experiment(files)
        stack.callback(self._store.close)
        self._store.take_epoch()
        self.bus = EventBus(self._store.events)
        self._repository = ModelRepository(plan, files, parts)
        begun = self._store.snapshot() is not None
        if not begun:
            place_initial_model(plan, self._settings.models or workspace, files)
        shards = self._settings.shards
        names = shards.names if isinstance(shards, MadeShards) else sorted_names(shards.keys())
        for name in names[:1] if isinstance(names, NumberedNames) else names:
            check_site_name(name)
        self._experiment = open_experiment(plan.name, plan, self._store, files, names, parts)
        self.had_ended = self._experiment.status.ended
        if self._settings.kept:
            now = SimulationInputs.of(workspace, self._settings.shards, files.directory)
            check_inputs(files.directory, now, begun=begun)
        if begun and not self.had_ended:
            self._check_files(files)

    def _check_files(self, files: ExperimentFiles) -> None:
        """Look at the files that an interrupted simulation goes on from."""
        try:
            put_back_files(self._store, self._repository, files)
            check_models(self._experiment.versions, files)
            check_server_state(self._experiment, files)
            mend_round(self._experiment, self._repository, files)
        except DamagedError as error:
            cure = "put the file back from a backup, or begin anew with another --directory"
            raise DamagedError(error.message, place=error.place, cure=cure) from error

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    async def run(self) -> SimulationResult:
        """Run the experiment to its end.

        Raises:
            TaskError: If the workspace's code cannot be loaded.
            DeviceError: If this machine does not have the device that the plan wants.
            NotFoundError: If there is no such runtime.
            UsageError: If the runtime cannot run these sites.
        """
        if self.had_ended:
            ended = self._experiment
            outcome = Outcome(ended.status, ended.reason, ended.shortfalls)
            self._repository.published.tidy(ended.versions, ended=True)  # a run that was killed may not have come to it
            self.bus.close()
            await self._callbacks().beside(asyncio.sleep(0))  # they make their files again of the complete record
        else:
            runtime = self._runtime()
            virtual = runtime if isinstance(runtime, InVirtualTime) else None
            record = Record(self._store, self._repository, self.bus.publish)
            if virtual is not None:
                record = replace(record, beside=virtual.kept)
            ahead = not self._settings.plan.keeps_at_sites  # what one keeps at a site is of one round
            loop = ExperimentLoop(self._experiment, runtime, record, SystemClock(), virtual, ahead=ahead)
            outcome = await self._callbacks().beside(loop.run(), loop.post)
        self.bus.close()
        return SimulationResult(outcome, tuple(self._store.versions()), self._totals())

    def _callbacks(self) -> ExperimentCallbacks:
        ours, files = self._settings, ExperimentFiles(self._settings.directory)
        plan = ours.plan if ours.results is not None else ours.plan.model_copy(update={"callbacks": ()})
        results = ours.results or files.directory / RESULTS
        return ExperimentCallbacks(plan, files, results, self._store, self.bus, CodeOfCallbacks(ours.workspace))

    def _totals(self) -> VirtualTotals | None:
        if self._settings.plan.simulation.devices is None:
            return None
        last = self._store.latest(ExperimentEnded.kind)
        return VirtualTotals.of(0.0 if last is None else last.time, self._store.events(0, (DevicesWorked.kind,)))

    def _shown(self, loop: asyncio.AbstractEventLoop) -> Callable[[TaskProgressed], None]:
        """Return what tells those who look on how far a task is; a task may go on when nobody does any more."""

        def show(told: TaskProgressed) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self.bus.show, told, time.time())

        return show

    def _runtime(self) -> Runtime:
        ours = self._settings
        device = place_here(ours.plan.collaborator.settings.device)
        sites = SimulatedSites(
            plan=ours.plan,
            workspace=ours.workspace,
            directory=ours.directory,
            shards=ours.shards,
            files=ours.files,
            device=device,
            sandbox=ours.sandbox,
            workers=ours.workers,
            examine=ours.examine,
            tell=ours.tell,
            progress=self._shown(asyncio.get_running_loop()),
        )
        runtime = cast("RuntimeFactory", resolve("runtime", ours.runtime))(sites, self._repository)
        devices = devices_of(ours.plan, ours.workspace, ours.shards)
        if devices is None:
            if ours.plan.mode.settings is not None:
                message = "the sites of a simulation answer in the order of their devices, and the plan has no devices"
                cure = "say what they are like in simulation.devices, or leave mode out"
                raise PlanError(message, place="mode.template", cure=cure)
            return runtime
        return InVirtualTime(runtime, devices, sites, self._repository, self._store.snapshot())
