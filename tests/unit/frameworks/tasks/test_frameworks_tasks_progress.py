"""How far a task is: what is told of it, how often, and that it changes nothing."""

import json
import math
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.federation.reports.progress import (
    MOST_METRICS,
    TaskProgress,
    TaskProgressed,
    checked_progress,
)
from openfl_like.federation.task import Assignment, Phase, TaskCall, Work
from openfl_like.frameworks.algorithms.base import NO_HOOKS
from openfl_like.frameworks.model import Observation
from openfl_like.frameworks.perform import Performer
from openfl_like.frameworks.tasks.allowance import Allowance
from openfl_like.frameworks.tasks.progress import EACH_S, Progress
from openfl_like.frameworks.training import Training
from openfl_like.plan.schema import Plan
from openfl_like.processes.worker import fields_of
from openfl_like.tensors.container import write_tensors

TRAIN = Assignment(3, Phase.TRAIN, "ada", (), "m", 7)
STEP_S = 0.2


class Loader:
    """Ten samples, four in a batch."""

    num_train = num_validate = 10

    def train_batches(self, seed: int, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        del seed, epoch
        for start in range(0, 10, 4):
            yield np.arange(10)[start : start + 4], np.arange(10)[start : start + 4]

    def validate_batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return self.train_batches(0, 0)


class Site:
    """A site each of whose steps takes a fifth of a second of its own clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.told: list[TaskProgress] = []
        self.progress = Progress(lambda: self.now)
        self.progress.tell = self.told.append
        self.allowance = Allowance()
        self.training = Training(NO_HOOKS, allowance=self.allowance, progress=self.progress)

    def step(self, samples: np.ndarray, targets: np.ndarray) -> Observation:
        self.now += STEP_S
        return Observation(float(len(samples)), np.zeros(len(samples)), targets)

    def begin(self, assignment: Assignment = TRAIN) -> None:
        self.allowance.begin(assignment)
        self.progress.begin(assignment)
        self.progress.begin_task("train")


def test_training_tells_where_it_is_at_most_twice_a_second() -> None:
    site = Site()
    site.begin()
    site.training.train_by(site.step, Loader(), 4)
    assert [told.batches for told in site.told] == [3, 6, 9, 12], "a batch takes 0.2 s"
    assert site.progress.site == "ada"
    second = site.told[1]
    assert (second.round, second.phase, second.task) == (3, Phase.TRAIN, "train")
    assert (second.epoch, second.epochs, second.samples, second.of_samples) == (1, 4, 10, 10)
    assert second.elapsed_s == pytest.approx(6 * STEP_S)
    assert second.metrics == {"loss": pytest.approx((4 * 4 + 4 * 4 + 2 * 2) / 10)}, "the mean over the epoch's samples"
    assert {told.epoch for told in site.told} == {0, 1, 2, 3}


def test_an_epoch_that_is_counted_in_batches_has_no_end_that_is_known() -> None:
    site = Site()
    site.begin(Assignment(3, Phase.TRAIN, "ada", (), "m", 7, work=Work(batches=5)))
    site.training.train_by(site.step, Loader(), 4)
    assert [(told.batches, told.epochs) for told in site.told] == [(3, None)]


def test_what_is_short_tells_nothing_and_evaluation_tells_as_well() -> None:
    site = Site()
    site.begin()
    site.training.train_by(lambda samples, targets: Observation(1.0, np.zeros(len(samples)), targets), Loader(), 50)
    assert site.told == []
    site.progress.begin_task("validate")
    site.training.validate(site.step, Loader())
    assert [(told.task, told.batches, told.epochs) for told in site.told] == [("validate", 3, 1)]


def test_a_loop_of_its_own_may_tell_metrics_and_what_is_no_number_is_left_out() -> None:
    site = Site()
    site.begin()
    site.now += EACH_S
    many = {f"m{number}": 1.0 for number in range(40)}
    site.progress.batch_done(4, metrics={"bad": math.inf, "x" * 500: 1.0, **many})
    (told,) = site.told
    assert len(told.metrics) == MOST_METRICS
    assert "bad" not in told.metrics
    assert checked_progress(told) == told


def test_numbers_of_numpy_are_told_as_plain_ones() -> None:
    site = Site()
    site.begin()
    site.progress.epoch_begins(np.int64(1), np.int32(3), np.int64(12))  # type: ignore[arg-type]  # as loops have them
    site.now += EACH_S
    site.progress.batch_done(np.int64(4), np.float32(0.5), {"grip": np.float64(2.0)})  # type: ignore[arg-type] # a loop of one's own may
    (told,) = site.told
    assert json.loads(json.dumps(fields_of(told))) == {
        **fields_of(TaskProgress(3, Phase.TRAIN, "train", 1, 3, 1, 4, 12)),
        "elapsed_s": pytest.approx(EACH_S),
        "metrics": {"loss": 0.5, "grip": 2.0},
    }


@pytest.mark.parametrize(
    ("begins", "done"),
    [
        ((-1,), (4,)),
        ((0, 2.5), (4,)),
        ((0, 2, "many"), (4,)),
        ((), (-4,)),
        ((), (4, 0.1, {"grip": None})),
        ((), (4, 0.1, {"grip": np.zeros(3)})),
        ((), (4, 0.1, {7: 1.0})),
    ],
)
def test_what_is_no_number_or_cannot_be_is_not_told_and_breaks_nothing(
    begins: tuple[object, ...], done: tuple[object, ...]
) -> None:
    site = Site()
    site.begin()
    if begins:
        site.progress.epoch_begins(*begins)  # type: ignore[arg-type]  # that is the point
    site.now += EACH_S
    site.progress.batch_done(*done)  # type: ignore[arg-type]  # that is the point
    assert site.told == []
    site.progress.epoch_begins(0)
    site.now += EACH_S
    site.progress.batch_done(4, "low", 5)  # type: ignore[arg-type]  # that is the point
    assert [told.batches for told in site.told] == [2], "the next one is"


@pytest.mark.parametrize(
    "wrong",
    [
        {"batches": -1},
        {"samples": 2**60},
        {"elapsed_s": math.nan},
        {"metrics": {"loss": math.inf}},
        {"metrics": {"x" * 300: 1.0}},
        {"metrics": {str(number): 1.0 for number in range(99)}},
    ],
)
def test_what_cannot_be_is_refused_at_the_border(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="progress"):
        checked_progress(TaskProgress(1, Phase.TRAIN, "train", **wrong))  # type: ignore[arg-type]  # that is the point


def test_the_rest_is_reckoned_from_what_is_done() -> None:
    told = TaskProgressed(1, Phase.TRAIN, "ada", "train", 1, 4, 30, 50, 100, 30.0)
    assert told.share == 0.375
    assert told.left_s == pytest.approx(50.0)
    assert TaskProgressed(1, Phase.TRAIN, "ada", "train", 1, None, 30, 50, 100, 30.0).left_s is None


LINE = """
import numpy as np
from openfl_like.frameworks.numpy import NumpyRunner

class Line(NumpyRunner):
    def build_model(self, random):
        return {"w": np.zeros(1)}
    def predict(self, model, samples):
        return samples @ model["w"]
    def gradient(self, model, samples, targets):
        error = self.predict(model, samples) - targets
        return float(np.mean(error**2)), {"w": 2 * samples.T @ error / len(targets)}
"""


def test_who_looks_on_changes_no_bit(tmp_path: Path) -> None:
    (tmp_path / "line.py").write_text(LINE)
    plan = Plan.model_validate(
        {
            "name": "line",
            "task_runner": {"template": "line:Line", "settings": {"lr": 0.01}},
            "data_loader": {"template": "numpy", "settings": {"batch_size": 2}},
            "tasks": {"train": {"function": "train"}},
        }
    )
    data = Dataset(np.arange(9.0).reshape(9, 1), np.arange(9.0))
    write_tensors(tmp_path / "model.safetensors", {"w": np.zeros(1)})
    call = TaskCall("train", "train", {"epochs": 3}, trains=True)
    digests, told = set(), list[TaskProgress]()
    for looks_on in (False, True):
        performer = Performer(plan, ArrayShard({"train": data, "validate": data}, "", (0.0, 9.0)), tmp_path)
        if looks_on:
            performer.progress._clock = map(float, count()).__next__
            performer.progress.tell = told.append
        assignment = Assignment(1, Phase.TRAIN, "ada", (call,), "", 5)
        digests.add(performer.perform(assignment, tmp_path / "model.safetensors", tmp_path / "update").digest)
    assert len(digests) == 1
    assert [each.batches for each in told] == list(range(1, 16))
