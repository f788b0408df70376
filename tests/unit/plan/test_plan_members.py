"""What classes of a workspace lack is known from their text."""

from pathlib import Path

import pytest

from openfl_like.errors import BundleError
from openfl_like.frameworks.runner import DataLoader, TaskRunner
from openfl_like.plan.bundles.packing import packing_of
from openfl_like.plan.load import load_plan, workspace_of
from openfl_like.plan.members import DATA_LOADER, TASK_RUNNER, lacks
from openfl_like.plan.schema import Plan
from openfl_like.plan.workspace import installed_plans, plan_path

WHOLE = "\n".join(f"    def {name}(self): ..." for name in (*TASK_RUNNER, "train", "validate"))
LOADER = "class Loader:\n" + "\n".join(f"    def {name}(self): ..." for name in DATA_LOADER) + "\n"


def plan_with(template: str = "src.model:Runner", function: str = "train") -> Plan:
    return Plan.model_validate(
        {
            "name": "demo",
            "task_runner": {"template": template},
            "data_loader": {"template": "src.model:Loader"},
            "tasks": {"train": {"function": function, "trains": True}, "validate": {"function": "validate"}},
        }
    )


def lacking(place: Path, text: str, plan: Plan | None = None, **others: str) -> list[str]:
    (place / "src").mkdir(exist_ok=True)
    for name, content in {"__init__": "", "model": f"{text}\n{LOADER}", **others}.items():
        (place / "src" / f"{name}.py").write_text(content)
    return [lack.member for lack in lacks(place, plan or plan_with())]


def test_the_names_are_those_of_the_protocols() -> None:
    for protocol, names in ((TaskRunner, TASK_RUNNER), (DataLoader, DATA_LOADER)):
        assert {name for name in vars(protocol) if not name.startswith("_")} == set(names)


def test_what_a_class_lacks_is_named(tmp_path: Path) -> None:
    without = WHOLE.replace("    def initialise(self): ...\n", "")
    assert lacking(tmp_path, f"class Runner:\n{without}") == ["initialise"]
    assert lacking(tmp_path, f"class Runner:\n{WHOLE}") == []
    assert lacking(tmp_path, f"class Runner:\n{WHOLE}", plan_with(function="learn")) == ["learn"]
    with pytest.raises(BundleError) as caught:
        packing_of(tmp_path, plan_with(function="learn"))
    assert str(caught.value) == (
        "task_runner.template, src.model: the class Runner has no 'learn'; tasks.train of the plan names it "
        "(add it to the class; docs/frameworks.md says what each does)"
    )


@pytest.mark.parametrize(
    "text",
    [
        f"class Base:\n{WHOLE}\nclass Runner(Base): pass",
        "from src.base import Base as Ours\nclass Runner(Ours[int]): pass",
        "from .base import Base\nclass Runner(Base): pass",
        "from src.base import Base as Runner",
        "from openfl_like.frameworks.torch import TorchRunner\nclass Runner(TorchRunner): pass",
        "class Runner:\n    initialise = begin = get_tensors = None\n    train, validate = None, None\n"
        "    def __init__(self): self.set_tensors = print",
    ],
)
def test_what_comes_from_elsewhere_counts(tmp_path: Path, text: str) -> None:
    assert lacking(tmp_path, text, base=f"class Base:\n{WHOLE}") == []


@pytest.mark.parametrize(
    "text",
    [
        "from torch import nn\nclass Runner(nn.Module): pass",
        "from elsewhere import Base\nclass Runner(Base): pass",
        "class Runner:\n    def __getattr__(self, name): ...",
        "@complete\nclass Runner: pass",
        "class Runner(metaclass=Maker): pass",
        "class Runner:\n    if True:\n        def train(self): ...",
        "class Runner:\n    def __init__(self, name): setattr(self, name, print)",
        "Runner = make()",
        "class Runner: pass\nRunner = wrapped(Runner)",
        "class Runner: pass\nRunner.train = print",
        "class Base: pass\nif True:\n    class Base(Other): pass\nclass Runner(Base): pass",
        "class Runner(Runner): pass",
        "class Runner(:",
        "from .model import Runner",
    ],
)
def test_of_what_the_text_does_not_tell_nothing_is_said(tmp_path: Path, text: str) -> None:
    assert [name for name in lacking(tmp_path, text) if name not in DATA_LOADER] == []


@pytest.mark.parametrize("name", installed_plans())
def test_no_shipped_plan_lacks_anything(name: str) -> None:
    path = plan_path(name)
    plan = load_plan(path)
    assert lacks(workspace_of(path, plan), plan) == []
