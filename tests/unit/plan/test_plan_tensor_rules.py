"""The plan's `aggregation.rules`: how they are written, the digest, and their mistakes."""

from pathlib import Path
from typing import Any

import pytest

from openfl_like.errors import PlanError
from openfl_like.plan.checks import check_plan
from openfl_like.plan.digest import freeze, plan_digest, thaw
from openfl_like.plan.load import load_plan
from openfl_like.plan.schema import AggregationSection, Plan

PLAN = load_plan(Path(__file__).parents[2] / "assets" / "obedient" / "plan.yaml")


def with_rules(*rules: dict[str, Any], **more: Any) -> Plan:  # noqa: ANN401 - any part of a plan
    values = PLAN.model_dump() | {"aggregation": {"rules": list(rules)}} | more
    return Plan.model_validate(values)


def test_a_plan_without_rules_has_the_digest_that_it_had() -> None:
    assert b'"rules"' not in freeze(PLAN)
    assert plan_digest(with_rules()) == plan_digest(PLAN)
    assert plan_digest(with_rules({"match": "a", "rule": "local"})) != plan_digest(PLAN)


def test_a_rule_is_a_name_or_a_component_and_the_average_is_the_rest() -> None:
    written = with_rules(
        {"match": "*.bn.*", "rule": "local"},
        {"match": "head.*", "rule": {"template": "trimmed_mean", "settings": {"fraction": 0.1}}},
    )
    check_plan(written)
    assert written.aggregation.template == "fedavg"
    assert [rule.stays for rule in written.aggregation.rules] == [True, False]
    assert thaw(freeze(written)) == written
    assert written.keeps_at_sites
    assert not PLAN.keeps_at_sites
    assert not PLAN.model_copy(update={"aggregation": AggregationSection(template="median")}).keeps_at_sites


CONTINUES = {"collaborator": {"settings": {"opt_treatment": "CONTINUE_GLOBAL"}}}


@pytest.mark.parametrize(
    ("rule", "more", "told"),
    [
        (
            {"rule": "locl"},
            {},
            "aggregation.rules[0].rule.template: there is no aggregation named 'locl'; did you mean 'local'?",
        ),
        ({"rule": {"template": "local", "settings": {"a": 1}}}, {}, "rules[0].rule.settings: the rule 'local' has no"),
        ({"rule": "trimmed_mean"}, {}, "aggregation.rules[0].rule.settings"),
        ({"rule": "geometric_median"}, {}, "rules[0].rule.template: geometric_median looks at whole updates"),
        ({"rule": "local"}, CONTINUES, "opt_treatment: sites would share their optimizers' state of tensors that stay"),
        ({"rule": "median"}, {"algorithm": {"template": "fednova"}}, "the algorithm 'fednova' is a weighted average"),
    ],
)
def test_mistakes_are_told_with_their_place(rule: dict[str, Any], more: dict[str, Any], told: str) -> None:
    with pytest.raises(PlanError) as raised:
        check_plan(with_rules({"match": "a", **rule}, **more))
    assert told in str(raised.value)


def test_what_stays_goes_with_an_algorithm_that_averages() -> None:
    check_plan(with_rules({"match": "a", "rule": "local"}, algorithm={"template": "fednova"}))


@pytest.mark.parametrize("rules", [[{"match": "", "rule": "local"}], [{"match": "a"}], [{"rule": "local"}]])
def test_half_a_rule_is_none(rules: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match=r"aggregation\.rules\.0\."):
        with_rules(*rules)


@pytest.mark.parametrize("template", ["top_k", "random_k"])
def test_what_an_algorithm_adds_up_is_not_compressed_so_that_most_is_not_sent(template: str) -> None:
    plan = with_rules(
        algorithm={"template": "fedcurv", "settings": {"pull": 0.1}},
        compression_pipeline={"template": template, "settings": {"fraction": 0.1}},
    )
    with pytest.raises(PlanError) as caught:
        check_plan(plan)
    assert "would grow with what" in str(caught.value)
