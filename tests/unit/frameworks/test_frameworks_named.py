from pathlib import Path

import pytest

from openfl_like.frameworks.named import named_frameworks
from openfl_like.plan.load import load_plan
from openfl_like.plan.schema import Component, Plan
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
