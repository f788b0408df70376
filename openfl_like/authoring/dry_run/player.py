"""A site that is played: a worker process as at a site, with invented data in place of the site's."""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from openfl_like.authoring.dry_run.findings import DryRunFinding, FindingKind, Findings
from openfl_like.authoring.dry_run.kinds import SiteKind
from openfl_like.data.invented import invented_params
from openfl_like.data.parts import shard_text
from openfl_like.data.policy import Sandbox
from openfl_like.errors import FederationError
from openfl_like.federation.failure import failure_of
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.plan.schema import Plan
from openfl_like.processes.sandbox.confinement import Confinement
from openfl_like.processes.worker_channel import WorkerEndedError
from openfl_like.processes.worker_client import WorkerProcess, WorkerSettings

log = logging.getLogger(__name__)
Done = TypeVar("Done")
_ABSENT_MODULE = frozenset({"ModuleNotFoundError", "ImportError", "NotFoundError"})


@dataclass(frozen=True, slots=True)
class Scene:
    """What all players have in common.

    Attributes:
        plan: The plan, as it travels.
        frozen: Its file.
        workspace: The code, as it travels.
        models: Where the models are that are handed out.
        directory: Where players work.
        limit_s: How long anything that the code does may take.
    """

    plan: Plan
    frozen: Path
    workspace: Path
    models: Path
    directory: Path
    limit_s: float


class Player:
    """Plays a site; whatever its code does wrong becomes a finding.

    Args:
        scene: What all players have in common.
        kind: Which sites it stands for.
        findings: Where it is noted what goes wrong.

    Attributes:
        confinement: How far its process is confined.
    """

    def __init__(self, scene: Scene, kind: SiteKind, findings: Findings) -> None:
        self.kind = kind
        self.confinement = Confinement()
        self._scene, self._findings = scene, findings
        self._folder = scene.directory / kind.name
        self._worker: WorkerProcess | None = None
        self._peak_bytes = 0

    @property
    def name(self) -> str:
        """The site that it plays."""
        return self.kind.name

    @property
    def there(self) -> bool:
        """Whether it can be given work."""
        return self._worker is not None and self._worker.alive

    async def come(self) -> None:
        """Start the process, and have it load the code and invent its data."""
        settings = self._settings()
        worker = await self._watched(None, WorkerProcess.start(settings, log.debug))
        if worker is not None:
            self._worker, self.confinement = worker, worker.confinement

    def _settings(self) -> WorkerSettings:
        scene, updates = self._scene, self._folder / "updates"
        updates.mkdir(parents=True, exist_ok=True)
        shard = self._folder / "shard.yaml"
        params = invented_params(self.kind.data, self.kind.invented, scene.plan.seed)
        shard.write_text(shard_text("invented", params, None, ()), encoding="utf-8")
        return WorkerSettings(
            shard=shard,
            directory=self._folder / "work",
            owner=self._folder / "work",
            plan=scene.frozen,
            workspace=scene.workspace,
            threads=scene.plan.collaborator.settings.threads,
            models=scene.models,
            updates=updates,
            sandbox=Sandbox.BEST,
        )

    def place(self, assignment: Assignment, again: str = "") -> Path:
        """Return where the update of an assignment goes."""
        name = f"{assignment.round:04d}-{assignment.phase.value}{again}.safetensors"
        return self._folder / "updates" / name

    async def perform(self, assignment: Assignment, model: Path | None, again: str = "") -> Update | None:
        """Perform an assignment; None if that went wrong, which is noted."""
        worker = self._worker
        if worker is None:
            return None
        return await self._watched(assignment, worker.perform(assignment, model, self.place(assignment, again)))

    def peak_bytes(self) -> int:
        """Return the most memory that the process has had; 0 if it was never there."""
        if self._worker is not None:
            self._peak_bytes = max(self._peak_bytes, self._worker.peak_bytes())
        return self._peak_bytes

    async def leave(self) -> None:
        """End the process."""
        self.peak_bytes()
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.stop()

    async def _watched(self, assignment: Assignment | None, doing: Awaitable[Done]) -> Done | None:
        try:
            async with asyncio.timeout(self._scene.limit_s):
                return await doing
        except TimeoutError:
            await self.leave()
            limit = self._scene.limit_s
            self._note(assignment, DryRunFinding(FindingKind.NOT_OVER, wanted=limit, unit="s"))
        except WorkerEndedError as error:
            await self.leave()
            self._note(assignment, DryRunFinding(FindingKind.PROCESS_ENDED, failure=error.failure))
        except FederationError as error:
            self._note_error(assignment, error)
        return None

    def _note_error(self, assignment: Assignment | None, error: FederationError) -> None:
        failure = failure_of(error)
        if assignment is not None:
            task = failure.task or (assignment.tasks[0].name if len(assignment.tasks) == 1 else "")
            raised = DryRunFinding(
                FindingKind.TASK_FAILED, task=task, file=failure.file, line=failure.line, failure=failure
            )
            self._note(assignment, raised)
        elif not (failure.error in _ABSENT_MODULE and self._findings.has((FindingKind.MODULE_MISSING,))):
            raised = DryRunFinding(FindingKind.NOT_LOADED, file=failure.file, line=failure.line, failure=failure)
            self._note(None, raised)

    def _note(self, assignment: Assignment | None, found: DryRunFinding) -> None:
        placed = replace(found, sites=self.kind.names)
        if assignment is not None:
            number = assignment.round if assignment.phase is not Phase.INITIALISE else None
            placed = replace(placed, phase=assignment.phase, round=number)
        self._findings.add(placed)


async def come_all(players: Sequence[Player], at_once: int) -> None:
    """Start the processes of several players, a few at the same time."""
    turns = asyncio.Semaphore(at_once)

    async def come(player: Player) -> None:
        async with turns:
            await player.come()

    await asyncio.gather(*(come(player) for player in players))
