"""Sites whose objectives are quadratic, f_i(x) = a_i/2 (x - c_i)^2: where each algorithm ends is known on paper."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from openfl_like.aggregation.algorithms import ServerAlgorithm
from openfl_like.aggregation.engine import Output, Recipe, Start, UpdateFile, aggregate_files
from openfl_like.aggregation.rules import WeightedAverage
from openfl_like.frameworks.algorithms.base import LocalAlgorithm
from openfl_like.frameworks.algorithms.gradients import SiteGradients
from openfl_like.frameworks.algorithms.session import LocalSession, Opening
from openfl_like.frameworks.model import Model, Observation, Tensors
from openfl_like.frameworks.numpy import NumpyModel
from openfl_like.tensors.container import read_tensors, write_tensors
from openfl_like.tensors.memory import TensorMemory
from openfl_like.tensors.named import ALGORITHM

CURVATURES = np.array([0.5, 1.0, 2.0, 4.0])
CENTRES = np.array([-3.0, 1.0, 2.0, 7.0])
STEPS = np.array([1, 2, 5, 9])
RATE = 3 / 64  # a number of float32, in which Keras has its rate
MINIMISER = float((CURVATURES * CENTRES).sum() / CURVATURES.sum())


class Site(Protocol):
    """A site in some framework, with one weight ``x``, float64."""

    model: Model
    batch: tuple[Any, Any]

    def move_to(self, x: float) -> None:
        """Set the weight."""
        ...

    def step(self, session: LocalSession) -> None:
        """Take one step of plain gradient descent as the training loop does."""
        ...


Build = Callable[[float, float], Site]
"""Builds a site from curvature and centre."""


class NumpySite:
    """A site by hand."""

    def __init__(self, curvature: float, centre: float) -> None:
        self._curvature, self._centre, self._x = curvature, centre, np.zeros(1)
        self.model: Model = NumpyModel(self._look, self._descend, lambda: {"x": self._x})
        self.batch = np.zeros(1), np.zeros(1)

    def move_to(self, x: float) -> None:
        self._x = np.array([x])

    def step(self, session: LocalSession) -> None:
        _, gradients = self.model.loss_and_gradients(*self.batch)
        self.model.apply(session.adjust(gradients, self.model))
        session.after_step(self.model)

    def _look(self, samples: np.ndarray, targets: np.ndarray) -> tuple[Observation, dict[str, np.ndarray]]:
        return Observation(0.0, samples, targets), {"x": self._curvature * (self._x - self._centre)}

    def _descend(self, gradients: Tensors) -> None:
        self._x = self._x - RATE * gradients["x"]


@dataclass(frozen=True)
class Federation:
    """All of these sites, an algorithm and its server half.

    Attributes:
        folder: Where rounds leave their files.
        build: Builds the sites.
        algorithm: Makes the client half, a new one whenever it is needed: nothing may be remembered by the object.
        server: The server half.
        steps: How many each site takes in a round.
    """

    folder: Path
    build: Build
    algorithm: Callable[[], LocalAlgorithm]
    server: ServerAlgorithm | None = None
    steps: Sequence[int] = tuple(STEPS)

    def ends(self, rounds: int, per_round: int = len(STEPS)) -> float:
        """Gives the global model after so many rounds, with so many sites drawn in each."""
        return self.leaves(rounds, per_round)[0]

    def leaves(self, rounds: int, per_round: int = len(STEPS)) -> tuple[float, list[dict[str, np.ndarray]]]:
        """Gives the same, and what each site keeps."""
        sites = [self.build(*each) for each in zip(CURVATURES, CENTRES, strict=True)]
        states: list[dict[str, np.ndarray]] = [{} for _ in sites]
        drawn = np.random.default_rng(5)
        recipe = Recipe(WeightedAverage(weighted=False), None, self.server)
        first = {"x": np.array([0.5])}
        write_tensors(self.folder / "v0", {**first, **LocalSession(self.algorithm()).initial(first)}, sync=False)
        for number in range(1, rounds + 1):
            before = read_tensors(self.folder / f"v{number - 1}")
            items = []
            for place in sorted(drawn.choice(len(sites), per_round, replace=False)):
                update, states[place] = self._train(sites[place], number, rounds, before, states[place], place)
                items.append(UpdateFile(f"site-{place}", TensorMemory.of(update), 1.0))
            state = self.folder / f"s{number - 1}"
            start = Start(number, self.folder / f"v{number - 1}", state if state.exists() else None, len(sites))
            out = Output(self.folder / f"v{number}", self.folder / f"s{number}", sync=False)
            aggregate_files(recipe, items, out, start=start)
            for path in (self.folder / f"v{number - 1}", state):
                path.unlink(missing_ok=True)
        return float(read_tensors(self.folder / f"v{rounds}")["x"][0]), states

    def _train(
        self,
        site: Site,
        number: int,
        rounds: int,
        before: dict[str, np.ndarray],
        state: dict[str, np.ndarray],
        place: int,
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        session = LocalSession(self.algorithm())
        shared = {name: array for name, array in before.items() if name.startswith(ALGORITHM)}
        site.move_to(float(before["x"][0]))
        session.open(Opening(number, rounds, shared, state))
        gradients = SiteGradients()
        gradients.over(site.model, lambda: [site.batch])
        gradients.show(*site.batch)
        session.begin(site.model, gradients)
        for _ in range(self.steps[place]):
            site.step(session)
        sent, kept = session.close()
        return {**site.model.to_arrays(site.model.weights()), **sent}, kept


def fixed_point(moves: np.ndarray) -> float:
    """Where the sum of ``moves_i (x - c_i)`` is zero."""
    return float((moves * CENTRES).sum() / moves.sum())
