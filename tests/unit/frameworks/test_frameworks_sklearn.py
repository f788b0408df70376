import numpy as np
import pytest

from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.errors import TensorError, UsageError
from openfl_like.frameworks.numpy import NumpyLoader
from openfl_like.frameworks.runner import RunnerContext
from openfl_like.frameworks.sklearn import SklearnModel

pytestmark = pytest.mark.sklearn
RANDOM = np.random.default_rng(0)
SAMPLES = RANDOM.normal(size=(60, 2, 2)).astype(np.float32)
FLAT = SAMPLES.reshape(60, 4)
THREE = np.argmax(FLAT[:, :3], axis=1)
NUMBERS = (FLAT @ [1.0, -2.0, 0.5, 0.0] + 1).astype(np.float64)


def runner(estimator: str, targets: np.ndarray, classes: int = 0, **settings: object) -> SklearnModel:
    data = Dataset(SAMPLES[: len(targets)], targets)
    shard = ArrayShard({"train": data, "validate": data}, "random numbers", (-10.0, 10.0), classes=classes)
    context = RunnerContext(sample_shape=(2, 2), classes=shard.schema.classes)
    made = SklearnModel(NumpyLoader(shard, 16), context, estimator=estimator, **settings)  # type: ignore[arg-type] # a plan's
    made.initialise(1)
    made.begin(1)
    return made


@pytest.mark.parametrize(
    ("estimator", "params"),
    [("SGDClassifier", {"loss": "log_loss"}), ("Perceptron", {}), ("LogisticRegression", {})],
)
def test_classifiers_learn_three_classes(estimator: str, params: dict[str, object]) -> None:
    made = runner(estimator, THREE, classes=3, params=params)
    assert {name: array.shape for name, array in made.get_tensors().items()} == {"coef_": (3, 4), "intercept_": (3,)}
    made.train(epochs=30)
    assert made.validate().metrics["accuracy"] > 0.85


@pytest.mark.parametrize("estimator", ["SGDRegressor", "ElasticNet"])
def test_regressions_learn(estimator: str) -> None:
    made = runner(estimator, NUMBERS, params={"alpha": 0.001})
    before = made.validate()
    made.train(epochs=30)
    after = made.validate()
    assert after.metrics.keys() == {"loss"}
    assert after.metrics["loss"] < 0.1 * before.metrics["loss"]


@pytest.mark.parametrize("estimator", ["SGDRegressor", "ElasticNet", "SGDClassifier", "LogisticRegression"])
def test_a_column_of_targets_is_what_a_vector_is(estimator: str) -> None:
    targets, classes = (NUMBERS, 0) if estimator in {"SGDRegressor", "ElasticNet"} else (THREE, 3)
    right = runner(estimator, targets, classes).train(epochs=2)
    assert runner(estimator, targets[:, None], classes).train(epochs=2) == right


def test_truth_values_are_class_numbers() -> None:
    settings: dict[str, object] = {"params": {"loss": "log_loss"}}
    right = runner("SGDClassifier", (NUMBERS > 1).astype(np.int64), 2, **settings).train(epochs=2)
    assert runner("SGDClassifier", NUMBERS > 1, 2, **settings).train(epochs=2) == right


def test_a_number_that_is_no_class_is_not_measured() -> None:
    made = runner("SGDClassifier", np.where(NUMBERS > 1, 1, -1), 2, params={"loss": "log_loss"})
    with pytest.raises(TensorError, match="-1 is not the number of a class"):
        made.validate()


def test_whole_numbers_are_targets_of_a_regression() -> None:
    assert runner("SGDRegressor", np.rint(NUMBERS).astype(np.int64)).train(epochs=2).metrics.keys() == {"loss"}


def test_a_regression_of_several_numbers_is_not_broadcast() -> None:
    with pytest.raises(TensorError, match="outputs have the shape"):
        runner("ElasticNet", np.stack([NUMBERS] * 2, axis=1)).validate()


def test_a_fit_goes_on_from_the_given_model() -> None:
    far, near = (runner("LogisticRegression", THREE, classes=3) for _ in range(2))
    far.train(epochs=200)
    near.set_tensors({name: array.copy() for name, array in far.get_tensors().items()})
    before = near.validate().metrics["loss"]
    near.train(epochs=1)
    assert near.validate().metrics["loss"] == pytest.approx(before, rel=1e-3)


def test_a_site_may_lack_a_class_if_it_learns_batch_by_batch() -> None:
    two = np.minimum(THREE, 1)
    made = runner("SGDClassifier", two, classes=3, params={"loss": "log_loss"})
    made.train()
    assert made.get_tensors()["coef_"].shape == (3, 4)
    whole = runner("LogisticRegression", two, classes=3)
    with pytest.raises(UsageError, match="samples of 2 of 3 classes, and LogisticRegression needs some of all"):
        whole.train()


def test_the_setting_says_how_many_classes_there_are() -> None:
    data = Dataset(SAMPLES, THREE)
    shard = ArrayShard({"train": data, "validate": data}, "random numbers", (-10.0, 10.0))
    context = RunnerContext(sample_shape=(2, 2))
    made = SklearnModel(NumpyLoader(shard), context, estimator="SGDClassifier", classes=5)
    assert made.get_tensors()["coef_"].shape == (5, 4)


@pytest.mark.parametrize(
    ("estimator", "params", "told"),
    [
        ("SGDClassifier", {"average": True}, "cannot average its own steps"),
        ("Ridge", {}, "Ridge cannot go on from a given model"),
        ("sklearn.naive_bayes:GaussianNB", {}, "has no coef_ and intercept_"),
    ],
)
def test_what_cannot_be_federated_is_told(estimator: str, params: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        runner(estimator, THREE, classes=3, params=params)


def test_a_classifier_without_classes_is_told() -> None:
    with pytest.raises(UsageError, match="how many classes") as caught:
        runner("SGDClassifier", THREE)
    assert "task_runner.settings.classes" in caught.value.cure
