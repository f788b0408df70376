"""Sketches: what they keep of updates, and what they are made of."""

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from openfl_like.aggregation.sketch import DIMENSION, sketch
from openfl_like.tensors.container import TensorFile, write_tensors
from openfl_like.tensors.memory import TensorMemory


def memory(**tensors: np.ndarray) -> TensorMemory:
    return TensorMemory.of({name.replace("__", "/", 1): array for name, array in tensors.items()})


def drawn(seed: int, size: int = 40_000) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


def test_distances_are_about_kept() -> None:
    """Squared distances of sketches have the squared distance as their mean, and a spread of sqrt(2 / dimension)."""
    models = [drawn(1), drawn(1) + 0.01 * drawn(2), drawn(3), 3 * drawn(4)]
    ratios = []
    for one, other in combinations(models, 2):
        true = float(np.linalg.norm(one - other))
        for seed in range(30):
            found = math.dist(sketch(memory(w=one), None, seed), sketch(memory(w=other), None, seed))
            ratios.append((found / true) ** 2)
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.1)
    assert np.std(ratios) == pytest.approx(math.sqrt(2 / DIMENSION), rel=0.35)


def test_it_is_linear_and_of_the_difference_from_a_base(tmp_path: Path) -> None:
    base, update = drawn(1), drawn(2)
    write_tensors(tmp_path / "base.safetensors", {"w": base})
    with TensorFile(tmp_path / "base.safetensors") as file:
        of_difference = sketch(memory(w=update), file, 5)
    whole, start = sketch(memory(w=update), None, 5), sketch(memory(w=base), None, 5)
    assert of_difference == pytest.approx([one - two for one, two in zip(whole, start, strict=True)], abs=1e-8)


def test_the_same_seed_has_the_same_numbers_and_another_one_others() -> None:
    assert sketch(memory(w=drawn(1)), None, 5) == sketch(memory(w=drawn(1)), None, 5)
    assert sketch(memory(w=drawn(1)), None, 5) != sketch(memory(w=drawn(1)), None, 6)


def test_only_the_model_s_own_floating_point_tensors_count() -> None:
    plain = sketch(memory(w=drawn(1, 10)), None, 5)
    more = {"w": drawn(1, 10), "count": np.ones(3, np.int64), "__optimizer__/0": drawn(2, 10)}
    assert sketch(TensorMemory.of({**more, "__algorithm__/c": drawn(3, 10)}), None, 5) == plain


def test_what_does_not_fit_or_is_not_finite_has_none(tmp_path: Path) -> None:
    write_tensors(tmp_path / "base.safetensors", {"w": drawn(1, 10)})
    with TensorFile(tmp_path / "base.safetensors") as file:
        assert sketch(memory(w=drawn(1, 11)), file, 5) == ()
    assert sketch(memory(w=np.array([1.0, math.inf])), None, 5) == ()
