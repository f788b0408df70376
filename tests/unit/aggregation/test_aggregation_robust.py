"""Rules that choose, shorten and weigh whole updates: those of the papers in plain NumPy, and what they withstand."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from pydantic import ValidationError

from openfl_like.aggregation.clipping import CenteredClipping, NormBoundedMean
from openfl_like.aggregation.engine import Output, Recipe, Start, UpdateFile, aggregate_files
from openfl_like.aggregation.geometric_median import GeometricMedian
from openfl_like.aggregation.krum import Bulyan, Krum, MultiKrum
from openfl_like.aggregation.rules import AggregationRule, Median, TrimmedMean, WeightedAverage
from openfl_like.aggregation.steps import Vector
from openfl_like.aggregation.trust import FLTrust
from openfl_like.errors import UpdateRefusedError
from openfl_like.tensors.container import read_tensors, write_tensors
from openfl_like.tensors.memory import TensorMemory

EXAMPLES = int(os.environ.get("OPENFL_LIKE_EXAMPLES", "150"))
"""Of each rule."""
pytestmark = pytest.mark.timeout(max(120, EXAMPLES))
CLOSE = 1e-9
"""Smaller differences are rounding."""


class Rounds:
    """Combines updates as an Aggregator does, from memory, one round after the other."""

    def __init__(self, folder: Path, rule: AggregationRule, base: Vector, arrival: int = 1) -> None:
        self._folder, self._recipe, self._number, self._arrival = folder, Recipe(rule), 0, arrival
        write_tensors(folder / "model-0", {"w": base}, sync=False)

    def round(self, updates: Sequence[Vector], samples: Sequence[float] | None = None) -> Vector:
        """Gives the next global model."""
        number = self._number = self._number + 1
        items = [
            UpdateFile(f"site-{place:02}", TensorMemory.of({"w": values}), 1.0 if samples is None else samples[place])
            for place, values in enumerate(updates)
        ]
        state = self._folder / f"state-{number - 1}"
        start = Start(number, self._folder / f"model-{number - 1}", state if state.exists() else None)
        out = Output(self._folder / f"model-{number}", self._folder / f"state-{number}", sync=False)
        aggregate_files(self._recipe, items[:: self._arrival], out, start=start)
        return read_tensors(self._folder / f"model-{number}")["w"]


def combined(folder: Path, rule: AggregationRule, base: Vector, updates: Sequence[Vector], arrival: int = 1) -> Vector:
    return Rounds(folder, rule, base, arrival).round(updates)


# ---- the papers in plain NumPy ------------------------------------------------------------------------------------


def scores(updates: Vector, dishonest: int) -> Vector:
    """Krum's: with whole updates, one by one."""
    found = []
    for index, update in enumerate(updates):
        distances = sorted(
            float(((update - other) ** 2).sum()) for place, other in enumerate(updates) if place != index
        )
        found.append(sum(distances[: max(1, len(updates) - dishonest - 2)]))
    return np.array(found)


def are_clear(found: Vector, kept: int) -> bool:
    """Whether those that are kept are not a matter of rounding."""
    ordered = np.sort(found)
    return kept >= len(found) or bool(ordered[kept] - ordered[kept - 1] > CLOSE * max(1.0, ordered[kept]))


def naive_krum(updates: Vector, dishonest: int, kept: int) -> Vector | None:
    found = scores(updates, dishonest)
    made: Vector = updates[np.argsort(found)[:kept]].mean(axis=0)
    return made if are_clear(found, kept) else None


def naive_bulyan(updates: Vector, dishonest: int) -> Vector | None:
    left, chosen = list(range(len(updates))), list[int]()
    while len(chosen) < len(updates) - 2 * dishonest:
        found = scores(updates[left], dishonest)
        if not are_clear(found, 1):
            return None
        chosen.append(left.pop(int(np.argmin(found))))
    kept = updates[chosen]
    made = np.empty(updates.shape[1])
    for column, values in enumerate(kept.T):
        middle = np.median(values)
        away = sorted((abs(value - middle), value) for value in values)
        made[column] = np.mean([value for _, value in away[: len(kept) - 2 * dishonest]])
    return made


def naive_geometric(updates: Vector, smoothing: float, iterations: int) -> Vector:
    point: Vector = updates.mean(axis=0)
    for _ in range(iterations):
        pulls = 1 / np.maximum(smoothing, np.linalg.norm(updates - point, axis=1))
        point = (pulls[:, np.newaxis] * updates).sum(axis=0) / pulls.sum()
    return point


def shorter(each: Vector, bound: float) -> Vector:
    norm = float(np.linalg.norm(each))
    return each * (bound / norm) if norm > bound else each


def naive_bounded(base: Vector, updates: Vector, bound: float) -> Vector:
    moved: Vector = np.mean([shorter(each, bound) for each in updates - base], axis=0)
    return base + moved


def naive_clipped(centre: Vector, differences: Vector, radius: float, iterations: int) -> Vector:
    for _ in range(iterations):
        centre = centre + np.mean([shorter(each, radius) for each in differences - centre], axis=0)
    return centre


def naive_trusting(base: Vector, updates: Vector, trusted: int) -> Vector:
    differences = updates - base
    length = float(np.linalg.norm(differences[trusted]))
    total, weights = np.zeros(len(base)), 0.0
    for each in differences:
        norm = float(np.linalg.norm(each))
        trust = max(0.0, float(each @ differences[trusted]) / norm / length) if norm and length else 0.0
        if trust:
            total, weights = total + trust * length / norm * each, weights + trust
    return base + total / weights if weights else base


# ---- ten thousand times -------------------------------------------------------------------------------------------

many = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


def models(least: int, most: int = 12) -> st.SearchStrategy[Vector]:
    """The base, and updates, of a few elements each."""
    shapes = st.tuples(st.integers(least + 1, most + 1), st.integers(1, 6))
    elements = st.floats(-100, 100, width=32) | st.sampled_from([0.0, -0.0, 1.0])
    return npst.arrays(np.float64, shapes, elements=elements)


def dishonest_of(fraction: float, count: int) -> int:
    return int(fraction * count + 1e-9)


def check(folder: Path, rule: AggregationRule, drawn: Vector, naive: Callable[[Vector, Vector], Vector | None]) -> None:
    base, updates = drawn[0], drawn[1:]
    wanted = naive(base, updates)
    if wanted is not None:
        made = combined(folder, rule, base, list(updates))
        assert np.abs(made - wanted).max() <= CLOSE * max(1.0, np.abs(drawn).max())
        late = combined(folder, rule, base, list(updates), arrival=-1)
        assert late.tobytes() == made.tobytes()


@many
@given(drawn=models(1))
def test_the_median_is_numpy_s(tmp_path_factory: pytest.TempPathFactory, drawn: Vector) -> None:
    check(_folder(tmp_path_factory), Median(), drawn, lambda _, updates: np.median(updates, axis=0))


@many
@given(drawn=models(5))
def test_the_trimmed_mean_is_that_of_sorted_columns(tmp_path_factory: pytest.TempPathFactory, drawn: Vector) -> None:
    def naive(_: Vector, updates: Vector) -> Vector:
        cut = dishonest_of(0.2, len(updates))
        kept: Vector = np.sort(updates, axis=0)[cut : len(updates) - cut].mean(axis=0)
        return kept

    check(_folder(tmp_path_factory), TrimmedMean(fraction=0.2), drawn, naive)


@many
@given(drawn=models(1), iterations=st.integers(1, 4))
def test_the_geometric_median_is_that_of_whole_updates(
    tmp_path_factory: pytest.TempPathFactory, drawn: Vector, iterations: int
) -> None:
    rule = GeometricMedian(iterations=iterations, smoothing=0.1)
    check(_folder(tmp_path_factory), rule, drawn, lambda _, updates: naive_geometric(updates, 0.1, iterations))


@many
@given(drawn=models(5))
def test_krum_is_that_of_the_paper(tmp_path_factory: pytest.TempPathFactory, drawn: Vector) -> None:
    def naive(_: Vector, updates: Vector) -> Vector | None:
        return naive_krum(updates, dishonest_of(0.2, len(updates)), 1)

    check(_folder(tmp_path_factory), Krum(fraction=0.2), drawn, naive)


@many
@given(drawn=models(5))
def test_multi_krum_is_that_of_the_paper(tmp_path_factory: pytest.TempPathFactory, drawn: Vector) -> None:
    def naive(_: Vector, updates: Vector) -> Vector | None:
        dishonest = dishonest_of(0.2, len(updates))
        return naive_krum(updates, dishonest, len(updates) - dishonest - 2)

    check(_folder(tmp_path_factory), MultiKrum(fraction=0.2), drawn, naive)


@many
@given(drawn=models(7, 15))
def test_bulyan_is_that_of_the_paper(tmp_path_factory: pytest.TempPathFactory, drawn: Vector) -> None:
    def naive(_: Vector, updates: Vector) -> Vector | None:
        return naive_bulyan(updates, dishonest_of(0.15, len(updates)))

    check(_folder(tmp_path_factory), Bulyan(fraction=0.15), drawn, naive)


@many
@given(drawn=models(1), bound=st.floats(0.01, 300) | st.none())
def test_the_norm_bounded_mean_is_that_of_the_paper(
    tmp_path_factory: pytest.TempPathFactory, drawn: Vector, bound: float | None
) -> None:
    def naive(base: Vector, updates: Vector) -> Vector:
        median = float(np.median(np.linalg.norm(updates - base, axis=1)))
        return naive_bounded(base, updates, median if bound is None else bound)

    check(_folder(tmp_path_factory), NormBoundedMean(bound=bound), drawn, naive)


@many
@given(drawn=models(3), radius=st.floats(0.01, 300), iterations=st.integers(1, 4))
def test_centred_clipping_is_that_of_the_paper_also_in_the_next_round(
    tmp_path_factory: pytest.TempPathFactory, drawn: Vector, radius: float, iterations: int
) -> None:
    base, updates = drawn[0], drawn[1:]
    rounds = Rounds(_folder(tmp_path_factory), CenteredClipping(radius=radius, iterations=iterations), base)
    centre = np.zeros(len(base))
    for _ in range(2):
        centre = naive_clipped(centre, updates - base, radius, iterations)
        base = base + centre
        assert np.abs(rounds.round(list(updates)) - base).max() <= CLOSE * max(1.0, np.abs(drawn).max())


@many
@given(drawn=models(1), seed=st.integers(0, 100))
def test_trust_is_that_of_the_paper(tmp_path_factory: pytest.TempPathFactory, drawn: Vector, seed: int) -> None:
    trusted = seed % (len(drawn) - 1)
    norms = np.linalg.norm(drawn[1:] - drawn[0], axis=1)
    if (norms[norms > 0] < 1e-3).any():  # of so short a one the angle is rounding
        return
    check(
        _folder(tmp_path_factory),
        FLTrust(trusted=f"site-{trusted:02}"),
        drawn,
        lambda base, updates: naive_trusting(base, updates, trusted),
    )


def _folder(factory: pytest.TempPathFactory) -> Path:
    folder = factory.getbasetemp() / "rounds"
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    return folder


# ---- what they withstand ------------------------------------------------------------------------------------------

ROBUST: dict[str, AggregationRule] = {
    "median": Median(),
    "trimmed_mean": TrimmedMean(fraction=0.2),
    "geometric_median": GeometricMedian(),
    "krum": Krum(fraction=0.2),
    "multi_krum": MultiKrum(fraction=0.2),
    "bulyan": Bulyan(fraction=0.2),
    "norm_bounded_mean": NormBoundedMean(),
    "centered_clipping": CenteredClipping(radius=5.0, iterations=5),
    "fltrust": FLTrust(trusted="site-04"),
}
LIES: dict[str, Callable[[Vector], Vector]] = {
    "the other way, ten times as far": lambda honest: np.mean(-10 * honest, axis=0, dtype=np.float64),
    "far away": lambda honest: np.full(honest.shape[1], 1e6),
    "noise": lambda honest: 1e4 * np.random.default_rng(9).normal(size=honest[0].shape),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=list(LIES))
@pytest.mark.parametrize("rule", ROBUST.values(), ids=list(ROBUST))
def test_two_of_eleven_sites_cannot_turn_the_model_around(
    tmp_path: Path, rule: AggregationRule, lie: Callable[[Vector], Vector]
) -> None:
    way = np.ones(100)
    honest = way + np.random.default_rng(0).normal(size=(9, 100)) * 0.3
    updates = [*honest[:4], *[lie(honest)] * 2, *honest[4:]]
    updates = [updates[0], *updates[2:5], updates[1], *updates[5:]]  # the trusted one is honest
    made = combined(tmp_path, rule, np.zeros(100), updates)
    assert made @ way > 0.5 * np.linalg.norm(made) * np.linalg.norm(way)
    plain = combined(tmp_path, WeightedAverage(), np.zeros(100), updates)
    assert np.linalg.norm(made - way) < 0.2 * np.linalg.norm(plain - way)


@pytest.mark.parametrize(
    ("rule", "count", "needed"),
    [
        (Krum(fraction=0.2), 4, "5 updates"),
        (Krum(fraction=0.49), 3, "51 updates"),
        (MultiKrum(fraction=0.3), 4, "5 updates"),
        (Bulyan(fraction=0.2), 5, "7 updates"),
        (CenteredClipping(radius=1.0), 2, "3 updates"),
    ],
    ids=str,
)
def test_too_few_updates_are_refused_with_how_many_it_takes(
    tmp_path: Path, rule: AggregationRule, count: int, needed: str
) -> None:
    with pytest.raises(UpdateRefusedError) as raised:
        combined(tmp_path, rule, np.zeros(3), list(np.eye(3)[[0] * count]))
    assert needed in raised.value.cure
    assert "min_updates" in raised.value.cure


def test_no_more_are_kept_than_have_enough_neighbours(tmp_path: Path) -> None:
    with pytest.raises(UpdateRefusedError, match="can keep 4, not 5"):
        combined(
            tmp_path, MultiKrum(fraction=0.2, keep=5), np.zeros(3), list(np.random.default_rng(0).normal(size=(7, 3)))
        )


def test_a_trusted_site_that_takes_no_part_ends_the_round(tmp_path: Path) -> None:
    with pytest.raises(UpdateRefusedError, match="the trusted site 'nobody' has no update"):
        combined(tmp_path, FLTrust(trusted="nobody"), np.zeros(3), list(np.eye(3)))


def test_a_model_stays_that_the_trusted_site_leaves_as_it_is(tmp_path: Path) -> None:
    base = np.arange(3.0)
    made = combined(tmp_path, FLTrust(trusted="site-01"), base, [base + 1, base, base - 3])
    assert made.tolist() == base.tolist()


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (Krum, {"fraction": 0.5}),
        (Krum, {}),
        (MultiKrum, {"fraction": 0.2, "keep": 0}),
        (Bulyan, {"fraction": 0.25}),
        (NormBoundedMean, {"bound": 0.0}),
        (CenteredClipping, {"radius": -1.0}),
        (CenteredClipping, {"radius": 1.0, "iterations": 0}),
        (FLTrust, {"trusted": ""}),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind: type, given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        kind(**given)
