"""What a study comes to, and what is said when something is not as it should be."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfl_like.studies.results import RunState, StudyRunResult, result_from, result_json
from openfl_like.studies.summary import ProblemKind, best_among, is_fatal, jain, problems, summaries
from tests.unit.studies.made_studies import finished, made_study, results_of

FINE = {1: [0.5, 0.6, 0.7], 2: [0.4, 0.4, 0.4], 3: [0.8, 0.8, 0.9], 4: [0.1, 0.2, 0.3]}


def kinds(found: dict[str, StudyRunResult]) -> list[ProblemKind]:
    return [problem.kind for problem in problems(made_study(), found)]


def test_a_configuration_is_the_mean_of_its_last_values() -> None:
    study = made_study()
    first, second, *_ = summaries(study, results_of(study, FINE))
    assert first.spread is not None
    assert first.spread.n == 3
    assert [first.spread.mean, first.spread.sd] == pytest.approx([0.6, 0.1])
    assert first.values == {7: 0.5, 8: 0.6, 9: 0.7}
    assert second.spread is not None
    assert second.spread.sd == pytest.approx(0)
    assert first.fairness == 1.0


def test_one_repetition_has_no_deviation_and_none_has_no_value() -> None:
    study = made_study()
    first, second, *_ = summaries(study, results_of(study, {1: [0.5]}))
    assert first.spread is not None
    assert (first.spread.n, first.spread.sd) == (1, None)
    assert second.spread is None


def test_a_study_without_problems_has_none() -> None:
    assert kinds(results_of(made_study(), FINE)) == []


def test_time_and_energy_are_there_where_rows_have_them() -> None:
    study = made_study()
    results = results_of(study, FINE)
    one = results["c1-r1"]
    results["c1-r1"] = replace(one, rows=(*one.rows[:-1], replace(one.rows[-1], hours=2.5, joules=100.0)))
    first, second, *_ = summaries(study, results)
    assert (first.hours, first.joules, second.hours, second.joules) == (2.5, 100.0, None, None)


def test_each_kind_of_bad_end_is_found_and_fatal() -> None:
    study = made_study()
    results = results_of(study, FINE)
    results["c1-r1"] = replace(results["c1-r1"], state=RunState.FAILED, code="E501", cause="no")
    results["c1-r2"] = replace(results["c1-r2"], state=RunState.FAILED, code="E501", cause="no")
    results["c2-r1"] = replace(results["c2-r1"], state=RunState.KILLED, code="E503", cause="SIGKILL")
    results["c2-r2"] = replace(results["c2-r2"], code="E505", cause="site 'a': away")
    results["c3-r1"] = replace(results["c3-r1"], rows=())
    found = problems(study, results)
    assert [(one.kind.value, one.runs, one.code) for one in found] == [
        ("failed", ("c1-r1", "c1-r2"), "E501"),
        ("killed", ("c2-r1",), "E503"),
        ("degraded", ("c2-r2",), "E505"),
        ("no_metric", ("c3-r1",), ""),
    ]
    assert all(is_fatal(one, study) for one in found)


def test_a_study_that_learnt_nothing_anywhere_does_not_look_fine() -> None:
    study = made_study()
    falling = {run.id: finished(run, [0.9, 0.8, 0.7]) for run in study.runs}
    (problem,) = problems(study, falling)
    assert (problem.kind, is_fatal(problem, study)) == (ProblemKind.NO_GAIN, True)
    in_one_only = {**results_of(study, FINE), **{run.id: falling[run.id] for run in study.runs[:3]}}
    (problem,) = problems(study, in_one_only)
    assert (problem.configurations, is_fatal(problem, study)) == ((1,), False)
    same_model = {run.id: replace(finished(run, [0.1, 0.2]), learnt=False) for run in study.runs}
    assert kinds(same_model) == [ProblemKind.NO_GAIN]


def test_repetitions_of_one_plan_must_have_the_same_bytes() -> None:
    study = replace(made_study(), seeds="same")
    runs = tuple(replace(run, seed=7, plan_digest=f"plan-{run.configuration}") for run in study.runs)
    study = replace(study, runs=runs)
    results = {run.id: replace(finished(run, [0.1, 0.2]), sha256=f"sha-{run.configuration}") for run in runs}
    assert problems(study, results) == []
    first = summaries(study, results)[0]
    assert first.spread is not None
    assert first.spread.n == 1  # the same seed three times is one observation
    results["c2-r3"] = replace(results["c2-r3"], sha256="another")
    (problem,) = problems(study, results)
    assert (problem.kind, problem.runs) == (ProblemKind.NOT_REPRODUCED, ("c2-r1", "c2-r3"))
    assert is_fatal(problem, study)


def test_configurations_with_the_same_models_are_named() -> None:
    study = made_study()
    results = results_of(study, FINE)
    for repetition in (1, 2, 3):
        results[f"c3-r{repetition}"] = replace(results[f"c3-r{repetition}"], sha256=f"sha-c1-r{repetition}")
    (problem,) = problems(study, results)
    assert (problem.kind, problem.configurations, is_fatal(problem, study)) == (ProblemKind.SAME_MODEL, (1, 3), False)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20))
def test_jains_index_is_between_one_site_and_all(counts: list[int]) -> None:
    found = jain(counts, len(counts))
    if not any(counts):
        assert found is None
    else:
        assert found is not None
        assert 1 / len(counts) - 1e-12 <= found <= 1 + 1e-12


def test_jains_index_by_hand() -> None:
    assert jain([5, 5, 5], 3) == 1.0
    assert jain([9, 0, 0], 3) == pytest.approx(1 / 3)
    assert jain([9], 3) == pytest.approx(1 / 3)  # nobody lists those that were never asked
    assert jain([1, 2, 3], 3) == pytest.approx(36 / 42)


def test_a_result_is_read_as_it_was_written_and_cut_at_a_rung() -> None:
    result = finished(made_study().runs[0], [0.1, 0.2, 0.3])
    assert result_from(result_json(result), "here") == result
    cut = result.until(2)
    assert (cut.state, cut.rounds, cut.sha256, [row.round for row in cut.rows]) == (RunState.STOPPED, 2, "", [1, 2])
    assert result.value("accuracy", 2) == 0.2
    assert result.value("auc") is None
    assert result.selections() == {"a": 1, "b": 2}


def test_all_that_are_the_best_alike_are_the_best() -> None:
    study = made_study()
    found = summaries(study, results_of(study, FINE))
    best = best_among(study, found)
    assert len(best) == 1
    alike = [replace(one, spread=best[0].spread) for one in found[:2]] + list(found[2:])
    assert {one.configuration.number for one in best_among(study, alike)} >= {1, 2}
    assert best_among(study, []) == []
