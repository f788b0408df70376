"""A plan that means harm costs whoever checks it no more than a moment: a Director and every site do that."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openfl_like.errors import PlanError
from openfl_like.plan.checks import check_plan
from openfl_like.plan.digest import freeze, thaw
from openfl_like.plan.load import load_plan
from openfl_like.plan.mistakes import MOST_MISTAKES

Values = dict[str, Any]
PLAN = load_plan(Path(__file__).parents[2] / "assets" / "obedient" / "plan.yaml")
MOST_S = 20.0  # of this process; a tenth of what any of them took, and ten times of what they take


def changed(change: Callable[[Values], object]) -> bytes:
    values: Values = json.loads(freeze(PLAN))
    change(values)
    return json.dumps(values).encode()


def many_sites(values: Values) -> None:
    values["admission"].update(collaborators=[f"s{number}" for number in range(60_000)], min_collaborators=60_000)


def one_site_many_times(values: Values) -> None:
    values["admission"].update(collaborators=["bern"] * 60_000)


def many_unknown_keys(values: Values) -> None:
    values.update({f"seee{number}": 1 for number in range(60_000)})


def many_unknown_tasks(values: Values) -> None:
    train = values["tasks"]["train"]
    values["tasks"].update({f"t{number}": train for number in range(5_000)})
    groups = [{"name": "all", "tasks": [f"u{number}" for number in range(30_000)], "collaborators": ["bern"]}]
    values["assigner"].update(template="static", settings={"groups": groups})


def many_validators(values: Values) -> None:
    values.update(validator=[{"template": "finite", "settings": {}}] * 15_000)


def a_long_key(values: Values) -> None:
    values["a" * 900_000] = 1


@pytest.mark.parametrize(
    "change", [many_sites, one_site_many_times, many_unknown_keys, many_unknown_tasks, many_validators, a_long_key]
)
def test_a_plan_that_means_harm_is_checked_in_a_moment(change: Callable[[Values], None]) -> None:
    data, began = changed(change), time.process_time()
    try:
        check_plan(thaw(data))
    except PlanError as error:
        refusal: PlanError | None = error
    else:
        refusal = None
    assert time.process_time() - began < MOST_S
    assert (refusal is None) == (change is many_sites)
    if refusal is not None:
        assert 1 <= len(refusal.problems) <= MOST_MISTAKES
        assert len(str(refusal)) < 50_000


def test_of_too_many_mistakes_is_said_that_these_are_not_all() -> None:
    with pytest.raises(PlanError, match=r"100 mistakes and perhaps more") as caught:
        thaw(changed(many_unknown_keys))
    assert "seee0: unknown key; did you mean 'seed'?" in caught.value.problems
    with pytest.raises(PlanError, match=r"^plan: 2 mistakes\n"):
        check_plan(thaw(changed(lambda values: values["admission"].update(collaborators=["bern"] * 3))))


def test_so_many_validators_and_no_more() -> None:
    for count in (100, 101):
        validators = [{"template": "finite", "settings": {}}] * count
        data = changed(lambda values, validators=validators: values.update(validator=validators))  # type: ignore[misc] # a lambda has no types
        if count == 100:
            check_plan(thaw(data))
        else:
            with pytest.raises(PlanError, match="validator: must have at most 100 entries, not 101"):
                thaw(data)
