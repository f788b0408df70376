"""The plan's section `cross_evaluation`: what is a mistake, with its place and its cure."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from openfl_like.data.shard_file import refuse_unwanted
from openfl_like.errors import SettingsError
from openfl_like.plan.checks import mistakes_in
from openfl_like.plan.digest import freeze, frozen_values, thaw
from openfl_like.plan.schema import Plan

PAGE = Path(__file__).parents[3] / "docs/aggregation.md"
TASKS = {"train": {"function": "train"}, "validate": {"function": "validate"}}
BUFFERED = {"template": "buffered", "settings": {"buffer": 2, "concurrency": 4}}


def plan_of(section: dict[str, Any] | None, **parts: object) -> Plan:
    basis: dict[str, object] = {
        "name": "demo",
        "task_runner": {"template": "src.model:Runner"},
        "data_loader": {"template": "src.model:Loader"},
        "tasks": TASKS,
    }
    return Plan.model_validate(basis | parts | ({} if section is None else {"cross_evaluation": section}))


def test_the_example_of_the_page_is_a_plan() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (example,) = (yaml.safe_load(block) for block in blocks if "cross_evaluation" in block)
    plan = plan_of(None, **example)
    assert mistakes_in(plan) == []
    assert thaw(freeze(plan)) == plan


def test_a_plan_without_it_keeps_its_frozen_form() -> None:
    assert "cross_evaluation" not in frozen_values(plan_of(None))


@pytest.mark.parametrize(("metric", "mode"), [("loss", "min"), ("validate.accuracy", "max"), ("f1", None)])
def test_whether_more_is_better_need_not_be_said_of_what_everybody_knows(metric: str, mode: str | None) -> None:
    section = plan_of({"metric": metric, "threshold": 0.5}).cross_evaluation
    assert section is not None
    assert section.mode == mode


@pytest.mark.parametrize(
    ("section", "parts", "place", "told"),
    [
        ({"metric": "accuracy"}, {}, ("cross_evaluation",), "not said how bad"),
        ({"metric": "accuracy", "threshold": 1, "margin": 1}, {}, ("cross_evaluation",), "two limits"),
        ({"metric": "f1", "threshold": 1}, {}, ("cross_evaluation", "mode"), "more or less of 'f1'"),
        (
            {"metric": "accuracy", "threshold": 0.5, "result": "reweigh"},
            {},
            ("cross_evaluation", "result"),
            "goes by margin",
        ),
        (
            {"metric": "accuracy", "threshold": 0.5},
            {"tasks": {"train": {"function": "train"}}},
            ("cross_evaluation",),
            "the plan has none",
        ),
        (
            {"metric": "accuracy", "threshold": 0.5},
            {"tasks": {"validate": {"function": "validate"}}},
            ("cross_evaluation",),
            "no task of the plan trains",
        ),
        (
            {"metric": "train.accuracy", "threshold": 0.5},
            {},
            ("cross_evaluation", "metric"),
            "'train' does not evaluate",
        ),
        (
            {"metric": "accuracy", "margin": 0.5},
            {"participation": {"policy": "quorum", "min_updates": 2}},
            ("participation", "min_updates"),
            "no median",
        ),
        (
            {"metric": "accuracy", "margin": 0.5, "result": "reweigh"},
            {"aggregation": {"template": "median"}},
            ("cross_evaluation", "result"),
            "counts alike",
        ),
        (
            {"metric": "accuracy", "margin": 0.5, "result": "reweigh"},
            {"aggregation": {"template": "fedavg", "settings": {"weighted": False}}},
            ("cross_evaluation", "result"),
            "counts alike",
        ),
        ({"metric": "accuracy", "threshold": 0.5}, {"mode": BUFFERED}, ("cross_evaluation",), "mode buffered"),
    ],
)
def test_what_cannot_be_meant_is_a_mistake(
    section: dict[str, Any], parts: dict[str, Any], place: tuple[str, ...], told: str
) -> None:
    (mistake,) = mistakes_in(plan_of(section, **parts))
    assert mistake.path == place
    assert told in mistake.problem
    assert mistake.cure


def test_a_site_may_refuse_to_have_its_updates_shown(tmp_path: Path) -> None:
    shown = plan_of({"metric": "accuracy", "threshold": 0.5})
    for text in ("template: digits", "template: digits\ncross_evaluation: allow"):
        (tmp_path / "shard.yaml").write_text(text)
        refuse_unwanted(shown, tmp_path / "shard.yaml")
    (tmp_path / "shard.yaml").write_text("template: digits\ncross_evaluation: refuse")
    refuse_unwanted(plan_of(None), tmp_path / "shard.yaml")
    with pytest.raises(SettingsError, match="which this site refuses"):
        refuse_unwanted(shown, tmp_path / "shard.yaml")
