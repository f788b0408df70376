"""What every selector must do: the same view has the same sorted cohort, of those who are here, no larger than said."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from openfl_like import registry
from openfl_like.federation.participation.selection import SelectionView, Selector, expected_cohort
from openfl_like.federation.participation.training_history import PastTraining, TrainingHistory
from openfl_like.federation.parts.source import build_component
from openfl_like.federation.reports.machine import MachineFacts
from openfl_like.plan.section import Component

SETTINGS: dict[str, Mapping[str, object]] = {
    "all": {},
    "random": {"count": 3},
    "poisson": {"rate": 0.5},
    "fixed": {"rounds": [["c", "a"], ["b"], ["a", "d", "e"]]},
    "dynamic": {"fraction": 0.6, "decay": 0.1},
    "power_of_choice": {"count": 3, "candidates": 5},
    "ucb": {"count": 3},
    "best_time": {"fraction": 0.3},
    "rotation": {"count": 3, "within_s": 6.5},
    "connection_order": {"count": 3},
    "best_speed": {"count": 3},
    "best_network": {"count": 3},
    "best_expected_time": {"count": 3},
    "time_rotation": {"count": 3},
    "best_energy": {"count": 3},
    "limited_time": {"count": 6, "within_s": 7.0},
    "limited_energy": {"count": 4, "round_j": 12.0, "site_j": 40.0},
    "budgeted_fairness": {"count": 4, "round_s": 9.0},
    "capability": {"count": 3, "gpu": True, "memory_bytes": 3},
    "cluster": {"count": 4, "clusters": 2},
}
NAMES = tuple("abcdefgh")
NUMBERS = dict(zip(NAMES, range(1, 9), strict=True))


def test_every_selector_is_held_to_it() -> None:
    assert set(SETTINGS) == set(registry.names("selector"))


def selector_of(name: str) -> Selector:
    built: Selector = build_component("selector", Component(template=name, settings=dict(SETTINGS[name])), "selector")  # type: ignore[assignment] # of the registry
    return built


def history(number: int) -> TrainingHistory:
    training = PastTraining(number, 2.0 * number, 1.0 * number, 1.0 / number, 10, 3, 100, 2.0 * number)
    known = TrainingHistory(asked=number % 3).seen(training).seen(replace(training, round=number + 1))
    return replace(known, sketch=(float(number), float(number % 2)))


def view(number: int) -> SelectionView:
    return SelectionView(
        NAMES,
        NAMES[1:],
        seed=number,
        round=number,
        histories={name: history(at) for name, at in NUMBERS.items() if at % 4},
        connected=("h", "b", "e"),
        facts={name: MachineFacts(gpu=at % 2 == 0, memory_bytes=at) for name, at in NUMBERS.items() if at != 6},
    )


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_the_same_view_has_the_same_cohort_of_those_who_are_here(name: str) -> None:
    selector = selector_of(name)
    for number in range(1, 12):
        seen = view(number)
        wanted = selector.wanted(seen)
        cohort = selector.select(replace(seen, count=wanted))
        assert cohort == selector_of(name).select(replace(seen, count=selector_of(name).wanted(seen)))
        assert cohort == tuple(sorted(set(cohort)))
        assert set(cohort) <= set(NAMES[1:])
        assert 1 <= len(cohort) <= wanted <= len(NAMES)
        assert len(selector.select(replace(seen, count=1))) <= 1 or name in {"fixed", "poisson"}, "they draw themselves"


@pytest.mark.parametrize("name", sorted(set(SETTINGS) - {"fixed"}))
def test_who_is_there_by_name_does_not_matter(name: str) -> None:
    """A cohort goes by what is known of sites: with nobody known, everybody may be drawn."""
    selector = selector_of(name)
    assert expected_cohort(selector, 100) >= 1
    alone = SelectionView.of(("only",))
    assert selector.select(replace(alone, count=selector.wanted(alone))) == ("only",)
    nobody = SelectionView.of(())
    assert selector.select(replace(nobody, count=selector.wanted(nobody))) == ()
