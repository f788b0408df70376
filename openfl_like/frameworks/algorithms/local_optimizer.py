"""The state of optimizers that stays at the sites: ``opt_treatment: CONTINUE_LOCAL``."""

from collections.abc import Mapping

import numpy as np

from openfl_like.errors import TaskError
from openfl_like.tensors.named import OPTIMIZER

Arrays = dict[str, np.ndarray]


class LocalOptimizer:
    """The state of one site's optimizer, which its training goes on from and nobody else sees.

    The runner has it among its tensors; here it is taken out of what is sent, and put back into what is loaded. It is
    kept like the state of an algorithm, in the same file: see `state.SiteState`. A site that has none yet, or none any
    more, begins with that of a new optimizer.

    Args:
        active: Whether the plan wants that.
    """

    def __init__(self, *, active: bool) -> None:
        self.active = active
        self._new: Arrays = {}
        self._own: Arrays = {}

    def look_at(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Remember the state of a new optimizer, unless that is known.

        Args:
            tensors: Those of a runner that has not trained yet.

        Raises:
            TaskError: If the runner has no such state.
        """
        if not self.active or self._new:
            return
        self._new = {name: array.copy() for name, array in _states(tensors).items()}
        self._own = self._new
        if not self._new:
            raise TaskError(
                "collaborator.settings.opt_treatment is CONTINUE_LOCAL, but the task runner's optimizer has no state"
                " that could be kept",
                cure="write RESET; or have get_tensors give the state, where context.names_optimizer says so",
            )

    def open(self, kept: Mapping[str, np.ndarray]) -> None:
        """Begin a training with what the site kept."""
        if self.active:
            self._own = _states(kept) or self._new

    def in_place(self, tensors: Arrays) -> Arrays:
        """Return the tensors of a model with the site's own state among them."""
        return {**tensors, **self._own} if self.active else tensors

    def kept(self, tensors: Mapping[str, np.ndarray]) -> Arrays:
        """Return what is to be kept after a training."""
        if self.active:
            self._own = _states(tensors)
        return self._own

    def without(self, tensors: Arrays) -> Arrays:
        """Return what leaves the site of a model's tensors, or what of the kept ones is not an optimizer's."""
        if not self.active:
            return tensors
        return {name: array for name, array in tensors.items() if not name.startswith(OPTIMIZER)}


def _states(tensors: Mapping[str, np.ndarray]) -> Arrays:
    return {name: array for name, array in tensors.items() if name.startswith(OPTIMIZER)}
