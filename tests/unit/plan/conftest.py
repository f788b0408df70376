"""A small plan, as text and as a value."""

from collections.abc import Callable
from pathlib import Path

import pytest

from openfl_like.errors import PlanError
from openfl_like.plan.document import parse_document
from openfl_like.plan.schema import Plan

TEXT = """\
name: digits
seed: 7
task_runner: {template: src.digits:DigitsRunner, settings: {lr: 1e-3}}
data_loader: {template: src.digits:DigitsLoader}
tasks:
  train: {function: train, kwargs: {epochs: 1}}
  check: {function: validate, kwargs: {apply: local}}
"""


@pytest.fixture(scope="session")
def plan_text() -> str:
    return TEXT


@pytest.fixture(scope="session")
def plan() -> Plan:
    return parse_document(TEXT, "plan.yaml", Plan, PlanError)


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Writes files into a temporary directory; gives the path of the first."""

    def write(**files: str) -> Path:
        paths = [tmp_path / f"{name}.yaml" for name in files]
        for path, text in zip(paths, files.values(), strict=True):
            path.write_text(text)
        return paths[0]

    return write
