"""The numbers that validators go by, checked by hand."""

import math
import statistics

import numpy as np
import pytest

from openfl_like.aggregation.validation.compared import Compared, Looks
from openfl_like.aggregation.validation.cosine import CosineLimit
from openfl_like.aggregation.validation.norm import NormLimit
from openfl_like.aggregation.validation.z_score import ZScore
from openfl_like.errors import PlanError, UpdateRefusedError
from openfl_like.federation.parts.source import build_component
from openfl_like.federation.task import Phase, Update
from openfl_like.federation.validation.verdict import Consequence, Measure, UpdateVerdict
from openfl_like.plan.section import Component

LOSSES = [1.0, 1.1, 1.2, 1.3, 9.0]


def round_of(norms: list[float], losses: list[float | None] | None = None) -> Compared:
    metrics = [None] * len(norms) if losses is None else losses
    updates = tuple(
        Update(1, Phase.TRAIN, f"s{number}", "d", 1, {} if loss is None else {"fit": {"loss": loss}})
        for number, loss in enumerate(metrics)
    )
    return Compared(updates, np.array(norms))


def test_a_robust_score_is_that_of_iglewicz_and_hoaglin() -> None:
    (found,) = ZScore(of="metric", metric="fit.loss").judge(round_of([0.0] * 5, [*LOSSES]))
    centre = statistics.median(LOSSES)
    spread = 1.4826 * statistics.median(abs(loss - centre) for loss in LOSSES)
    assert found.observed == pytest.approx((9.0 - centre) / spread)
    assert (found.measure, found.metric) == (Measure.METRIC_SCORE, "fit.loss")
    assert str(found).startswith("z_score: its 'fit.loss' is 52.6 standard deviations above the others'")


def test_a_plain_score_is_that_of_the_sample() -> None:
    (found,) = ZScore(robust=False, bound=1.7).judge(round_of(LOSSES))
    assert found.observed == pytest.approx((9.0 - statistics.mean(LOSSES)) / statistics.stdev(LOSSES))
    assert found.observed is not None
    assert found.observed < (5 - 1) / math.sqrt(5), "no score of five can be larger"


def test_a_plain_bound_that_nobody_can_pass_is_refused() -> None:
    with pytest.raises(UpdateRefusedError, match=r"can drop nobody of 5 updates: no score is above 1\.79"):
        list(ZScore(robust=False).judge(round_of(LOSSES)))


@pytest.mark.parametrize(("side", "names"), [("above", ["s4"]), ("below", ["s0"]), ("both", ["s0", "s4"])])
def test_sides(side: str, names: list[str]) -> None:
    validator = ZScore(side=side)  # type: ignore[arg-type]  # one of three, from a parameter
    found = list(validator.judge(round_of([-90.0, 1.0, 1.1, 1.2, 90.0, 1.0, 1.1])))
    assert [one.collaborator for one in found] == names


def test_where_most_numbers_are_the_same_their_mean_deviation_counts() -> None:
    (found,) = ZScore(bound=3.0).judge(round_of([1.0] * 8 + [2.0]))
    assert found.observed == pytest.approx(1.0 / (1.2533 / 9))
    assert list(ZScore().judge(round_of([1.0] * 9))) == []


def test_who_does_not_report_the_metric_is_dropped_and_if_nobody_does_the_round_ends() -> None:
    (found,) = ZScore(of="metric").judge(round_of([0.0] * 4, [1.0, None, 1.0, 1.0]))
    assert (found.collaborator, found.observed) == ("s1", None)
    assert str(found) == "z_score: its 'loss' is not reported"
    with pytest.raises(UpdateRefusedError, match="no site reports the metric 'loss'"):
        list(ZScore(of="metric").judge(round_of([0.0] * 4)))


def test_a_norm_is_compared_with_a_multiple_of_the_median() -> None:
    assert list(NormLimit(multiple=2).judge(round_of([1.0, 2.0, 3.0, 3.9, 4.1]))) == []
    (found,) = NormLimit(multiple=2, above="clip").judge(round_of([1.0, 1.0, 2.0, 3.0, 5.0]))
    assert found == UpdateVerdict("s4", "norm", Measure.NORM, 5.0, 4.0, Consequence.CLIP)
    assert found.factor == 0.8
    assert "has the length 5, and may have 4; it is clipped to that" in str(found)


def test_a_given_bound_needs_no_others() -> None:
    (found,) = NormLimit(bound=1.0).judge(round_of([2.0]))
    assert (found.observed, found.bound) == (2.0, 1.0)


def test_two_bounds_are_a_mistake_of_the_plan() -> None:
    both = Component(template="norm", settings={"bound": 1.0, "multiple": 2.0})
    with pytest.raises(PlanError) as caught:
        build_component("validator", both, "validator[0]")
    assert "write bound or multiple, not both" in str(caught.value.problems)


def directions(*angles: float) -> Compared:
    vectors = np.array([[math.cos(angle), math.sin(angle)] for angle in angles]) * 3.0
    return Compared(round_of([3.0] * len(angles)).updates, np.full(len(angles), 3.0), vectors @ vectors.T)


@pytest.mark.parametrize("to", ["mean", "median"])
def test_who_goes_the_other_way_has_a_negative_cosine(to: str) -> None:
    validator = CosineLimit(to=to)  # type: ignore[arg-type]  # one of two, from a parameter
    (found,) = validator.judge(directions(0.0, 0.1, -0.1, 0.05, math.pi))
    assert (found.collaborator, found.measure) == ("s4", Measure.COSINE)
    assert found.observed == pytest.approx(-1.0, abs=0.01)


def test_directions_that_cancel_out_accuse_nobody() -> None:
    assert list(CosineLimit(to="mean").judge(directions(0.0, math.pi / 2, math.pi, -math.pi / 2))) == []


def test_who_changes_nothing_has_no_direction_and_counts() -> None:
    found = directions(0.0, 0.1, 0.2)
    still = Compared(
        found.updates, np.array([0.0, 3.0, 3.0]), found.products * np.array([[0, 0, 0], [0, 1, 1], [0, 1, 1]])
    )
    assert list(CosineLimit().judge(still)) == []
    assert list(CosineLimit().judge(Compared(found.updates, np.zeros(3), np.zeros((3, 3))))) == []


def test_what_is_looked_at() -> None:
    assert [ZScore(of="metric").looks, ZScore().looks, NormLimit().looks, CosineLimit().looks] == [
        Looks.REPORTS,
        Looks.NORMS,
        Looks.NORMS,
        Looks.PRODUCTS,
    ]
