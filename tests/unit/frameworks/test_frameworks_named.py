from pathlib import Path

import pytest

from openfl_like.frameworks.named import named_frameworks
from openfl_like.plan.load import load_plan
from openfl_like.plan.schema import Plan
from openfl_like.plan.section import Component
from openfl_like.plan.workspace import template_path


@pytest.fixture
def plan() -> Plan:
    found = load_plan(template_path("torch_digits") / "plan.yaml")
    return found.model_copy(update={"data_loader": Component(template="numpy")})


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("import torch.nn as nn", {"torch"}),
        ("from torch import nn", {"torch"}),
        ("def build():\n    import keras", {"tensorflow"}),
        ("from openfl_like.frameworks.torch import TorchRunner", {"torch"}),
        ("from openfl_like.frameworks import keras", {"tensorflow"}),
        ("from openfl_like.frameworks.torch_arrays import fill", {"torch"}),
        ("from openfl_like.frameworks.jax_model import Array", {"jax"}),
        ("from jax import numpy as jnp", {"jax"}),
        ("import sklearn.linear_model, torch", {"sklearn", "torch"}),
        ("import numpy\nfrom . import torch", set()),
        ("name = 'torch'  # import torch", set()),
        ("import torchvision", set()),
        ("this is not Python: import torch", set()),
        ("import torch\0", set()),
    ],
)
def test_frameworks_are_named_by_imports_anywhere_in_the_code(
    plan: Plan, tmp_path: Path, code: str, named: set[str]
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "model.py").write_text(code)
    assert named_frameworks(plan, tmp_path) == named


@pytest.mark.parametrize(
    ("runner", "loader", "named"),
    [
        ("keras", "numpy", {"tensorflow"}),
        ("sklearn", "numpy", {"sklearn"}),
        ("src.digits:DigitsRunner", "torch", {"torch"}),
        ("src.digits:DigitsRunner", "openfl_like.frameworks.torch:TorchLoader", {"torch"}),
        ("src.digits:DigitsRunner", "numpy", set()),
    ],
)
def test_frameworks_are_named_by_the_parts_of_a_plan(
    plan: Plan, tmp_path: Path, runner: str, loader: str, named: set[str]
) -> None:
    parts = {"task_runner": Component(template=runner), "data_loader": Component(template=loader)}
    assert named_frameworks(plan.model_copy(update=parts), tmp_path) == named


def test_code_that_would_take_all_memory_to_parse_names_nothing(plan: Plan, tmp_path: Path) -> None:
    statements = "a\n" * (8 << 20)  # 16 MB, of which the parsed form takes 15 GB
    (tmp_path / "large.py").write_text(f"import torch\n{statements}")
    (tmp_path / "gone.py").symlink_to("nowhere")
    (tmp_path / "small.py").write_text("import jax")
    plan = plan.model_copy(update={"task_runner": Component(template="small:Runner")})
    assert named_frameworks(plan, tmp_path) == {"jax"}


def test_many_modules_are_read_until_they_are_too_much(plan: Plan, tmp_path: Path) -> None:
    filler = "#" * (250 << 10)
    for number in range(8):
        (tmp_path / f"m{number}.py").write_text(f"{filler}\nimport {'torch' if number == 7 else 'jax'}")
    plan = plan.model_copy(update={"task_runner": Component(template="m0:Runner")})
    assert named_frameworks(plan, tmp_path) == {"jax"}
