"""Tensors that stay at their site: trained and evaluated with, kept, and told to nobody."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.errors import TaskError, TensorError
from openfl_like.federation.task import Assignment, Phase, TaskCall
from openfl_like.frameworks.perform import Performer
from openfl_like.plan.schema import AggregationSection, Plan, Task
from openfl_like.plan.section import AlgorithmSection, Component
from openfl_like.tensors.container import read_tensors, write_tensors
from openfl_like.tensors.named import ALGORITHM

CODE = '''
import numpy as np
from openfl_like.frameworks.numpy import NumpyRunner
from openfl_like.frameworks.runner import TaskResult


class Halving(NumpyRunner):
    """Goes half of the way to the mean of its samples in a step, with its head as well as with its body."""

    stateless = True

    def build_model(self, random):
        return {"body": np.zeros(1), "head": np.full(1, 8.0), "head_count": np.array(0)}

    def predict(self, model, samples):
        return np.zeros(len(samples))

    def gradient(self, model, samples, targets):
        self._model["head_count"] = self._model["head_count"] + 1
        mean = samples.mean()
        return 0.0, {name: (model[name] - mean) / 2 for name in ("body", "head")}

    def tell(self):
        return TaskResult(1, {name: float(value.sum()) for name, value in self._model.items()})
'''
TRAIN, TELL = TaskCall("train", "train", trains=True), TaskCall("tell", "tell")
Make = Callable[..., Performer]


def plan(pattern: str = "head*", algorithm: str = "none") -> Plan:
    return Plan(
        name="heads",
        task_runner=Component(template="src.code:Halving", settings={"lr": 1.0}),
        data_loader=Component(template="numpy"),
        algorithm=AlgorithmSection(template=algorithm),
        aggregation=AggregationSection.model_validate({"rules": [{"match": pattern, "rule": "local"}]}),
        tasks={"train": Task(function="train")},
    )


def shard(mean: float) -> ArrayShard:
    data = Dataset(np.full((4, 1), mean), np.zeros(4, np.int64))
    return ArrayShard({"train": data, "validate": data}, "alike", (-100.0, 100.0))


@pytest.fixture
def make(tmp_path: Path) -> Make:
    (tmp_path / "workspace/src").mkdir(parents=True)
    (tmp_path / "workspace/src/__init__.py").touch()
    (tmp_path / "workspace/src/code.py").write_text(CODE)
    return lambda given=None, state=tmp_path / "state": Performer(
        given or plan(), shard(16.0), tmp_path / "workspace", state=state
    )


def model(place: Path, body: float, **more: np.ndarray) -> Path:
    tensors = {"body": np.full(1, body), "head": np.full(1, 8.0), "head_count": np.array(0), **more}
    write_tensors(place / "model", tensors)
    return place / "model"


def train(performer: Performer, place: Path, number: int, continues: int, body: float) -> dict[str, float]:
    assignment = Assignment(number, Phase.TRAIN, "north", (TRAIN,), "", 5, continues=continues)
    performer.perform(assignment, model(place, body), place / "update")
    return {name: float(array.ravel()[0]) for name, array in read_tensors(place / "update").items()}


def told(performer: Performer, place: Path, continues: int, *calls: TaskCall) -> Mapping[str, Mapping[str, float]]:
    look = Assignment(9, Phase.EVALUATE, "north", calls or (TELL,), "", 5, continues=continues)
    return performer.perform(look, model(place, 3.0), place / "none").metrics


@pytest.mark.parametrize(
    ("new", "folder"), [(False, False), (False, True), (True, True)], ids=["in memory", "as files", "a new worker"]
)
def test_a_site_goes_on_from_its_own_and_sends_the_global_ones(
    make: Make, tmp_path: Path, *, new: bool, folder: bool
) -> None:
    again = {} if folder else {"state": None}
    performer = make(**again)
    heads = [8.0]
    for number in (1, 2, 3):
        performer = make() if new else performer
        update = train(performer, tmp_path, number, number - 1, body=2.0)
        assert update == {"body": 9.0, "head": 8.0, "head_count": 0.0}
        heads.append((heads[-1] + 16.0) / 2)
        found = told(make() if new else performer, tmp_path, number)["tell"]
        assert found == {"body": 3.0, "head": heads[-1], "head_count": float(number)}


def test_a_round_that_did_not_count_has_never_happened(make: Make, tmp_path: Path) -> None:
    train(make(), tmp_path, 1, 0, body=2.0)
    train(make(), tmp_path, 2, 1, body=2.0)
    first = (tmp_path / "state/000002.safetensors").read_bytes()
    assert told(make(), tmp_path, 1)["tell"]["head"] == 12.0
    train(make(), tmp_path, 2, 1, body=2.0)
    assert (tmp_path / "state/000002.safetensors").read_bytes() == first
    train(make(), tmp_path, 3, 1, body=2.0)
    assert told(make(), tmp_path, 3)["tell"]["head"] == 14.0


def test_a_site_that_never_trained_evaluates_with_the_initial_values(make: Make, tmp_path: Path) -> None:
    assert told(make(), tmp_path, 0)["tell"] == {"body": 3.0, "head": 8.0, "head_count": 0.0}


def test_what_was_lost_is_told_and_begins_anew(make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert told(make(), tmp_path, 4)["tell"]["head"] == 8.0
    assert "what was kept at this site in round 4 is not here" in caplog.text
    train(make(), tmp_path, 1, 0, body=2.0)
    (tmp_path / "state/000001.safetensors").write_bytes(b"nothing")
    with pytest.raises(TensorError):
        told(make(), tmp_path, 1)


def test_a_model_of_a_file_is_evaluated_as_it_is(make: Make, tmp_path: Path) -> None:
    performer = make()
    train(performer, tmp_path, 1, 0, body=2.0)
    given = {"body": np.full(1, 4.0), "head": np.full(1, 5.0), "head_count": np.array(6)}
    write_tensors(tmp_path / "workspace/given.safetensors", given)
    found = told(performer, tmp_path, 1, TaskCall("file", "tell", apply="file:given.safetensors"), TELL)
    assert found["file"] == {"body": 4.0, "head": 5.0, "head_count": 6.0}
    assert found["tell"] == {"body": 3.0, "head": 12.0, "head_count": 1.0}


def test_evaluations_of_a_training_phase_see_the_model_that_they_name(make: Make, tmp_path: Path) -> None:
    performer = make()
    train(performer, tmp_path, 1, 0, body=2.0)
    calls = TRAIN, TaskCall("mine", "tell", apply="local"), TaskCall("ours", "tell")
    assignment = Assignment(2, Phase.TRAIN, "north", calls, "", 5, continues=1)
    found = performer.perform(assignment, model(tmp_path, 2.0), tmp_path / "update").metrics
    assert found["mine"] == {"body": 9.0, "head": 14.0, "head_count": 2.0}
    assert found["ours"] == {"body": 2.0, "head": 12.0, "head_count": 1.0}


def test_sites_that_share_a_runner_have_each_their_own(make: Make, tmp_path: Path) -> None:
    north = make(state=tmp_path / "north")
    south = north.for_site(shard(0.0), tmp_path / "south")
    assert south is not None
    for number in (1, 2):
        train(north, tmp_path, number, number - 1, body=2.0)
        train(south, tmp_path, number, number - 1, body=2.0)
    assert told(north, tmp_path, 2)["tell"]["head"] == 14.0
    assert told(south, tmp_path, 2)["tell"]["head"] == 2.0


def test_an_algorithm_neither_sees_them_nor_tells_about_them(make: Make, tmp_path: Path) -> None:
    performer = make(plan(algorithm="scaffold"))
    performer.perform(Assignment(0, Phase.INITIALISE, "north", (), "", 5), None, tmp_path / "initial")
    assert set(read_tensors(tmp_path / "initial")) == {f"{ALGORITHM}control/body", "body", "head", "head_count"}
    control = {f"{ALGORITHM}control/body": np.full(1, 1.0)}
    for number in (1, 2):
        assignment = Assignment(number, Phase.TRAIN, "north", (TRAIN,), "", 5, continues=number - 1)
        performer.perform(assignment, model(tmp_path, 2.0, **control), tmp_path / "update")
    update = read_tensors(tmp_path / "update")
    assert (update["head"][0], update[f"{ALGORITHM}control/body"][0]) == (8.0, 1.0)
    kept = read_tensors(tmp_path / "state/000002.safetensors")
    assert {name: array.tolist() for name, array in kept.items()} == {
        "body": [-7.0],
        "__local__/head": [14.0],
        "__local__/head_count": 2,
    }


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("neck*", r"aggregation.rules\[0\].match: 'neck\*' matches no tensor of the model"), ("*", "every tensor")],
)
def test_a_rule_that_is_for_nothing_or_for_all_is_refused(
    make: Make, tmp_path: Path, pattern: str, message: str
) -> None:
    performer = make(plan(pattern))
    with pytest.raises(TaskError, match=message):
        performer.perform(Assignment(0, Phase.INITIALISE, "north", (), "", 5), None, tmp_path / "out")
    with pytest.raises(TaskError, match=message):
        train(performer, tmp_path, 1, 0, body=2.0)
