"""What a collaborator is asked to do, what it hands back, and what that takes of a device."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import ClassVar


class Phase(StrEnum):
    """The part of a round in which a collaborator works."""

    INITIALISE = "initialise"
    TRAIN = "train"
    EVALUATE = "evaluate"


@dataclass(frozen=True, slots=True)
class TaskCall:
    """One task of the plan as it is called at a site.

    Attributes:
        name: The task's name in the plan.
        function: The task runner's method.
        arguments: Keyword arguments of that method (JSON values).
        apply: What an evaluation looks at. ``global``: the model of the assignment; ``local``: the model as the tasks
            before left it.
        trains: Whether it changes the model, as the tasks before left it.
    """

    name: str
    function: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    apply: str = "global"
    trains: bool = False


@dataclass(frozen=True, slots=True)
class Assignment:
    """The work of one collaborator in one phase of a round; its identity is (round, phase, collaborator).

    Attributes:
        round: Round number from 1; 0 is the round that makes the initial model.
        phase: The phase.
        collaborator: Who is asked.
        tasks: The tasks, in order.
        model: BLAKE3 identity (hex, see `tensors.manifest`) of the model file to start from; empty in the phase
            ``initialise``.
        seed: Seed of every random draw in the tasks.
        deadline_s: Seconds the tasks may take; None: no limit.
        continues: The last published round whose model has an update of this collaborator in it; what the site keeps
            between rounds goes on from there. 0: there is none.
    """

    round: int
    phase: Phase
    collaborator: str
    tasks: tuple[TaskCall, ...]
    model: str
    seed: int
    deadline_s: float | None = None
    continues: int = 0


@dataclass(frozen=True, slots=True)
class Update:
    """What a collaborator hands back for an assignment.

    Attributes:
        round: As in the assignment.
        phase: As in the assignment.
        collaborator: Who worked.
        digest: BLAKE3 identity (hex, see `tensors.manifest`) of the update's model file; empty in the phase
            ``evaluate``.
        num_samples: Samples that stand behind the update: its weight; one of none is no part of the new model.
        metrics: Task name -> metric name -> value.
        duration_s: Seconds the tasks took at the site.
    """

    round: int
    phase: Phase
    collaborator: str
    digest: str
    num_samples: int
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True)
class DevicesWorked:
    """What a round has asked of simulated devices: joules and seconds of each, and whose answers did not come.

    It is told before the round is finished, or the experiment ends; ``away`` counts those that could not be asked.
    """

    kind: ClassVar[str] = "devices_worked"
    round: int
    energy_j: Mapping[str, float]
    busy_s: Mapping[str, float]
    late: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    unavailable: tuple[str, ...] = ()
    away: int = 0


MAX_SAMPLES = 2**53
"""Larger counts are not exact as float64."""


MAX_METRICS = 1000


MAX_NAME_LENGTH = 200


def undefined_metrics(update: Update) -> dict[str, dict[str, float]]:
    """Return the metrics that are not finite numbers, which count for nothing: task name -> metric name -> value."""
    found: dict[str, dict[str, float]] = {}
    for task, metrics in update.metrics.items():
        for name, value in metrics.items():
            if not math.isfinite(value):
                found.setdefault(task, {})[name] = value
    return found


def without_undefined(update: Update) -> Update:
    """Return an update with the metrics that are finite numbers: nearly always the update as it is."""
    if not undefined_metrics(update):
        return update
    metrics = {
        task: {name: value for name, value in metrics.items() if math.isfinite(value)}
        for task, metrics in update.metrics.items()
    }
    return replace(update, metrics=metrics)


def check_facts(update: Update) -> str:
    """Say what is wrong with an update's counts and metrics; empty if nothing is."""
    if not 0 <= update.num_samples <= MAX_SAMPLES:
        return f"{update.num_samples} is not a possible number of samples"
    if bool(update.digest) is (update.phase is Phase.EVALUATE):
        return "it names a model file" if update.digest else "it names no model file"
    if not (math.isfinite(update.duration_s) and update.duration_s >= 0):
        return "its duration is not a time"
    return _check_metrics(update)


def _check_metrics(update: Update) -> str:
    if len(update.metrics) > MAX_METRICS or sum(map(len, update.metrics.values())) > MAX_METRICS:
        return f"it has more than {MAX_METRICS} metrics"
    for task, metrics in update.metrics.items():
        for name, value in metrics.items():
            if len(task) > MAX_NAME_LENGTH or len(name) > MAX_NAME_LENGTH:
                return f"the name of a metric is longer than {MAX_NAME_LENGTH} characters"
            if not math.isfinite(value):
                return f"metric '{name}' of task '{task}' is {value}"
    return ""
