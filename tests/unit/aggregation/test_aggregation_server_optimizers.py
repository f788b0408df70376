"""Server optimizers over several rounds of files: those of numpy."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from openfl_like.aggregation.engine import Output, Recipe, Start, UpdateFile, aggregate_files
from openfl_like.aggregation.rules import WeightedAverage
from openfl_like.aggregation.server_optimizers import FedAvgM
from openfl_like.errors import UpdateRefusedError
from openfl_like.tensors.container import read_tensors, write_tensors
from openfl_like.tensors.named import Array


def round_of(folder: Path, recipe: Recipe, number: int, updates: dict[str, dict[str, Array]]) -> dict[str, Array]:
    for name, tensors in updates.items():
        write_tensors(folder / name, tensors, sync=False)
    items = [UpdateFile(name, folder / name, 1.0) for name in updates]
    state = folder / f"s{number - 1}"
    start = Start(number, folder / f"v{number - 1}", state if state.exists() else None)
    aggregate_files(recipe, items, Output(folder / f"v{number}", folder / f"s{number}", sync=False), start=start)
    return read_tensors(folder / f"v{number}")


@pytest.mark.parametrize(("rate", "momentum"), [(1.0, 0.9), (0.3, 0.99), (1.0, 0.0)])
def test_momentum_is_the_one_of_numpy(tmp_path: Path, rate: float, momentum: float) -> None:
    rng = np.random.default_rng(8)
    model = rng.normal(size=20_000)
    velocity = np.zeros(20_000)
    write_tensors(tmp_path / "v0", {"w": model.reshape(100, 200)}, sync=False)
    recipe = Recipe(WeightedAverage(), FedAvgM(learning_rate=rate, momentum=momentum))
    for number in range(1, 7):
        updates = model + rng.normal(size=(3, 20_000))
        files = {name: {"w": update.reshape(100, 200)} for name, update in zip("abc", updates, strict=True)}
        made = round_of(tmp_path, recipe, number, files)["w"].reshape(-1)
        velocity = momentum * velocity + (model - updates.mean(axis=0))
        model = model - rate * velocity
        assert np.abs(made - model).max() <= 1e-12 * np.abs(model).max()
        kept = read_tensors(tmp_path / f"s{number}")
        assert kept.keys() == {"server_optimizer.momentum/w"}
        assert kept["server_optimizer.momentum/w"].shape == (100, 200)


def test_whole_numbers_are_what_the_rule_made_and_have_no_state(tmp_path: Path) -> None:
    write_tensors(tmp_path / "v0", {"n": np.array([4]), "b": np.array([True]), "w": np.zeros(2)}, sync=False)
    updates = {name: {"n": np.array([8]), "b": np.array([False]), "w": np.ones(2)} for name in "ab"}
    recipe = Recipe(WeightedAverage(), FedAvgM(learning_rate=0.5))
    made = round_of(tmp_path, recipe, 1, updates)
    assert (made["n"].tolist(), made["b"].tolist(), made["w"].tolist()) == ([8], [False], [0.5, 0.5])
    assert list(read_tensors(tmp_path / "s1")) == ["server_optimizer.momentum/w"]


def test_a_single_update_is_a_step_as_well(tmp_path: Path) -> None:
    write_tensors(tmp_path / "v0", {"w": np.zeros(2, np.float32)}, sync=False)
    recipe = Recipe(WeightedAverage(), FedAvgM(learning_rate=0.5))
    assert round_of(tmp_path, recipe, 1, {"a": {"w": np.ones(2, np.float32)}})["w"].tolist() == [0.5, 0.5]


def test_a_state_of_another_model_or_plan_is_refused(tmp_path: Path) -> None:
    write_tensors(tmp_path / "v0", {"w": np.zeros(2)}, sync=False)
    recipe, updates = Recipe(WeightedAverage(), FedAvgM()), {"a": {"w": np.ones(2)}}
    for wrong in ({"server_optimizer.momentum/w": np.zeros(3)}, {"server_optimizer.v/w": np.zeros(2)}):
        write_tensors(tmp_path / "s0", wrong, sync=False)
        with pytest.raises(UpdateRefusedError, match="the state of the version before is not this plan's"):
            round_of(tmp_path, recipe, 1, updates)


def test_a_state_that_is_not_finite_ends_the_round(tmp_path: Path) -> None:
    write_tensors(tmp_path / "v0", {"w": np.zeros(2, np.float64)}, sync=False)
    write_tensors(tmp_path / "s0", {"server_optimizer.momentum/w": np.full(2, 1.7e308)}, sync=False)
    recipe = Recipe(WeightedAverage(), FedAvgM(learning_rate=1e-300, momentum=0.99))
    with pytest.raises(UpdateRefusedError, match=r"the state 'server_optimizer.momentum' of tensor 'w' is not finite"):
        round_of(tmp_path, recipe, 1, {"a": {"w": np.full(2, -1e308)}})
    assert not (tmp_path / "v1").exists()
    assert not (tmp_path / "s1").exists()


@pytest.mark.parametrize("settings", [{"learning_rate": 0}, {"momentum": 1}, {"momentum": -0.1}, {"beta": 0.9}])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        FedAvgM(**settings)
