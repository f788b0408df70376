"""What an algorithm keeps and sends, round after round, whatever is killed in between."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.errors import TaskError, TensorError
from openfl_like.federation.failure import FailedTaskError
from openfl_like.federation.task import Assignment, Phase, TaskCall
from openfl_like.frameworks.algorithms.fedprox import FedProx
from openfl_like.frameworks.algorithms.gradients import SiteGradients
from openfl_like.frameworks.algorithms.mime import Mime, MimeLite
from openfl_like.frameworks.algorithms.scaffold import Scaffold
from openfl_like.frameworks.algorithms.session import LocalSession, Opening
from openfl_like.frameworks.algorithms.state import SiteState
from openfl_like.frameworks.model import Observation
from openfl_like.frameworks.numpy import NumpyModel
from openfl_like.frameworks.perform import Performer
from openfl_like.plan.schema import Plan, Task
from openfl_like.plan.section import AlgorithmSection, Component
from openfl_like.tensors.container import read_tensors, write_tensors
from openfl_like.tensors.named import ALGORITHM

CODE = '''
import numpy as np
from openfl_like.frameworks.algorithms.base import LocalEnd
from openfl_like.frameworks.numpy import NumpyLoader, NumpyRunner
from openfl_like.frameworks.runner import TaskResult


class Constant(NumpyRunner):
    """One weight whose gradient is always 1, so a step takes lr away; "fixed" has no gradient."""

    def build_model(self, random):
        return {"w": np.zeros(2), "fixed": np.array(7)}

    def predict(self, model, samples):
        return np.zeros(len(samples))

    def gradient(self, model, samples, targets):
        return 0.0, {"w": np.ones(2)}

    def own_loop(self):
        self._model["w"] = self._model["w"] - 100
        return TaskResult(self.loader.num_train)

    def shrink(self, by):
        for samples, targets in self.loader.train_batches(self._seed, self._epoch):
            self._step({"w": by * self._model["w"]})
        self._epoch += 1
        return TaskResult(self.loader.num_train)


class Counting:
    """Counts its steps for ever, sends how many there were in this round, and makes every gradient the state's."""

    def __init__(self, size=1):
        self.size = size

    def shared(self, model):
        assert sorted(model) == ["fixed", "w"]
        return {"steps": np.zeros(1), "untouched": np.full(2, 5.0)}

    def begin(self, start):
        self.start, self.steps = start, 0
        self.before = start.state.get("total", np.zeros(1))

    def adjust(self, gradients, weights):
        return {name: gradient * (1 + self.before[0]) for name, gradient in gradients.items()}

    def after_step(self, weights):
        self.steps += 1

    def end(self, weights):
        steps = np.full(self.size, float(self.steps))
        gone = (self.start.weights["w"] - weights["w"])[:1]
        state = {"total": self.before + self.steps, "gone": gone, "seen": self.start.shared["steps"]}
        return LocalEnd(shared={"steps": steps}, state=state)
'''
TRAIN = TaskCall("train", "train", trains=True)
Make = Callable[..., Performer]


def plan(**settings: int) -> Plan:
    return Plan(
        name="steps",
        task_runner=Component(template="src.code:Constant", settings={"lr": 1.0}),
        data_loader=Component(template="numpy"),
        algorithm=AlgorithmSection(template="src.code:Counting", settings=dict(settings)),
        tasks={"train": Task(function="train")},
    )


def shard() -> ArrayShard:
    data = Dataset(np.zeros((96, 1), np.float32), np.zeros(96, np.int64))
    return ArrayShard({"train": data, "validate": data}, "zeros", (0.0, 1.0))


@pytest.fixture
def make(tmp_path: Path) -> Make:
    (tmp_path / "workspace/src").mkdir(parents=True)
    (tmp_path / "workspace/src/__init__.py").touch()
    (tmp_path / "workspace/src/code.py").write_text(CODE)
    return lambda state=tmp_path / "state", **settings: Performer(
        plan(**settings), shard(), tmp_path / "workspace", state=state
    )


def begin_with(path: Path, **shared: float) -> Path:
    steps = {f"{ALGORITHM}{name}": np.full(1 + (name == "untouched"), value) for name, value in shared.items()}
    write_tensors(path, {"w": np.array([10.0, 20.0]), "fixed": np.array(7), **steps})
    return path


def train(performer: Performer, place: Path, number: int, continues: int, *tasks: TaskCall) -> Mapping[str, np.ndarray]:
    model = begin_with(place / "model", steps=2.0, untouched=5.0)
    assignment = Assignment(number, Phase.TRAIN, "north", tasks or (TRAIN,), "", 5, continues=continues)
    performer.perform(assignment, model, place / "update")
    return read_tensors(place / "update")


def test_the_initial_model_has_the_algorithm_s_tensors(make: Make, tmp_path: Path) -> None:
    make().perform(Assignment(0, Phase.INITIALISE, "north", (), "", 5), None, tmp_path / "out")
    initial = read_tensors(tmp_path / "out")
    assert sorted(initial) == [f"{ALGORITHM}steps", f"{ALGORITHM}untouched", "fixed", "w"]
    assert initial[f"{ALGORITHM}untouched"].tolist() == [5.0, 5.0]


def test_what_it_sends_is_in_the_update_and_what_it_leaves_out_goes_back(make: Make, tmp_path: Path) -> None:
    update = train(make(), tmp_path, 1, 0)
    assert update["w"].tolist() == [7.0, 17.0]  # three steps of 1
    assert update[f"{ALGORITHM}steps"].tolist() == [3.0]
    assert update[f"{ALGORITHM}untouched"].tolist() == [5.0, 5.0]


@pytest.mark.parametrize("new", [False, True], ids=["the same worker", "a new worker every round"])
def test_it_goes_on_from_the_last_round_that_counted(make: Make, tmp_path: Path, *, new: bool) -> None:
    performer = make()
    for number, continues, moved in ((1, 0, 3), (2, 1, 12), (3, 1, 12), (4, 3, 21)):
        update = train(make() if new else performer, tmp_path, number, continues)
        assert update["w"].tolist() == [10.0 - moved, 20.0 - moved], number
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["000003.safetensors", "000004.safetensors"]
    kept = read_tensors(tmp_path / "state/000004.safetensors")
    assert {name: array.tolist() for name, array in kept.items()} == {"total": [9.0], "gone": [21.0], "seen": [2.0]}


def test_a_round_that_is_trained_again_starts_from_the_state_before_it(make: Make, tmp_path: Path) -> None:
    train(make(), tmp_path, 1, 0)
    first = {name: array.tobytes() for name, array in train(make(), tmp_path, 2, 1).items()}
    state = (tmp_path / "state/000002.safetensors").read_bytes()
    again = {name: array.tobytes() for name, array in train(make(), tmp_path, 2, 1).items()}
    assert again == first
    assert (tmp_path / "state/000002.safetensors").read_bytes() == state


def test_without_a_folder_it_lasts_as_long_as_the_performer(make: Make, tmp_path: Path) -> None:
    performer = make(state=None)
    assert [train(performer, tmp_path, number, before)["w"][0] for number, before in ((1, 0), (2, 1))] == [7, -2]


def test_state_that_is_gone_is_told_and_the_algorithm_begins_anew(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert train(make(), tmp_path, 9, 8)["w"][0] == 7
    assert "what was kept at this site in round 8 is not here" in caplog.text


def test_state_that_is_damaged_fails(make: Make, tmp_path: Path) -> None:
    train(make(), tmp_path, 1, 0)
    (tmp_path / "state/000001.safetensors").write_bytes(b"nothing")
    with pytest.raises(TensorError):
        train(make(), tmp_path, 2, 1)


def test_tasks_that_train_one_after_the_other_are_one_training(make: Make, tmp_path: Path) -> None:
    update = train(make(), tmp_path, 1, 0, TRAIN, TaskCall("more", "train", {"epochs": 2}, trains=True))
    assert update[f"{ALGORITHM}steps"] == [9.0]
    assert update["w"][0] == 1.0


def test_evaluating_touches_no_state(make: Make, tmp_path: Path) -> None:
    train(make(), tmp_path, 1, 0)
    train(make(), tmp_path, 2, 1)
    model = begin_with(tmp_path / "model", steps=2.0, untouched=5.0)
    look = Assignment(2, Phase.EVALUATE, "north", (TaskCall("look", "validate"),), "", 5, continues=1)
    make().perform(look, model, tmp_path / "none")
    assert len(list((tmp_path / "state").iterdir())) == 2


def test_a_loop_of_the_runner_s_own_cannot_ignore_the_algorithm(make: Make, tmp_path: Path) -> None:
    told = "the plan names an algorithm, but the task that trained did not call it"
    with pytest.raises(TaskError, match=told):
        train(make(), tmp_path, 1, 0, TaskCall("own", "own_loop", trains=True))


def test_a_loop_of_the_runner_s_own_works_as_before(make: Make, tmp_path: Path) -> None:
    make()
    without = plan().model_copy(update={"algorithm": AlgorithmSection(template="none")})
    performer = Performer(without, shard(), tmp_path / "workspace")
    write_tensors(tmp_path / "model", {"w": np.array([16.0, 32.0]), "fixed": np.array(7)})
    halve = TaskCall("halve", "shrink", {"by": 0.5}, trains=True)
    performer.perform(Assignment(1, Phase.TRAIN, "n", (halve,), "", 5), tmp_path / "model", tmp_path / "update")
    assert read_tensors(tmp_path / "update")["w"].tolist() == [2.0, 4.0]


def test_what_it_sends_must_be_what_the_model_has(make: Make, tmp_path: Path) -> None:
    with pytest.raises(
        TaskError, match=r"sends '__algorithm__/steps' as float64\[4\], the global model has float64\[1\]"
    ):
        train(make(size=4), tmp_path, 1, 0)
    write_tensors(tmp_path / "bare", {"w": np.zeros(2), "fixed": np.array(7)})
    with pytest.raises(FailedTaskError) as caught:
        make().perform(Assignment(1, Phase.TRAIN, "n", (TRAIN,), "", 5), tmp_path / "bare", tmp_path / "update")
    assert (caught.value.failure.error, caught.value.failure.message) == ("KeyError", "'steps'")


def test_an_algorithm_that_cannot_be_built_is_told(make: Make) -> None:
    with pytest.raises(FailedTaskError) as caught:
        make(colour=3)
    assert (caught.value.failure.step, caught.value.failure.error) == ("the algorithm 'src.code:Counting'", "TypeError")
    assert "'colour'" in caught.value.failure.message


def test_fedprox_refuses_a_push() -> None:
    with pytest.raises(ValidationError):
        FedProx(mu=-0.1)


def test_an_algorithm_outside_an_assignment_is_refused(make: Make) -> None:
    with make().runner() as runner, pytest.raises(TaskError, match="outside an assignment"):
        runner.train()  # type: ignore[attr-defined]  # a task of this runner
    with pytest.raises(TaskError, match="did not call it"):
        LocalSession(FedProx(mu=1.0)).close()


def test_a_state_of_no_round_is_empty(tmp_path: Path) -> None:
    assert SiteState(tmp_path / "none").read(0) == SiteState(None).read(0) == {}
    assert not (tmp_path / "none").exists()


def test_numbers_are_sent_in_the_precision_in_which_they_came() -> None:
    """The gradients of a model of float32 may be float64, as numpy makes them."""
    weight = {"w": np.zeros(2, np.float32)}
    model = NumpyModel(lambda *_: None, lambda _: None, lambda: weight)  # type: ignore[arg-type]  # it is not trained
    session = LocalSession(Scaffold())
    session.open(Opening(1, 3, session.initial(weight), {}))
    session.begin(model)
    session.adjust({"w": np.ones(2, np.float64)}, model)
    sent, kept = session.close()
    assert sent[f"{ALGORITHM}control/w"].dtype == np.float32
    assert kept["w"].tolist() == [1.0, 1.0]


def test_a_model_that_was_made_without_scaffold_is_refused_with_the_cure() -> None:
    model = NumpyModel(lambda *_: None, lambda _: None, lambda: {"w": np.zeros(2)})  # type: ignore[arg-type]  # it is not trained
    session = LocalSession(Scaffold())
    session.open(Opening(1, 3, {}, {}))
    with pytest.raises(TaskError, match="no control of 'w'") as raised:
        session.begin(model)
    assert "--initial-model" in raised.value.cure


def test_an_algorithm_that_looks_elsewhere_says_why_it_cannot() -> None:
    """In a loop that shows no batches, before the first batch, and with a model that has no such gradients."""
    weight = {"w": np.zeros(2)}
    model = NumpyModel(lambda *_: None, lambda _: None, lambda: weight)  # type: ignore[arg-type]  # it is not trained
    session = LocalSession(MimeLite())
    session.open(Opening(1, 3, session.initial(weight), {}))
    with pytest.raises(TaskError, match="does not show it its batches") as raised:
        session.begin(model)
    assert "self.training.train" in raised.value.cure
    gradients = SiteGradients()
    gradients.over(model, tuple)
    with pytest.raises(TaskError, match="does not show it its batches"):
        gradients.of_batch(weight)
    gradients.over(object(), tuple)  # type: ignore[arg-type]  # a model that cannot
    with pytest.raises(TaskError, match="which the task runner's model does not give"):
        gradients.of_all(weight)


def test_the_first_round_of_mime_is_not_corrected_and_the_next_is() -> None:
    """With ``F'(w) = w - 4`` here, and a correction of 3 from all: the paper's equation by hand."""
    weight = {"w": np.array([1.0])}
    seen = Observation(0.0, np.zeros(1), np.zeros(1))
    model = NumpyModel(lambda *_: (seen, {"w": weight["w"] - 4}), lambda _: None, lambda: weight)
    gradients = SiteGradients()
    gradients.over(model, lambda: [(np.zeros(1), np.zeros(1))])
    gradients.show(np.zeros(1), np.zeros(1))
    for known, expected in ((0.0, 0.5 * -1.0 + 0.5 * 8.0), (1.0, 0.5 * (-1.0 - -3.0 + 3.0) + 0.5 * 8.0)):
        shared = {"momentum/w": np.array([8.0]), "gradient/w": np.array([3.0]), "known": np.float32(known)}
        session = LocalSession(Mime(momentum=0.5))
        session.open(Opening(2, 3, {f"{ALGORITHM}{name}": np.asarray(array) for name, array in shared.items()}, {}))
        weight["w"][:] = 1.0
        session.begin(model, gradients)
        weight["w"][:] = 3.0
        assert session.adjust({"w": weight["w"] - 4}, model)["w"].tolist() == [expected]
        sent, kept = session.close()
        assert {name.removeprefix(ALGORITHM): array.tolist() for name, array in sent.items()} == {
            "momentum/w": [0.5 * -3.0 + 0.5 * 8.0],
            "gradient/w": [-3.0],
            "known": 1.0,
        }
        assert kept == {}
