"""An algorithm at work: opened by who performs an assignment, called by the training loop, closed with the update."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

from openfl_like import registry
from openfl_like.errors import TaskError
from openfl_like.frameworks.algorithms.base import LocalAlgorithm, LocalStart, PersonalAlgorithm, is_float
from openfl_like.frameworks.algorithms.gradients import SiteGradients
from openfl_like.frameworks.model import Model, Tensors
from openfl_like.plan.schema import NO_ALGORITHM
from openfl_like.plan.section import Component
from openfl_like.tensors.named import ALGORITHM

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Opening:
    """What an assignment begins with.

    Attributes:
        round: The number of the round.
        rounds: How many the plan has; None: no limit of them.
        shared: The algorithm's tensors in the global model, by their whole names.
        state: What was kept at the site.
        local: Tensors that stay at their sites; the algorithm does not see them.
    """

    round: int
    rounds: int | None
    shared: Mapping[str, np.ndarray]
    state: Mapping[str, np.ndarray]
    local: frozenset[str] = frozenset()


class LocalSession:
    """Gives an algorithm what it begins with, and takes what it leaves; one assignment after the other.

    Args:
        algorithm: The plan's.
    """

    active = True

    def __init__(self, algorithm: LocalAlgorithm) -> None:
        self._algorithm = algorithm
        self._opening: Opening | None = None
        self._model: Model | None = None

    def initial(self, model: Mapping[str, np.ndarray]) -> Arrays:
        """Return the first values of the algorithm's tensors, by their whole names, for an initial model."""
        return {f"{ALGORITHM}{name}": np.asarray(array) for name, array in self._algorithm.shared(model).items()}

    def personal(self, state: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Return the weights of the model that the algorithm keeps at this site; see `base.PersonalAlgorithm`.

        Raises:
            TaskError: If it keeps none.
        """
        if not isinstance(self._algorithm, PersonalAlgorithm):
            raise TaskError("a task looks at the site's own model, and the algorithm of the plan keeps none")
        return self._algorithm.personal(state)

    def open(self, opening: Opening) -> None:
        """Begin an assignment: the runner's model is the global one."""
        self._opening, self._model = opening, None

    def begin(self, model: Model, gradients: SiteGradients | None = None) -> None:
        """Have the algorithm begin, unless a task that trained the same update has: then it goes on."""
        if self._model is None:
            if self._opening is None:
                raise TaskError("the algorithm was called outside an assignment")
            opening = self._opening
            start = LocalStart(
                round=opening.round,
                rounds=opening.rounds,
                weights=model.to_tensors(model.to_arrays(self._seen(model.weights()))),
                like=lambda array: model.to_tensors({"": array})[""],
                shared=model.to_tensors({name.removeprefix(ALGORITHM): a for name, a in opening.shared.items()}),
                state=model.to_tensors(opening.state),
                gradients=gradients or SiteGradients(),
            )
            self._algorithm.begin(start)
        self._model = model

    def adjust(self, gradients: Tensors, model: Model) -> Tensors:
        """Return the algorithm's gradients; see `base.LocalAlgorithm`."""
        seen = self._seen(gradients)
        adjusted = self._algorithm.adjust(seen, self._seen(model.weights()))
        return adjusted if seen is gradients else {**gradients, **adjusted}

    def after_step(self, model: Model) -> None:
        """Show the algorithm the weights."""
        self._algorithm.after_step(self._seen(model.weights()))

    def _seen(self, tensors: Tensors) -> Tensors:
        local = self._opening.local if self._opening is not None else frozenset[str]()
        return {name: tensor for name, tensor in tensors.items() if name not in local} if local else tensors

    def close(self) -> tuple[Arrays, Arrays]:
        """Have the algorithm end; return what is sent, by whole names, and what is kept.

        Raises:
            TaskError: If it was never begun, because a task trains in a loop of its own; or if it sends what the global
                model does not have, or in another form.
        """
        model, opening = self._model, self._opening
        if model is None or opening is None:
            message = "the plan names an algorithm, but the task that trained did not call it"
            cure = "train by the runner's own loop (self.training.train), or leave algorithm out of the plan"
            raise TaskError(message, cure=cure)
        self._model = None  # what trains after this trains from the global model again
        end = self._algorithm.end(self._seen(model.weights()))
        own = {}
        for told, given in model.to_arrays(end.shared).items():
            name = f"{ALGORITHM}{told}"
            came = opening.shared.get(name)
            array = own[name] = _as_it_came(given, came)
            if came is None or came.shape != array.shape or came.dtype != array.dtype:
                was = "nothing" if came is None else f"{came.dtype}{list(came.shape)}"
                message = (
                    f"the algorithm sends '{name}' as {array.dtype}{list(array.shape)}, the global model has {was}"
                )
                raise TaskError(message, cure="give it in shared(), and start from a model that has it")
        kept = {name: np.array(array) for name, array in model.to_arrays(end.state).items()}
        return {**opening.shared, **own}, kept


def _as_it_came(array: np.ndarray, came: np.ndarray | None) -> np.ndarray:
    """Return numbers in the precision that they came in: a gradient may have another one than its weight."""
    if came is None or not (is_float(array) and is_float(came)):
        return array
    return array.astype(came.dtype, copy=False)


def build_session(part: Component) -> LocalSession | None:
    """Build the algorithm that a plan names; None if it names none. Code of the workspace must be importable.

    Raises:
        NotFoundError: If there is no such algorithm.
    """
    if part.template == NO_ALGORITHM:
        return None
    factory = cast("Callable[..., LocalAlgorithm]", registry.resolve("algorithm", part.template))
    return LocalSession(factory(**part.settings))
