import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.errors import TaskError, TensorError
from openfl_like.federation.failure import FailedTaskError
from openfl_like.federation.task import Assignment, Phase, TaskCall
from openfl_like.frameworks.perform import Performer
from openfl_like.plan.schema import CompressionPipeline, Plan, Task
from openfl_like.plan.section import Component
from openfl_like.tensors.container import read_tensors, write_tensors
from openfl_like.tensors.manifest import file_digest

CODE = '''
import asyncio
import random
import numpy as np
from openfl_like.frameworks.numpy import NumpyLoader
from openfl_like.frameworks.runner import TaskResult
from src.step import STEP


class Runner:
    """The model is one number; tasks write down what it was."""

    def __init__(self, loader, context, start=0.0):
        if start < 0:
            raise ValueError("start below zero")
        self.loader, self.context, self.start = loader, context, start
        self.value = np.array([start])

    def initialise(self, seed):
        self.value = np.array([self.start + seed])

    def begin(self, seed):
        self.seed = seed

    def get_tensors(self):
        return {"value": self.value}

    def set_tensors(self, tensors):
        if "value" not in tensors:
            raise KeyError("value")
        self.value = tensors["value"].copy()

    def train(self, by=1.0):
        from src.late import factor
        self.value = self.value + by * STEP * factor()
        return TaskResult(self.loader.num_train, {"value": self.value[0]})

    def validate(self):
        return TaskResult(self.loader.num_validate, {"value": self.value[0]})

    def draw(self):
        return TaskResult(1, {"python": random.random(), "numpy": np.random.rand()})

    def fail(self):
        numbers = []
        return max(numbers)

    def leave(self):
        raise SystemExit(3)

    def drop(self):
        raise asyncio.CancelledError("a loop of its own")

    def shape(self):
        return {"loss": 1.0}

    def words(self):
        return TaskResult(1, {"loss": "low"})

    def metric(self, kind):
        values = {
            "one": np.array([0.5]),
            "three": np.zeros(3),
            "none": None,
            "complex": 0.5 + 0j,
            "list": [0.5],
            "matrix": {"tp": 3},
        }
        return TaskResult(1, {"loss": 1.0, "dice": values[kind]})

    def _hidden(self):
        return TaskResult(1)
'''

TRAIN = TaskCall("train", "train", trains=True)
LOCAL = TaskCall("check", "validate", apply="local")
GLOBAL = TaskCall("validate", "validate")

Make = Callable[..., Performer]


def line(words: str) -> str:
    """Where in `CODE` these words are, as an error message names it."""
    return f"src/model.py:{next(number for number, text in enumerate(CODE.splitlines(), 1) if words in text)}"


def write_workspace(path: Path, step: float = 1.0) -> Path:
    (path / "src").mkdir(parents=True)
    (path / "src/__init__.py").write_text("")
    (path / "src/model.py").write_text(CODE)
    (path / "src/step.py").write_text(f"STEP = {step}\n")
    (path / "src/late.py").write_text("def factor():\n    return 1.0\n")
    return path


def plan(runner: Component | None = None, loader: Component | None = None) -> Plan:
    return Plan(
        name="numbers",
        task_runner=runner or Component(template="src.model:Runner"),
        data_loader=loader or Component(template="src.model:NumpyLoader"),
        tasks={"train": Task(function="train")},
    )


def shard() -> ArrayShard:
    def data(rows: int) -> Dataset:
        return Dataset(np.zeros((rows, 2), dtype=np.float32), np.zeros(rows, dtype=np.int64))

    return ArrayShard({"train": data(30), "validate": data(10)}, "zeros", (0.0, 1.0))


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return write_workspace(tmp_path / "workspace")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_tensors(tmp_path / "model.safetensors", {"value": np.array([10.0])})
    return tmp_path / "model.safetensors"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "update.safetensors"


def assign(phase: Phase, *tasks: TaskCall, seed: int = 5) -> Assignment:
    return Assignment(3, phase, "north", tasks, "", seed)


def test_initialising_makes_a_model_from_the_seed(workspace: Path, out: Path) -> None:
    update = Performer(plan(), shard(), workspace).perform(assign(Phase.INITIALISE, seed=8), None, out)
    assert read_tensors(out)["value"] == [8.0]
    assert (update.round, update.phase, update.collaborator) == (3, Phase.INITIALISE, "north")
    assert (update.digest, update.num_samples, update.metrics) == (file_digest(out), 30, {})


def test_training_writes_the_trained_model(workspace: Path, model: Path, out: Path) -> None:
    update = Performer(plan(), shard(), workspace).perform(assign(Phase.TRAIN, TRAIN, LOCAL), model, out)
    assert read_tensors(out)["value"] == [11.0]
    assert update.digest == file_digest(out)
    assert update.num_samples == 30
    assert update.metrics == {"train": {"value": 11.0}, "check": {"value": 11.0}}
    assert update.duration_s > 0


def test_a_local_task_sees_the_model_as_it_is_and_a_global_one_the_given(
    workspace: Path, model: Path, out: Path
) -> None:
    again = TaskCall("again", "train", {"by": 5.0}, trains=True)
    tasks = (GLOBAL, TRAIN, LOCAL, again, TaskCall("last", "validate", apply="local"), TaskCall("end", "validate"))
    update = Performer(plan(), shard(), workspace).perform(assign(Phase.TRAIN, *tasks), model, out)
    values = {task: metrics["value"] for task, metrics in update.metrics.items()}
    assert values == {"validate": 10, "train": 11, "check": 11, "again": 16, "last": 16, "end": 10}
    assert read_tensors(out)["value"] == [16.0]


def test_training_does_not_go_on_with_another_model_than_it_left(workspace: Path, model: Path, out: Path) -> None:
    tasks = (TRAIN, GLOBAL, TaskCall("again", "train", trains=True))
    with pytest.raises(FailedTaskError) as caught:
        Performer(plan(), shard(), workspace).perform(assign(Phase.TRAIN, *tasks), model, out)
    assert caught.value.failure.task == "again"


@pytest.mark.parametrize("apply", ["local", "global"])
def test_a_task_that_evaluates_and_changes_the_model_is_told(
    workspace: Path, model: Path, out: Path, apply: str
) -> None:
    performer = Performer(plan(), shard(), workspace)
    claims = TaskCall("claims", "train", {"by": 1e-9}, apply=apply)
    with pytest.raises(FailedTaskError) as caught:
        performer.perform(assign(Phase.TRAIN, TRAIN, claims), model, out)
    assert caught.value.failure.task == "claims"
    assert "'value'" in caught.value.failure.message
    assert "trains: true" in caught.value.cure


def test_a_global_validation_after_training_does_not_undo_the_update(workspace: Path, model: Path, out: Path) -> None:
    Performer(plan(), shard(), workspace).perform(assign(Phase.TRAIN, TRAIN, GLOBAL), model, out)
    assert read_tensors(out)["value"] == [11.0]


def test_evaluating_writes_nothing(workspace: Path, model: Path, out: Path) -> None:
    update = Performer(plan(), shard(), workspace).perform(assign(Phase.EVALUATE, GLOBAL), model, out)
    assert not out.exists()
    assert (update.digest, update.num_samples, update.metrics) == ("", 10, {"validate": {"value": 10.0}})


def test_every_assignment_starts_from_its_model(workspace: Path, model: Path, out: Path) -> None:
    performer = Performer(plan(), shard(), workspace)
    digests = {performer.perform(assign(Phase.TRAIN, TRAIN), model, out).digest for _ in range(3)}
    assert len(digests) == 1


def test_random_draws_follow_the_seed(workspace: Path, model: Path, out: Path) -> None:
    performer = Performer(plan(), shard(), workspace)
    draws = []
    for seed in (4, 4, 2**63 - 1):
        random.seed()
        draws.append(
            performer.perform(assign(Phase.TRAIN, TaskCall("draw", "draw", trains=True), seed=seed), model, out).metrics
        )
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize(
    ("call", "error", "where", "said"),
    [
        (TaskCall("sum", "fail", trains=True), "ValueError", "max(numbers)", "max()"),
        (TaskCall("out", "leave", trains=True), "SystemExit", "raise SystemExit", "3"),
        (TaskCall("out", "drop", trains=True), "CancelledError", "raise asyncio", "a loop of its own"),
        (TaskCall("train", "train", {"bye": 2}, trains=True), "TypeError", "", "no argument 'bye'; did you mean 'by'?"),
        (TaskCall("train", "trian", trains=True), "", "", "'trian'"),
        (TaskCall("train", "_hidden", trains=True), "", "", "'_hidden'"),
        (TaskCall("train", "set_tensors", trains=True), "", "", "'set_tensors'"),
        (TaskCall("train", "seed", trains=True), "", "", "'seed'"),
        (TaskCall("shape", "shape", trains=True), "", "", "dict"),
        (TaskCall("words", "words", trains=True), "", "", "the metric 'loss' is low (str): could not convert"),
    ],
)
def test_what_a_task_does_wrong_is_told(  # noqa: PLR0917 (a table, and three fixtures)
    workspace: Path, model: Path, out: Path, call: TaskCall, error: str, where: str, said: str
) -> None:
    performer = Performer(plan(), shard(), workspace)
    with pytest.raises(FailedTaskError) as caught:
        performer.perform(assign(Phase.TRAIN, call), model, out)
    failure = caught.value.failure
    assert (failure.task, failure.error) == (call.name, error)
    assert f"{failure.file}:{failure.line}" == (line(where) if where else ":0")
    assert said in failure.message
    assert performer.perform(assign(Phase.TRAIN, TRAIN), model, out).metrics["train"]["value"] == 11


@pytest.mark.parametrize("kind", ["three", "none", "complex", "list", "matrix"])
def test_a_metric_that_is_no_number_is_named(workspace: Path, model: Path, out: Path, kind: str) -> None:
    with pytest.raises(FailedTaskError, match=r"task 'check': the metric 'dice' is .*a metric is one number"):
        Performer(plan(), shard(), workspace).perform(
            assign(Phase.EVALUATE, TaskCall("check", "metric", {"kind": kind})), model, out
        )


def test_a_metric_may_be_an_array_of_one(workspace: Path, model: Path, out: Path) -> None:
    call = TaskCall("check", "metric", {"kind": "one"})
    update = Performer(plan(), shard(), workspace).perform(assign(Phase.EVALUATE, call), model, out)
    assert update.metrics["check"]["dice"] == 0.5


@pytest.mark.parametrize("method", ["initialise", "begin", "get_tensors", "set_tensors"])
def test_a_runner_that_lacks_a_method_is_refused_at_once(workspace: Path, method: str) -> None:
    (workspace / "src/model.py").write_text(CODE.replace(f"def {method}(", f"def other_{method}("))
    with pytest.raises(TaskError, match=f"'src.model:Runner': the class Runner has no '{method}'") as caught:
        Performer(plan(), shard(), workspace)
    assert "TaskRunner" in caught.value.cure


def test_a_loader_that_lacks_something_is_refused_at_once(workspace: Path) -> None:
    text = "\nclass Loader:\n    def __init__(self, shard):\n        self.num_train = 1\n"
    (workspace / "src/model.py").write_text(CODE + text)
    with pytest.raises(TaskError, match="the class Loader has no 'num_validate', 'train_batches', 'validate_batches'"):
        Performer(plan(loader=Component(template="src.model:Loader")), shard(), workspace)


def test_a_loader_may_count_with_numbers_of_numpy(workspace: Path, out: Path) -> None:
    text = """
class Loader:
    def __init__(self, shard):
        self.num_train = self.num_validate = np.int64(5)
    train_batches = validate_batches = None
"""
    (workspace / "src/model.py").write_text(CODE + text)
    performer = Performer(plan(loader=Component(template="src.model:Loader")), shard(), workspace)
    update = performer.perform(assign(Phase.INITIALISE), None, out)
    assert json.dumps(update.num_samples) == "5"


def test_a_function_that_is_misspelt_has_a_cure(workspace: Path, model: Path, out: Path) -> None:
    with pytest.raises(FailedTaskError) as caught:
        Performer(plan(), shard(), workspace).perform(
            assign(Phase.TRAIN, TaskCall("train", "trian", trains=True)), model, out
        )
    assert caught.value.cure == "did you mean 'train'?"


def test_a_model_that_does_not_fit_is_told(workspace: Path, tmp_path: Path, out: Path) -> None:
    write_tensors(tmp_path / "other", {"weight": np.zeros(2)})
    with pytest.raises(FailedTaskError) as caught:
        Performer(plan(), shard(), workspace).perform(assign(Phase.TRAIN, TRAIN), tmp_path / "other", out)
    failure = caught.value.failure
    assert (failure.step, failure.error, failure.message) == ("loading the model", "KeyError", "'value'")
    assert f"{failure.file}:{failure.line}" == line("raise KeyError")


def test_a_damaged_model_file_is_told(workspace: Path, tmp_path: Path, out: Path) -> None:
    (tmp_path / "damaged").write_bytes(b"nothing useful")
    with pytest.raises(TensorError):
        Performer(plan(), shard(), workspace).perform(assign(Phase.TRAIN, TRAIN), tmp_path / "damaged", out)


def test_a_missing_model_and_missing_training_are_told(workspace: Path, model: Path, out: Path) -> None:
    performer = Performer(plan(), shard(), workspace)
    with pytest.raises(TaskError, match="without a model"):
        performer.perform(assign(Phase.TRAIN, TRAIN), None, out)
    with pytest.raises(TaskError, match="no task of the training phase trains"):
        performer.perform(assign(Phase.TRAIN, LOCAL), model, out)


@pytest.mark.parametrize(
    ("runner", "loader", "told"),
    [
        (
            Component(template="src.model:Runner", settings={"strat": 1.0}),
            None,
            r"TypeError: there is no setting 'strat'; did you mean 'start'\?",
        ),
        (Component(template="src.model:Walker"), None, "the task runner 'src.model:Walker'.*no 'Walker'"),
        (Component(template="src.modell:Runner"), None, "src.modell"),
        (
            Component(template="src.model:Runner", settings={"start": -1.0}),
            None,
            r"ValueError: start below zero \(src/",
        ),
        (Component(template="src.model:Runner", settings={"begin": 1}), None, "TypeError.*'begin'"),
        (None, Component(template="src.model:NumpyLoader", settings={"batch_size": 0}), "the data loader.*batch_size"),
    ],
)
def test_parts_that_cannot_be_built_are_told(
    workspace: Path, runner: Component | None, loader: Component | None, told: str
) -> None:
    with pytest.raises(TaskError, match=told):
        Performer(plan(runner, loader), shard(), workspace)


def test_a_mistake_in_the_code_is_told_with_its_file(workspace: Path) -> None:
    (workspace / "src/model.py").write_text("def broken(:\n")
    with pytest.raises(TaskError, match=r"SyntaxError.*model\.py, line 1"):
        Performer(plan(), shard(), workspace)


def test_two_workspaces_called_src_do_not_mix(tmp_path: Path, model: Path, out: Path) -> None:
    performers = [
        Performer(plan(), shard(), write_workspace(tmp_path / f"workspace-{step}", step)) for step in (1.0, 100.0)
    ]
    values = [
        performer.perform(assign(Phase.TRAIN, TRAIN), model, out).metrics["train"]["value"]
        for performer in (*performers, *performers)
    ]
    assert values == [11, 110, 11, 110]


def test_nothing_is_left_behind(workspace: Path, model: Path, out: Path) -> None:
    path, modules = list(sys.path), {name for name in sys.modules if name.partition(".")[0] == "src"}
    Performer(plan(), shard(), workspace).perform(assign(Phase.TRAIN, TRAIN), model, out)
    assert sys.path == path
    assert {name for name in sys.modules if name.partition(".")[0] == "src"} == modules
    assert not list(workspace.rglob("__pycache__"))


# ---- compressed updates -------------------------------------------------------------------------------------------


def compressed(workspace: Path, template: str = "random_k") -> Performer:
    part = CompressionPipeline(template=template, settings={"fraction": 1.0} if template == "random_k" else {})
    return Performer(plan().model_copy(update={"compression_pipeline": part}), shard(), workspace)


def test_a_compressed_update_is_the_difference_to_the_given_model(workspace: Path, model: Path, out: Path) -> None:
    update = compressed(workspace).perform(assign(Phase.TRAIN, TRAIN, GLOBAL), model, out)
    assert {name: array.tolist() for name, array in read_tensors(out).items()} == {"value#value": [1.0]}
    assert update.digest == file_digest(out)


def test_the_initial_model_is_never_compressed(workspace: Path, out: Path) -> None:
    compressed(workspace).perform(assign(Phase.INITIALISE, seed=8), None, out)
    assert read_tensors(out)["value"] == [8.0]


def test_what_an_update_left_out_is_in_that_of_the_next_round(workspace: Path, model: Path, out: Path) -> None:
    performer = compressed(workspace, "bfloat16")
    step = TaskCall("train", "train", {"by": 1 + 2.0**-9}, trains=True)  # after 1 the next bfloat16 is 1 + 2**-7

    def sent(round_number: int) -> float:
        performer.perform(Assignment(round_number, Phase.TRAIN, "north", (step,), "", 5), model, out)
        return float(read_tensors(out)["value#value"][0])

    assert [sent(number) for number in (1, 1, 2, 2, 3, 3, 4)] == [1, 1, 1, 1, 1 + 2.0**-7, 1 + 2.0**-7, 1]


def test_a_model_that_cannot_be_compressed_is_told(workspace: Path, model: Path, out: Path) -> None:
    step = TaskCall("train", "train", {"by": 1e6}, trains=True)
    with pytest.raises(FailedTaskError) as caught:
        compressed(workspace, "float16").perform(assign(Phase.TRAIN, step), model, out)
    failure = caught.value.failure
    assert (failure.task, failure.error) == ("train", "TensorError")
    assert "'value'" in failure.message


def test_a_compression_that_cannot_be_built_is_told(workspace: Path) -> None:
    part = CompressionPipeline(template="src.model:none")
    with pytest.raises(FailedTaskError) as caught:
        Performer(plan().model_copy(update={"compression_pipeline": part}), shard(), workspace)
    failure = caught.value.failure
    assert (failure.step, failure.error) == ("the compression 'src.model:none'", "PlanError")


def given(name: str) -> TaskCall:
    return TaskCall(name, "validate", apply=f"file:given/{name}.safetensors")


def test_a_validation_looks_at_a_given_model_and_the_next_task_at_its_own(
    workspace: Path, model: Path, out: Path
) -> None:
    (workspace / "given").mkdir()
    for name, value in (("one", 1.0), ("two", 2.0)):
        write_tensors(workspace / "given" / f"{name}.safetensors", {"value": np.array([value])})
    calls = (given("one"), LOCAL, TRAIN, given("two"), GLOBAL)
    update = Performer(plan(), shard(), workspace).perform(assign(Phase.TRAIN, *calls), model, out)
    values = {task: metrics["value"] for task, metrics in update.metrics.items()}
    assert values == {"one": 1.0, "check": 10.0, "train": 11.0, "two": 2.0, "validate": 10.0}
    assert read_tensors(out)["value"] == np.array([11.0])


def test_a_given_model_that_is_not_there_is_named(workspace: Path, model: Path, out: Path) -> None:
    with pytest.raises(TaskError, match=r"the workspace has no model 'given/one\.safetensors'"):
        Performer(plan(), shard(), workspace).perform(assign(Phase.EVALUATE, given("one")), model, out)


def test_a_given_model_outside_of_the_workspace_is_not_there(workspace: Path, model: Path, out: Path) -> None:
    call = TaskCall("out", "validate", apply=f"file:../{model.name}")
    with pytest.raises(TaskError, match="the workspace has no model"):
        Performer(plan(), shard(), workspace).perform(assign(Phase.EVALUATE, call), model, out)


ROUNDS = """

class Scheduled(Runner):
    def train(self, round, rounds, by=1.0):
        self.value = self.value + by * round / rounds
        return TaskResult(1, {"round": round, "rounds": rounds})

    def anything(self, **given):
        return TaskResult(1, {"given": len(given)})
"""


def test_a_task_is_given_the_round_if_it_has_a_parameter_for_it(workspace: Path, model: Path, out: Path) -> None:
    (workspace / "src/model.py").write_text(CODE + ROUNDS)
    performer = Performer(plan(Component(template="src.model:Scheduled")), shard(), workspace)
    calls = (TaskCall("free", "anything"), TaskCall("train", "train", {"by": 2.0}, trains=True))
    update = performer.perform(
        assign(Phase.TRAIN, *calls, TaskCall("fixed", "train", {"rounds": 3}, trains=True)), model, out
    )
    assert update.metrics["free"] == {"given": 0}
    assert update.metrics["train"] == {"round": 3, "rounds": 10}
    assert update.metrics["fixed"] == {"round": 3, "rounds": 3}
    assert read_tensors(out)["value"] == [10.0 + 2.0 * 3 / 10 + 1.0]
