"""Numbers of simulated devices: equal for equal moments, spread as their distribution says, within their bounds."""

import math
from itertools import islice
from statistics import fmean, median
from typing import Any

import pytest
from pydantic import ValidationError

from openfl_like import registry
from openfl_like.federation.devices.quantities import Generator, Moment, Trace, build_generator, drawn
from openfl_like.federation.seeds import derive_seed
from openfl_like.plan.simulation import Quantity


def generator(template: str, **settings: Any) -> Generator:  # noqa: ANN401 - whatever a plan may hold
    return build_generator(Quantity(template=template, settings=settings))


def moment(number: int, **parts: Any) -> Moment:  # noqa: ANN401 - the fields of a moment
    return Moment(f"site-{number}", derive_seed(7, "device", f"site-{number}", "speed"), **parts)


def sample(found: Generator, count: int = 4000) -> list[float]:
    return [found.at(moment(number)) for number in range(count)]


def test_draws_lie_strictly_between_0_and_1_for_every_seed() -> None:
    assert 0 < drawn(0) < drawn(1 << 40) < drawn(2**63 - 1) < 1


def test_uniform_numbers_fill_their_range_evenly() -> None:
    values = sample(generator("uniform", low=2, high=6))
    assert (2 <= min(values) < 2.01, 5.99 < max(values) <= 6) == (True, True)
    assert fmean(values) == pytest.approx(4, abs=0.06)


def test_lognormal_numbers_have_their_median_and_their_sigma() -> None:
    values = sample(generator("lognormal", median=20, sigma=1.5))
    logs = [math.log(value / 20) for value in values]
    assert median(values) == pytest.approx(20, rel=0.08)
    assert math.sqrt(fmean(one * one for one in logs)) == pytest.approx(1.5, rel=0.04)


def test_pareto_numbers_have_a_heavy_tail_and_a_limit_if_one_is_given() -> None:
    values = sample(generator("pareto", least=10, alpha=1.5))
    assert min(values) >= 10
    for times in (2, 5, 20):
        assert sum(value > 10 * times for value in values) / len(values) == pytest.approx(times**-1.5, rel=0.35)
    assert max(sample(generator("pareto", least=10, alpha=1.5, most=50))) == 50


def test_choices_come_as_often_as_their_weights_say() -> None:
    values = sample(generator("choice", values=[1, 5, 9], weights=[1, 3, 0]))
    assert {value: values.count(value) / len(values) for value in set(values)} == {
        1: pytest.approx(0.25, abs=0.03),
        5: pytest.approx(0.75, abs=0.03),
    }
    assert set(sample(generator("choice", values=[1, 5]), 100)) == {1, 5}


@pytest.mark.parametrize("template", ["uniform", "lognormal", "pareto", "choice"])
def test_what_is_drawn_stays_for_a_device_or_changes_with_the_round(template: str) -> None:
    examples: dict[str, dict[str, Any]] = {
        "uniform": {"low": 1, "high": 2},
        "lognormal": {"median": 1, "sigma": 1},
        "pareto": {"least": 1, "alpha": 1},
        "choice": {"values": list(range(50))},
    }
    once, anew = (generator(template, **examples[template], each=each) for each in ("device", "round"))
    assert len({once.at(moment(3, round=number, now=9.0 * number)) for number in range(9)}) == 1
    assert len({anew.at(moment(3, round=number)) for number in range(9)}) > 5
    assert anew.at(moment(3, round=4, now=1.0)) == anew.at(moment(3, round=4, now=2.0))


def test_a_sine_goes_up_and_down_and_devices_may_be_shifted() -> None:
    day = generator("sine", mean=10, amplitude=4, period_s=86400)
    found = [day.at(moment(1, now=hours * 3600)) for hours in (0, 6, 12, 18, 24, 30)]
    assert found == pytest.approx([10, 14, 10, 6, 10, 14])
    shifted = generator("sine", mean=10, amplitude=4, period_s=86400, shifted=True)
    assert len({round(shifted.at(moment(number)), 6) for number in range(20)}) == 20
    assert shifted.at(moment(1, now=86400.0 * 3)) == pytest.approx(shifted.at(moment(1)))


def test_steps_follow_each_other_and_begin_again() -> None:
    steps = generator("step", values=[1, 7, 3], every_s=10)
    assert [steps.at(moment(1, now=now)) for now in (0, 9.9, 10, 25, 30, 41)] == [1, 1, 7, 3, 1, 7]


def test_a_trace_holds_until_its_next_point_and_may_repeat() -> None:
    points = [[0, 5], [10, 2], [30, 8]]
    last, again = generator("trace", points=points), generator("trace", points=points, repeat_s=40)
    times = (0, 9.9, 10, 29, 30, 45, 51, 1e6)
    assert [last.at(moment(1, now=now)) for now in times] == [5, 5, 2, 2, 8, 8, 8, 8]
    assert [again.at(moment(1, now=now)) for now in times] == [5, 5, 2, 2, 8, 5, 2, 5]


def test_a_trace_may_have_a_list_for_each_device() -> None:
    each = Trace(points={"site-1": ((0, 5),), "site-2": ((0, 9), (4, 1))})
    assert each.devices == frozenset({"site-1", "site-2"})
    assert [each.at(moment(number, now=5.0)) for number in (1, 2)] == [5, 1]


def test_a_trace_of_availability_has_spans() -> None:
    trace = Trace(points=((0, 1), (10, 0)), repeat_s=15)
    spans = list(islice(trace.spans("site-1", 0), 5))
    assert [(span.there, span.until) for span in spans] == [
        (True, 10), (False, 15), (True, 25), (False, 30), (True, 40),
    ]  # fmt: skip
    (only,) = Trace(points=((0, 1),)).spans("site-1", 0)
    assert (only.there, only.until) == (True, math.inf)


@pytest.mark.parametrize(
    ("template", "settings", "told"),
    [
        ("uniform", {"low": 3, "high": 2}, "low is 3, which is more than high"),
        ("lognormal", {"median": 0, "sigma": 1}, "greater than 0"),
        ("pareto", {"least": 5, "alpha": 1, "most": 4}, "most is 4, which is less than least"),
        ("choice", {"values": [1, 2], "weights": [1]}, "2 values and 1 weights"),
        ("choice", {"values": [1], "weights": [0]}, "one of the weights must be more than 0"),
        ("sine", {"mean": 1, "amplitude": 1, "period_s": 0}, "greater than or equal to 0.001"),
        ("trace", {}, "exactly one of points and file"),
        ("trace", {"points": []}, "must begin at 0 s"),
        ("trace", {"points": {}}, "at least one device"),
        ("trace", {"points": [[5, 1]]}, "must begin at 0 s"),
        ("trace", {"points": {"site-1": [[0, 1], [9, 1], [9, 2]]}}, "of device 'site-1' 9 s comes after 9 s"),
        ("trace", {"points": [[0, 1], [50, 2]], "repeat_s": 50}, "a number for 50 s, and it begins anew after 50 s"),
    ],
)
def test_settings_that_make_no_sense_are_refused(template: str, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        generator(template, **settings)


EXAMPLES: dict[str, dict[str, Any]] = {
    "constant": {"value": 3},
    "uniform": {"low": 1, "high": 2},
    "lognormal": {"median": 5, "sigma": 2},
    "pareto": {"least": 1, "alpha": 0.8},
    "choice": {"values": [4, 2, 8]},
    "sine": {"mean": 3, "amplitude": -2, "period_s": 10, "shifted": True},
    "step": {"values": [2, 1], "every_s": 3},
    "trace": {"points": [[0, 1], [5, 4]]},
}


@pytest.mark.parametrize("template", registry.BUILTIN["generator"])
def test_no_number_is_out_of_its_bounds(template: str) -> None:
    found = generator(template, **EXAMPLES[template])
    low, high = found.bounds
    values = [found.at(moment(number, now=0.7 * number)) for number in range(500)]
    assert low <= min(values) <= max(values) <= high
    assert values == [found.at(moment(number, now=0.7 * number)) for number in range(500)]
