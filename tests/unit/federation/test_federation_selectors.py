"""Who is chosen by selectors that draw or go by a list, and by those that go by what sites have done."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from pydantic import ValidationError

from openfl_like import registry
from openfl_like.errors import PlanError
from openfl_like.federation.components import build_selector
from openfl_like.federation.participation.drawn import DynamicSampling, FixedSelector, PoissonSelector
from openfl_like.federation.participation.informed import BestTime, PowerOfChoice, Rotation, UpperConfidenceBound
from openfl_like.federation.participation.selection import RandomSelector, SelectionView, Selector, expected_cohort
from openfl_like.federation.participation.training_history import (
    MOST_TRAININGS,
    PastTraining,
    TrainingHistory,
    past_training,
)
from openfl_like.federation.state import ExperimentState, dump_state, load_state
from openfl_like.federation.task import Phase, Update
from openfl_like.numbered_names import NumberedNames
from openfl_like.plan.schema import Plan

NAMES = tuple("abcdefgh")


def view(**changes: object) -> SelectionView:
    return replace(SelectionView(NAMES, NAMES, seed=7, round=2), **changes)  # type: ignore[arg-type]  # of any field


def history(
    *losses: float | None, asked: int | None = None, round_s: float = 2.0, training_s: float = 1.5
) -> TrainingHistory:
    seen = tuple(PastTraining(number, round_s, training_s, loss, 10) for number, loss in enumerate(losses, 1))
    return TrainingHistory(len(losses) if asked is None else asked, seen)


def chosen(selector: Selector, seen: SelectionView) -> tuple[str, ...]:
    """Chooses as a round does."""
    return selector.select(replace(seen, count=selector.wanted(seen)))


SELECTORS: list[Selector] = [
    PoissonSelector(rate=0.5),
    FixedSelector(rounds=(("c", "a"), ("b",), ("a", "d", "e"))),
    DynamicSampling(fraction=0.6, decay=0.1),
    PowerOfChoice(count=3, candidates=5),
    UpperConfidenceBound(count=3),
    BestTime(fraction=0.3),
    Rotation(count=3),
]


@pytest.mark.parametrize("selector", SELECTORS, ids=lambda each: type(each).__name__)
def test_the_same_view_has_the_same_cohort_sorted_and_of_those_who_are_here(selector: Selector) -> None:
    cohorts = set()
    for number in range(1, 30):
        seen = view(round=number, seed=number, present=NAMES[1:])
        cohort = chosen(selector, seen)
        assert cohort == chosen(selector, seen) == tuple(sorted(set(cohort)))
        assert set(cohort) <= set(NAMES[1:])
        assert len(cohort) <= selector.wanted(seen)
        cohorts.add(cohort)
    assert len(cohorts) > 1


# ---- drawn --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.9])
def test_everybody_is_drawn_by_themselves_with_the_same_probability(rate: float) -> None:
    names, rounds = NumberedNames("s", 2, 50), 3000
    cohorts = [chosen(PoissonSelector(rate=rate), SelectionView.of(names, 0, seed)) for seed in range(rounds)]
    times = Counter(name for cohort in cohorts for name in cohort)
    nobody = (1 - rate) ** 50  # then one is drawn all the same
    expected, spread = rounds * (rate + nobody / 50), (rounds * rate * (1 - rate)) ** 0.5
    assert all(abs(times[name] - expected) < 5 * spread for name in names)
    sizes = [len(cohort) for cohort in cohorts if len(cohort) > 1]
    assert len(set(sizes)) > 2
    pairs = sum("s01" in cohort and "s02" in cohort for cohort in cohorts)
    assert abs(pairs - rounds * rate**2) < 5 * (rounds * rate**2) ** 0.5 + 5


def test_a_draw_out_of_a_million_makes_no_list_of_them() -> None:
    names = NumberedNames("site-", 7, 1_000_000)
    cohort = chosen(PoissonSelector(rate=1e-5), SelectionView.of(names))
    assert 1 <= len(cohort) < 40


def test_whoever_is_drawn_and_away_is_missed() -> None:
    selector, seen = PoissonSelector(rate=0.5), view()
    drawn = chosen(selector, seen)
    away = replace(seen, present=tuple(name for name in NAMES if name != drawn[0]))
    assert selector.wanted(away) == len(drawn)
    assert chosen(selector, away) == drawn[1:]


def test_everybody_takes_part_at_a_rate_of_one_and_somebody_always() -> None:
    assert chosen(PoissonSelector(rate=1.0), view()) == NAMES
    assert len(chosen(PoissonSelector(rate=1e-12), view())) == 1
    assert chosen(PoissonSelector(rate=0.5), SelectionView.of(())) == ()


@pytest.mark.parametrize("rate", [1e-300, 1e-310, 5e-324])
def test_a_rate_next_to_nothing_draws_one(rate: float) -> None:
    assert len(chosen(PoissonSelector(rate=rate), view())) == 1


@pytest.mark.parametrize("loss", [1e200, -1.7e308, 1.7e308])
def test_a_site_that_tells_an_absurd_loss_stops_nobody(loss: float) -> None:
    told = past_training(Update(1, Phase.TRAIN, "a", "d", 12, {"train": {"loss": loss}}), 4.0)
    histories = {"a": TrainingHistory(2, (told, told)), "b": history(0.5, 0.25), "c": history(0.2)}
    seen = view(eligible=("a", "b", "c"), present=("a", "b", "c"), round=3, histories=histories)
    assert len(chosen(UpperConfidenceBound(count=1), seen)) == 1
    assert len(chosen(PowerOfChoice(count=1, candidates=3), seen)) == 1


def test_lists_come_one_after_the_other_and_again() -> None:
    selector = FixedSelector(rounds=(("c", "a"), ("b",), ("z", "d")))
    assert [chosen(selector, view(round=number)) for number in (1, 2, 3, 4)] == [("a", "c"), ("b",), ("d",), ("a", "c")]
    assert selector.wanted(view(round=3)) == 2, "z is missed"
    assert selector.eligible(NAMES) == ["a", "b", "c", "d"]


def test_cohorts_become_smaller() -> None:
    names = NumberedNames("s", 3, 100)
    selector = DynamicSampling(fraction=0.8, decay=0.5, least=3)
    sizes = [selector.wanted(replace(SelectionView.of(names), round=number)) for number in (1, 2, 3, 100)]
    assert sizes == [80, 49, 30, 3]
    assert selector.wanted(SelectionView.of(("a",))) == 1


# ---- informed -----------------------------------------------------------------------------------------------------

LOSSES = {name: history(float(place)) for place, name in enumerate(NAMES)}


def test_with_all_as_candidates_the_highest_losses_are_chosen() -> None:
    selector = PowerOfChoice(count=3, candidates=8)
    assert chosen(selector, view(histories=LOSSES)) == ("f", "g", "h")
    unknown = {**LOSSES, "a": history(None), "b": TrainingHistory()}
    assert chosen(selector, view(histories=unknown)) == ("a", "b", "h")


def test_with_as_many_candidates_as_are_chosen_it_is_the_random_selector() -> None:
    for seed in range(20):
        seen = view(seed=seed, histories=LOSSES)
        assert chosen(PowerOfChoice(count=3, candidates=3), seen) == chosen(RandomSelector(count=3), seen)


def test_the_newest_loss_counts() -> None:
    histories = {**LOSSES, "a": history(0.0, 100.0), "h": history(100.0, 0.5)}
    assert chosen(PowerOfChoice(count=1, candidates=8), view(histories=histories)) == ("a",)


def test_the_index_is_that_of_the_paper() -> None:
    """For sites that were seen once: loss + sqrt(2 sigma^2 log T / N) with N = discount^age."""
    seen = {"a": history(1.0), "b": TrainingHistory(1, (PastTraining(9, 1, 1, 1.9, 1),)), "c": history(1.2)}
    at = view(eligible=("a", "b", "c"), present=("a", "b", "c"), round=10, histories=seen)
    assert chosen(UpperConfidenceBound(count=1, discount=0.7), at) == ("c",), "long ago, and more loss than a"
    assert chosen(UpperConfidenceBound(count=1, discount=0.99), at) == ("b",), "what is old is hardly less sure"
    assert chosen(UpperConfidenceBound(count=1), replace(at, present=("a", "b", "d"))) == ("d",), "nobody knows d"


def test_the_fastest_are_chosen_by_the_time_that_is_asked_for() -> None:
    histories = {
        "a": history(1.0, round_s=9.0, training_s=1.0),
        "b": history(1.0, round_s=5.0, training_s=4.9),
        "c": TrainingHistory(2, (PastTraining(1, 1.0, 1.0, 0, 1), PastTraining(2, 20.0, 10.0, 0, 1))),
    }
    at = view(eligible=("a", "b", "c"), present=("a", "b", "c"), histories=histories)
    assert chosen(BestTime(count=1), at) == ("b",)
    assert chosen(BestTime(count=1, by="training"), at) == ("a",)
    assert chosen(BestTime(count=1, by="transfer"), at) == ("b",)
    assert chosen(BestTime(count=2, of="mean"), at) == ("a", "b")
    assert chosen(BestTime(count=1), replace(at, present=("a", "b", "d"))) == ("d",), "nobody knows d"


def test_everybody_has_their_turn() -> None:
    histories: dict[str, TrainingHistory] = {}
    for number in range(1, 9):
        cohort = chosen(Rotation(count=3), view(round=number, seed=number, histories=histories))
        histories |= {name: histories.get(name, TrainingHistory()).asked_again() for name in cohort}
    assert Counter(each.asked for each in histories.values()) == {3: 8}


def test_whoever_is_too_slow_has_no_turn_and_is_not_missed() -> None:
    histories = {name: history(1.0, asked=0, round_s=place) for place, name in enumerate(NAMES, 1)}
    seen, selector = view(histories=histories), Rotation(count=5, within_s=3.0)
    assert selector.wanted(seen) == 3
    assert chosen(selector, seen) == ("a", "b", "c")


def test_what_is_remembered_of_an_update() -> None:
    metrics = {"train": {"accuracy": 0.5, "loss": 0.25}, "validate": {"loss": 3.0}}
    seen = past_training(Update(4, Phase.TRAIN, "a", "d", 12, metrics, duration_s=1.5), 4.0)
    assert (seen.round, seen.loss, seen.num_samples, seen.transfer_s) == (4, 0.25, 12, 2.5)
    many = TrainingHistory()
    for _ in range(MOST_TRAININGS + 5):
        many = many.seen(seen)
    assert len(many.trainings) == MOST_TRAININGS


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (PoissonSelector, {"rate": 0.0}),
        (FixedSelector, {"rounds": []}),
        (FixedSelector, {"rounds": [[]]}),
        (DynamicSampling, {"decay": -1.0}),
        (PowerOfChoice, {"count": 1, "fraction": 0.5, "candidates": 3}),
        (PowerOfChoice, {"candidates": 3}),
        (UpperConfidenceBound, {"count": 1, "discount": 0.0}),
        (BestTime, {"count": 1, "by": "luck"}),
        (Rotation, {"count": 1, "within_s": 0.0}),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind: type, given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        kind(**given)


def test_the_size_of_a_cohort_is_known_before_anybody_is() -> None:
    assert expected_cohort(RandomSelector(fraction=0.1), 1_000_000) == 100_000
    assert expected_cohort(FixedSelector(rounds=(("a", "b"),)), 9) == 2


def test_what_is_remembered_is_in_a_snapshot_and_only_then() -> None:
    state = ExperimentState("e-1", (), "")
    assert "histories" not in dump_state(state)
    state.histories["a"] = history(0.25, None)
    values = json.loads(json.dumps(dump_state(state)))
    assert load_state(values, ()).histories == state.histories


class OfAnotherVersion:
    """A selector as 0.1.0 asked for one."""

    def wanted(self, members: int) -> int:
        return min(3, members)

    def eligible(self, names: Sequence[str]) -> Sequence[str]:
        return names

    def select(self, present: Sequence[str], count: int, seed: int) -> tuple[str, ...]:  # noqa: ARG002 - as it was
        return tuple(present[:count])


def test_a_selector_of_another_version_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BUILTIN["selector"], "old", f"{__name__}:OfAnotherVersion")
    part = {"template": "numpy"}
    plan = Plan.model_validate(
        {
            "name": "p",
            "task_runner": part,
            "data_loader": part,
            "tasks": {"train": {"function": "train"}},
            "selector": {"template": "old"},
        }
    )
    with pytest.raises(PlanError, match="the selector 'old' cannot be asked for a cohort: TypeError"):
        build_selector(plan)
