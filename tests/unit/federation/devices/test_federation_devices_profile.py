"""What simulated devices are like, when they are there, and what an assignment takes them."""

from dataclasses import replace
from itertools import islice, pairwise
from statistics import fmean
from typing import Any

import pytest

from openfl_like.federation.devices.effort import RoundEffort
from openfl_like.federation.devices.profile import DeviceProfile, SimulatedDevices
from openfl_like.federation.devices.work import Course, Effort, WorkCount
from openfl_like.federation.task import Assignment, Phase, TaskCall
from openfl_like.plan.simulation import DeviceSection


def devices(seed: int = 7, **section: Any) -> SimulatedDevices:  # noqa: ANN401 - whatever a plan may hold
    return SimulatedDevices(DeviceSection.model_validate({"speed": 10, **section}), seed)


def test_a_profile_is_the_same_whoever_asks_and_another_one_for_each_device_and_seed() -> None:
    speeds = {"template": "lognormal", "settings": {"median": 20, "sigma": 1}}
    first, again = devices(speed=speeds), devices(speed=speeds)
    assert first.profile("site-3", 5) == again.profile("site-3", 1)
    assert first.profile("site-3") != first.profile("site-4")
    assert first.profile("site-3") != devices(8, speed=speeds).profile("site-3")


def test_numbers_of_a_device_are_drawn_apart() -> None:
    drawn = {"template": "uniform", "settings": {"low": 1, "high": 2}}
    one = devices(speed=drawn, network={"up_bytes_per_s": drawn, "down_bytes_per_s": drawn}).profile("site-1")
    assert len({one.speed, one.up_bytes_per_s, one.down_bytes_per_s}) == 3


def test_what_a_plan_does_not_say_costs_nothing() -> None:
    assert devices().profile("site-1") == DeviceProfile(speed=10)
    assert Course.of(DeviceProfile(speed=10), 25, 10**9, 10**9) == Course(0, 0, 2.5, 0)


def test_failures_come_as_often_as_their_probability_and_at_any_moment() -> None:
    found = [devices(failures=0.25).failure(f"site-{number}", 3, "train") for number in range(4000)]
    moments = [part for part in found if part is not None]
    assert len(moments) / len(found) == pytest.approx(0.25, abs=0.02)
    assert fmean(moments) == pytest.approx(0.5, abs=0.03)
    assert all(0 < part < 1 for part in moments)
    assert {devices(failures=0).failure(f"site-{number}", 3, "train") for number in range(99)} == {None}
    assert None not in {devices(failures=1).failure(f"site-{number}", 3, "train") for number in range(99)}


def test_a_markov_chain_is_on_for_its_share_of_the_time_from_the_beginning_on() -> None:
    chain = devices(availability={"template": "markov", "settings": {"on_s": 300, "off_s": 100}})
    begins, on, total = 0, 0.0, 0.0
    for number in range(400):
        spans = list(islice(chain.spans(f"site-{number}"), 60))
        assert spans == list(islice(chain.spans(f"site-{number}"), 60))
        assert all(one.there is not other.there and one.until < other.until for one, other in pairwise(spans))
        begins += spans[0].there
        ends = [0.0, *(span.until for span in spans)]
        on += sum(span.until - start for span, start in zip(spans, ends, strict=False) if span.there)
        total += spans[-1].until
    assert begins / 400 == pytest.approx(0.75, abs=0.06)
    assert on / total == pytest.approx(0.75, abs=0.01)


def test_a_probability_may_go_with_the_time_of_day() -> None:
    sine = {"template": "sine", "settings": {"mean": 0.5, "amplitude": 0.5, "period_s": 86400}}
    daily = devices(availability={"template": "bernoulli", "settings": {"probability": sine, "every_s": 21600}})
    spans = [list(islice(daily.spans(f"site-{number}"), 4)) for number in range(1000)]
    shares = [fmean(one[quarter].there for one in spans) for quarter in range(4)]
    assert shares == pytest.approx([0.5, 1, 0.5, 0], abs=0.05)
    assert [span.until for span in spans[0]] == [21600, 43200, 64800, 86400]
    assert daily.answers("site-1", 3)


def test_availability_may_be_drawn_in_each_round() -> None:
    each = devices(availability={"template": "bernoulli", "settings": {"probability": 0.7}})
    (always,) = each.spans("site-1")
    assert always.there
    answers = [each.answers(f"site-{number}", turn) for number in range(100) for turn in range(40)]
    assert fmean(answers) == pytest.approx(0.7, abs=0.03)
    assert {each.answers("site-1", turn) for turn in range(40)} == {True, False}


TRAIN = TaskCall("train", "train", {"epochs": 3}, trains=True)
VALIDATE = TaskCall("validate", "validate")


@pytest.mark.parametrize(
    ("count", "calls", "amount"),
    [
        (WorkCount(), (TRAIN,), 300),
        (WorkCount(), (TRAIN, TaskCall("more", "more", trains=True)), 400),
        (WorkCount(evaluates_faster=4), (VALIDATE,), 5),
        (WorkCount(batch_size=32), (TRAIN,), 12),
        (WorkCount(batch_size=32, evaluates_faster=2), (VALIDATE,), 0.5),
        (WorkCount(), (), 0),
    ],
)
def test_work_is_counted_in_samples_or_steps(count: WorkCount, calls: tuple[TaskCall, ...], amount: float) -> None:
    assignment = Assignment(1, Phase.TRAIN, "site-1", calls, "", 7)
    counts = {"train": 100, "validate": 20}
    assert count.amount(assignment, counts) == amount
    assert count.amount(replace(assignment, phase=Phase.INITIALISE), counts) == 0


def test_an_assignment_is_latency_model_tasks_latency_update() -> None:
    profile = DeviceProfile(10, 1000, 500, 0.5, computing_w=4, sending_w=2)
    course = Course.of(profile, 30, 2000, 2000)
    assert course == Course(0.5, 2, 3, 4)
    assert (course.computed_s, course.length_s) == (5.5, 10)
    found = {seconds: course.effort(seconds) for seconds in (0.25, 1.5, 4, 5.75, 8, 10, 99)}
    assert found == {
        0.25: Effort(0, 0),
        1.5: Effort(0, 1),
        4: Effort(1.5, 2),
        5.75: Effort(3, 2),
        8: Effort(3, 4),
        10: Effort(3, 6),
        99: Effort(3, 6),
    }
    assert course.effort(10).energy_j(profile) == 3 * 4 + 6 * 2


def test_a_device_is_idle_in_a_round_whenever_it_is_there_and_not_busy() -> None:
    effort = RoundEffort(away=2)
    assert not effort
    for name in ("bern", "zurich"):
        effort.begin(name, 100.0, DeviceProfile(1, computing_w=10, idle_w=0.5))
        effort.add(name, Effort(computing_s=4))
    effort.gone("zurich", 110.0)
    effort.late.add("zurich")
    told = effort.told(3, 130.0)
    assert told.energy_j == {"bern": 4 * 10 + 26 * 0.5, "zurich": 4 * 10 + 6 * 0.5}
    assert told.busy_s == {"bern": 4, "zurich": 4}
    assert (told.round, told.late, told.away) == (3, ("zurich",), 2)
