"""Successive halving goes by the mean over the seeds at a rung, and by nothing else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfl_like.errors import UsageError
from openfl_like.studies.halving import decide, rungs
from openfl_like.studies.results import RunState
from openfl_like.studies.study import HalvingRule, StudyDesign
from tests.unit.studies.made_studies import finished, made_study, results_of

RULE = HalvingRule(2, 2)


def study_of(count: int) -> StudyDesign:
    return made_study([f"m{number}" for number in range(count)], [1.0], repetitions=2)


@pytest.mark.parametrize(
    ("first", "factor", "rounds", "found"),
    [(2, 2, 10, [2, 4, 8]), (5, 3, 45, [5, 15]), (5, 3, 46, [5, 15, 45]), (9, 2, 9, [])],
)
def test_rungs_are_multiples_below_the_last_round(first: int, factor: int, rounds: int, found: list[int]) -> None:
    assert rungs(HalvingRule(first, factor), rounds) == found
    assert rungs(None, rounds) == []


def test_the_better_half_goes_on_rounded_up() -> None:
    study = study_of(5)
    results = results_of(study, {1: [0.1, 0.3], 2: [0.9, 0.1], 3: [0.4, 0.4], 4: [0.8, 0.8], 5: [0.2, 0.1]})
    decision = decide(study, RULE, study.configurations, results, 4)
    assert [one.number for one in decision.going_on] == [2, 3, 4]
    assert [one.number for one in decision.stopped] == [1, 5]
    less = replace(study, mode="min")
    assert [one.number for one in decide(less, RULE, study.configurations, results, 4).going_on] == [1, 3, 5]


def test_what_came_after_the_rung_does_not_count() -> None:
    study = study_of(2)
    results = {
        run.id: finished(run, [0.1, 0.5, 0.1] if run.configuration == 1 else [0.1, 0.2, 0.9]) for run in study.runs
    }
    assert [one.number for one in decide(study, RULE, study.configurations, results, 2).going_on] == [1]


def test_a_failed_run_takes_its_configuration_with_it() -> None:
    study = study_of(2)
    results = results_of(study, {1: [0.9, 0.9], 2: [0.1, 0.1]})
    results["c1-r2"] = replace(results["c1-r2"], state=RunState.FAILED)
    assert [one.number for one in decide(study, RULE, study.configurations, results, 2).going_on] == [2]


def test_without_the_metric_nothing_is_decided_in_silence() -> None:
    study = replace(study_of(2), metric="auc")
    with pytest.raises(UsageError, match="no configuration has 'auc' after round 2") as caught:
        decide(study, RULE, study.configurations, results_of(study, {1: [0.9], 2: [0.1]}), 2)
    assert "accuracy" in caught.value.cure


@given(st.permutations(range(12)), st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=12, max_size=12))
def test_the_order_in_which_results_came_does_not_matter(order: list[int], values: list[float]) -> None:
    study = study_of(6)
    results = results_of(study, {number: values[2 * number - 2 : 2 * number] for number in range(1, 7)})
    runs = list(results)
    shuffled = {runs[place]: results[runs[place]] for place in order}
    assert decide(study, RULE, study.configurations, results, 2) == decide(
        study, RULE, study.configurations, shuffled, 2
    )
