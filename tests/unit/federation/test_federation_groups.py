"""Groups that are drawn: sizes, repeatability, and what an experiment makes of them."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from openfl_like.errors import PlanError
from openfl_like.federation.components import build_context
from openfl_like.federation.context import ExperimentContext
from openfl_like.federation.participation.assignment import RandomGroups
from openfl_like.federation.round_state import RoundState
from openfl_like.federation.state import ExperimentState
from openfl_like.federation.task import Phase
from openfl_like.plan.schema import Plan

TASKS = ("train", "validate")
SPLIT = [
    {"name": "trainers", "fraction": 0.6, "tasks": ["train", "validate"]},
    {"name": "judges", "fraction": 0.4, "tasks": ["validate"]},
]


def groups(*parts: dict[str, object]) -> RandomGroups:
    return RandomGroups(groups=list(parts or SPLIT))  # type: ignore[arg-type]  # as they come from YAML


@given(st.sets(st.text("abcdef", min_size=1, max_size=4), max_size=30), st.integers(0, 2**63 - 1))
@settings(max_examples=60)
def test_everybody_is_in_one_group_of_the_right_size(names: set[str], seed: int) -> None:
    dealt = groups().deal(sorted(names), TASKS, seed)
    assert dealt == groups().deal(sorted(names, reverse=True), TASKS, seed)
    assert dealt.keys() == names
    sizes = Counter(len(tasks) for tasks in dealt.values())
    assert sizes[2] == -(-len(names) * 6 // 10)
    assert sizes[1] == len(names) - sizes[2]


def test_another_seed_draws_others() -> None:
    names = [f"site-{number}" for number in range(10)]
    trainers = [
        frozenset(name for name, tasks in groups().deal(names, TASKS, seed).items() if "train" in tasks)
        for seed in range(40)
    ]
    assert len(set(trainers)) > 20
    assert frozenset().union(*trainers) == set(names)


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [{"name": "a", "fraction": 0.5, "tasks": ["train"]}],
        [{"name": "a", "fraction": 0.7, "tasks": ["train"]}, {"name": "b", "fraction": 0.4, "tasks": ["validate"]}],
        [{"name": "a", "fraction": 0, "tasks": ["train"]}, {"name": "b", "fraction": 1, "tasks": ["validate"]}],
    ],
)
def test_fractions_add_up(parts: list[dict[str, object]]) -> None:
    with pytest.raises(ValidationError):
        RandomGroups(groups=parts)  # type: ignore[arg-type]  # the mistakes are the point


def test_tenths_add_up_exactly() -> None:
    assert groups(*({"name": str(n), "fraction": 0.1, "tasks": ["train"]} for n in range(10))).deal("a", TASKS, 0)


def test_a_task_that_the_plan_does_not_have_is_named() -> None:
    with pytest.raises(PlanError, match="'validate', which the plan does not have"):
        groups().deal("a", ("train",), 0)


def context(*names: str) -> ExperimentContext:
    values = {
        "name": "demo",
        "task_runner": {"template": "src.model:Runner"},
        "data_loader": {"template": "src.model:Loader"},
        "tasks": {name: {"function": name} for name in TASKS},
        "assigner": {"template": "random", "settings": {"groups": SPLIT}},
    }
    plan = Plan.model_validate(values)
    made = build_context(plan, ExperimentState("exp-1", names, ""))
    for name in names:
        made.roster.join(name)
    made.roster.promote()
    return made


def trainers_in(made: ExperimentContext, number: int) -> list[str]:
    made.state.round = RoundState(number, 0.0, "", Phase.TRAIN)
    return [name for name in made.roster.members() if made.calls(name, Phase.TRAIN)]


def test_groups_are_drawn_anew_in_every_round_and_the_same_after_a_restart() -> None:
    names = [f"site-{number}" for number in range(10)]
    first, again = context(*names), context(*names)
    rounds = [trainers_in(first, number) for number in range(1, 9)]
    assert all(len(found) == 6 for found in rounds)
    assert len({tuple(found) for found in rounds}) > 3
    assert trainers_in(again, 5) == rounds[4]


def test_who_comes_later_is_dealt_with() -> None:
    made = context("a", "b")
    trainers_in(made, 1)
    made.roster.join("c")
    made.roster.promote()
    assert made.calls("c", Phase.EVALUATE) == ()
    made.deal()
    assert made.calls("c", Phase.EVALUATE) != ()
