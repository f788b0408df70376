"""How many samples a site may claim."""

import pytest

from openfl_like.federation.task import Phase, Update
from openfl_like.federation.validation.sample_limit import judge_samples
from openfl_like.federation.validation.verdict import (
    Consequence,
    Measure,
    UpdateVerdict,
    counted_less,
    factors_of,
)
from openfl_like.plan.schema import SampleLimit


def update(name: str, samples: int) -> Update:
    return Update(1, Phase.TRAIN, name, "d", samples)


def judged(limit: SampleLimit, **claims: int) -> dict[str, tuple[float | None, float]]:
    found = judge_samples(limit, [update(name, claims[name]) for name in sorted(claims, reverse=True)])
    assert [one.collaborator for one in found] == sorted(one.collaborator for one in found)
    return {one.collaborator: (one.observed, one.bound) for one in found}


@pytest.mark.parametrize(
    ("limit", "found"),
    [
        (SampleLimit(), {}),
        (SampleLimit(most=100), {"c": (1e9, 100)}),
        (SampleLimit(most=99, sites={"a": 100}), {"b": (100, 99), "c": (1e9, 99)}),
        (SampleLimit(sites={"b": 7}), {"b": (100, 7)}),
        (SampleLimit(multiple=2), {"c": (1e9, 200)}),
        (SampleLimit(multiple=2, most=150), {"c": (1e9, 150)}),
        (SampleLimit(multiple=1e8), {}),
    ],
)
def test_the_lowest_bound_holds(limit: SampleLimit, found: dict[str, tuple[float | None, float]]) -> None:
    assert judged(limit, a=100, b=100, c=10**9, empty=0) == found


def test_half_of_the_sites_may_claim_too_much() -> None:
    assert judged(SampleLimit(multiple=1), a=10**9, b=5, c=5) == {"a": (1e9, 5)}
    assert judged(SampleLimit(multiple=1), a=10**9, b=5) == {}  # who of the two is wrong, nobody knows
    assert judged(SampleLimit(multiple=1), a=10**9, b=10**9, c=5, d=5) == {"a": (1e9, 5), "b": (1e9, 5)}
    assert judged(SampleLimit(multiple=1), nobody=0) == {}


def test_a_capped_site_counts_with_the_bound_and_a_dropped_one_is_said_to_be() -> None:
    (capped,) = judge_samples(SampleLimit(most=10), [update("a", 12)])
    assert capped.action is Consequence.COUNT_LESS
    assert counted_less(update("a", 12), [capped]).num_samples == 10
    assert counted_less(update("b", 12), [capped]).num_samples == 12
    assert str(capped) == "sample_limit: it claims 12 samples, and may claim 10; it counts with 10"
    (dropped,) = judge_samples(SampleLimit(most=10, above="drop"), [update("a", 12)])
    assert dropped.action is Consequence.DROP
    assert counted_less(update("a", 12), [dropped]).num_samples == 12


def test_clipping_twice_multiplies() -> None:
    one = UpdateVerdict("a", "norm", Measure.NORM, 8.0, 4.0, Consequence.CLIP)
    assert factors_of([one, one]) == {"a": 0.25}
