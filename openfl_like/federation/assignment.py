"""Which tasks a collaborator is given, and in which phase of a round."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from openfl_like.errors import PlanError
from openfl_like.federation.task import Phase, TaskCall
from openfl_like.plan.schema import Task

_STRICT = ConfigDict(extra="forbid")
VALIDATE = "validate"
INITIALISE_TASK = TaskCall("initialise", "initialise")


class Assigner(Protocol):
    """Divides the plan's tasks among the collaborators."""

    def tasks_for(self, collaborator: str, tasks: Sequence[str]) -> tuple[str, ...]:
        """Names the collaborator's tasks.

        Args:
            collaborator: Who asks; a name the settings do not know may have no tasks.
            tasks: The plan's tasks in order.

        Returns:
            A part of ``tasks`` in the same order.

        Raises:
            PlanError: If the settings name a task that the plan does not have.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class AllTasks:
    """Everybody performs every task."""

    def tasks_for(self, collaborator: str, tasks: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002 - nobody is special
        """All of them."""
        return tuple(tasks)


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Group:
    """Collaborators that share a list of tasks."""

    name: str
    collaborators: tuple[str, ...]
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class StaticGroups:
    """Fixed groups; a collaborator of several groups has the tasks of all of them, one of no group has none."""

    groups: tuple[Group, ...]

    def tasks_for(self, collaborator: str, tasks: Sequence[str]) -> tuple[str, ...]:
        """The tasks of the collaborator's groups."""
        for group in self.groups:
            unknown = sorted(set(group.tasks) - set(tasks))
            if unknown:
                raise PlanError(
                    f"group '{group.name}' names the task '{unknown[0]}', which the plan does not have",
                    place="assigner.settings.groups",
                    cure=f"the plan has {', '.join(tasks)}",
                )
        mine = {task for group in self.groups if collaborator in group.collaborators for task in group.tasks}
        return tuple(task for task in tasks if task in mine)


def trains(task: Task) -> bool:
    """Whether the task changes the model."""
    return task.function != VALIDATE


def calls_in_phase(tasks: Mapping[str, Task], names: Sequence[str], phase: Phase) -> tuple[TaskCall, ...]:
    """Picks a collaborator's calls for a phase of a round, in the order of the plan.

    Training comes with the validations that look at the local model; validations of the global model wait for it. A
    collaborator that trains nothing does all its validations on the global model.

    Args:
        tasks: The plan's tasks.
        names: Those of the collaborator.
        phase: ``initialise`` is the same single call for everybody.
    """
    if phase is Phase.INITIALISE:
        return (INITIALISE_TASK,)
    mine = {name: tasks[name] for name in names}
    has_model = any(trains(task) for task in mine.values())
    wanted = phase is Phase.TRAIN
    return tuple(
        TaskCall(name, task.function, task.arguments, task.apply)
        for name, task in mine.items()
        if (trains(task) or (has_model and task.apply == "local")) is wanted
    )
