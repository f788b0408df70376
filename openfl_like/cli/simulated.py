"""Around a simulation on the screen: followed while it runs, its model put where it was asked for, its result told.

Its record goes when the model is in its place, and not before.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import TracebackType

from openfl_like.authoring.baselines import load_shards
from openfl_like.cli.experiment.progress import Screen
from openfl_like.cli.output.console import emit, emit_line, hours, joules, put, say
from openfl_like.cli.output.lent import OWN
from openfl_like.cli.output.packing import tell_what_stays
from openfl_like.data.made_sites import make_sites
from openfl_like.data.parts import MadeShards
from openfl_like.errors import StorageError, UsageError, no_room
from openfl_like.federation.announcements import CollaboratorAdmitted, CollaboratorsAdmitted
from openfl_like.federation.status import Status
from openfl_like.frameworks.batched.obstacles import NotBatched
from openfl_like.plan.schema import Plan
from openfl_like.plan.workspace import SHARDS
from openfl_like.services.simulation import Shards, Simulation, SimulationResult, SimulationSettings, shards_of
from openfl_like.store.files import RESULTS, ExperimentFiles
from openfl_like.store.sqlite.stores import SQLITE
from openfl_like.tasks import TaskOwner, cancel_and_wait

_OF_DEVICES = (
    "devices are away, late or fail as simulation.devices has it: admission.min_collaborators says with how many the "
    "experiment begins, participation with how many a round goes on"
)


def sites_of(
    plan: Plan, workspace: Path, named: Mapping[str, Path], record: Path, *, as_json: bool
) -> tuple[Shards, Mapping[str, Path]]:
    """Return the data of each site, and its shard file: of those that are named, or made, or else of the workspace.

    Raises:
        UsageError: If there are none.
        ShardError: If the data of one cannot be used.
    """
    made = None if named else make_sites(plan, workspace)
    if made is None:
        files = named or shards_of(workspace, plan)
        return load_shards(files), files
    say(made.summary)
    if as_json:
        emit_line({"kind": "sites", "count": len(made.numbers), **made.facts})
    return made.shards, made.files(record / SHARDS)


def results_of(plan: Plan, directory: Path | None, results: Path | None) -> Path | None:
    """Return where the plan's callbacks write; None, which is told, where nothing would be kept of it."""
    if results is None and directory is None and plan.callbacks:
        names = ", ".join(dict.fromkeys(callback.template for callback in plan.callbacks))
        say(f"the plan's callbacks are left out ({names}): name --results, or --directory, to keep what they write")
    return results or (directory and directory / RESULTS)


class Follower:
    """Runs a simulation and shows what happens.

    Args:
        as_json: Whether it shows JSON.
        wanted: Whether the model has a place: then the simulation goes on when nobody reads what is shown.
        bar: Whether a terminal has a bar of the rounds; a debugger wants the last line for itself.

    Attributes:
        screen: Where it is shown.
        unread: Why nobody can read it any more; None as long as somebody can.
    """

    def __init__(self, *, as_json: bool, wanted: bool, bar: bool = True) -> None:
        self._as_json = as_json
        self._wanted = wanted
        self.screen = Screen(as_json=as_json, bar=bar)
        self.unread: OSError | None = None

    def not_batched(self, reason: NotBatched) -> None:
        """Tell why sites work alone, as soon as it is known; that nobody reads it shows at the next event."""
        phase = reason.phase.value if reason.phase is not None else None
        fields = {"obstacle": reason.obstacle.value, "phase": phase, "detail": reason.detail}
        with suppress(OSError):
            self.screen.note("not_batched", str(reason), fields)

    def run(self, settings: SimulationSettings) -> tuple[SimulationResult, bool]:
        """Run it to its end; return how it ended, and whether its record had ended before."""
        with Simulation(settings, SQLITE) as simulation, OWN.lent():
            tell_what_stays(simulation.packing)
            if simulation.had_ended and not self._as_json:
                put("the record is complete: nothing is trained, this is its result")
            one_line = isinstance(settings.shards, MadeShards) and not self._as_json  # they were told of together
            return asyncio.run(self._follow(simulation, one_line=one_line)), simulation.had_ended

    async def _follow(self, simulation: Simulation, *, one_line: bool) -> SimulationResult:
        running = TaskOwner().start(simulation.run())
        running.add_done_callback(lambda _: simulation.bus.close())
        try:
            async for event in simulation.bus.tail(progress=self.screen.has_bar):
                if self.unread is not None or (one_line and event.kind in _JOINED):
                    continue
                self._show(partial(self.screen.event, event))
            return await running
        finally:  # it ends before the loop does, which would end gRPC's own tasks first: that crashes
            await cancel_and_wait(running)

    def _show(self, show: Callable[[], None]) -> None:
        """Show something, unless nobody reads it any more."""
        try:
            if self.unread is None:
                show()
        except OSError as error:
            if not self._wanted:
                raise
            self.unread = error


_JOINED = {CollaboratorAdmitted.kind, CollaboratorsAdmitted.kind}


class KeptRecord:
    """A temporary folder, as a context manager; it stays if the model in it could not be put in its place.

    Attributes:
        folder: The folder.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fx-simulate-"))
        self._stays = False

    def __enter__(self) -> "KeptRecord":
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if not self._stays:
            shutil.rmtree(self.folder, ignore_errors=True)

    def place(self, result: SimulationResult, record: Path, output: Path) -> None:
        """Copy the last model of a simulation that has finished to where it was asked for.

        Raises:
            StorageError: If there is no room for it.
            UsageError: If it cannot be written for another reason; either names the model, which stays.
        """
        if result.outcome.status is not Status.FINISHED:
            return
        model = ExperimentFiles(record).model(result.versions[-1].version.round)
        try:
            place_file(model, output)
        except OSError as error:
            self._stays = True
            cure = f"it is trained and kept: copy {model}"
            if no_room(error) is not None:
                raise StorageError("there is no room for the model", place=str(output), cure=cure) from error
            raise UsageError(f"the model cannot be written: {error.strerror}", place=str(output), cure=cure) from error
        if result.outcome.degraded:
            say(f"the model of the sites that took part is in {output}")


def place_file(file: Path, output: Path) -> None:
    """Copy a file whole, or not at all; into a pipe or a device as it comes.

    Raises:
        OSError: If it cannot be written.
    """
    if output.exists() and not output.is_file():
        shutil.copyfile(file, output)
        return
    part = output.with_name(f".{output.name}.part")
    try:
        shutil.copyfile(file, part)
        part.replace(output)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def tell_result(result: SimulationResult, *, had_ended: bool, as_json: bool) -> None:
    """Show how a simulation ended, if it has a model to show."""
    if result.outcome.status is not Status.FINISHED:
        if result.virtual is not None and result.outcome.status is Status.FAILED:
            say(_OF_DEVICES)
        return
    last = result.versions[-1]
    fields: dict[str, object] = {
        "status": result.outcome.status.value,
        "reason": result.outcome.reason,
        "rounds": last.version.round,
        "metrics": last.version.metrics,
        "sha256": last.sha256,
    }
    virtual = result.virtual
    if as_json:
        told = {} if virtual is None else {"virtual": asdict(virtual)}
        emit_line({"kind": "result", "had_ended": had_ended, **fields, **told})
        return
    if virtual is not None:
        fields |= {"virtual time": hours(virtual.seconds)}
        fields |= {"energy": joules(virtual.energy_j)} if virtual.energy_j else {}
        fields |= {"missed": f"{virtual.late} late, {virtual.failed} failed, {virtual.unavailable} away"}
    emit(fields, as_json=False)
