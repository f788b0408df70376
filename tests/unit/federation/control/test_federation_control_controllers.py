import math
from collections.abc import Mapping

import pytest
from pydantic import JsonValue, ValidationError

from openfl_like.federation.control.controllers import (
    EndIfDiverged,
    FairWeights,
    Schedule,
    ScheduleStep,
    SkipUnreliable,
)
from openfl_like.federation.control.decision import ControlView, EndExperiment, SetArgument, WeighSite
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.participation.training_history import PastTraining, TrainingHistory

SITES = ("a", "b", "c")


def view(
    number: int = 1, *losses: float, state: JsonValue = None, rounds: int | None = 10, **known: object
) -> ControlView:
    versions = [ModelVersion(0, "m"), *(ModelVersion(n, "m", {"loss": loss}) for n, loss in enumerate(losses, 1))]
    histories = known.get("histories", {})
    assert isinstance(histories, Mapping)
    return ControlView(number, rounds, versions, SITES, histories, state=state)


def trained(loss: float | None, missed: int = 0) -> TrainingHistory:
    return TrainingHistory(1, (PastTraining(1, 1.0, 1.0, loss, 10),), missed)


def argument(schedule: Schedule, number: int) -> JsonValue:
    decisions = schedule.decide(view(number)).decisions
    assert len(decisions) <= 1
    return decisions[0].value if decisions and isinstance(decisions[0], SetArgument) else None


def test_a_schedule_of_steps_holds_from_a_round_on_and_leaves_the_rounds_before_as_they_are() -> None:
    schedule = Schedule(argument="epochs", steps=(ScheduleStep(3, 2), ScheduleStep(5, 1)))
    assert [argument(schedule, number) for number in range(1, 7)] == [None, None, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ("shape", "values"),
    [
        ("linear", [0.4, 0.3, 0.2, 0.1, 0.1]),
        ("cosine", [0.4, 0.325, 0.175, 0.1, 0.1]),
        ("exponential", [0.4, 0.4 * 0.25 ** (1 / 3), 0.4 * 0.25 ** (2 / 3), 0.1, 0.1]),
    ],
)
def test_a_schedule_with_a_shape_ends_where_it_should_and_stays(shape: str, values: list[float]) -> None:
    schedule = Schedule(argument="learning_rate", shape=shape, first=0.4, last=0.1, over=4)  # type: ignore[arg-type]  # a literal
    found = [argument(schedule, number) for number in range(1, 6)]
    assert found == pytest.approx(values)


def test_without_over_the_way_takes_all_rounds_and_whole_numbers_stay_whole() -> None:
    schedule = Schedule(argument="epochs", shape="linear", first=5, last=1, whole=True)
    assert [argument(schedule, number) for number in (1, 5, 10)] == [5, 3, 1]
    assert isinstance(argument(schedule, 5), int)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"steps": [{"round": 1, "value": 1}], "shape": "linear", "first": 1, "last": 0},
        {"steps": [{"round": 2, "value": 1}, {"round": 2, "value": 2}]},
        {"steps": [{"round": 2, "value": 1}], "over": 4},
        {"shape": "linear", "first": 1},
        {"shape": "exponential", "first": 1, "last": 0},
        {"shape": "exponential", "first": 1, "last": -1},
    ],
)
def test_what_is_not_one_schedule_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Schedule(argument="lr", **settings)  # type: ignore[arg-type]  # wrong on purpose


def test_a_model_that_became_much_worse_for_some_rounds_ends_the_experiment() -> None:
    controller = EndIfDiverged(factor=2, rounds=2)
    assert controller.decide(view(4, 1.0, 5.0, 1.9)).decisions == ()
    assert controller.decide(view(3, 1.0, 5.0)).decisions == ()
    (decision,) = controller.decide(view(4, 1.0, 2.5, 9.0)).decisions
    assert decision == EndExperiment("loss was above 2 times its best, 1, for 2 rounds")


def test_a_metric_that_is_missing_or_not_above_zero_ends_nothing() -> None:
    assert EndIfDiverged(metric="auc").decide(view(9, *[1.0] * 8)).decisions == ()
    assert EndIfDiverged(rounds=1).decide(view(4, -1.0, 5.0, 9.0)).decisions == ()


def test_a_site_that_does_not_answer_is_left_out_and_tried_again() -> None:
    controller = SkipUnreliable(misses=2, rounds=3)
    state: JsonValue = None
    skipped: list[bool] = []
    missed = 2
    for number in range(5, 14):
        answer = controller.decide(view(number, state=state, histories={"b": trained(1.0, missed)}))
        state = answer.state
        skipped.append(bool(answer.decisions))
        missed += 0 if answer.decisions else 1  # it is asked, and does not answer again
    assert skipped == [True, True, True, False, True, True, True, False, True]


def test_a_site_that_was_not_selected_after_its_rounds_is_not_left_out_again() -> None:
    controller = SkipUnreliable(misses=2, rounds=1)
    histories = {"b": trained(1.0, 2)}
    first = controller.decide(view(5, histories=histories))
    later = [controller.decide(view(number, state=first.state, histories=histories)) for number in (6, 7)]
    assert len(first.decisions) == 1
    assert [answer.decisions for answer in later] == [(), ()]


def test_a_site_that_answers_is_forgiven() -> None:
    controller = SkipUnreliable(misses=2, rounds=1)
    first = controller.decide(view(5, histories={"b": trained(1.0, 2)}))
    second = controller.decide(view(6, state=first.state, histories={"b": trained(1.0, 0)}))
    assert (second.decisions, second.state) == ((), {})


def test_sites_with_more_loss_count_more_as_the_formula_says_within_bounds() -> None:
    histories = {"a": trained(1.0), "b": trained(3.0), "c": trained(None)}
    decisions = FairWeights(q=2, most=100).decide(view(2, histories=histories)).decisions
    factors = {each.site: each.factor for each in decisions if isinstance(each, WeighSite)}
    assert factors == pytest.approx({"a": 0.25, "b": 2.25})
    bounded = FairWeights(q=1e6, most=4).decide(view(2, histories=histories)).decisions
    assert [each.factor for each in bounded if isinstance(each, WeighSite)] == pytest.approx([0.25, 4.0])


def test_nothing_is_known_before_two_sites_have_told_a_loss() -> None:
    assert FairWeights().decide(view(1, histories={"a": trained(1.0), "b": trained(math.nan)})).decisions == ()


def test_a_loss_that_is_nothing_beside_the_others_has_the_least_weight() -> None:
    histories = {"a": trained(5e-324), "b": trained(1e30)}
    decisions = FairWeights().decide(view(2, histories=histories)).decisions
    assert [each.factor for each in decisions if isinstance(each, WeighSite)] == pytest.approx([0.2, 2.0])
