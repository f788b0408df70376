"""What an algorithm does to training is the same in every framework; one is imported as in the runners' suite."""

import inspect
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from openfl_like import registry
from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.errors import UsageError
from openfl_like.frameworks.algorithms.base import NO_HOOKS, LocalEnd, LocalStart, StepHooks
from openfl_like.frameworks.algorithms.fedprox import FedProx
from openfl_like.frameworks.algorithms.mime import Mime
from openfl_like.frameworks.algorithms.session import LocalSession, Opening
from openfl_like.frameworks.numpy import NumpyLoader, NumpyRunner, Tensors
from openfl_like.frameworks.runner import RunnerContext
from tests.frameworks import marks_of

SEED, EPOCHS, LR = 11, 3, 0.1
WEIGHT, BIAS = np.array([0.3, -0.2, 0.1]), 0.05
"""The global model that all of them begin with."""
NEAR = 1e-7
"""Keras has its rate in float32, the model is in float64: 5e-9 apart, the others 1e-15."""


def shard(dtype: type = np.float64) -> ArrayShard:
    random = np.random.default_rng(0)
    samples: np.ndarray = random.normal(size=(50, 3)).astype(dtype)
    data = Dataset(samples, (samples @ [1.0, -2.0, 0.5] > 0).astype(np.int64))
    return ArrayShard({"train": data, "validate": data}, "random numbers", (-10.0, 10.0), classes=2)


def reference(mu: float) -> np.ndarray:
    """FedProx by hand (arXiv:1812.06127, equation 2): logistic regression, plain steps, the loader's batches."""
    weight, bias = WEIGHT.copy(), BIAS
    loader = NumpyLoader(shard(), 16)
    for epoch in range(EPOCHS):
        for samples, targets in loader.train_batches(SEED, epoch):
            error = (1 / (1 + np.exp(-(samples @ weight + bias))) - targets) / len(targets)
            slope = samples.T @ error + mu * (weight - WEIGHT), error.sum() + mu * (bias - BIAS)
            weight, bias = weight - LR * slope[0], bias - LR * slope[1]
    return np.append(weight, bias)


class Logistic(NumpyRunner):
    def build_model(self, random: np.random.Generator) -> Tensors:  # noqa: ARG002 - nothing is drawn
        return {"weight": np.zeros(3), "bias": np.zeros(())}

    def predict(self, model: Tensors, samples: np.ndarray) -> np.ndarray:
        scores: np.ndarray = samples @ model["weight"] + model["bias"]
        return scores

    def gradient(self, model: Tensors, samples: np.ndarray, targets: np.ndarray) -> tuple[float, Tensors]:
        scores = self.predict(model, samples)
        error = (1 / (1 + np.exp(-scores)) - targets) / len(targets)
        return float(np.mean(np.logaddexp(0, scores) - targets * scores)), {
            "weight": samples.T @ error,
            "bias": error.sum(),
        }


def context(hooks: StepHooks) -> RunnerContext:
    return RunnerContext(sample_shape=(3,), classes=2, hooks=hooks)


def numpy_runner(hooks: StepHooks) -> Any:  # noqa: ANN401 - runners have only methods in common
    return Logistic(NumpyLoader(shard(), 16), context(hooks), lr=LR)


def torch_runner(hooks: StepHooks) -> Any:  # noqa: ANN401 - as above
    from openfl_like.frameworks.torch import TorchLoader  # noqa: PLC0415 - imported by its own run only
    from tests.contract import torch_models  # noqa: PLC0415 - as above

    return torch_models.Logistic(TorchLoader(shard(), 16), context(hooks))


def keras_runner(hooks: StepHooks) -> Any:  # noqa: ANN401 - as above
    from tests.contract import keras_models  # noqa: PLC0415 - as above

    return keras_models.Logistic(NumpyLoader(shard(), 16), context(hooks))


def jax_runner(hooks: StepHooks) -> Any:  # noqa: ANN401 - as above
    from tests.contract import jax_models  # noqa: PLC0415 - as above

    return jax_models.Logistic(NumpyLoader(shard(), 16), context(hooks))


BUILDS = {"numpy": numpy_runner, "torch": torch_runner, "keras": keras_runner, "jax": jax_runner}
Build = Callable[[StepHooks], Any]
every = pytest.mark.parametrize(
    "build", [pytest.param(build, id=name, marks=marks_of(name)) for name, build in BUILDS.items()]
)


def start(runner: Any) -> Mapping[str, np.ndarray]:  # noqa: ANN401 - as above
    """Gives a runner the global model, whatever its tensors are called."""
    own = {name: array.copy() for name, array in runner.get_tensors().items()}
    for name, array in own.items():
        if "unused" not in name:
            array[...] = BIAS if "bias" in name else WEIGHT.reshape(array.shape)
    runner.begin(SEED)
    runner.set_tensors(own)
    return own


def trained(build: Build, mu: float | None) -> tuple[np.ndarray, bytes]:
    """Trains once; gives weight and bias as one vector, and the bytes of everything."""
    session = LocalSession(FedProx(mu=mu)) if mu is not None else None
    runner = build(session or NO_HOOKS)
    start(runner)
    if session is not None:
        session.open(Opening(1, 10, {}, {}))
    runner.train(epochs=EPOCHS)
    if session is not None:
        assert session.close() == ({}, {})
    tensors = runner.get_tensors()
    used = {name: np.asarray(array).ravel() for name, array in tensors.items() if "unused" not in name}
    vector = np.concatenate([array for name, array in sorted(used.items(), key=lambda item: "bias" in item[0])])
    return vector, b"".join(np.asarray(tensors[name]).tobytes() for name in sorted(tensors))


@every
@pytest.mark.parametrize("mu", [0.01, 1.0, 5.0])
def test_fedprox_is_its_formula_in_every_framework(build: Build, mu: float) -> None:
    vector, _ = trained(build, mu)
    assert np.abs(vector - reference(mu)).max() < NEAR
    assert np.abs(vector - reference(0)).max() > 1e-4


@every
def test_fedprox_without_pull_gives_the_bytes_of_plain_training(build: Build) -> None:
    vector, whole = trained(build, None)
    assert trained(build, 0.0)[1] == whole != trained(build, 0.01)[1]
    assert np.abs(vector - reference(0)).max() < NEAR


class Looking:
    """Looks at gradients far away before every step, and changes nothing."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def shared(self, model: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - the protocol's
        return {}

    def begin(self, start: LocalStart) -> None:
        self._gradients = start.gradients
        self._far = {name: 2 * weight + 1 for name, weight in start.weights.items()}
        self._gradients.of_all(self._far)

    def adjust(self, gradients: Mapping[str, Any], weights: Mapping[str, Any]) -> Mapping[str, Any]:
        here, far = self._gradients.of_batch(weights), self._gradients.of_batch(self._far)
        apart = [(np.abs(np.asarray(here[name]) - np.asarray(gradients[name])).max()) for name in gradients]
        self.seen.append(float(max(apart)))
        assert any((np.asarray(far[name]) != np.asarray(gradients[name])).any() for name in gradients)
        return gradients

    def after_step(self, weights: Mapping[str, Any]) -> None:
        """Do nothing."""

    def end(self, weights: Mapping[str, Any]) -> LocalEnd:  # noqa: ARG002 - the protocol's
        return LocalEnd()


def torch_net(hooks: StepHooks) -> Any:  # noqa: ANN401 - as above
    from openfl_like.frameworks.torch import TorchLoader  # noqa: PLC0415 - imported by its own run only
    from tests.contract import torch_models  # noqa: PLC0415 - as above

    return torch_models.Net(TorchLoader(shard(np.float32), 16), context(hooks))


def keras_net(hooks: StepHooks) -> Any:  # noqa: ANN401 - as above
    from tests.contract import keras_models  # noqa: PLC0415 - as above

    return keras_models.Net(NumpyLoader(shard(np.float32), 16), context(hooks))


NETS = {"torch": torch_net, "keras": keras_net}
"""With batch normalisation, dropout and momentum."""


@pytest.mark.parametrize(
    "build",
    [pytest.param(build, id=name, marks=marks_of(name)) for name, build in [*BUILDS.items(), *NETS.items()]],
)
def test_gradients_at_other_weights_leave_no_trace(build: Build) -> None:
    """Neither in weights nor in running statistics, the optimizer, or what dropout draws next."""
    looking, whole = Looking(), {}
    for name, session in (("plain", None), ("looking", LocalSession(looking))):
        runner = build(session or NO_HOOKS)
        runner.initialise(SEED)
        runner.begin(SEED)
        if session is not None:
            session.open(Opening(1, 10, {}, {}))
        runner.train(epochs=EPOCHS)
        whole[name] = {tensor: np.asarray(array).tobytes() for tensor, array in runner.get_tensors().items()}
    assert whole["plain"] == whole["looking"]
    assert len(looking.seen) == EPOCHS * 4
    if build in BUILDS.values():  # nothing is drawn, so that the gradient here is the gradient
        assert max(looking.seen) < 1e-12


@every
def test_the_gradient_of_all_samples_is_that_of_their_mean_loss(build: Build) -> None:
    """Batches of 16, and one of 2: each sample counts alike."""
    samples, targets = shard().get_dataset("train").samples, shard().get_dataset("train").targets
    error = (1 / (1 + np.exp(-(samples @ WEIGHT + BIAS))) - targets) / len(targets)
    expected = np.append(samples.T @ error, error.sum())
    session = LocalSession(Mime(momentum=0.0))
    runner = build(session)
    own = start(runner)
    session.open(Opening(1, 10, session.initial(own), {}))
    runner.train(epochs=1)
    sent, _ = session.close()
    kept = {name: array.ravel() for name, array in sent.items() if "/gradient/" in name and "unused" not in name}
    found = np.concatenate([array for _, array in sorted(kept.items(), key=lambda item: "bias" in item[0])])
    assert np.abs(found - expected).max() < NEAR


@pytest.mark.sklearn
def test_scikit_learn_says_why_it_can_have_no_algorithm() -> None:
    from openfl_like.frameworks.sklearn import SklearnModel  # noqa: PLC0415 - imported by its own run only

    told = "takes its steps inside partial_fit and fit, where no algorithm can adjust a gradient"
    with pytest.raises(UsageError, match=told):
        SklearnModel(NumpyLoader(shard(), 16), context(LocalSession(FedProx(mu=0.1))), estimator="SGDClassifier")


def test_every_algorithm_with_a_half_at_the_aggregator_has_one_at_the_sites_with_the_same_settings() -> None:
    for name in registry.names("server_algorithm"):
        assert name in registry.names("algorithm")
        halves = [cast("type", registry.resolve(kind, name)) for kind in ("algorithm", "server_algorithm")]
        client, server = (set(inspect.signature(half).parameters) for half in halves)
        assert client == server, name


@pytest.mark.parametrize(
    "module",
    [
        "base",
        "ditto",
        "fedcurv",
        "feddyn",
        "fednova",
        "fedprox",
        "gradients",
        "mime",
        "per_fedavg",
        "scaffold",
        "session",
        "state",
    ],
)
def test_algorithms_need_no_framework(module: str, tmp_path: Path) -> None:
    code = f"import sys, openfl_like.frameworks.algorithms.{module}\n" + (
        "print(sorted({'torch', 'tensorflow', 'jax', 'sklearn'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert told.stdout == "[]\n"
