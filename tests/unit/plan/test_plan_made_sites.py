"""The plan's ``simulation.sites``: its digest, its mistakes, and that nothing of it travels."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from openfl_like.errors import PlanError
from openfl_like.plan.bundles.packing import packing_of
from openfl_like.plan.checks import check_plan, mistakes_in
from openfl_like.plan.difference import differences
from openfl_like.plan.digest import freeze, plan_digest, plan_text, thaw
from openfl_like.plan.load import load_plan
from openfl_like.plan.mistakes import dotted
from openfl_like.plan.schema import Plan
from openfl_like.plan.workspace import installed_plans, plan_path

DIGESTS = {
    "breast_cancer": "bb58166fb435528e01c9f6bfc14fc48347b7a0501b8fd7609eec1b1c557a84db",
    "breast_cancer_sklearn": "9fc8344daa3c44945c1b06a3ac28fed220a8de8591379993f7e9e4ad85c6257a",
    "digits_fedavg": "6b237c329cc6b7e7e0b06a3c4f071de8145ab0766f21fac4222a8b8e63d72802",
    "digits_keras": "041dfaf2dd72322fce19a61ab7fc738cec683edf60320fca79bdc51dc34328d3",
    "digits_quorum": "a172cc014f92be5acce2376efc4975f873ac5894e9606060ee3397d84eeb5862",
    "heart_disease": "a59964ae9a1a643006bdd387335282195f54988178b09d86feb4dabc286d60e6",
}
"""Of the ready-made plans that were there before the section was."""


def with_sites(plan: Plan, **sites: Any) -> Plan:  # noqa: ANN401 - whatever a plan may hold
    section = {"count": 4, "shard": "digits", **sites}
    return Plan.model_validate(plan.model_dump() | {"simulation": {"sites": section}})


def test_a_plan_without_the_section_keeps_its_digest(plan: Plan) -> None:
    assert {name: plan_digest(load_plan(plan_path(name))) for name in installed_plans() if name in DIGESTS} == DIGESTS
    assert b"simulation" not in freeze(plan)
    for empty in ({}, {"sites": None}):
        assert plan_digest(Plan.model_validate(plan.model_dump() | {"simulation": empty})) == plan_digest(plan)


def test_a_plan_with_the_section_is_another_one_and_stays_it(plan: Plan, tmp_path: Path) -> None:
    made = with_sites(plan)
    assert plan_digest(made) != plan_digest(plan)
    assert thaw(freeze(made)) == made
    (tmp_path / "plan.yaml").write_text(plan_text(made))
    assert plan_digest(load_plan(tmp_path / "plan.yaml")) == plan_digest(made)
    assert json.loads(freeze(made))["simulation"]["sites"]["shard"] == {"params": {}, "template": "digits"}


@pytest.mark.parametrize(
    "change",
    [
        {"count": 5},
        {"seed": 7},
        {"partitioner": {"template": "shards"}},
        {"without_samples": "drop"},
        {"label_noise": {"fraction": 0.1}},
        {"shard": {"template": "digits", "params": {"holdout": 0.5}}},
    ],
)
def test_every_change_of_it_changes_the_digest_and_is_told(plan: Plan, change: dict[str, object]) -> None:
    one, other = with_sites(plan), with_sites(plan, **change)
    assert plan_digest(one) != plan_digest(other)
    assert {item.key.split(".")[2] for item in differences(one, other)} == set(change)


@pytest.mark.parametrize(
    ("change", "path", "problem", "cure"),
    [
        ({"count": None}, "count", "not said how many", "admission.collaborators"),
        ({"shard": "digit"}, "shard.template", "there is no shard named 'digit'", "did you mean 'digits'?"),
        ({"shard": "clinic-shard"}, "shard.template", "there is no shard named", "module:attr, or a file that ends in"),
        ({"shard": {"template": "a.yaml", "params": {"x": 1}}}, "shard.params", "its own params", "leave them out"),
        ({"partitioner": {"template": "dirichlt"}}, "partitioner.template", "dirichlt", "did you mean 'dirichlet'?"),
        (
            {"partitioner": {"template": "dirichlet", "settings": {"alfa": 1}}},
            "partitioner.settings.alfa", "unknown key", "did you mean 'alpha'?",
        ),
        (
            {"partitioner": {"template": "dirichlet", "settings": {"alpha": -1}}},
            "partitioner.settings.alpha", "must be more than 0", "",
        ),
        (
            {"partitioner": {"template": "pipe", "settings": {"stages": [{"sites": 1, "lables": [3]}]}}},
            "partitioner.settings.stages[0].lables", "unknown key", "did you mean 'labels'?",
        ),
        ({"partitioner": {"template": "sizes"}}, "partitioner.settings", "exactly one of", ""),
    ],
)  # fmt: skip
def test_mistakes_have_their_place(plan: Plan, change: dict[str, object], path: str, problem: str, cure: str) -> None:
    (found,) = mistakes_in(with_sites(plan, **change))
    assert dotted(found.path) == f"simulation.sites.{path}"
    assert problem in found.problem
    assert cure in found.cure


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cuont: 3", "simulation.sites.cuont: unknown key; did you mean 'count'?"),
        ("count: 0", "simulation.sites.count: must be at least 1, not 0"),
        ("count: 1000001", "simulation.sites.count: must be at most 1000000"),
        ("without_samples: ignore", "simulation.sites.without_samples: must be one of refuse, merge, drop"),
        ("label_noise: {fraction: 2}", "simulation.sites.label_noise.fraction: must be at most 1, not 2"),
        ("label_noise: {sites: 0}", "simulation.sites.label_noise.sites: must be more than 0"),
        ("shard: {params: {}}", "simulation.sites.shard.template: this key is required"),
        ("seed: -1", "simulation.sites.seed: must be at least 0"),
    ],
)
def test_what_the_schema_refuses_is_told_with_its_line(plan: Plan, tmp_path: Path, text: str, said: str) -> None:
    shard = "" if text.startswith("shard") else "    shard: digits\n"
    section = f"simulation:\n  sites:\n    {text}\n{shard}"
    (tmp_path / "plan.yaml").write_text(plan_text(plan).partition("simulation:")[0] + section)
    with pytest.raises(PlanError) as caught:
        load_plan(tmp_path / "plan.yaml")
    assert any(said in problem and "plan.yaml:" in problem for problem in caught.value.problems), caught.value.problems


def test_code_that_is_named_by_path_is_not_imported_to_check_a_plan(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trap_of_a_plan.py").write_text("raise SystemExit\n")
    monkeypatch.syspath_prepend(tmp_path)
    trap = {"template": "trap_of_a_plan:Thing"}
    check_plan(with_sites(plan, shard=trap, partitioner=trap))
    nested = {"template": "pipe", "settings": {"stages": [{"sites": 1, "partitioner": trap}]}}
    (found,) = mistakes_in(with_sites(plan, partitioner=nested))
    assert "one of the short names" in found.problem
    assert "trap_of_a_plan" not in sys.modules


def test_what_sites_are_made_of_does_not_travel(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "digits.py").write_text("DigitsRunner = DigitsLoader = object\n")
    (tmp_path / "clinic.py").write_text("Clinic = object\n")
    (tmp_path / "patients.csv").write_text("1\n")
    made = with_sites(plan, shard={"template": "clinic:Clinic", "params": {"file": "patients.csv"}})
    assert [file.path for file in packing_of(tmp_path, made).files] == ["src/digits.py"]
