"""What every task runner and data loader must do, whatever the framework.

A framework is imported where a runner of it is built: by a run that may (see tests/frameworks.py), and by no other.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import ml_dtypes
import numpy as np
import pytest

from openfl_like.aggregation.engine import Output, Recipe, UpdateFile, aggregate_files
from openfl_like.aggregation.rules import WeightedAverage
from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.errors import TensorError, UsageError
from openfl_like.federation.task import Assignment, Phase, Work
from openfl_like.frameworks.metrics.base import ChosenMetrics
from openfl_like.frameworks.metrics.classifiers import Auc, F1Macro
from openfl_like.frameworks.numpy import NumpyLoader, NumpyRunner, Tensors
from openfl_like.frameworks.runner import DataLoader, RunnerContext, TaskResult, TaskRunner
from openfl_like.tensors.container import read_tensors, write_tensors
from openfl_like.tensors.named import OPTIMIZER
from tests.frameworks import marks_of


class Runner(TaskRunner, Protocol):
    """What these tests ask besides the protocol."""

    loader: DataLoader[object]

    context: RunnerContext

    def train(self, epochs: int = 1) -> TaskResult: ...

    def validate(self) -> TaskResult: ...


def shard(rows: int = 50) -> ArrayShard:
    random = np.random.default_rng(0)
    samples = random.normal(size=(rows, 3)).astype(np.float32)
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


class NumpyMixed(NumpyModel):
    def build_model(self, random: np.random.Generator) -> Tensors:
        dtypes = (np.float16, ml_dtypes.bfloat16, np.float64)
        model: Tensors = {np.dtype(dtype).name: random.normal(size=(4, 3)).astype(dtype) for dtype in dtypes}
        return {**model, "count": np.zeros((), np.int64)}


def context(opt_treatment: str = "RESET") -> RunnerContext:
    return RunnerContext(opt_treatment=opt_treatment, sample_shape=(3,), classes=2)


def numpy_runner(opt_treatment: str = "RESET", rows: int = 50, kind: type[NumpyRunner] = NumpyModel) -> Runner:
    return kind(NumpyLoader(shard(rows), 16), context(opt_treatment), lr=0.1, momentum=0.9)  # type: ignore[return-value] # batches


def torch_runner(opt_treatment: str = "RESET", rows: int = 50, kind: str = "Net") -> Runner:
    from openfl_like.frameworks.torch import TorchLoader  # noqa: PLC0415 - see above
    from tests.contract import torch_models  # noqa: PLC0415 - see above

    made: Runner = getattr(torch_models, kind)(TorchLoader(shard(rows), 16), context(opt_treatment))
    return made


def keras_runner(opt_treatment: str = "RESET", rows: int = 50, kind: str = "Net") -> Runner:
    from tests.contract import keras_models  # noqa: PLC0415 - see above

    made: Runner = getattr(keras_models, kind)(NumpyLoader(shard(rows), 16), context(opt_treatment))
    return made


def jax_runner(opt_treatment: str = "RESET", rows: int = 50, kind: str = "Net") -> Runner:
    from tests.contract import jax_models  # noqa: PLC0415 - see above

    made: Runner = getattr(jax_models, kind)(NumpyLoader(shard(rows), 16), context(opt_treatment))
    return made


def sklearn_runner(opt_treatment: str = "RESET", rows: int = 50, dtype: str = "float64") -> Runner:
    from openfl_like.frameworks.sklearn import SklearnModel  # noqa: PLC0415 - see above

    params: dict[str, object] = {"loss": "log_loss", "learning_rate": "optimal", "alpha": 0.01}
    loader = NumpyLoader(shard(rows), 16)
    settings: dict[str, object] = {"estimator": "SGDClassifier", "params": params, "dtype": dtype}
    return SklearnModel(loader, context(opt_treatment), **settings)  # type: ignore[return-value, arg-type] # batches; settings come from a plan


Build = Callable[..., Runner]
BUILDS: dict[str, Build] = {
    "numpy": numpy_runner,
    "torch": torch_runner,
    "keras": keras_runner,
    "sklearn": sklearn_runner,
    "jax": jax_runner,
}
MIXED: dict[str, Build] = {
    "numpy": partial(numpy_runner, kind=NumpyMixed),
    "torch": partial(torch_runner, kind="Mixed"),
    "keras": partial(keras_runner, kind="Mixed"),
    "jax": partial(jax_runner, kind="Mixed"),
}
ADAPTIVE: dict[str, Build] = {
    "torch-adam": partial(torch_runner, kind="Adaptive"),
    "keras-adam": partial(keras_runner, kind="Adaptive"),
}


def each(builds: Mapping[str, Build]) -> pytest.MarkDecorator:
    """Gives a test every one of these, each in the run of its framework."""
    return pytest.mark.parametrize(
        "build", [pytest.param(build, id=name, marks=marks_of(name)) for name, build in builds.items()]
    )


every = each(BUILDS)
drawn = each({name: build for name, build in BUILDS.items() if name != "sklearn"})
with_dtypes = each({**MIXED, "sklearn": partial(sklearn_runner, dtype="float32")})
with_state = each({**BUILDS, **ADAPTIVE})


def bits(runner: TaskRunner) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in runner.get_tensors().items()}


def own_bits(runner: TaskRunner) -> dict[str, bytes]:
    """Without the optimizer's state."""
    return {name: data for name, data in bits(runner).items() if not name.startswith(OPTIMIZER)}


def copied(runner: TaskRunner) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in runner.get_tensors().items()}


def filled(like: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Values that a careless cast would change: of every dtype's full precision, counters beyond 2**53."""
    random = np.random.default_rng(seed)
    return {
        name: np.full(array.shape, 2**60 + seed, array.dtype)
        if array.dtype.kind == "i"
        else random.normal(size=array.shape).astype(array.dtype)
        for name, array in like.items()
    }


@every
def test_set_after_get_changes_no_bit(build: Build) -> None:
    one, other = build(), build()
    one.initialise(1)
    one.train()
    other.initialise(2)
    assert bits(one) != bits(other)
    other.set_tensors(one.get_tensors())
    assert bits(one) == bits(other)


@with_dtypes
def test_every_dtype_goes_round_bit_for_bit(build: Build, tmp_path: Path) -> None:
    runner = build()
    runner.initialise(1)
    given = filled(copied(runner), 5)
    runner.set_tensors(given)
    write_tensors(tmp_path / "update", runner.get_tensors(), sync=False)
    updates = [UpdateFile("site", tmp_path / "update", 3.0)]
    aggregate_files(Recipe(WeightedAverage()), updates, Output(tmp_path / "model", sync=False))
    back = read_tensors(tmp_path / "model")
    other = build()
    other.initialise(2)
    other.set_tensors(back)
    assert bits(other) == {name: array.tobytes() for name, array in given.items()} == bits(runner)
    assert {name: array.dtype for name, array in back.items()} == {name: array.dtype for name, array in given.items()}


@each(MIXED)
def test_the_dtypes_are_those_that_models_have(build: Build) -> None:
    dtypes = {array.dtype.name for array in build().get_tensors().values()}
    assert {"float16", "bfloat16", "float64", "int64"} <= dtypes


@every
def test_set_copies(build: Build) -> None:
    runner = build()
    runner.initialise(1)
    given = copied(runner)
    runner.set_tensors(given)
    before = bits(runner)
    for array in given.values():
        array[...] = 7
    assert bits(runner) == before


@every
def test_read_only_arrays_are_taken_and_stay(build: Build) -> None:
    runner = build()
    runner.initialise(1)
    given = copied(runner)
    for array in given.values():
        array.flags.writeable = False
    before = {name: array.tobytes() for name, array in given.items()}
    runner.set_tensors(given)
    runner.train()
    assert {name: array.tobytes() for name, array in given.items()} == before != bits(runner)


@drawn
def test_the_seed_makes_the_model(build: Build) -> None:
    models = []
    for seed in (5, 5, 6):
        runner = build()
        runner.initialise(seed)
        models.append(bits(runner))
    assert models[0] == models[1] != models[2]


@every
def test_the_seed_makes_the_training(build: Build) -> None:
    runner, another = build(), build()
    runner.initialise(1)
    start = copied(runner)
    ends = []
    for performer, seed in ((runner, 5), (runner, 5), (another, 5), (runner, 6), (runner, 2**63 - 1)):
        performer.begin(seed)
        performer.set_tensors(start)
        performer.train(epochs=2)
        ends.append(bits(performer))
    assert ends[0] == ends[1] == ends[2] != ends[3]


@with_state
def test_the_optimizer_forgets(build: Build) -> None:
    runner = build("RESET")
    runner.initialise(1)
    start = copied(runner)
    ends = []
    for _ in range(2):
        runner.begin(5)
        runner.set_tensors(start)
        runner.train()
        ends.append(bits(runner))
    assert ends[0] == ends[1]
    assert not any(name.startswith(OPTIMIZER) for name in start)


@with_state
@pytest.mark.parametrize("opt_treatment", ["CONTINUE_LOCAL", "CONTINUE_GLOBAL"])
def test_an_optimizer_that_goes_on_is_among_the_tensors(build: Build, opt_treatment: str) -> None:
    whole, first, second = (build(opt_treatment) for _ in range(3))
    for runner in (whole, first, second):
        runner.initialise(1)
    assert bits(first) == bits(whole)
    assert any(name.startswith(OPTIMIZER) for name in bits(whole))
    for runner in (whole, first):
        runner.begin(5)
        runner.train()
    second.train(epochs=3)
    for runner in (whole, second):
        runner.begin(6)
        runner.set_tensors(copied(first))  # the same that it has, or what another one has come to
        runner.train()
    assert bits(second) == bits(whole)


@with_state
def test_a_shared_optimizer_that_is_new_trains_like_any_new_one(build: Build) -> None:
    ends = []
    for opt_treatment in ("RESET", "CONTINUE_GLOBAL"):
        runner = build(opt_treatment)
        runner.initialise(1)
        start = own_bits(runner)
        runner.begin(5)
        runner.train(epochs=2)
        ends.append((start, own_bits(runner)))
    assert ends[0] == ends[1]


@every
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


@every
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda tensors: tensors.update(extra=np.zeros(1)), "'extra' is unknown"),
        (lambda tensors: tensors.popitem(), "is missing"),
        (lambda tensors: tensors.update({min(tensors): np.zeros(99)}), r"float64\[99\], not float"),
        (lambda tensors: tensors.update({min(tensors): tensors[min(tensors)].astype(np.int32)}), r"int32\["),
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


@every
def test_an_optimizer_s_state_is_refused_where_it_is_not_shared(build: Build) -> None:
    shared, own = build("CONTINUE_GLOBAL"), build("RESET")
    shared.initialise(1)
    own.initialise(1)
    with pytest.raises(TensorError, match=f"'{OPTIMIZER}.*' is unknown"):
        own.set_tensors(shared.get_tensors())
    with pytest.raises(TensorError, match=f"'{OPTIMIZER}.*' is missing"):
        shared.set_tensors(own.get_tensors())


@every
def test_training_learns_and_is_counted(build: Build) -> None:
    runner = build()
    runner.initialise(1)
    runner.begin(0)
    before = runner.validate()
    trained = runner.train(epochs=20)
    after = runner.validate()
    assert trained.num_samples == after.num_samples == 50
    assert after.metrics["loss"] < before.metrics["loss"]
    assert after.metrics["auc"] > 0.95
    assert after.metrics.keys() == {"loss", "accuracy", "auc"} == trained.metrics.keys()


@each({name: BUILDS[name] for name in ("numpy", "torch", "keras")})
def test_a_learning_rate_is_that_of_the_task(build: Build) -> None:
    def trained(learning_rate: float | None) -> list[dict[str, np.ndarray]]:
        runner: Any = build()
        runner.initialise(1)
        runner.begin(0)
        before = copied(runner)
        runner.train(epochs=1, learning_rate=learning_rate)
        after = copied(runner)
        runner.set_tensors(before)
        runner.begin(0)
        runner.train(epochs=1)
        return [before, after, copied(runner)]

    usual, none, small = trained(None), trained(0.0), trained(1e-3)
    counted = ("running", "tracked", "moving", "seed")  # what a step changes without a gradient
    names = [name for name in usual[0] if not any(word in name for word in counted)]
    moved = [sum(float(np.abs(one[1][name] - one[0][name]).sum()) for name in names) for one in (usual, none, small)]
    assert all(np.array_equal(usual[2][name], small[2][name]) for name in names)  # the next task has its own rate
    assert moved[1] == 0
    assert 0 < moved[2] < moved[0] / 10


@every
def test_training_stops_at_a_batch_and_counts_what_it_has_seen(build: Build) -> None:
    ends = []
    job = Assignment(1, Phase.TRAIN, "ada", (), "m", 5)
    for limited, samples in (
        (replace(job, batch_limit=2), 32),
        (replace(job, work=Work(batches=2)), 32),
        (replace(job, train_s=1e-9, work=Work(epochs=3)), 16),
        (job, 50),
    ):
        runner = build()
        runner.initialise(3)
        runner.begin(5)
        runner.context.allowance.begin(limited)
        result = runner.train()
        assert (result.num_samples, result.partial) == (
            samples,
            limited not in (job, replace(job, work=Work(batches=2))),
        )
        ends.append(bits(runner))
    assert ends[0] == ends[1]
    assert len({tuple(end.items()) for end in ends}) == 3


@every
def test_the_metrics_that_a_task_names_are_measured(build: Build) -> None:
    runner = build()
    runner.initialise(3)
    chosen = ChosenMetrics({"f1": F1Macro(), "auc": Auc()})
    for function in (runner.train, runner.validate):
        runner.begin(3)
        runner.context.metrics.begin_task(chosen)
        assert set(function().metrics) == {"loss", "f1", "auc"}
        runner.context.metrics.begin_task(None)
        assert set(function().metrics) == {"loss", "accuracy", "auc"}


@every
def test_a_site_without_samples_changes_nothing_and_says_so(build: Build) -> None:
    runner = build(rows=0)
    runner.initialise(1)
    before = bits(runner)
    runner.begin(5)
    assert runner.train(epochs=2) == runner.validate() == TaskResult(0, {})
    assert bits(runner) == before


@every
def test_validating_changes_nothing(build: Build) -> None:
    runner = build()
    runner.initialise(1)
    before = bits(runner)
    assert runner.validate() == runner.validate()
    assert bits(runner) == before


@every
def test_epochs_differ_in_order_and_each_has_every_sample(build: Build) -> None:
    loader = build().loader
    first, again, other = ([batch[0] for batch in loader.train_batches(3, epoch)] for epoch in (0, 0, 1))
    assert [len(np.asarray(batch)) for batch in first] == [16, 16, 16, 2]
    whole = [np.concatenate([np.asarray(batch) for batch in batches]) for batches in (first, again, other)]
    assert np.array_equal(whole[0], whole[1])
    assert not np.array_equal(whole[0], whole[2])
    assert np.array_equal(np.sort(whole[0], axis=0), np.sort(whole[2], axis=0))


@every
def test_validation_batches_keep_their_order(build: Build) -> None:
    loader = build().loader
    samples = np.concatenate([np.asarray(batch[0]) for batch in loader.validate_batches()])
    assert np.array_equal(samples, shard().get_dataset("validate").samples)
    assert loader.num_validate == loader.num_train == 50


@pytest.mark.parametrize(
    ("build", "name"),
    [
        pytest.param(torch_runner, "1.num_batches_tracked", marks=pytest.mark.torch),
        pytest.param(partial(keras_runner, kind="Mixed"), "counter/count", marks=pytest.mark.tensorflow),
    ],
    ids=["torch", "keras"],
)
def test_counters_are_trained_and_kept(build: Build, name: str) -> None:
    runner = build()
    runner.initialise(1)
    tensors = copied(runner)
    tensors[name] = np.array(2**60 + 1)
    runner.set_tensors(tensors)
    runner.train()
    assert runner.get_tensors()[name] == 2**60 + 1 + 4


@pytest.mark.torch
@pytest.mark.parametrize("opt_treatment", ["CONTINUE_LOCAL", "CONTINUE_GLOBAL"])
def test_an_optimizer_whose_state_cannot_be_kept_says_so(opt_treatment: str) -> None:
    with pytest.raises(UsageError, match="the state of the optimizer LBFGS cannot be kept from round to round"):
        torch_runner(opt_treatment, kind="Whole").get_tensors()
