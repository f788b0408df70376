"""The geometric median of whole updates: that of numpy, and what it withstands."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from openfl_like.aggregation.engine import Output, Recipe, Start, UpdateFile, aggregate_files
from openfl_like.aggregation.geometric_median import GeometricMedian
from openfl_like.aggregation.steps import Vector
from openfl_like.errors import UpdateRefusedError
from openfl_like.tensors.container import read_tensors, write_tensors


def combined(folder: Path, rule: GeometricMedian, base: Vector, updates: Sequence[Vector], samples: Vector) -> Vector:
    half = len(base) // 2
    for name, values in [("base", base), *((str(place), values) for place, values in enumerate(updates))]:
        write_tensors(folder / name, {"a": values[:half], "b": values[half:]}, sync=False)
    items = [UpdateFile(str(place), folder / str(place), float(samples[place])) for place in range(len(updates))]
    out = Output(folder / "out", sync=False)
    aggregate_files(Recipe(rule), items, out, start=Start(1, folder / "base"))
    return np.concatenate([array for _, array in sorted(read_tensors(folder / "out").items())])


def naive(updates: Vector, shares: Vector, smoothing: float, iterations: int) -> Vector:
    """The smoothed Weiszfeld algorithm as the paper writes it, with whole updates."""
    point = shares @ updates
    for _ in range(iterations):
        pulls = shares / np.maximum(smoothing, np.linalg.norm(updates - point, axis=1))
        point = (pulls[:, np.newaxis] * updates).sum(axis=0) / pulls.sum()
    return point


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("count", "iterations"), [(1, 5), (2, 3), (3, 100), (9, 1), (9, 100)])
def test_it_is_the_one_of_numpy(tmp_path: Path, count: int, iterations: int, *, weighted: bool) -> None:
    rng = np.random.default_rng(count)
    base = rng.normal(size=50_000)
    updates = base + rng.normal(size=(count, 50_000)) * rng.uniform(0.1, 3, (count, 1))
    samples = rng.integers(1, 500, count).astype(np.float64)
    rule = GeometricMedian(weighted=weighted, iterations=iterations)
    shares = samples / samples.sum() if weighted else np.full(count, 1 / count)
    made = combined(tmp_path, rule, base, list(updates), samples)
    wanted = naive(updates, shares, 1e-6, iterations)
    assert np.abs(made - wanted).max() <= 1e-12 * np.abs(wanted).max()


@pytest.mark.parametrize("lie", [1e3, -1e6, 1e12])
def test_fewer_than_half_of_the_sites_cannot_lead_it_away(tmp_path: Path, lie: float) -> None:
    rng = np.random.default_rng(0)
    base = np.zeros(1000)
    honest = rng.normal(size=(6, 1000))
    dishonest = [np.full(1000, lie)] * 4
    made = combined(tmp_path, GeometricMedian(), base, [*dishonest, *honest], np.array([1e6] * 4 + [1.0] * 6))
    away = np.linalg.norm(made - honest.mean(axis=0))
    assert away < 3 * np.linalg.norm(honest - honest.mean(axis=0), axis=1).max()


def test_nobody_moves_it_who_is_one_of_two_or_more_that_agree(tmp_path: Path) -> None:
    """Where more than half agree, there it is."""
    agreed = np.random.default_rng(1).normal(size=300)
    others = [agreed + 5.0, agreed - 1.0]
    made = combined(tmp_path, GeometricMedian(), np.zeros(300), [agreed] * 3 + others, np.ones(5))
    assert np.abs(made - agreed).max() < 1e-4


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_what_has_no_distance_is_refused(tmp_path: Path, value: float) -> None:
    updates = [np.zeros(10), np.zeros(10), np.full(10, value)]
    with pytest.raises(UpdateRefusedError, match="distances between the updates are not finite"):
        combined(tmp_path, GeometricMedian(), np.zeros(10), updates, np.ones(3))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("settings", [{"smoothing": 0}, {"iterations": 0}, {"iterations": 10**6}, {"nu": 1}])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        GeometricMedian(**settings)  # type: ignore[arg-type]  # wrong ones
