"""Which tasks a collaborator is given, and in which phase of a round."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Annotated, Protocol, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from openfl_like.errors import PlanError
from openfl_like.federation.seeds import derive_seed
from openfl_like.federation.task import Phase, TaskCall
from openfl_like.plan.schema import Task

_STRICT = ConfigDict(extra="forbid")
INITIALISE_TASK = TaskCall("initialise", "initialise")


class Assigner(Protocol):
    """Divides the plan's tasks among the collaborators, anew for every round."""

    def deal(self, collaborators: Sequence[str], tasks: Sequence[str], seed: int) -> Mapping[str, tuple[str, ...]]:
        """Name the tasks of each collaborator.

        Args:
            collaborators: The members of the round; one that the settings do not know may have no tasks.
            tasks: The plan's tasks in order.
            seed: Of this round's draws.

        Returns:
            Collaborator -> a part of ``tasks`` in the same order.

        Raises:
            PlanError: If the settings name a task that the plan does not have.
        """
        ...


class SameTasks(Mapping[str, tuple[str, ...]]):
    """The same tasks for all collaborators, however many.

    Args:
        collaborators: All of them.
        tasks: What each of them has.
    """

    def __init__(self, collaborators: Sequence[str], tasks: tuple[str, ...]) -> None:
        self._collaborators, self._tasks = collaborators, tasks

    def __getitem__(self, name: str) -> tuple[str, ...]:
        """Return the tasks of whoever is asked for: nobody has others."""
        return self._tasks

    def __iter__(self) -> Iterator[str]:
        return iter(self._collaborators)

    def __len__(self) -> int:
        return len(self._collaborators)


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class AllTasks:
    """SameTasks performs every task."""

    def deal(self, collaborators: Sequence[str], tasks: Sequence[str], seed: int) -> Mapping[str, tuple[str, ...]]:  # noqa: ARG002 - nothing is drawn here
        """All of them to everybody."""
        return SameTasks(collaborators, tuple(tasks))


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

    def deal(self, collaborators: Sequence[str], tasks: Sequence[str], seed: int) -> Mapping[str, tuple[str, ...]]:  # noqa: ARG002 - nothing is drawn here
        """The tasks of each collaborator's groups."""
        theirs: dict[str, set[str]] = {}
        for group in self.groups:
            _check_tasks(group.name, group.tasks, tasks)
            for name in group.collaborators:
                theirs.setdefault(name, set()).update(group.tasks)
        return {name: _in_order(tasks, theirs.get(name, ())) for name in collaborators}


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Share:
    """A part of the collaborators that shares a list of tasks.

    Attributes:
        name: For messages.
        fraction: How large a part; those of all groups add up to 1.
        tasks: Its tasks.
    """

    name: str
    fraction: Annotated[float, Field(gt=0, le=1)]
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class RandomGroups:
    """Groups of fixed sizes whose members are drawn anew every round.

    The bounds between groups are rounded up, so that of a few collaborators the groups named first have more.
    """

    groups: Annotated[tuple[Share, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _everybody(self) -> Self:
        if sum(Fraction(str(group.fraction)) for group in self.groups) != 1:
            raise ValueError("the fractions of the groups do not add up to 1")  # pydantic turns this into its own error
        return self

    def deal(self, collaborators: Sequence[str], tasks: Sequence[str], seed: int) -> Mapping[str, tuple[str, ...]]:
        """The tasks of the group into which each collaborator is drawn."""
        drawn = sorted(collaborators, key=lambda name: (derive_seed(seed, name), name))
        dealt: dict[str, tuple[str, ...]] = {}
        bound = Fraction(0)
        for group in self.groups:
            _check_tasks(group.name, group.tasks, tasks)
            bound += Fraction(str(group.fraction))
            for name in drawn[len(dealt) : math.ceil(bound * len(drawn))]:
                dealt[name] = _in_order(tasks, group.tasks)
        return dealt


def _check_tasks(group: str, named: Sequence[str], tasks: Sequence[str]) -> None:
    unknown = sorted(set(named) - set(tasks))
    if unknown:
        raise PlanError(
            f"group '{group}' names the task '{unknown[0]}', which the plan does not have",
            place="assigner.settings.groups",
            cure=f"the plan has {', '.join(tasks)}",
        )


def _in_order(tasks: Sequence[str], mine: Collection[str]) -> tuple[str, ...]:
    return tuple(task for task in tasks if task in mine)


def calls_in_phase(tasks: Mapping[str, Task], names: Sequence[str], phase: Phase) -> tuple[TaskCall, ...]:
    """Pick a collaborator's calls for a phase of a round, in the order of the plan.

    Training comes with the validations that look at the local model; validations of the global model wait for it. A
    collaborator that trains nothing does all its validations on the global model. The update of another collaborator is
    scored with those that look at the global model.

    Args:
        tasks: The plan's tasks.
        names: Those of the collaborator.
        phase: ``initialise`` is the same single call for everybody.
    """
    if phase is Phase.INITIALISE:
        return (INITIALISE_TASK,)
    mine = {name: tasks[name] for name in names}
    has_model = any(task.is_training for task in mine.values())
    wanted = phase is Phase.TRAIN
    if phase is Phase.CROSS_EVALUATE:
        mine = {name: task for name, task in mine.items() if task.apply == "global"}
    return tuple(
        TaskCall(name, task.function, task.arguments, task.apply, task.is_training)
        for name, task in mine.items()
        if (task.is_training or (has_model and task.apply == "local")) is wanted
    )
