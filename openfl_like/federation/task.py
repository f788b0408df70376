"""What a collaborator is asked to do, and what it hands back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


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
        apply: ``global``: on the model of the assignment; ``local``: on the model as the tasks before left it.
    """

    name: str
    function: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    apply: str = "global"


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
    """

    round: int
    phase: Phase
    collaborator: str
    tasks: tuple[TaskCall, ...]
    model: str
    seed: int
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """What a collaborator hands back for an assignment.

    Attributes:
        round: As in the assignment.
        phase: As in the assignment.
        collaborator: Who worked.
        digest: BLAKE3 identity (hex, see `tensors.manifest`) of the update's model file; empty in the phase
            ``evaluate``.
        num_samples: Samples that stand behind the update: its weight.
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
