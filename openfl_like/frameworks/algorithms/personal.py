"""Tensors that stay at their site: each site trains and evaluates with its own, and nobody else sees them."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from openfl_like.errors import TaskError, TensorError
from openfl_like.plan.schema import TensorRule
from openfl_like.tensors.container import TensorFile
from openfl_like.tensors.matching import matched

Arrays = dict[str, np.ndarray]
_OWN = "__local__/"
"""Beginning of their names in the file of what is kept at the site, beside what an algorithm keeps."""


class PersonalTensors:
    """The tensors that the plan's rule ``local`` leaves at the sites, as one site has them.

    Li et al. 2021, "FedBN: Federated Learning on Non-IID Features via Local Batch Normalization", arXiv:2102.07623, is
    this with the tensors of batch normalisation; Arivazhagan et al. 2019, "Federated Learning with Personalization
    Layers", arXiv:1912.00818, with the last layers.

    They are kept like the state of an algorithm, in the same file: see `state.SiteState`. A site that has none yet, or
    none any more, begins with those of the global model, which are the initial ones and never change. In its update,
    a site gives these back.

    Args:
        rules: Those of the plan's aggregation.
    """

    def __init__(self, rules: Sequence[TensorRule]) -> None:
        self._rules = rules
        self.active = any(rule.stays for rule in rules)
        self.names: frozenset[str] = frozenset()
        self.sent: Arrays = {}
        """What the update says in their place."""
        self._own: Arrays = {}

    def look_at(self, names: Collection[str]) -> None:
        """Find out which tensors of a model are meant.

        Raises:
            TaskError: If a rule of the plan is for none of them, or all of them would stay.
        """
        if not self._rules:
            return
        try:
            found = matched(names, [rule.match for rule in self._rules])
        except TensorError as error:
            raise TaskError(error.message, cure=error.cure) from error
        self.names = frozenset(name for name, place in found.items() if self._rules[place].stays)
        if self.names.issuperset(names):
            raise TaskError(
                "aggregation.rules: every tensor of the model stays at its site, so the sites would learn nothing of"
                " each other",
                cure="leave some tensors to aggregation.template, or train each site alone",
            )

    def open(self, model: TensorFile, kept: Mapping[str, np.ndarray]) -> None:
        """Begin an assignment; raises as `look_at` does.

        Args:
            model: The global model.
            kept: What the site kept.
        """
        if not self._rules:
            return
        self.look_at(model.names)
        self._own = {name: kept[f"{_OWN}{name}"] for name in self.names if f"{_OWN}{name}" in kept}
        self.sent = {name: np.array(model.tensor(name)) for name in self.names}

    def in_place(self, tensors: Arrays) -> Arrays:
        """Return the tensors of a global model with the site's own among them."""
        return {**tensors, **self._own} if self._own else tensors

    def kept(self, tensors: Mapping[str, np.ndarray]) -> Arrays:
        """Return those of a trained model, by the names that they are kept by."""
        return {f"{_OWN}{name}": tensors[name] for name in self.names}

    @staticmethod
    def without(state: Mapping[str, np.ndarray]) -> Arrays:
        """Return what an algorithm has kept."""
        return {name: array for name, array in state.items() if not name.startswith(_OWN)}
