"""Inner products of whole updates: those of numpy, and what follows from them."""

from pathlib import Path

import numpy as np
import pytest

from openfl_like.aggregation.engine import Output, Recipe, Start, UpdateFile, aggregate_files
from openfl_like.aggregation.gram import Gram, GramPass, mixed
from openfl_like.aggregation.steps import Block, Vector
from openfl_like.tensors.container import read_tensors, write_tensors
from openfl_like.tensors.named import Array


class Remembering:
    """A rule that tells the test what it was given, and has factors that the test gives."""

    def __init__(self, factors: list[float]) -> None:
        self.seen: list[Gram] = []
        self._factors = np.array(factors)

    def gram_factors(self, gram: Gram, weights: Vector) -> Vector:
        assert weights.sum() == pytest.approx(1.0)
        self.seen.append(gram)
        return self._factors


def combined(folder: Path, rule: Remembering, models: list[dict[str, Array]]) -> dict[str, Array]:
    """Combines all but the first model, which is the base."""
    for place, model in enumerate(models):
        write_tensors(folder / str(place), model, sync=False)
    items = [UpdateFile(str(place), folder / str(place), 1.0) for place in range(1, len(models))]
    aggregate_files(Recipe(rule), items, Output(folder / "out", sync=False), start=Start(1, folder / "0"))
    return read_tensors(folder / "out")


def models_of(count: int) -> list[dict[str, Array]]:
    rng = np.random.default_rng(3)
    return [
        {
            "a": rng.normal(size=(70, 900)),
            "b": rng.normal(size=30_001).astype(np.float32),
            "steps": rng.integers(0, 10**9, 5),
        }
        for _ in range(count)
    ]


def flat(model: dict[str, Array]) -> Vector:
    return np.concatenate([model[name].astype(np.float64).reshape(-1) for name in ("a", "b")])


def test_inner_products_are_those_of_numpy_and_whole_numbers_do_not_count(tmp_path: Path) -> None:
    models, rule = models_of(5), Remembering([0.25] * 4)
    combined(tmp_path, rule, models)
    base = flat(models[0])
    differences = np.array([flat(model) - base for model in models[1:]])
    (gram,) = rule.seen
    assert np.allclose(gram.differences, differences @ differences.T, rtol=1e-12, atol=1e-9)
    assert np.allclose(gram.with_base, differences @ base, rtol=1e-12, atol=1e-9)
    assert gram.base == pytest.approx(base @ base, rel=1e-12)
    factors = np.array([0.1, 0.2, 0.3, 0.15])
    point = factors @ differences
    assert np.allclose(gram.distances_from(factors), np.linalg.norm(differences - point, axis=1), rtol=1e-12)


@pytest.mark.parametrize("factors", [[0.5, 0.25, 0.25], [0.5, 0.0, -0.125], [1.0, 1.0, 1.0]])
def test_what_factors_lack_to_one_stays_with_the_base(tmp_path: Path, factors: list[float]) -> None:
    models = models_of(4)
    made = combined(tmp_path, Remembering(factors), models)
    base = models[0]["a"]
    wanted = base + sum(factor * (model["a"] - base) for factor, model in zip(factors, models[1:], strict=True))
    assert np.allclose(made["a"], wanted, rtol=1e-12, atol=1e-13)


def test_the_base_is_not_read_again_when_nothing_is_lacking_but_rounding() -> None:
    assert mixed(np.full(10, 0.1)).base == 0.0
    half = mixed(np.full(10, 0.05))
    assert (half.factors.tolist(), half.base) == ([0.05] * 10, 0.5)


def test_a_model_of_whole_numbers_has_inner_products_of_nothing(tmp_path: Path) -> None:
    rule = Remembering([0.5, 0.5])
    made = combined(tmp_path, rule, [{"n": np.array([number])} for number in (0, 1, 3)])
    assert rule.seen[0].differences.tolist() == [[0, 0], [0, 0]]
    assert made["n"].tolist() == [2]


def test_a_distance_that_rounding_has_made_imaginary_is_none() -> None:
    gram = Gram(np.array([[1.0, 1.0 + 1e-15], [1.0 + 1e-15, 1.0]]), np.zeros(2), 0.0)
    assert gram.distances_from(np.array([0.0, 1.0]))[0] == pytest.approx(0.0, abs=1e-7)


def test_a_block_without_columns_has_zeros() -> None:
    found = GramPass(lambda _: mixed(np.ones(1))).see(Block(np.zeros((2, 0)), np.zeros(0), np.zeros((0, 0))))
    assert found.tolist() == np.zeros((3, 3)).tolist()
