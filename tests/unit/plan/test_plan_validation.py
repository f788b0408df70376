"""The keys that bound claims of samples and worse models: what is a mistake, and what the frozen form leaves out."""

import json
import re
from pathlib import Path

import pytest
import yaml

from openfl_like.errors import PlanError
from openfl_like.plan.checks import check_plan
from openfl_like.plan.digest import freeze, thaw
from openfl_like.plan.schema import Plan

PAGE = Path(__file__).parents[3] / "docs/aggregation.md"
BASIS: dict[str, object] = {
    "name": "demo",
    "task_runner": {"template": "src.model:Runner"},
    "data_loader": {"template": "src.model:Loader"},
    "tasks": {"train": {"function": "train"}},
}


def test_the_example_of_the_page_is_a_plan() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (example,) = (yaml.safe_load(block) for block in blocks if "sample_limit" in block)
    plan = Plan.model_validate(BASIS | example)
    check_plan(plan)
    assert thaw(freeze(plan)) == plan


def test_plans_without_them_keep_their_frozen_form() -> None:
    frozen = json.loads(freeze(Plan.model_validate(BASIS)))
    assert "sample_limit" not in frozen
    assert [*frozen["model_store"]] == ["best", "keep"]


def test_a_limit_for_a_site_that_is_not_asked_is_a_mistake() -> None:
    parts = {"admission": {"collaborators": ["bern", "zug"]}, "sample_limit": {"sites": {"bern": 5, "zurg": 5}}}
    with pytest.raises(PlanError) as caught:
        check_plan(Plan.model_validate(BASIS | parts))
    assert len(caught.value.problems) == 1
    assert "the plan asks for no collaborator 'zurg'" in caught.value.problems[0]


def test_a_margin_without_training_is_a_mistake() -> None:
    parts = {"tasks": {"validate": {"function": "validate"}}, "model_store": {"accepted_margin": 0.5}}
    with pytest.raises(PlanError) as caught:
        check_plan(Plan.model_validate(BASIS | parts))
    assert "no task trains" in str(caught.value.problems)
