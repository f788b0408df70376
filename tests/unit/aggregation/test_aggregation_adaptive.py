"""Adaptive server optimizers over several rounds of files: the equations of the paper in plain NumPy."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from openfl_like.aggregation.adaptive import FedAdagrad, FedAdam, FedYogi
from openfl_like.aggregation.engine import Recipe
from openfl_like.aggregation.rules import WeightedAverage
from openfl_like.aggregation.server_optimizers import ServerOptimizer
from openfl_like.aggregation.steps import Vector
from openfl_like.tensors.container import read_tensors, write_tensors
from tests.unit.aggregation.test_aggregation_server_optimizers import round_of

RATE, BETA1, BETA2, TAU = 0.3, 0.8, 0.95, 1e-2
SECOND: dict[str, tuple[ServerOptimizer, Callable[[Vector, Vector], Vector]]] = {
    "fedadagrad": (FedAdagrad(learning_rate=RATE, beta1=BETA1, tau=TAU), lambda v, d: v + d**2),
    "fedadam": (
        FedAdam(learning_rate=RATE, beta1=BETA1, beta2=BETA2, tau=TAU),
        lambda v, d: BETA2 * v + (1 - BETA2) * d**2,
    ),
    "fedyogi": (
        FedYogi(learning_rate=RATE, beta1=BETA1, beta2=BETA2, tau=TAU),
        lambda v, d: v - (1 - BETA2) * d**2 * np.sign(v - d**2),
    ),
}


@pytest.mark.parametrize(("optimizer", "second"), SECOND.values(), ids=list(SECOND))
def test_it_is_algorithm_2_of_the_paper(
    tmp_path: Path, optimizer: ServerOptimizer, second: Callable[[Vector, Vector], Vector]
) -> None:
    rng = np.random.default_rng(8)
    model = rng.normal(size=20_000)
    write_tensors(tmp_path / "v0", {"w": model}, sync=False)
    m, v = np.zeros(20_000), np.full(20_000, TAU**2)
    for number in range(1, 9):
        scale = 10.0 ** rng.integers(-3, 2)
        updates = model + scale * rng.normal(size=(3, 20_000))
        files = {name: {"w": update} for name, update in zip("abc", updates, strict=True)}
        made = round_of(tmp_path, Recipe(WeightedAverage(), optimizer), number, files)["w"]
        delta = updates.mean(axis=0) - model
        m = BETA1 * m + (1 - BETA1) * delta
        v = second(v, delta)
        model = model + RATE * m / (np.sqrt(v) + TAU)
        assert np.abs(made - model).max() <= 1e-12 * np.abs(model).max()
    kept = read_tensors(tmp_path / "s8")
    assert np.allclose(kept["server_optimizer.first_moment/w"], -m, rtol=1e-11, atol=1e-13)
    assert np.allclose(kept["server_optimizer.second_moment/w"], v, rtol=1e-11, atol=0)


@pytest.mark.parametrize("kind", [FedAdagrad, FedAdam, FedYogi])
@pytest.mark.parametrize("given", [{"learning_rate": 0.0}, {"beta1": 1.0}, {"tau": 0.0}, {"beta3": 0.1}])
def test_settings_that_make_no_sense_are_refused(kind: type, given: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        kind(**given)
