"""Many sites trained at once on a GPU give what each gives alone there."""

from pathlib import Path

import pytest

from openfl_like.federation.task import Phase
from openfl_like.services.devices.placement import place_here
from tests.gpu.conftest import DEVICE
from tests.unit.runtimes.batched_runs import LOOK, LOOK_LOCAL, TRAIN, Study, apart, shard

pytestmark = [pytest.mark.gpu, pytest.mark.torch]
SIZES = (12, 1, 7, 20, 4, 9, 7, 3)


def study(runner: str, directory: Path, classes: int = 5, **parts: object) -> Study:
    shards = {f"site-{number}": shard(number, size, classes=classes) for number, size in enumerate(SIZES)}
    return Study(runner, shards, directory, device=place_here(DEVICE), **parts)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adagrad", "rmsprop"])
def test_training(optimizer: str, tmp_path: Path) -> None:
    ours = study("Mlp", tmp_path, settings={"optimizer": optimizer})
    orders = ours.orders(TRAIN, LOOK_LOCAL)
    batched = ours.answers("batched", orders)
    assert apart(ours.answers("local", orders), batched) <= 1e-5
    assert (batched.reasons, batched.posts) == ([], [len(SIZES)])


@pytest.mark.parametrize(("runner", "classes"), [("TwoClasses", 2), ("OneOutput", 2), ("Regression", 0), ("Mlp", 5)])
def test_evaluation(runner: str, classes: int, tmp_path: Path) -> None:
    ours = study(runner, tmp_path, classes)
    orders = ours.orders(LOOK, phase=Phase.EVALUATE)
    batched = ours.answers("batched", orders)
    assert apart(ours.answers("local", orders), batched) <= 1e-5
    assert (batched.reasons, batched.posts) == ([], [len(SIZES)])


def test_bytes_are_the_same_twice(tmp_path: Path) -> None:
    ours = study("Mlp", tmp_path)
    once, again = (ours.answers("batched", ours.orders(TRAIN)) for _ in range(2))
    assert {site: done.update.digest for site, done in once.updates.items()} == {
        site: done.update.digest for site, done in again.updates.items()
    }
