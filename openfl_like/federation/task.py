"""What a collaborator is asked to do, what it hands back, and what that takes of a device."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import ClassVar


class Phase(StrEnum):
    """The part of a round in which a collaborator works.

    Attributes:
        INITIALISE: The initial model is made.
        TRAIN: A global model is trained.
        CROSS_EVALUATE: The update of another collaborator is scored.
        EVALUATE: The new global model is measured.
    """

    INITIALISE = "initialise"
    TRAIN = "train"
    CROSS_EVALUATE = "cross_evaluate"
    EVALUATE = "evaluate"

    @property
    def returns_model(self) -> bool:
        """Whether an answer is a model; otherwise it is metrics alone."""
        return self in {Phase.INITIALISE, Phase.TRAIN}


@dataclass(frozen=True, slots=True)
class TaskCall:
    """One task of the plan as it is called at a site.

    Attributes:
        name: The task's name in the plan.
        function: The task runner's method.
        arguments: Keyword arguments of that method (JSON values).
        apply: What an evaluation looks at. ``global``: the model of the assignment; ``local``: the model as the tasks
            before left it; ``personal``: the model that the algorithm keeps at the site.
        trains: Whether it changes the model, as the tasks before left it.
    """

    name: str
    function: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    apply: str = "global"
    trains: bool = False


@dataclass(frozen=True, slots=True)
class Work:
    """How much a site is to train in a round, in place of what the plan's tasks say.

    At most one of ``epochs`` and ``batches`` is given.

    Attributes:
        epochs: So many times over the samples; None: as the task says.
        batches: So many steps, in as many epochs as that takes; None: they are not counted.
        samples: In each epoch only so many samples, rounded up to whole batches; None: all.
        sample_seed: Draws which samples these are, the same in every epoch and in every round that has this seed; None:
            others in each epoch.
    """

    epochs: int | None = None
    batches: int | None = None
    samples: int | None = None
    sample_seed: int | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """The work of one collaborator in one phase of a round; its identity is (round, phase, collaborator).

    Attributes:
        round: Round number from 1; 0 is the round that makes the initial model.
        phase: The phase.
        collaborator: Who is asked.
        tasks: The tasks, in order.
        model: BLAKE3 identity (hex, see `tensors.manifest`) of the model file to start from; empty in the phase
            ``initialise``, and in the phase ``cross_evaluate`` the model that another collaborator's update stands for.
        seed: Seed of every random draw in the tasks.
        deadline_s: Seconds after which the tasks are ended, and nothing comes of them; None: no limit.
        continues: The last published round whose model has an update of this collaborator in it; what the site keeps
            between rounds goes on from there. 0: there is none.
        train_s: Seconds after which training stops at the next batch, and what there is counts; None: it goes on.
        batch_limit: Batches after which it stops likewise: of a simulated device that has no time for more; None: none.
        work: How much to train; None: as the tasks say.
    """

    round: int
    phase: Phase
    collaborator: str
    tasks: tuple[TaskCall, ...]
    model: str
    seed: int
    deadline_s: float | None = None
    continues: int = 0
    train_s: float | None = None
    batch_limit: int | None = None
    work: Work | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """What a collaborator hands back for an assignment.

    Attributes:
        round: As in the assignment.
        phase: As in the assignment.
        collaborator: Who worked.
        digest: BLAKE3 identity (hex, see `tensors.manifest`) of the update's model file; empty in the phases
            ``evaluate`` and ``cross_evaluate``.
        num_samples: Samples that stand behind the update: its weight; one of none is no part of the new model.
        metrics: Task name -> metric name -> value.
        duration_s: Seconds the tasks took at the site.
        partial: Whether training was stopped before it had done what was asked, since its time was over.
        batches: How many batches were trained on; 0: the site does not say.
    """

    round: int
    phase: Phase
    collaborator: str
    digest: str
    num_samples: int
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    duration_s: float = 0.0
    partial: bool = False
    batches: int = 0


@dataclass(frozen=True, slots=True)
class UpdatePartial:
    """The time of a site was over before its training was done: what it has trained counts, with so many samples.

    It is told before `UpdateReceived`; ``batches`` is 0 where the site does not say how many there were.
    """

    kind: ClassVar[str] = "update_partial"
    round: int
    collaborator: str
    num_samples: int
    batches: int = 0


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


@dataclass(frozen=True, slots=True)
class BufferTaken:
    """The updates are there that a version is made of.

    Attributes:
        round: The version.
        sites: Whose they are, in the order of arrival.
        staleness: How many versions older than the newest one each was trained from, in the same order.
        factors: What each one's difference from the version that it was trained from is multiplied by, likewise.
    """

    kind: ClassVar[str] = "buffer_taken"
    round: int
    sites: tuple[str, ...]
    staleness: tuple[int, ...]
    factors: tuple[float, ...]


MAX_SAMPLES = 2**53
"""Larger counts are not exact as float64."""


MAX_METRICS = 1000


MAX_NAME_LENGTH = 200


MAX_NAMES_BYTES = 1 << 16
"""Of the names of all metrics of an answer, as UTF-8: they are in the record and in messages of every round."""


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
    if not 0 <= update.batches <= MAX_SAMPLES:
        return f"{update.batches} is not a possible number of batches"
    if update.partial and update.phase is not Phase.TRAIN:
        return f"it is partial, which no answer to the phase '{update.phase}' can be"
    if bool(update.digest) is not update.phase.returns_model:
        return "it names a model file" if update.digest else "it names no model file"
    if not (math.isfinite(update.duration_s) and update.duration_s >= 0):
        return "its duration is not a time"
    return _check_metrics(update)


def _check_metrics(update: Update) -> str:
    if len(update.metrics) > MAX_METRICS or sum(map(len, update.metrics.values())) > MAX_METRICS:
        return f"it has more than {MAX_METRICS} metrics"
    names = (*update.metrics, *(name for metrics in update.metrics.values() for name in metrics))
    size = sum(len(name.encode(errors="surrogatepass")) for name in names)
    if size > MAX_NAMES_BYTES:
        return f"the names of its metrics have {size:,} bytes, more than {MAX_NAMES_BYTES:,}"
    for task, metrics in update.metrics.items():
        for name, value in metrics.items():
            if len(task) > MAX_NAME_LENGTH or len(name) > MAX_NAME_LENGTH:
                return f"the name of a metric is longer than {MAX_NAME_LENGTH} characters"
            if not math.isfinite(value):
                return f"metric '{name}' of task '{task}' is {value}"
    return ""
