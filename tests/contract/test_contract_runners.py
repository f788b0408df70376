"""What every task runner and data loader must do, whatever the framework."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.errors import TensorError
from openfl_like.frameworks.numpy import NumpyLoader, NumpyRunner, Tensors
from openfl_like.frameworks.runner import RunnerContext
from openfl_like.frameworks.torch import TorchLoader, TorchRunner

pytestmark = pytest.mark.torch

Runner = NumpyRunner | TorchRunner


def shard() -> ArrayShard:
    random = np.random.default_rng(0)
    samples = random.normal(size=(50, 3)).astype(np.float32)
    data = Dataset(samples, (samples @ [1.0, -2.0, 0.5] > 0).astype(np.int64))
    return ArrayShard({"train": data, "validate": data}, "random numbers", (-10.0, 10.0), classes=2)


class NumpyModel(NumpyRunner):
    def build_model(self, random: np.random.Generator) -> Tensors:
        return {"w": random.normal(size=3).astype(np.float32), "b": np.zeros((), dtype=np.float32)}

    def predict(self, model: Tensors, samples: np.ndarray) -> np.ndarray:
        scores: np.ndarray = samples @ model["w"] + model["b"]
        return scores

    def gradient(self, model: Tensors, samples: np.ndarray, targets: np.ndarray) -> tuple[float, Tensors]:
        scores = self.predict(model, samples)
        error = (1 / (1 + np.exp(-scores)) - targets) / len(targets)
        loss = float(np.mean(np.logaddexp(0, scores) - targets * scores))
        return loss, {"w": samples.T @ error, "b": error.sum()}


class TorchModel(TorchRunner):
    def build_model(self) -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Linear(3, 5),
            torch.nn.BatchNorm1d(5),
            torch.nn.Dropout(0.2),
            torch.nn.ReLU(),
            torch.nn.Linear(5, 1),
        )

    def build_optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def numpy_runner(opt_treatment: str = "RESET") -> Runner:
    return NumpyModel(NumpyLoader(shard(), 16), RunnerContext(opt_treatment=opt_treatment), lr=0.1, momentum=0.9)


def torch_runner(opt_treatment: str = "RESET") -> Runner:
    return TorchModel(TorchLoader(shard(), 16), RunnerContext(opt_treatment=opt_treatment))


Build = Callable[..., Runner]
both = pytest.mark.parametrize("build", [numpy_runner, torch_runner])


def bits(runner: Runner) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in runner.get_tensors().items()}


def copied(runner: Runner) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in runner.get_tensors().items()}


@both
def test_set_after_get_changes_no_bit(build: Build) -> None:
    one, other = build(), build()
    one.initialise(1)
    other.initialise(2)
    assert bits(one) != bits(other)
    other.set_tensors(one.get_tensors())
    assert bits(one) == bits(other)


@both
def test_set_copies(build: Build) -> None:
    runner = build()
    runner.initialise(1)
    given = copied(runner)
    runner.set_tensors(given)
    before = bits(runner)
    for array in given.values():
        array[...] = 7
    assert bits(runner) == before


@both
def test_the_seed_makes_the_model(build: Build) -> None:
    models = []
    for seed in (5, 5, 6):
        runner = build()
        runner.initialise(seed)
        models.append(bits(runner))
    assert models[0] == models[1] != models[2]


@both
def test_the_seed_makes_the_training(build: Build) -> None:
    runner = build()
    runner.initialise(1)
    start = copied(runner)
    ends = []
    for seed in (5, 5, 6, 2**63 - 1):
        runner.begin(seed)
        runner.set_tensors(start)
        runner.train(epochs=2)
        ends.append(bits(runner))
    assert ends[0] == ends[1] != ends[2]


@both
@pytest.mark.parametrize(("opt_treatment", "same"), [("RESET", True), ("CONTINUE_LOCAL", False)])
def test_the_optimizer_forgets_or_remembers(build: Build, opt_treatment: str, same: bool) -> None:  # noqa: FBT001 - a parameter
    runner = build(opt_treatment)
    runner.initialise(1)
    start = copied(runner)
    ends = []
    for _ in range(2):
        runner.begin(5)
        runner.set_tensors(start)
        runner.train()
        ends.append(bits(runner))
    assert (ends[0] == ends[1]) is same


@both
def test_a_new_model_has_no_momentum(build: Build) -> None:
    fresh, used = build("CONTINUE_LOCAL"), build("CONTINUE_LOCAL")
    used.initialise(3)
    used.train(epochs=2)
    ends = []
    for runner in (fresh, used):
        runner.initialise(1)
        runner.begin(5)
        runner.train()
        ends.append(bits(runner))
    assert ends[0] == ends[1]


@both
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda tensors: tensors.update(extra=np.zeros(1)), "'extra' is unknown"),
        (lambda tensors: tensors.popitem(), "is missing"),
        (lambda tensors: tensors.update({min(tensors): np.zeros(99)}), r"float64\[99\], not float32"),
        (lambda tensors: tensors.update({min(tensors): tensors[min(tensors)].astype(np.float64)}), "float64"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    build: Build, change: Callable[[dict[str, np.ndarray]], object], told: str
) -> None:
    runner = build()
    runner.initialise(1)
    before, tensors = bits(runner), copied(runner)
    change(tensors)
    with pytest.raises(TensorError, match=told):
        runner.set_tensors(tensors)
    assert bits(runner) == before


@both
def test_training_learns_and_is_counted(build: Build) -> None:
    runner = build()
    runner.initialise(1)
    runner.begin(0)
    before = runner.validate()
    trained = runner.train(epochs=10)
    after = runner.validate()
    assert trained.num_samples == after.num_samples == 50
    assert after.metrics["loss"] < before.metrics["loss"]
    assert after.metrics["auc"] > 0.95
    assert after.metrics.keys() == {"loss", "accuracy", "auc"}


@both
def test_epochs_differ_in_order_and_each_has_every_sample(build: Build) -> None:
    loader = build().loader
    first, again, other = ([batch[0] for batch in loader.train_batches(3, epoch)] for epoch in (0, 0, 1))
    assert [len(batch) for batch in first] == [16, 16, 16, 2]
    whole = [np.concatenate([np.asarray(batch) for batch in batches]) for batches in (first, again, other)]
    assert np.array_equal(whole[0], whole[1])
    assert not np.array_equal(whole[0], whole[2])
    assert np.array_equal(np.sort(whole[0], axis=0), np.sort(whole[2], axis=0))


@both
def test_validation_batches_keep_their_order(build: Build) -> None:
    loader = build().loader
    samples = np.concatenate([np.asarray(batch[0]) for batch in loader.validate_batches()])
    assert np.array_equal(samples, shard().get_dataset("validate").samples)
    assert loader.num_validate == loader.num_train == 50
