"""Mistakes that are planted into a healthy workspace, one each: the dry run names every one, without any data."""

import builtins
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from openfl_like.cli.main import fx
from openfl_like.error_meanings import BY_CODE

pytestmark = pytest.mark.process
ASSETS = Path(__file__).parents[1] / "assets" / "dry_run"
CODE = {"numpy": "src/scores.py", "torch": "src/images.py"}


@dataclass(frozen=True, slots=True)
class Planted:
    """A mistake.

    Attributes:
        found: The kind of finding that it must lead to, or the code with which the command refuses.
        edits: File -> what stands in it, and what is put in its place; a pair of empty texts is appended.
        workspace: Into which workspace.
        severity: Of the finding.
        words: Some words that the finding must have, in its message or its place.
        options: Of the command.
    """

    found: str
    edits: Mapping[str, Sequence[tuple[str, str]]]
    workspace: str = "numpy"
    severity: str = "error"
    words: Sequence[str] = ()
    options: Sequence[str] = field(default=())


def code(*edits: tuple[str, str], workspace: str = "numpy") -> dict[str, Sequence[tuple[str, str]]]:
    return {CODE[workspace]: edits}


def plan(*edits: tuple[str, str]) -> dict[str, Sequence[tuple[str, str]]]:
    return {"plan.yaml": edits}


LOSS = '{"loss": float(np.mean(losses)), "accuracy": accuracy}'
TRAINED = '{"loss": float(np.mean(losses))})'
TENSORS = 'return {"bias": self._bias, "weights": self._weights}'
STEP = "self._weights -= (self._lr * samples.T @ error).astype(np.float32)"
FIRST = "losses = []\n        for samples, targets in self._loader.train_batches"
SEEN = "losses, right = [], 0"
AT_BEGIN = "self._seed = seed"

BUGS = {
    "a dependency that is not here": Planted(
        "module_missing",
        code(("import numpy as np\n", "import numpy as np\nimport no_such_package\n")),
        words=["no_such_package", "src/scores.py:6"],
    ),
    "a dependency that no site gets": Planted(
        "package_not_locked",
        code(("import numpy as np\n", "import numpy as np\nimport pytest\n")),
        severity="warning",
        words=["pytest", "src/scores.py:6"],
    ),
    "a dependency that is asked for later on": Planted(
        "module_missing",
        code(("    def begin(", "    def export(self) -> None:\n        import no_such_package\n\n    def begin(")),
        severity="warning",
        words=["no_such_package"],
    ),
    "a mistake of Python": Planted(
        "not_loaded", code(("self._seed = seed", "self._seed = = seed")), words=["SyntaxError"]
    ),
    "a setting that the runner does not know": Planted(
        "not_loaded", plan(("settings: {lr: 0.1}", "settings: {rate: 0.1}")), words=["rate"]
    ),
    "labels that reach further than the outputs": Planted(
        "task_failed",
        code(
            ("context.sample_shape[0], context.classes)", "context.sample_shape[0], 2)"),
            ("np.zeros(context.classes, np.float32)", "np.zeros(2, np.float32)"),
        ),
        words=["IndexError", "src/scores.py", "train"],
    ),
    "another shape of samples": Planted(
        "task_failed",
        code(("np.zeros((context.sample_shape[0],", "np.zeros((5,")),
        words=["ValueError", "src/scores.py"],
    ),
    "a runner that raises in the evaluation only": Planted(
        "task_failed",
        code((SEEN, "raise KeyError('no such column')")),
        words=["KeyError", "evaluate", "validate"],
    ),
    "a task that returns nothing": Planted(
        "task_failed",
        code(("return TaskResult(self._loader.num_train, " + TRAINED, "self._seed = 0")),
        words=["NoneType", "train"],
    ),
    "a function that is misspelt in the plan": Planted(
        "E103",
        plan(("train: {function: train}", "train: {function: trian, trains: true}")),
        words=["trian"],
    ),
    "a metric that is no number": Planted(
        "metric_not_finite",
        code(('"accuracy": accuracy', '"accuracy": float("nan")')),
        words=["accuracy", "stop.any[0].metric"],
    ),
    "a metric that the plan stops on and nobody reports": Planted(
        "metric_missing",
        plan(("{metric: accuracy, min: 0.99}", "{metric: f1, min: 0.99}")),
        words=["f1", "stop.any[0].metric", "accuracy, loss"],
    ),
    "a metric that is text": Planted(
        "task_failed",
        code((LOSS, '{"loss": "low"}')),
        words=["loss", "low", "evaluate"],
    ),
    "a metric with an oversized name": Planted(
        "task_failed",
        code((LOSS, '{"loss": 1.0, "accuracy": 0.5, "x" * 5000: 1.0}')),
        words=["longer than 200"],
    ),
    "a loss that is not finite": Planted(
        "not_finite",
        code((STEP, "self._weights -= (samples.T @ error / 0.0).astype(np.float32)")),
        words=["holds a value that is not finite", "train"],
    ),
    "a name that no tensor may have": Planted(
        "task_failed",
        code((TENSORS, 'return {"__metadata__": self._bias, "weights": self._weights}')),
        words=["__metadata__"],
    ),
    "a tensor that an update lacks": Planted(
        "tensors_differ",
        code(
            (TENSORS, 'return {"weights": self._weights} | ({} if self._losses else {"bias": self._bias})'),
            (AT_BEGIN, "self._seed = seed\n        self._losses = []"),
            ("self._weights = np.zeros", "self._losses = []\n        self._weights = np.zeros"),
            (
                "losses.append(loss)\n            error",
                "self._losses.append(loss)\n            losses.append(loss)\n            error",
            ),
        ),
        words=["bias", "missing"],
    ),
    "a tensor that comes with training": Planted(
        "tensors_differ",
        code(
            (TENSORS, 'return {"bias": self._bias, "weights": self._weights} | self._more'),
            (AT_BEGIN, "self._seed = seed\n        self._more = {}"),
            ("self._weights = np.zeros", "self._more = {}\n        self._weights = np.zeros"),
            (FIRST, 'self._more = {"momentum": self._bias}\n        ' + FIRST),
        ),
        words=["momentum", "unexpected"],
    ),
    "a dtype that changes": Planted(
        "tensors_differ",
        code((STEP, "self._weights = self._weights - self._lr * samples.T @ error")),
        words=["weights", "F64"],
    ),
    "a shape that changes between the rounds": Planted(
        "tensors_differ",
        code(
            ("def train(self) -> TaskResult:", "def train(self, round: int) -> TaskResult:"),
            (
                "return TaskResult(self._loader.num_train",
                "self._bias = self._bias[: 4 - round]\n        return TaskResult(self._loader.num_train",
            ),
        ),
        words=["bias", "round 2"],
    ),
    "a model that is not trained": Planted(
        "not_trained",
        code((STEP, "pass"), ("self._bias -= (self._lr * error.sum(axis=0)).astype(np.float32)", "pass")),
        words=["round 1, train"],
    ),
    "a learning rate of nothing": Planted("not_trained", plan(("{lr: 0.1}", "{lr: 0.0}"))),
    "an update that stands for no samples": Planted(
        "no_samples",
        code(("return TaskResult(self._loader.num_train,", "return TaskResult(0,")),
    ),
    "randomness without a seed": Planted(
        "not_repeatable",
        code((FIRST, "self._bias += np.random.default_rng().normal(size=3).astype(np.float32)\n        " + FIRST)),
        severity="warning",
    ),
    "an initial model without a seed": Planted(
        "initial_not_repeatable",
        code(("random = np.random.default_rng(seed)", "random = np.random.default_rng()")),
        severity="warning",
    ),
    "a loop that does not end": Planted(
        "not_over",
        code((SEEN, "losses, right = [], 0\n        while True:\n            right += 1")),
        words=["evaluate", "after 3 s"],
        options=["--limit", "3"],
    ),
    "a process that ends itself": Planted(
        "process_ended",
        code((SEEN, "import os\n\n        os._exit(3)")),
        words=["evaluate"],
    ),
    "a file of the developer's machine": Planted(
        "task_failed",
        code((FIRST, 'np.loadtxt("{home}/weights.txt")\n        ' + FIRST)),
        words=["PermissionError", "src/scores.py"],
    ),
    "the name of a file of the developer's machine": Planted(
        "local_file",
        code((FIRST, 'np.loadtxt("{home}/weights.txt")\n        ' + FIRST)),
        words=["weights.txt"],
    ),
    "a file of the workspace that stays at home": Planted(
        "task_failed",
        code((FIRST, 'open("assets/scale.json").close()\n        ' + FIRST)) | {"assets/scale.json": [("", "{}")]},
        words=["FileNotFoundError"],
    ),
    "a batch that is larger than the data": Planted(
        "not_loaded",
        plan(("batch_size: 16", "batch_size: 400, drop_last: true")),
        words=["fill no batch of 400"],
    ),
    "a deadline that is shorter than a round": Planted(
        "deadline_short",
        plan(("model_store:", "deadline: {round_s: 0.000001}\nmodel_store:")),
        words=["deadline.round_s"],
    ),
    "a training that is cut short at a batch": Planted(
        "deadline_short",
        plan(("model_store:", "deadline: {train_s: 0.000001}\nmodel_store:")),
        words=["deadline.train_s"],
        severity="warning",
    ),
    "a site that takes no model of that size": Planted(
        "model_too_large",
        {"shards/ulm.yaml": [("template: invented", "template: invented\nlimits: {model_gb: 0.00000001}")]},
        words=["ulm", "10 bytes"],
    ),
    "a site that is not there": Planted(
        "site_absent",
        plan(("[bern, ulm, wien]", "[bern, ulm, zug]")),
        words=["zug"],
        options=["--shard", "bern={workspace}/shards/bern.yaml", "--shard", "ulm={workspace}/shards/ulm.yaml"],
    ),
    "sites whose data has different shapes": Planted(
        "shapes_differ",
        {"shards/ulm.yaml": [("sample_shape: [4]", "sample_shape: [6]")]},
        words=["samples [6], targets []: ulm"],
    ),
    "a rule of aggregation that wants more sites": Planted(
        "not_combined",
        plan(("model_store:", "aggregation: {template: trimmed_mean, settings: {fraction: 0.1}}\nmodel_store:")),
    ),
    "a network for another shape": Planted(
        "task_failed",
        code(("nn.Linear(36,", "nn.Linear(64,"), workspace="torch"),
        "torch",
        words=["shapes", "samples float32[16, 6, 6]"],
    ),
    "a loss that wants numbers": Planted(
        "task_failed",
        code(
            ("cross_entropy(outputs, targets)", "binary_cross_entropy_with_logits(outputs[:, 0], targets)"),
            workspace="torch",
        ),
        "torch",
    ),
    "an optimizer with a bad setting": Planted(
        "task_failed",
        code(("lr=self._lr)", "lr=self._lr, momentum=-1)"), workspace="torch"),
        "torch",
        words=["momentum"],
    ),
}


def workspace_with(bug: Planted | None, folder: Path, name: str = "numpy") -> Path:
    """Copy a healthy workspace, plant a mistake in it, and return its plan."""
    workspace = folder / "workspace"
    shutil.copytree(ASSETS / (name if bug is None else bug.workspace), workspace)
    for file, edits in (bug.edits if bug is not None else {}).items():
        path = workspace / file
        path.parent.mkdir(exist_ok=True)
        text = path.read_text() if path.exists() else ""
        for old, new in edits:
            assert not old or text.count(old) == 1, f"{file} has {old!r} {text.count(old)} times"
            text = text.replace(old, new.replace("{home}", str(folder / "home"))) if old else text + new
        path.write_text(text)
    return workspace / "plan.yaml"


def tried(plan_file: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """Give the command; return its exit code and its document.

    Raises:
        FederationError: If the plan is refused before anything is tried.
    """
    filled = [option.replace("{workspace}", str(plan_file.parent)) for option in options]
    result = CliRunner().invoke(fx, ["simulate", str(plan_file), "--dry-run", "--json", *filled], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    data: dict[str, Any] = json.loads(result.stdout)["data"]
    return int(result.return_value), data


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_a_healthy_workspace_passes(name: str, tmp_path: Path) -> None:
    if name == "torch":
        pytest.importorskip("torch")
    code, data = tried(workspace_with(None, tmp_path, name))
    assert (code, data["passed"], data["findings"], data["rounds"]) == (0, True, [], 2)
    assert data["forecast"]["round_s"] > 0
    assert {figure["name"] for figure in data["figures"]} >= {"model", "memory_worker", "to_sites_per_round"}


def test_the_code_never_runs_in_the_process_of_the_command(tmp_path: Path) -> None:
    mark = "import builtins\n\nbuiltins.planted_by_a_workspace = True\nimport numpy as np\n"
    plan_file = workspace_with(Planted("", code(("import numpy as np\n", mark))), tmp_path)
    assert tried(plan_file)[1]["rounds"] == 2
    assert not hasattr(builtins, "planted_by_a_workspace")
    assert "src.scores" not in sys.modules


@pytest.mark.parametrize(
    "section",
    [
        "compression_pipeline: {template: top_k, settings: {fraction: 0.5}}\naggregation: {template: median}",
        "compression_pipeline: {template: float16}\naggregation: {template: trimmed_mean, settings: {fraction: 0.34}}",
        "evaluation_selector: {template: random, settings: {count: 1}}\nserver_optimizer: {template: fedavgm}",
        "selector: {template: random, settings: {fraction: 0.5}}\nassigner: {template: static, settings: {groups: "
        "[{name: all, collaborators: [bern, ulm], tasks: [train, validate]}, "
        "{name: judge, collaborators: [wien], tasks: [validate]}]}}",
    ],
)
def test_whatever_a_plan_can_say_is_tried(section: str, tmp_path: Path) -> None:
    plan_file = workspace_with(Planted("", plan(("model_store:", f"{section}\nmodel_store:"))), tmp_path)
    exit_code, data = tried(plan_file)
    assert (exit_code, data["findings"], data["rounds"]) == (0, [], 2)


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_mistake_is_caught(bug: Planted, tmp_path: Path) -> None:
    if bug.workspace == "torch":
        pytest.importorskip("torch")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "weights.txt").write_text("1 2 3")
    plan_file = workspace_with(bug, tmp_path)
    if bug.found in BY_CODE:
        with pytest.raises(BY_CODE[bug.found]) as refused:
            tried(plan_file, *bug.options)
        assert all(word in str(refused.value) for word in bug.words)
        return
    exit_code, data = tried(plan_file, *bug.options)
    caught = [one for one in data["findings"] if one["kind"] == bug.found]
    assert caught, data["findings"]
    (first, *_) = caught
    assert first["severity"] == bug.severity
    assert (exit_code, data["passed"]) == ((1, False) if bug.severity == "error" else (0, True))
    assert first["cure"]
    told = f"{first['message']} {first['where']}"
    for word in bug.words:
        assert word in told


def test_enough_mistakes_are_planted() -> None:
    """The promise is eighteen of twenty; each of the table has to be caught."""
    assert len(BUGS) >= 20
