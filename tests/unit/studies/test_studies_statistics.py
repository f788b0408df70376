"""Intervals and tests, against SciPy where it has them and by hand where it has not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfl_like.studies.summary import summaries
from tests.unit.studies.made_studies import made_study, results_of

stats = pytest.importorskip("scipy.stats")
statistics = pytest.importorskip("openfl_like.studies.statistics")


def test_half_the_interval_of_a_mean() -> None:
    assert statistics.half_width([1.0]) is None
    values = [0.5, 0.6, 0.8]
    low, high = stats.t.interval(0.95, 2, loc=0, scale=stats.sem(values))
    assert statistics.half_width(values) == pytest.approx((high - low) / 2)


def test_holm_by_hand() -> None:
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.6, 0.7]) == [1.0, 1.0]
    assert statistics.holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_lowers_and_keeps_the_order(values: list[float]) -> None:
    corrected = statistics.holm(values)
    assert all(one >= other for one, other in zip(corrected, values, strict=True))
    pairs = sorted(zip(values, corrected, strict=True))
    assert [after for _, after in pairs] == sorted(corrected)


def test_levels_are_compared_with_the_baseline_in_pairs_of_one_seed() -> None:
    study = made_study()
    results = results_of(study, {1: [0.5, 0.6, 0.8], 2: [0.4, 0.4, 0.5], 3: [0.7, 0.9, 1.0], 4: [0.5, 0.3, 0.6]})
    first, second = statistics.comparisons(study, summaries(study, results))
    assert (dict(first.panel), first.level, first.n) == ({"alpha": "0.1"}, "B", 3)
    wanted = stats.ttest_rel([0.7, 0.9, 1.0], [0.5, 0.6, 0.8])
    assert (first.statistic, first.p) == (pytest.approx(wanted.statistic), pytest.approx(wanted.pvalue))
    assert first.difference == pytest.approx(0.7 / 3)
    assert first.corrected == pytest.approx(2 * wanted.pvalue)
    assert first.significant
    assert dict(second.panel) == {"alpha": "10"}


def test_pairs_are_those_seeds_that_both_have() -> None:
    study = made_study(alphas=[1.0])
    results = results_of(study, {1: [0.5, 0.6, 0.8], 2: [0.7, 0.9, 1.0]})
    del results["c1-r1"]
    (found,) = statistics.comparisons(study, summaries(study, results))
    assert (found.n, found.difference) == (2, pytest.approx(0.25))


def test_one_seed_is_no_evidence() -> None:
    study = made_study(repetitions=1)
    found = statistics.comparisons(study, summaries(study, results_of(study, {1: [0.1], 2: [0.1], 3: [0.9], 4: [0.9]})))
    assert len(found) == 2
    assert all(one.p is None and one.corrected is None and not one.significant for one in found)


def test_equal_differences_have_no_spread_to_be_tested_with() -> None:
    study = made_study(alphas=[1.0])
    same = results_of(study, {1: [0.25, 0.5, 0.75], 2: [0.25, 0.5, 0.75]})
    (found,) = statistics.comparisons(study, summaries(study, same))
    assert (found.p, found.significant) == (1.0, False)
    shifted = results_of(study, {1: [0.25, 0.5, 0.5], 2: [0.5, 0.75, 0.75]})
    (found,) = statistics.comparisons(study, summaries(study, shifted))
    assert (found.p, found.significant) == (None, False)
