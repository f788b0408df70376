"""What a framework offers whose models can be trained many at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

import numpy as np

from openfl_like import registry
from openfl_like.federation.task import Phase, TaskCall
from openfl_like.frameworks.algorithms.base import LocalAlgorithm
from openfl_like.frameworks.batched.obstacles import NotBatched
from openfl_like.frameworks.metrics.base import ChosenMetrics
from openfl_like.frameworks.runner import TaskRunner


class SiteBatches(Protocol):
    """The data of one site, where the model is; kept from round to round."""

    @property
    def num_train(self) -> int:
        """Number of samples to train on."""
        ...

    @property
    def num_validate(self) -> int:
        """Number of held-out samples."""
        ...

    @property
    def data_bytes(self) -> int:
        """How much memory its data takes, as far as it can be told beforehand."""
        ...


@dataclass(frozen=True, slots=True)
class BatchMember:
    """One of the sites that are trained at once.

    Attributes:
        site: Its data.
        seed: Of its assignment.
    """

    site: SiteBatches
    seed: int


@dataclass(frozen=True, slots=True)
class BatchWork:
    """What all members of a batch are asked to do.

    Attributes:
        phase: Of the round.
        tasks: In their order.
        model: The global model's tensors, without an algorithm's own.
        round: The number of the round.
        rounds: How many the plan has; None: no limit of them.
        algorithm: What adjusts their gradients; None: nothing.
        metrics: Of each task that names some.
    """

    phase: Phase
    tasks: tuple[TaskCall, ...]
    model: Mapping[str, np.ndarray]
    round: int
    rounds: int | None
    algorithm: LocalAlgorithm | None = None
    metrics: Mapping[str, ChosenMetrics] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BatchResults:
    """What came of a batch, in the order of its members.

    Attributes:
        metrics: Of each member: task name -> metric name -> value.
        tensors: Name -> array ``[members, *shape]`` of the updates; empty if nothing was trained.
    """

    metrics: Sequence[Mapping[str, Mapping[str, float]]]
    tensors: Mapping[str, np.ndarray] = field(default_factory=dict)


class BatchForm(Protocol):
    """Trains the models of many sites at once; made of a runner whose class names it in ``batch_form``.

    The runner's loader refuses to be looked at: what depends on a site's data is not the same for all of them.
    """

    @property
    def kept_bytes(self) -> int:
        """How much of the sites' data is kept from round to round."""
        ...

    def obstacle(self, phase: Phase, tasks: Sequence[TaskCall]) -> NotBatched | None:
        """Say what stands in the way of performing these tasks for many sites; None: nothing that is known."""
        ...

    def site(self, loader: object) -> SiteBatches:
        """Take up a site by its data loader."""
        ...

    def size_bytes(self, site: SiteBatches, tasks: Sequence[TaskCall]) -> int:
        """Estimate how much memory one more member takes."""
        ...

    def perform(self, work: BatchWork, members: Sequence[BatchMember]) -> BatchResults:
        """Perform the tasks for all members, each as if it were alone.

        Raises:
            UnfitMembersError: If the data of some does not fit.
            BatchTooLargeError: If the memory does not hold so many.
            Exception: Whatever else; it may be one member's fault or that of all.
        """
        ...


def form_of(runner: TaskRunner) -> BatchForm | None:
    """Make the batched form of a runner; None if its framework has none."""
    name = getattr(type(runner), "batch_form", "")
    if not name:
        return None
    return cast("Callable[[TaskRunner], BatchForm]", registry.resolve("task_runner", name))(runner)
