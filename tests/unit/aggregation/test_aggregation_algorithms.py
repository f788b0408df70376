"""The server half of algorithms: what sites send beside the model, and who looks at it."""

from pathlib import Path

import numpy as np
import pytest

from openfl_like.aggregation.adaptive import FedAdam
from openfl_like.aggregation.algorithms import (
    FedCurvServer,
    FedDynServer,
    FedNovaServer,
    ScaffoldServer,
    ServerAlgorithm,
)
from openfl_like.aggregation.engine import Output, Recipe, Start, UpdateFile, aggregate_files
from openfl_like.aggregation.krum import Krum
from openfl_like.aggregation.rules import WeightedAverage
from openfl_like.aggregation.server_optimizers import FedAvgM
from openfl_like.aggregation.steps import Contributors
from openfl_like.errors import UpdateRefusedError
from openfl_like.tensors.container import read_tensors, write_tensors
from openfl_like.tensors.memory import TensorMemory
from openfl_like.tensors.named import ALGORITHM, OPTIMIZER, Array

CONTROL, STEPS = f"{ALGORITHM}control/w", f"{ALGORITHM}steps"


def combined(
    folder: Path, recipe: Recipe, base: dict[str, Array], updates: list[dict[str, Array]], eligible: int = 0
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Gives the model and what is kept."""
    write_tensors(folder / "base", base, sync=False)
    items = [UpdateFile(f"site-{place}", TensorMemory.of(update), 1.0) for place, update in enumerate(updates)]
    out = Output(folder / "out", folder / "state", sync=False)
    aggregate_files(recipe, items, out, start=Start(1, folder / "base", None, eligible))
    state = folder / "state"
    return read_tensors(folder / "out"), read_tensors(state) if state.exists() else {}


def model(weight: float, **own: float) -> dict[str, Array]:
    named = {"control": CONTROL, "steps": STEPS}
    return {"w": np.full(3, weight), **{named[name]: np.full(1, value) for name, value in own.items()}}


@pytest.mark.parametrize(("eligible", "moved"), [(2, 1.0), (4, 0.5), (8, 0.25), (0, 1.0), (1, 1.0)])
def test_the_control_of_all_moves_by_the_part_that_took_part(tmp_path: Path, eligible: int, moved: float) -> None:
    updates = [model(2.0, control=5.0), model(4.0, control=9.0)]
    made, kept = combined(
        tmp_path, Recipe(WeightedAverage(), None, ScaffoldServer()), model(0.0, control=3.0), updates, eligible
    )
    assert made["w"].tolist() == [3.0] * 3
    assert made[CONTROL].tolist() == [3.0 + moved * 4.0]
    assert kept == {}


def test_what_fedcurv_sends_is_added_up_whatever_the_updates_weigh_in_the_model(tmp_path: Path) -> None:
    write_tensors(tmp_path / "base", model(0.0, control=50.0), sync=False)
    weights, updates = (1.0, 3.0), (model(4.0, control=2.0), model(8.0, control=5.0))
    items = [
        UpdateFile(f"site-{place}", TensorMemory.of(update), weight)
        for place, (update, weight) in enumerate(zip(updates, weights, strict=True))
    ]
    recipe = Recipe(WeightedAverage(), FedAvgM(learning_rate=0.5), FedCurvServer(pull=1.0))
    aggregate_files(
        recipe, items, Output(tmp_path / "out", tmp_path / "state", sync=False), start=Start(1, tmp_path / "base")
    )
    made = read_tensors(tmp_path / "out")
    assert (made["w"].tolist(), made[CONTROL].tolist()) == ([3.5] * 3, [7.0])
    aggregate_files(
        recipe, items[:1], Output(tmp_path / "out", tmp_path / "state", sync=False), start=Start(1, tmp_path / "base")
    )
    assert read_tensors(tmp_path / "out")[CONTROL].tolist() == [2.0]


def test_a_server_optimizer_steps_the_model_and_not_what_the_algorithm_sends(tmp_path: Path) -> None:
    recipe = Recipe(WeightedAverage(), FedAvgM(learning_rate=0.5), ScaffoldServer())
    made, kept = combined(tmp_path, recipe, model(0.0, control=3.0), [model(2.0, control=5.0)] * 2, 2)
    assert (made["w"].tolist(), made[CONTROL].tolist()) == ([1.0] * 3, [5.0])
    assert list(kept) == ["server_optimizer.momentum/w"]


@pytest.mark.parametrize("algorithm", [None, ScaffoldServer()], ids=["of the workspace", "scaffold"])
def test_a_rule_over_whole_updates_does_not_look_at_it_and_takes_that_of_the_chosen(
    tmp_path: Path, algorithm: ServerAlgorithm | None
) -> None:
    updates = [model(value, control=100.0 * place) for place, value in enumerate((1.0, 1.1, 1.2, 1.3, 50.0))]
    made, _ = combined(tmp_path, Recipe(Krum(fraction=0.2), None, algorithm), model(0.0, control=0.0), updates, 5)
    chosen = int(made[CONTROL][0] / 100)
    assert chosen in (1, 2)
    assert np.allclose(made["w"], updates[chosen]["w"])


def test_feddyn_keeps_what_the_papers_formula_says(tmp_path: Path) -> None:
    recipe = Recipe(WeightedAverage(), None, FedDynServer(alpha=0.5))
    made, kept = combined(tmp_path, recipe, model(1.0), [model(2.0), model(4.0)], 4)
    h = -0.5 * (2 / 4) * (3.0 - 1.0)
    assert kept["algorithm.h/w"].tolist() == [h] * 3
    assert np.allclose(made["w"], 3.0 - h / 0.5)


def test_fednova_gives_no_weight_to_many_steps(tmp_path: Path) -> None:
    updates = [model(11.0, steps=1.0), model(101.0, steps=10.0)]
    made, _ = combined(tmp_path, Recipe(WeightedAverage(), None, FedNovaServer()), model(1.0, steps=0.0), updates, 2)
    assert np.allclose(made["w"], 1.0 + 5.5 * (0.5 * 10.0 / 1.0 + 0.5 * 100.0 / 10.0))


@pytest.mark.parametrize(
    "recipe",
    [Recipe(WeightedAverage(), FedAvgM(learning_rate=0.5)), Recipe(WeightedAverage(), None, FedDynServer(alpha=1.0))],
    ids=["server optimizer", "algorithm"],
)
def test_the_state_of_the_sites_optimizers_is_averaged_and_not_stepped(tmp_path: Path, recipe: Recipe) -> None:
    squares = f"{OPTIMIZER}exp_avg_sq/w"
    base, updates = {**model(0.0), squares: np.full(3, 9.0)}, [{**model(2.0), squares: np.full(3, 1.0)}] * 2
    made, kept = combined(tmp_path, recipe, base, updates, 4)
    assert made[squares].tolist() == [1.0] * 3
    assert made["w"].tolist() != [2.0] * 3
    assert not any(array.any() for name, array in kept.items() if OPTIMIZER in name)


@pytest.mark.parametrize("name", ["bn.running_var", "block/bn/moving_variance"])
@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(WeightedAverage(), FedAdam()),
        Recipe(WeightedAverage(), None, FedDynServer(alpha=0.1)),
        Recipe(WeightedAverage(), None, FedNovaServer()),
    ],
    ids=["server optimizer", "feddyn", "fednova"],
)
def test_running_statistics_are_averaged_whoever_steps_the_weights(tmp_path: Path, recipe: Recipe, name: str) -> None:
    base = {**model(1.0, steps=0.0), name: np.full(3, 1.0)}
    updates = [{**model(2.0, steps=1.0), name: np.full(3, 0.1)}, {**model(4.0, steps=9.0), name: np.full(3, 0.3)}]
    made, _ = combined(tmp_path, recipe, base, updates, 2)
    assert np.allclose(made[name], 0.2)
    assert not np.allclose(made["w"], 3.0)


@pytest.mark.parametrize("steps", [0.0, -1.0, 0.5])
def test_who_has_taken_less_than_a_step_is_named(tmp_path: Path, steps: float) -> None:
    updates = [model(11.0, steps=1.0), model(101.0, steps=steps)]
    with pytest.raises(UpdateRefusedError, match=r"'site-1' says that it has taken -?[\d.]+ steps"):
        combined(tmp_path, Recipe(WeightedAverage(), None, FedNovaServer()), model(1.0, steps=0.0), updates)


def test_a_model_that_was_made_without_the_algorithm_is_refused_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(UpdateRefusedError, match="no number '__algorithm__/steps'") as raised:
        combined(tmp_path, Recipe(WeightedAverage(), None, FedNovaServer()), model(1.0), [model(2.0)] * 2)
    assert "made with this algorithm" in raised.value.cure


def test_nobody_takes_part_more_than_once() -> None:
    assert Contributors(np.full(2, 0.5), 1, ("a", "b"), 1).share == 1.0
