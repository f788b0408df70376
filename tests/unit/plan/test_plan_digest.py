import json
import os
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from openfl_like.errors import PlanError
from openfl_like.plan.digest import freeze, plan_digest, plan_text, thaw
from openfl_like.plan.schema import Plan

SETTINGS = st.dictionaries(
    st.text(),
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    max_size=4,
)


def changed(plan: Plan, **values: object) -> Plan:
    return Plan.model_validate(plan.model_dump() | values)


def test_the_frozen_form_is_canonical_json(plan: Plan) -> None:
    frozen = freeze(plan)
    values = json.loads(frozen)
    assert b" " not in frozen
    assert list(values) == sorted(values)
    assert "workspace" not in values
    assert values["aggregator"]["settings"]["rounds_to_train"] == 10
    assert plan_digest(plan) == blake3(frozen).hexdigest()


@given(SETTINGS, SETTINGS)
def test_thaw_is_the_inverse_of_freeze(plan: Plan, first: dict[str, object], second: dict[str, object]) -> None:
    full = changed(plan, task_runner={"template": "a:b", "settings": {"x": first, "y": [second]}})
    frozen = freeze(full)
    assert thaw(frozen) == full
    assert freeze(thaw(frozen)) == frozen


def test_a_key_that_came_later_changes_the_digest_only_where_it_says_something(plan: Plan) -> None:
    assert b"algorithm" not in freeze(plan)
    assert plan_digest(changed(plan, algorithm={"template": "none"})) == plan_digest(plan)
    pulled = changed(plan, algorithm={"template": "fedprox", "settings": {"mu": 0.1}})
    assert plan_digest(pulled) != plan_digest(plan)
    assert thaw(freeze(pulled)) == pulled


def test_whether_a_task_trains_is_written_where_its_name_does_not_say_it(plan: Plan) -> None:
    said = {"train": {"function": "train", "trains": True}, "check": {"function": "validate", "trains": False}}
    named = {name: {"function": task["function"]} for name, task in said.items()}
    assert freeze(changed(plan, tasks=said)) == freeze(changed(plan, tasks=named))
    assert b"trains" not in freeze(changed(plan, tasks=named))
    assert "trains: true" in plan_text(changed(plan, tasks=named))
    own = changed(plan, tasks={"tune": {"function": "tune", "trains": True}})
    assert thaw(freeze(own)) == own
    assert plan_digest(own) != plan_digest(changed(plan, tasks={"tune": {"function": "tune", "trains": False}}))


def test_a_frozen_plan_of_0_1_trains_as_it_did(plan: Plan) -> None:
    former = json.loads(freeze(plan)) | {"tasks": {"tune": {"function": "tune", "kwargs": {}}}}
    thawed = thaw(json.dumps(former).encode())
    assert thawed.tasks["tune"].is_training
    assert json.loads(freeze(thawed)) == former


def test_what_is_shown_of_a_plan_has_the_keys_that_came_later(plan: Plan) -> None:
    assert "algorithm:\n  server: null\n  settings: {}\n  template: none\n" in plan_text(plan)
    brought = changed(plan, algorithm={"template": "a:B", "settings": {}})
    assert json.loads(freeze(brought))["algorithm"] == {"template": "a:B", "settings": {}}
    halves = changed(plan, algorithm={"template": "a:B", "server": "a:C"})
    assert json.loads(freeze(halves))["algorithm"]["server"] == "a:C"
    assert thaw(freeze(halves)) == halves


def test_a_section_that_came_later_leaves_the_digests_of_before(plan: Plan) -> None:
    written = changed(plan, server_optimizer={"template": "none"})
    assert freeze(written) == freeze(plan)
    assert b"server_optimizer" not in freeze(plan)
    assert "server_optimizer:" in plan_text(plan)
    chosen = changed(plan, server_optimizer={"template": "fedavgm", "settings": {"momentum": 0.5}})
    assert json.loads(freeze(chosen))["server_optimizer"] == {"template": "fedavgm", "settings": {"momentum": 0.5}}
    assert thaw(freeze(chosen)) == chosen
    assert plan_digest(chosen) != plan_digest(plan)


def test_the_order_of_settings_does_not_matter(plan: Plan) -> None:
    one = changed(plan, task_runner={"template": "a:b", "settings": {"x": 1, "y": {"a": 1, "b": 2}}})
    two = changed(plan, task_runner={"settings": {"y": {"b": 2, "a": 1}, "x": 1}, "template": "a:b"})
    assert plan_digest(one) == plan_digest(two)


def test_the_order_of_tasks_is_the_order_of_work(plan: Plan) -> None:
    turned = changed(plan, tasks=dict(reversed(plan.model_dump()["tasks"].items())))
    assert list(thaw(freeze(plan)).tasks) == ["train", "check"]
    assert list(thaw(freeze(turned)).tasks) == ["check", "train"]
    assert plan_digest(plan) != plan_digest(turned)


def test_the_workspace_is_not_part_of_the_digest(plan: Plan) -> None:
    moved = changed(plan, workspace="elsewhere")
    assert plan_digest(plan) == plan_digest(moved)
    assert thaw(freeze(moved)).workspace == "."


@pytest.mark.parametrize(
    "change", [{"seed": 8}, {"name": "x"}, {"deadline": {"round_s": 1}}, {"selector": {"template": "random"}}]
)
def test_every_change_changes_the_digest(plan: Plan, change: dict[str, object]) -> None:
    assert plan_digest(changed(plan, **change)) != plan_digest(plan)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"{",
        b'{"a":1,"a":1}',
        b'{"a":NaN}',
        b'{"a":1e999}',
        b'{"a":-Infinity}',
        b"[" * 100_000,
        b" " * (1024 * 1024 + 1),
        b'{"name":"x"}',
    ],
)
def test_garbage_is_no_plan(data: bytes) -> None:
    with pytest.raises(PlanError):
        thaw(data)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_no_plan(data: bytes) -> None:
    with pytest.raises(PlanError):
        thaw(data)


def test_mistakes_of_a_frozen_plan_are_listed(plan: Plan) -> None:
    values = json.loads(freeze(plan)) | {"sed": 1, "deadline": {"round_s": -1}}
    with pytest.raises(PlanError) as caught:
        thaw(json.dumps(values).encode())
    assert caught.value.problems == (
        "deadline.round_s: must be more than 0, not -1",
        "sed: unknown key; did you mean 'seed'?",
    )


def test_what_json_cannot_say_is_not_frozen(plan: Plan) -> None:
    values = plan.model_copy(
        update={"task_runner": plan.task_runner.model_copy(update={"settings": {"lr": float("nan")}})}
    )
    with pytest.raises(PlanError, match="cannot be frozen"):
        freeze(values)


def test_the_digest_of_a_known_plan_never_changes(plan: Plan) -> None:
    golden = Path(__file__).parents[2] / "golden" / "frozen_plan.json"
    if os.environ.get("OPENFL_LIKE_GOLDEN"):
        golden.write_bytes(freeze(plan) + b"\n")
    assert freeze(plan) == golden.read_bytes().rstrip(b"\n")


def test_a_plan_without_tags_keeps_its_digest_and_tags_travel(plan: Plan) -> None:
    assert b"tags" not in freeze(plan)
    tagged = plan.model_copy(update={"tags": ("sweep", "lr=0.1")})
    assert thaw(freeze(tagged)).tags == ("sweep", "lr=0.1")
