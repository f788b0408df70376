"""Optimizers whose state stays at its site: training goes on from that of the last round that counted."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.errors import TaskError
from openfl_like.federation.task import Assignment, Phase, TaskCall
from openfl_like.frameworks.perform import Performer
from openfl_like.plan.schema import AggregationSection, Plan, Task
from openfl_like.plan.section import AlgorithmSection, Component
from openfl_like.tensors.container import read_tensors, write_tensors
from openfl_like.tensors.named import ALGORITHM, OPTIMIZER

CODE = '''
import numpy as np
from openfl_like.frameworks.numpy import NumpyRunner
from openfl_like.frameworks.runner import TaskResult


class Rolling(NumpyRunner):
    """Its slope is 1 everywhere."""

    def build_model(self, random):
        return {"body": np.zeros(1), "head": np.zeros(1)}

    def predict(self, model, samples):
        return np.zeros(len(samples))

    def gradient(self, model, samples, targets):
        return 0.0, {name: np.ones(1) for name in model}

    def tell(self):
        return TaskResult(1, {name: float(value.sum()) for name, value in self._model.items()})
'''
TRAIN, TELL = TaskCall("train", "train", trains=True), TaskCall("tell", "tell", apply="global")
Make = Callable[..., Performer]


def plan(momentum: float = 0.5, **sections: object) -> Plan:
    return Plan(
        name="rolling",
        task_runner=Component(template="src.code:Rolling", settings={"lr": 1.0, "momentum": momentum}),
        data_loader=Component(template="numpy"),
        tasks={"train": Task(function="train")},
        **{"collaborator": {"settings": {"opt_treatment": "CONTINUE_LOCAL"}}, **sections},
    )


@pytest.fixture
def make(tmp_path: Path) -> Make:
    (tmp_path / "workspace/src").mkdir(parents=True)
    (tmp_path / "workspace/src/code.py").write_text(CODE)
    data = Dataset(np.ones((4, 1)), np.zeros(4, np.int64))
    shard = ArrayShard(dict.fromkeys(("train", "validate"), data), "ones", (0.0, 1.0))

    def build(made: Plan | None = None, state: Path | None = tmp_path / "state") -> Performer:
        return Performer(made or plan(), shard, tmp_path / "workspace", state=state)

    return build


def train(performer: Performer, place: Path, number: int, continues: int, *calls: TaskCall) -> Mapping[str, float]:
    """Train from zero; return what the update has."""
    write_tensors(place / "model", {"body": np.zeros(1), "head": np.zeros(1)})
    assignment = Assignment(number, Phase.TRAIN, "north", (TRAIN, *calls), "", 5, continues=continues)
    performer.perform(assignment, place / "model", place / "update")
    return {name: float(array.ravel()[0]) for name, array in read_tensors(place / "update").items()}


@pytest.mark.parametrize(
    ("new", "folder"), [(False, False), (False, True), (True, True)], ids=["in memory", "as files", "a new worker"]
)
def test_momentum_goes_on_and_leaves_no_trace_in_the_update(
    make: Make, tmp_path: Path, *, new: bool, folder: bool
) -> None:
    again = {} if folder else {"state": None}
    performer = make(**again)
    for number, velocity in enumerate((-1.0, -1.5, -1.75), 1):
        performer = make() if new else performer
        assert train(performer, tmp_path, number, number - 1) == {"body": velocity, "head": velocity}


def test_a_round_that_did_not_count_has_never_happened(make: Make, tmp_path: Path) -> None:
    performer = make()
    train(performer, tmp_path, 1, 0)
    for _ in range(2):
        assert train(performer, tmp_path, 2, 1)["body"] == -1.5
    assert train(performer, tmp_path, 3, 1)["body"] == -1.5
    assert train(performer, tmp_path, 4, 0)["body"] == -1.0


def test_looking_at_another_model_in_between_changes_nothing(make: Make, tmp_path: Path) -> None:
    performer = make()
    train(performer, tmp_path, 1, 0, TELL)
    look = Assignment(1, Phase.EVALUATE, "north", (TaskCall("tell", "tell"),), "", 5)
    assert performer.perform(look, tmp_path / "model", tmp_path / "none").metrics["tell"]["body"] == 0.0
    assert train(performer, tmp_path, 2, 1)["body"] == -1.5


def test_it_lives_beside_what_an_algorithm_and_local_tensors_keep(make: Make, tmp_path: Path) -> None:
    made = plan(
        algorithm=AlgorithmSection(template="scaffold"),
        aggregation=AggregationSection.model_validate({"rules": [{"match": "head", "rule": "local"}]}),
    )
    control = f"{ALGORITHM}control/body"
    write_tensors(tmp_path / "model", {"body": np.zeros(1), "head": np.zeros(1), control: np.zeros(1)})
    assignment = Assignment(1, Phase.TRAIN, "north", (TRAIN,), "", 5)
    make(made).perform(assignment, tmp_path / "model", tmp_path / "update")
    kept = read_tensors(tmp_path / "state/000001.safetensors")
    assert sorted(name for name in kept if name.startswith(OPTIMIZER)) == [
        f"{OPTIMIZER}velocity/body",
        f"{OPTIMIZER}velocity/head",
    ]
    assert len(kept) > 3
    assert not any(name.startswith(OPTIMIZER) for name in read_tensors(tmp_path / "update"))


def test_the_first_model_has_none_of_it(make: Make, tmp_path: Path) -> None:
    make().perform(Assignment(0, Phase.INITIALISE, "north", (), "", 5), None, tmp_path / "update")
    assert sorted(read_tensors(tmp_path / "update")) == ["body", "head"]


def test_a_plan_that_keeps_nothing_is_told_so(make: Make, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="the task runner's optimizer has no state that could be kept"):
        train(make(plan(momentum=0.0)), tmp_path, 1, 0)
