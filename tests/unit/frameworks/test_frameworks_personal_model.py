"""A model that an algorithm keeps at a site: tasks with `apply: personal` look at it, and nobody else does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.errors import TaskError
from openfl_like.federation.task import Assignment, Phase, TaskCall
from openfl_like.frameworks.perform import Performer
from openfl_like.plan.checks import mistakes_in
from openfl_like.plan.schema import Plan
from openfl_like.tensors.container import read_tensors, write_tensors

CODE = '''
import numpy as np
from openfl_like.frameworks.numpy import NumpyRunner
from openfl_like.frameworks.runner import TaskResult


class Halving(NumpyRunner):
    """Goes half of the way to the mean of its samples in a step; its head has another rate, and counts."""

    def build_model(self, random):
        return {"body": np.zeros(1), "head": np.zeros(1), "count": np.array(0)}

    def predict(self, model, samples):
        return np.zeros(len(samples))

    def gradient(self, model, samples, targets):
        mean = samples.mean()
        return 0.0, {name: (model[name] - mean) / 2 for name in ("body", "head")}

    def tell(self):
        return TaskResult(1, {name: float(value.sum()) for name, value in self._model.items()})
'''
TRAIN = TaskCall("train", "train", trains=True)
TELL = TaskCall("own", "tell", apply="personal"), TaskCall("all", "tell"), TaskCall("again", "tell", apply="personal")
SITE_MEAN, PULL, RATE = 16.0, 0.5, 0.5


def plan(algorithm: Mapping[str, Any] | None = None, **parts: object) -> Plan:
    values: dict[str, Any] = {
        "name": "own",
        "task_runner": {"template": "src.code:Halving", "settings": {"lr": 1.0}},
        "data_loader": {"template": "numpy"},
        "algorithm": algorithm or {"template": "ditto", "settings": {"pull": PULL, "rate": RATE}},
        "tasks": {
            "train": {"function": "train"},
            "own": {"function": "validate", "kwargs": {"apply": "personal"}},
        },
    }
    return Plan.model_validate(values | parts)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "workspace/src").mkdir(parents=True)
    (tmp_path / "workspace/src/__init__.py").touch()
    (tmp_path / "workspace/src/code.py").write_text(CODE)
    return tmp_path / "workspace"


def performer(workspace: Path, given: Plan | None = None, *, in_memory: bool = False) -> Performer:
    data = Dataset(np.full((4, 1), SITE_MEAN), np.zeros(4, np.int64))
    shard = ArrayShard({"train": data, "validate": data}, "alike", (-100.0, 100.0))
    return Performer(given or plan(), shard, workspace, state=None if in_memory else workspace.parent / "state")


def model(place: Path, value: float) -> Path:
    write_tensors(place / "model", {"body": np.full(1, value), "head": np.full(1, value), "count": np.array(7)})
    return place / "model"


def train(site: Performer, place: Path, number: int, continues: int, value: float) -> dict[str, np.ndarray]:
    job = Assignment(number, Phase.TRAIN, "north", (TRAIN,), "", 5, continues=continues)
    site.perform(job, model(place, value), place / "update")
    return read_tensors(place / "update")


def told(site: Performer, place: Path, continues: int) -> Mapping[str, Mapping[str, float]]:
    job = Assignment(9, Phase.EVALUATE, "north", TELL, "", 5, continues=continues)
    return site.perform(job, model(place, 3.0), place / "none").metrics


def stepped(own: float, anchor: float) -> float:
    return own - RATE * ((own - SITE_MEAN) / 2 + PULL * (own - anchor))


@pytest.mark.parametrize("kept", ["in memory", "as files", "a new worker in every round"])
def test_a_site_goes_on_with_its_own_model_and_sends_what_it_would_have_sent_without(
    workspace: Path, tmp_path: Path, kept: str
) -> None:
    site = performer(workspace, in_memory=kept == "in memory")
    own = 2.0
    for number, anchor in ((1, 2.0), (2, 4.0), (3, 1.0)):
        site = performer(workspace) if kept == "a new worker in every round" else site
        update = train(site, tmp_path, number, number - 1, anchor)
        assert {*update} == {"body", "head", "count"}
        assert update["body"] == anchor + (SITE_MEAN - anchor) / 2
        own = stepped(own, anchor)
        found = told(performer(workspace) if kept == "a new worker in every round" else site, tmp_path, number)
        expected = {"body": own, "head": own, "count": 7.0}
        assert found == {"own": expected, "all": {"body": 3.0, "head": 3.0, "count": 7.0}, "again": expected}


def test_a_round_that_did_not_count_has_never_happened(workspace: Path, tmp_path: Path) -> None:
    train(performer(workspace), tmp_path, 1, 0, 2.0)
    train(performer(workspace), tmp_path, 2, 1, 4.0)
    train(performer(workspace), tmp_path, 3, 1, 8.0)
    assert told(performer(workspace), tmp_path, 3)["own"]["body"] == stepped(stepped(2.0, 2.0), 8.0)


def test_a_site_that_has_not_trained_has_the_global_model(workspace: Path, tmp_path: Path) -> None:
    assert told(performer(workspace), tmp_path, 0)["own"] == {"body": 3.0, "head": 3.0, "count": 7.0}


def test_who_keeps_no_model_is_told(workspace: Path, tmp_path: Path) -> None:
    for algorithm in ({"template": "none"}, {"template": "fedprox", "settings": {"mu": 0.1}}):
        with pytest.raises(TaskError, match="the site's own model"):
            told(performer(workspace, plan(algorithm)), tmp_path, 0)


@pytest.mark.parametrize("template", ["none", "scaffold"])
def test_a_plan_whose_algorithm_keeps_no_model_is_refused(template: str) -> None:
    (mistake,) = mistakes_in(plan({"template": template}))
    assert mistake.path == ("tasks", "own", "kwargs", "apply")
    assert mistake.cure == "write local, or choose the algorithm ditto"
    assert mistakes_in(plan()) == []
    assert mistakes_in(plan({"template": "src.own:Algorithm"})) == []
