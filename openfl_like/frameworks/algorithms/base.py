"""What an algorithm is to a site, and what the training loop sees of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from openfl_like.errors import TaskError
from openfl_like.frameworks.algorithms.gradients import SiteGradients
from openfl_like.frameworks.model import Model, Tensor, Tensors
from openfl_like.tensors.named import ALGORITHM


def is_algorithms(name: str) -> bool:
    """Whether a tensor of a model file is an algorithm's own."""
    return name.startswith(ALGORITHM)


def zeros_for(kind: str, model: Tensors) -> Tensors:
    """Return zeros for each floating-point tensor of a model, called ``kind/`` and its name."""
    return {f"{kind}/{name}": np.zeros_like(array) for name, array in model.items() if is_float(array)}


def is_float(array: np.ndarray) -> bool:
    """Whether a tensor can follow a gradient; bfloat16 is of a dtype that numpy does not have itself."""
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


@dataclass(frozen=True, slots=True)
class LocalStart:
    """What an algorithm begins with; all tensors are copies in the framework's own form.

    Attributes:
        round: The number of the round, from 1.
        rounds: How many rounds the plan has; None: no limit of them.
        weights: The trained weights of the global model, by the names of the model's tensors.
        shared: The algorithm's own tensors that came with the global model, without the prefix.
        state: What it kept at this site with its last update that is part of a global model; empty before.
        like: Makes a tensor of a numpy array, in the form of the others.
        gradients: Gives gradients at other weights.
    """

    round: int
    rounds: int | None
    weights: Tensors
    like: Callable[[np.ndarray], Tensor]
    shared: Tensors = field(default_factory=dict)
    state: Tensors = field(default_factory=dict)
    gradients: SiteGradients = field(default_factory=SiteGradients)

    def own(self, kind: str) -> dict[str, Tensor]:
        """Return those of the algorithm's own tensors that are called ``kind/`` and a weight, by the weight.

        Raises:
            TaskError: If the global model was made without this algorithm.
        """
        missing = [name for name in self.weights if f"{kind}/{name}" not in self.shared]
        if missing:
            raise TaskError(
                f"the global model has no {kind} of '{missing[0]}'",
                cure="start from a model that was made with this algorithm, or give one by --initial-model",
            )
        return {name: self.shared[f"{kind}/{name}"] for name in self.weights}


@dataclass(frozen=True, slots=True)
class LocalEnd:
    """What an algorithm leaves behind; tensors in the framework's own form.

    Attributes:
        shared: New values of tensors of its own that are sent with the update, in the precision in which they came;
            those left out go back as they came.
        state: All that is to be kept at this site.
    """

    shared: Tensors = field(default_factory=dict)
    state: Tensors = field(default_factory=dict)


class LocalAlgorithm(Protocol):
    """The client half of an algorithm; built as ``Algorithm(**settings)`` with the settings of the plan.

    One lives as long as the worker, but nothing that it remembers by itself may matter: a worker may be new in any
    round, and may train a round again. What must last is its state.
    """

    def shared(self, model: Tensors) -> Tensors:
        """Return the first values of what it sends beside the model; always the same names, shapes and dtypes.

        Args:
            model: All tensors of the initial model but the optimizer's, as numpy arrays.

        Returns:
            Numpy arrays by name, without the prefix; empty if it sends nothing of its own.
        """
        ...

    def begin(self, start: LocalStart) -> None:
        """Begin to train from the global model."""
        ...

    def adjust(self, gradients: Tensors, weights: Tensors) -> Tensors:
        """Return the gradients that the optimizer is to follow.

        Args:
            gradients: Of the mean loss of a batch; weights that the loss does not depend on have none.
            weights: Those that are trained, before the step.
        """
        ...

    def after_step(self, weights: Tensors) -> None:
        """Look at the weights after the optimizer's step."""
        ...

    def end(self, weights: Tensors) -> LocalEnd:
        """Return what is sent and kept, now that the update is complete."""
        ...


@runtime_checkable
class PersonalAlgorithm(Protocol):
    """An algorithm that keeps a model at each site, which tasks with ``apply: personal`` look at."""

    def personal(self, state: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Return the weights of the site's own model, by the names of the model's tensors.

        Args:
            state: What was kept at this site; empty before it has trained.

        Returns:
            Numpy arrays; empty: it is the global model still.
        """
        ...


class StepHooks(Protocol):
    """What the training loop calls; see `session.LocalSession`."""

    @property
    def active(self) -> bool:
        """Whether there is an algorithm, which needs the gradients."""
        ...

    def begin(self, model: Model, gradients: SiteGradients | None = None) -> None:
        """Call before the first step of a training task.

        Args:
            model: Is stepped.
            gradients: Those at other weights, which some algorithms ask for; None: this loop gives none.
        """
        ...

    def adjust(self, gradients: Tensors, model: Model) -> Tensors:
        """Return the gradients to follow."""
        ...

    def after_step(self, model: Model) -> None:
        """Call after each step."""
        ...


class NoHooks:
    """Plain training: nothing is added and nothing costs anything."""

    active = False

    def begin(self, model: Model, gradients: SiteGradients | None = None) -> None:
        """Do nothing."""

    def adjust(self, gradients: Tensors, model: Model) -> Tensors:  # noqa: ARG002 - the protocol's
        """Return the gradients as they are."""
        return gradients

    def after_step(self, model: Model) -> None:
        """Do nothing."""


NO_HOOKS: StepHooks = NoHooks()
