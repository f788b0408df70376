"""Simulation in this process: one site after the other, in the order in which they were asked."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from openfl_like.errors import TaskError
from openfl_like.federation.events import (
    CollaboratorJoined,
    FinishExperiment,
    SendAssignment,
    TaskFailed,
    UpdateCommitted,
)
from openfl_like.federation.task import Assignment, Update
from openfl_like.runtimes.loop import Outward, Post
from openfl_like.runtimes.models import ModelRepository, describe


class Performs(Protocol):
    """What a site does with an assignment; `frameworks.perform.Performer` is one."""

    def perform(self, assignment: Assignment, model: Path | None, out: Path) -> Update:
        """Performs the tasks; raises TaskError naming the task and the exception."""

    @property
    def task(self) -> str:
        """Name of the task that failed; empty outside tasks."""


class LocalRuntime:
    """Runs every site's tasks in one thread of this process.

    Args:
        performers: Site name -> its performer.
        shelf: Where models are found and updates go.
    """

    def __init__(self, performers: Mapping[str, Performs], repository: ModelRepository) -> None:
        self._performers = performers
        self._repository = repository
        self._orders: asyncio.Queue[Assignment] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None

    async def start(self, post: Post) -> None:
        """Lets every site join."""
        self._worker = asyncio.create_task(self._work(post))
        for name in sorted(self._performers):
            post(CollaboratorJoined(name))

    async def perform(self, command: Outward) -> None:
        """Queues an assignment; a withdrawn one is still performed, and its result ignored by the experiment."""
        if isinstance(command, SendAssignment):
            self._orders.put_nowait(command.assignment)
        elif isinstance(command, FinishExperiment) and self._worker is not None:
            self._worker.cancel()

    async def _work(self, post: Post) -> None:
        while True:
            assignment = await self._orders.get()
            post(await asyncio.to_thread(self._one, assignment))

    def _one(self, assignment: Assignment) -> UpdateCommitted | TaskFailed:
        out = self._repository.spool_path(assignment)
        performer = self._performers[assignment.collaborator]
        try:
            model = self._repository.path(assignment.model) if assignment.model else None
            update = performer.perform(assignment, model, out)
            return _in_time(assignment, update)
        except Exception as error:  # noqa: BLE001 (the edge of a site: any failure becomes its reason, or all would wait)
            first = assignment.tasks[0].name if assignment.tasks else assignment.phase.value
            reason = error.message if isinstance(error, TaskError) else describe(error)
            key = assignment.round, assignment.phase, assignment.collaborator
            return TaskFailed(*key, performer.task or first, reason)


def _in_time(assignment: Assignment, update: Update) -> UpdateCommitted | TaskFailed:
    if assignment.deadline_s is None or update.duration_s <= assignment.deadline_s:
        return UpdateCommitted(update)
    first = assignment.tasks[0].name if assignment.tasks else assignment.phase.value
    key = assignment.round, assignment.phase, assignment.collaborator
    return TaskFailed(*key, first, f"it took longer than {assignment.deadline_s:g} s")
