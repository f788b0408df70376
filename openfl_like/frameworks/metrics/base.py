"""What a metric is, and those that a task of the plan names."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, Protocol, cast

import numpy as np

from openfl_like import registry
from openfl_like.errors import TaskError, TensorError
from openfl_like.frameworks.tasks.parts import check_members
from openfl_like.plan.mistakes import check_keywords
from openfl_like.plan.schema import MetricChoice, Plan


class Metric(Protocol):
    """A number that says how good a model is, from its outputs and the targets alone.

    A class of a workspace is one, too, by ``module:attr``; its keyword arguments are the settings.
    """

    @property
    def mode(self) -> Literal["max", "min"]:
        """Whether more or less of it is better."""
        ...

    def measure(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        """Measure all samples that a task looked at.

        Args:
            outputs: What the model gave, ``[n, …]``, at least one sample; of a classifier scores before any softmax.
            targets: ``[n, *target_shape]``.

        Returns:
            The value; NaN where it is not defined for these samples: the site then has none.

        Raises:
            TensorError: If the metric is not for outputs or targets like these.
        """
        ...


class ChosenMetrics:
    """The metrics that a task names.

    Args:
        metrics: By the names that their values are to have.
    """

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self._metrics = dict(metrics)
        self.names = frozenset(metrics)

    def measure(self, outputs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """Return the value of each one that is defined for these samples; see `Metric.measure`.

        Raises:
            TensorError: Naming the metric that is not for outputs or targets like these.
        """
        found = {name: self._value(name, outputs, targets) for name in self._metrics}
        return {name: value for name, value in found.items() if not math.isnan(value)}

    def _value(self, name: str, outputs: np.ndarray, targets: np.ndarray) -> float:
        try:
            return float(self._metrics[name].measure(outputs, targets))
        except TensorError as error:
            raise TensorError(f"the metric '{name}': {error.message}", cure=error.cure) from error


class TaskMetrics:
    """Which metrics the task names that is being performed; a training loop asks when it has seen its samples.

    The loop of `openfl_like.frameworks.training.Training` does.

    Attributes:
        asked: Whether anybody has asked since the task began.
    """

    def __init__(self) -> None:
        self._chosen: ChosenMetrics | None = None
        self.asked = False

    def begin_task(self, chosen: ChosenMetrics | None) -> None:
        """Begin a task; None: it names no metrics."""
        self._chosen, self.asked = chosen, False

    @property
    def chosen(self) -> ChosenMetrics | None:
        """Return the metrics that the task names; None: it names none, and what fits is measured."""
        self.asked = True
        return self._chosen

    def check_reported(self, task: str, reported: Iterable[str]) -> None:
        """Check that a task has measured what the plan names.

        Args:
            task: Its name.
            reported: The names of the metrics that it returned.

        Raises:
            TaskError: If it has neither asked for the metrics nor returned them.
        """
        lacking = sorted(self._chosen.names - set(reported)) if self._chosen is not None else []
        if lacking and not self.asked:
            raise TaskError(
                f"task '{task}' names the metric '{lacking[0]}', and its function measures in a way of its own",
                cure="have it return that metric, or measure by self.training; see docs/evaluation.md#metrics",
            )


def build_metrics(plan: Plan) -> dict[str, ChosenMetrics]:
    """Build the metrics of a plan's tasks, by task; those without any are left out.

    Raises:
        NotFoundError: If there is no metric of a name.
        TaskError: If a class lacks what a metric has.
        UsageError: If it does not take its settings.
    """
    return {name: ChosenMetrics(dict(map(_built, task.metrics))) for name, task in plan.tasks.items() if task.metrics}


def _built(choice: MetricChoice) -> tuple[str, Metric]:
    factory = cast("Callable[..., Metric]", registry.resolve("metric", choice.template))
    check_keywords(factory, choice.settings, "setting")
    metric = factory(**choice.settings)
    check_members(metric, Metric, f"the metric '{choice.published}'")
    return choice.published, metric
