"""The metrics that a plan names: their values, and what a task says that cannot have them."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfl_like import registry
from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.errors import TaskError, TensorError
from openfl_like.federation.task import Assignment, Phase, TaskCall
from openfl_like.frameworks.metrics.base import ChosenMetrics, Metric
from openfl_like.frameworks.metrics.classifiers import Accuracy, Auc, F1Macro, TopKAccuracy
from openfl_like.frameworks.metrics.regression import R2, MeanAbsoluteError, MeanSquaredError
from openfl_like.frameworks.perform import Performer
from openfl_like.plan.schema import Plan
from openfl_like.tensors.container import write_tensors

CLASSES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)
WORKSPACE = """
import numpy as np
from openfl_like.frameworks.numpy import NumpyRunner
from openfl_like.frameworks.runner import TaskResult

class Line(NumpyRunner):
    def build_model(self, random):
        return {"w": np.zeros(1)}
    def predict(self, model, samples):
        return samples @ model["w"]
    def gradient(self, model, samples, targets):
        error = self.predict(model, samples) - targets
        return float(np.mean(error**2)), {"w": 2 * samples.T @ error / len(targets)}
    def look(self):
        return TaskResult(3, {"own": 0.5})

class Worst:
    mode = "min"
    def __init__(self, power=1):
        self.power = power
    def measure(self, outputs, targets):
        return float(np.max(np.abs(outputs - targets)) ** self.power)

class NoMode:
    def measure(self, outputs, targets):
        return 0.0
"""


@given(CLASSES)
def test_f1_is_the_mean_of_the_harmonic_means(pairs: list[tuple[int, int]]) -> None:
    said, true = np.array([one for one, _ in pairs]), np.array([two for _, two in pairs])
    each = []
    for label in sorted({*said.tolist(), *true.tolist()}):
        right = int(((said == label) & (true == label)).sum())
        precision = right / max(1, int((said == label).sum()))
        recall = right / max(1, int((true == label).sum()))
        each.append(2 * precision * recall / (precision + recall) if right else 0.0)
    assert F1Macro().measure(np.eye(4)[said], true) == pytest.approx(sum(each) / len(each), abs=1e-12)


def test_top_k_counts_those_among_the_greatest_and_ties_go_to_the_lower_class() -> None:
    scores = np.array([[3.0, 2, 1, 0], [0, 1, 2, 3], [1, 1, 1, 1]])
    assert TopKAccuracy(k=2).measure(scores, np.array([1, 1, 2])) == pytest.approx(1 / 3)
    assert TopKAccuracy(k=1).measure(scores, np.array([0, 3, 0])) == 1.0
    with pytest.raises(TensorError, match="always all of them"):
        TopKAccuracy(k=4).measure(scores, np.array([0, 1, 2]))


def test_errors_of_numbers() -> None:
    outputs, targets = np.array([[1.0], [2.0], [4.0]]), np.array([1.0, 3.0, 2.0])
    assert MeanSquaredError().measure(outputs, targets) == pytest.approx(5 / 3)
    assert MeanAbsoluteError().measure(outputs, targets) == pytest.approx(1.0)
    assert R2().measure(outputs, targets) == pytest.approx(1 - 5 / 2)
    assert math.isnan(R2().measure(outputs, np.ones(3)))
    with pytest.raises(TensorError, match="the model's outputs have the shape"):
        MeanSquaredError().measure(np.zeros((3, 2)), targets)


@pytest.mark.parametrize("metric", [Accuracy(), TopKAccuracy(k=1), F1Macro(), Auc()])
def test_classes_are_asked_for_where_there_are_none(metric: Metric) -> None:
    with pytest.raises(TensorError, match="no numbers of classes"):
        metric.measure(np.zeros(3), np.zeros(3))


def test_a_metric_that_is_not_defined_is_left_out_and_one_that_does_not_fit_is_named() -> None:
    chosen = ChosenMetrics({"auc": Auc(), "right": Accuracy()})
    assert chosen.measure(np.array([1.0, -1.0]), np.array([1, 1])) == {"right": 0.5}
    with pytest.raises(TensorError, match="the metric 'auc': the model tells 3 classes apart"):
        chosen.measure(np.zeros((2, 3)), np.array([1, 2]))


def test_every_registered_metric_says_which_way_is_better() -> None:
    modes = {name: getattr(registry.resolve("metric", name), "mode", None) for name in registry.names("metric")}
    assert modes == {
        **dict.fromkeys(("accuracy", "top_k_accuracy", "f1_macro", "auc", "r2"), "max"),
        **dict.fromkeys(("mse", "mae"), "min"),
    }


def performed(folder: Path, function: str, metrics: list[object], targets: np.ndarray) -> dict[str, float]:
    (folder / "line.py").write_text(WORKSPACE)
    plan = Plan.model_validate(
        {
            "name": "line",
            "task_runner": {"template": "line:Line"},
            "data_loader": {"template": "numpy", "settings": {"batch_size": 2}},
            "tasks": {"validate": {"function": function, "trains": False, "metrics": metrics}},
        }
    )
    data = Dataset(np.arange(3.0).reshape(3, 1), targets)
    shard = ArrayShard({"train": data, "validate": data}, "a line", (0.0, 9.0))
    write_tensors(folder / "model.safetensors", {"w": np.ones(1)})
    performer = Performer(plan, shard, folder)
    call = TaskCall("validate", function, trains=False)
    update = performer.perform(
        Assignment(1, Phase.EVALUATE, "north", (call,), "", 5), folder / "model.safetensors", folder / "update"
    )
    return dict(update.metrics["validate"])


def test_a_task_has_the_metrics_of_the_plan_and_those_of_the_workspace(tmp_path: Path) -> None:
    chosen: list[object] = ["mae", {"template": "line:Worst", "name": "worst", "settings": {"power": 2}}]
    found = performed(tmp_path, "validate", chosen, np.array([0.0, 3.0, 2.0]))
    assert found == {"loss": pytest.approx(4 / 3), "mae": pytest.approx(2 / 3), "worst": pytest.approx(4.0)}


@pytest.mark.parametrize(
    ("function", "metrics", "told"),
    [
        ("validate", ["accuracy"], "the metric 'accuracy': the targets are float64"),
        ("look", ["mae"], "its function measures in a way of its own"),
        ("validate", ["line:NoMode"], "the metric 'NoMode': the class NoMode has no 'mode'"),
        ("validate", [{"template": "line:Worst", "settings": {"pover": 2}}], "did you mean 'power'"),
        ("validate", ["line:Missing"], "has no 'Missing'"),
    ],
)
def test_a_metric_that_cannot_be_had_fails_the_task(
    tmp_path: Path, function: str, metrics: list[object], told: str
) -> None:
    with pytest.raises(TaskError, match=told):
        performed(tmp_path, function, metrics, np.array([0.0, 3.0, 2.0]))


def test_a_function_of_its_own_may_report_what_the_plan_names(tmp_path: Path) -> None:
    found = performed(tmp_path, "look", [{"template": "line:Worst", "name": "own"}], np.array([0.0, 3.0, 2.0]))
    assert found == {"own": 0.5}
