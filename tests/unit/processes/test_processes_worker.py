"""The worker: one answer per order, and an error is an answer."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from openfl_like.errors import ShardError, TensorError
from openfl_like.federation.failure import (
    FailedShardError,
    FailedTaskError,
    Failure,
    FailureKind,
    failure_from_fields,
    failure_of,
)
from openfl_like.federation.task import Assignment, Phase, TaskCall
from openfl_like.plan.digest import freeze
from openfl_like.plan.schema import Plan
from openfl_like.processes.worker import Worker, assignment_from_json, assignment_to_json, serve
from openfl_like.processes.worker_client import _error_of

SHARD = """\
import numpy as np
from openfl_like.data.shard import DataSchema, Dataset


class Shard:
    sample_shape = (2,)
    target_shape = ()
    dataset_description = "two numbers"
    schema = DataSchema("float32", "float32", (0.0, 1.0), (0.0, 1.0), 0, {"train": 4, "validate": 4})

    def get_dataset(self, kind):
        return Dataset(np.zeros((4, 2), np.float32), np.zeros(4, np.float32))
"""

CALL = TaskCall("train", "train", {"epochs": 1, "rates": [0.1, None]}, "local")


def test_an_assignment_survives_json() -> None:
    assignment = Assignment(3, Phase.TRAIN, "bern", (CALL, TaskCall("check", "validate")), "aa", 2**63, 1.5)
    assert assignment_from_json(json.loads(json.dumps(assignment_to_json(assignment)))) == assignment


def test_work_without_a_plan_is_an_answer() -> None:
    order = {"assignment": assignment_to_json(Assignment(1, Phase.TRAIN, "bern", (), "", 0)), "model": "", "out": "x"}
    reason = "the worker was asked to work before it was given a plan"
    failure = {"kind": "task", "message": reason}
    assert Worker().answer(order) == {"error": {"code": "E503", "reason": reason, "failure": failure}}


def test_a_missing_shard_file_is_an_answer(tmp_path: Path) -> None:
    answer: Any = Worker().answer({"shard": str(tmp_path / "shard.yaml")})
    assert answer["error"]["code"] == "E102"
    assert "shard.yaml" in answer["error"]["reason"]


def test_an_unknown_shard_is_an_answer_with_a_suggestion(tmp_path: Path) -> None:
    (tmp_path / "shard.yaml").write_text("template: breast_cancers\n")
    answer: Any = Worker().answer({"shard": str(tmp_path / "shard.yaml")})
    assert "did you mean 'breast_cancer'?" in answer["error"]["reason"]


def test_code_that_cannot_be_loaded_is_an_answer(tmp_path: Path) -> None:
    (tmp_path / "shard.yaml").write_text("template: local:Shard\n")
    (tmp_path / "local.py").write_text("raise RuntimeError('no such disk')\n")
    answer: Any = Worker().answer({"shard": str(tmp_path / "shard.yaml")})
    assert "no such disk" in answer["error"]["reason"]


def test_a_plan_whose_code_is_missing_blames_the_load(tmp_path: Path) -> None:
    (tmp_path / "shard.yaml").write_text("template: tests_worker_shard:Shard\n")
    (tmp_path / "tests_worker_shard.py").write_text(SHARD)
    plan = Plan.model_validate(
        {
            "name": "demo",
            "task_runner": {"template": "src.nothing:Runner"},
            "data_loader": {"template": "src.nothing:Loader"},
            "tasks": {"train": {"function": "train"}},
        }
    )
    (tmp_path / "plan.json").write_bytes(freeze(plan))
    order = {
        "shard": str(tmp_path / "shard.yaml"),
        "plan": str(tmp_path / "plan.json"),
        "workspace": str(tmp_path),
        "device": "cpu",
        "state": str(tmp_path / "algorithm"),
    }
    answer: Any = Worker().answer(order)
    failure = failure_from_fields(json.loads(json.dumps(answer["error"]["failure"])))
    assert (failure.task, failure.step, failure.error) == (
        "",
        "the data loader 'src.nothing:Loader'",
        "NotFoundError",
    )
    assert "src.nothing" in answer["error"]["reason"]


def test_each_order_is_a_line_and_so_is_each_answer() -> None:
    answers = io.BytesIO()
    orders = io.StringIO('{"n": 1}\n{"n": 2}\n')
    serve(orders, answers, lambda order: {"twice": order["n"] * 2})
    assert answers.getvalue() == b'{"twice": 2}\n{"twice": 4}\n'


@pytest.mark.parametrize(
    ("error", "kind"),
    [({"code": "E504", "reason": "no disk"}, ShardError), ({"code": "E104", "reason": "model damaged"}, TensorError)],
)
def test_an_answer_becomes_the_error_that_it_was(error: dict[str, str], kind: type) -> None:
    found = _error_of(error)
    assert (type(found), found.message) == (kind, error["reason"])


def test_a_failed_task_is_told_as_fields() -> None:
    told = {"kind": "task", "message": "none", "error": "NoData", "file": "src/m.py", "line": 3, "task": "train"}
    found = _error_of({"code": "E503", "reason": "task 'train' raised NoData: none", "failure": told})
    assert isinstance(found, FailedTaskError)
    assert found.failure == Failure(FailureKind.TASK, "none", "NoData", "src/m.py", 3, "train")


def test_the_exception_of_a_shard_is_told_as_it_is(tmp_path: Path) -> None:
    raising = SHARD.replace(
        "    def get_dataset(self, kind):\n", "    def get_dataset(self, kind):\n        raise NoData('no\\nscan')\n"
    )
    (tmp_path / "wards.py").write_text(f"class NoData(Exception):\n    pass\n\n\n{raising}")
    (tmp_path / "shard.yaml").write_text("template: wards:Shard\n")
    answer: Any = Worker().answer({"shard": str(tmp_path / "shard.yaml")})
    error = _error_of(answer["error"])
    assert isinstance(error, FailedShardError)
    assert failure_of(error) == Failure(
        FailureKind.TASK, "no scan", "NoData", "wards.py", 16, step="the shard 'wards:Shard'"
    )
