"""Classes that a workspace surely does not have are mistakes of the plan that names them."""

from pathlib import Path

import pytest

from openfl_like.errors import PlanError
from openfl_like.plan.absent import absent_classes
from openfl_like.plan.bundles.packing import packing_of
from openfl_like.plan.load import load_plan, workspace_of
from openfl_like.plan.members import DATA_LOADER, TASK_RUNNER, unlike, workspace_parts
from openfl_like.plan.mistakes import Mistake, dotted
from openfl_like.plan.schema import Plan
from openfl_like.plan.section import Component
from openfl_like.plan.workspace import installed_plans, plan_path


def a_class(name: str, members: tuple[str, ...]) -> str:
    return f"class {name}:\n" + "\n".join(f"    def {member}(self): ..." for member in members) + "\n"


NET = a_class("ClinicRunner", (*TASK_RUNNER, "train", "validate")) + a_class("ClinicLoader", DATA_LOADER)


def plan_with(runner: str, loader: str = "src.net:ClinicLoader", algorithm: str = "none") -> Plan:
    return Plan.model_validate(
        {
            "name": "demo",
            "task_runner": {"template": runner},
            "data_loader": {"template": loader},
            "algorithm": {"template": algorithm},
            "tasks": {"train": {"function": "train"}, "validate": {"function": "validate"}},
        }
    )


def workspace(place: Path, net: str = NET, package: str = "", **others: str) -> Path:
    (place / "src").mkdir()
    for name, text in {"net": net, "__init__": package, **others}.items():
        (place / "src" / f"{name}.py").write_text(text)
    return place


def test_a_class_or_a_module_that_is_not_there_is_a_mistake_of_the_plan(tmp_path: Path) -> None:
    place = workspace(tmp_path)
    no_class = Mistake(
        ("task_runner", "template"), "the module src.net has no 'ClincRunner'", "did you mean 'ClinicRunner'?"
    )
    assert absent_classes(place, plan_with("src.net:ClincRunner")) == [no_class]
    no_module = Mistake(
        ("task_runner", "template"), "there is no module 'src.nett' in the workspace", "did you mean 'src.net'?"
    )
    assert absent_classes(place, plan_with("src.nett:ClinicRunner")) == [no_module]
    assert absent_classes(place, plan_with("src.net:ClinicRunner")) == []
    far = absent_classes(place, plan_with("src.zzz:ClinicRunner"))
    assert [mistake.cure for mistake in far] == ["known: src.net"]
    three = absent_classes(place, plan_with("src.net:A", "src.net:B", "src.pull:Pull"))
    assert [mistake.path[0] for mistake in three] == ["task_runner", "data_loader", "algorithm"]


def test_whoever_sends_or_simulates_such_a_plan_is_refused_with_all_of_them(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        packing_of(workspace(tmp_path), plan_with("src.net:ClincRunner", "src.nett:ClinicLoader"))
    assert str(caught.value).splitlines() == [
        "plan: 2 mistakes",
        "  - task_runner.template: the module src.net has no 'ClincRunner'; did you mean 'ClinicRunner'?",
        "  - data_loader.template: there is no module 'src.nett' in the workspace; did you mean 'src.net'?",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "from elsewhere import *",
        "from elsewhere import Made",
        "from elsewhere import Other as Made",
        "import elsewhere as Made",
        "def __getattr__(name): ...",
        "Made = type('Made', (), {})",
        "Made: type = make()",
        "(Made, Other) = make()",
        "for Made in make(): pass",
        "if True:\n    class Made: pass",
        "def put():\n    global Made\n    class Made: pass",
        "globals()['Ma' + 'de'] = make()",
        "import sys\nsys.modules[__name__] = make()",
        "exec('class Made: pass')",
        "class Broken(:",
    ],
)
def test_of_what_may_be_there_nothing_is_said(tmp_path: Path, text: str) -> None:
    assert absent_classes(workspace(tmp_path, text + "\n"), plan_with("src.net:Made", "numpy")) == []


@pytest.mark.parametrize("runner", ["elsewhere.net:Runner", "src.native:Runner", "src.plain.deep:Runner", "keras"])
def test_packages_of_the_sites_and_modules_without_text_may_have_it(tmp_path: Path, runner: str) -> None:
    place = workspace(tmp_path)
    (place / "src" / "native.cpython-313-x86_64-linux-gnu.so").write_bytes(b"")
    (place / "src" / "plain").mkdir()
    assert absent_classes(place, plan_with(runner)) == []


def test_a_package_that_changes_where_its_modules_are_may_have_any(tmp_path: Path) -> None:
    place = workspace(tmp_path, package="__path__.append('elsewhere')\n")
    assert absent_classes(place, plan_with("src.other:Runner")) == []


def test_a_module_of_the_platform_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    found = absent_classes(workspace(tmp_path), plan_with("openfl_like.frameworks.torc:TorchRunner"))
    assert [mistake.cure for mistake in found] == ["did you mean 'openfl_like.frameworks.torch'?"]


@pytest.mark.parametrize("name", installed_plans())
def test_every_shipped_plan_names_what_is_there(name: str) -> None:
    path = plan_path(name)
    plan = load_plan(path)
    assert absent_classes(workspace_of(path, plan), plan) == []
    lost = plan.model_copy(update={"task_runner": Component(template=f"{plan.task_runner.template}s")})
    if ":" in lost.task_runner.template:
        assert absent_classes(workspace_of(path, plan), lost) != []


PARTS = """
from openfl_like.federation.participation.selection import AllSelector
from elsewhere import Other

class Alternate(AllSelector):
    def wanted(self, view): ...

class Chooses:
    def wanted(self, view): ...
    def eligible(self, names): ...
    def selects(self, view): ...

class Unknown(Other): ...

class Average:
    def reduce(self, blocks, weights): ...

class Kept:
    def begin(self, weights, number): ...

class Half:
    slots = ()
    averages = False
    def weigh(self): ...
    def step(self): ...
    def own(self): ...
"""


def rounds(place: Path, **changes: object) -> list[tuple[str, str, str]]:
    plan = Plan.model_validate(plan_with("src.net:ClinicRunner").model_dump(mode="json") | changes)
    return [(dotted(found.path), found.problem, found.cure) for found in absent_classes(place, plan)]


def test_parts_of_a_round_are_looked_for_and_at_without_running_them(tmp_path: Path) -> None:
    place = workspace(tmp_path, mine=PARTS)
    assert (
        rounds(
            place,
            selector={"template": "src.mine:Alternate"},
            evaluation_selector={"template": "src.mine:Unknown"},
            aggregation={
                "template": "src.mine:Average",
                "rules": [{"match": "b", "rule": {"template": "src.mine:Average"}}],
            },
            algorithm={"template": "src.mine:Half", "server": "src.mine:Half"},
            controllers=[{"template": "installed_there.mine:Some"}],
        )
        == []
    )
    lacking = "the class {} does not have what one must have: "
    assert rounds(
        place,
        selector={"template": "src.mine:Alternat"},
        evaluation_selector={"template": "src.mine:Chooses"},
        work={"template": "src.mind:Works"},
        aggregation={"template": "src.mine:Kept", "rules": [{"match": "b", "rule": {"template": "src.mine:Avrage"}}]},
        algorithm={"template": "src.mine:Half", "server": "src.mine:Average"},
    ) == [
        ("selector.template", "the module src.mine has no 'Alternat'", "did you mean 'Alternate'?"),
        (
            "evaluation_selector.template",
            f"{lacking.format('Chooses')}wanted, eligible, select",
            "did you mean 'select' by its 'selects'?",
        ),
        ("work.template", "there is no module 'src.mind' in the workspace", "did you mean 'src.mine'?"),
        (
            "aggregation.template",
            f"{lacking.format('Kept')}factors or slots, begin or gram_factors or reduce",
            "see docs/workspace-parts.md",
        ),
        ("aggregation.rules[0].rule.template", "the module src.mine has no 'Avrage'", "did you mean 'Average'?"),
        (
            "algorithm.server",
            f"{lacking.format('Average')}slots, averages, weigh, step, own",
            "see docs/workspace-parts.md",
        ),
    ]


@pytest.mark.parametrize("plan", installed_plans())
def test_nothing_is_said_of_the_parts_of_a_round_of_what_is_installed(plan: str) -> None:
    found = load_plan(plan_path(plan))
    assert [part for part in workspace_parts(found) if any(unlike(workspace_of(plan_path(plan), found), part))] == []
