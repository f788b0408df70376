"""How much training may do, tried with the platform's own loop and a clock that the batches move."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from openfl_like.errors import TaskError, UsageError
from openfl_like.federation.task import Assignment, Phase, Work
from openfl_like.frameworks.algorithms.base import NO_HOOKS
from openfl_like.frameworks.model import Observation
from openfl_like.frameworks.runner import TaskResult
from openfl_like.frameworks.tasks.allowance import Allowance
from openfl_like.frameworks.training import Training

TRAIN = Assignment(1, Phase.TRAIN, "ada", (), "m", 7)
STEP_S = 2.0


class Loader:
    """Ten samples, four in a batch."""

    num_train = num_validate = 10

    def train_batches(self, seed: int, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = np.random.default_rng([seed, epoch]).permutation(10)
        for start in range(0, 10, 4):
            yield order[start : start + 4], order[start : start + 4]

    def validate_batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        yield np.arange(10), np.arange(10)


class Site:
    """A site whose every step takes two seconds of its own clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.allowance = Allowance(lambda: self.now)
        self.training = Training(NO_HOOKS, allowance=self.allowance)
        self.batches: list[tuple[int, ...]] = []

    def step(self, samples: np.ndarray, targets: np.ndarray) -> Observation:
        self.now += STEP_S
        self.batches.append(tuple(samples.tolist()))
        return Observation(1.0, np.zeros(len(samples)), targets)

    def train(self, assignment: Assignment, epochs: int = 1) -> TaskResult:
        self.batches.clear()
        self.allowance.begin(assignment)
        self.training.begin(assignment.seed)
        return self.training.train_by(self.step, Loader(), epochs)


@pytest.mark.parametrize(
    ("train_s", "epochs", "batches", "samples", "partial"),
    [
        (None, 2, 6, 10, False),
        (1.0, 1, 1, 4, True),  # at least one batch, and the one at work to its end
        (3.0, 1, 2, 8, True),
        (4.0, 1, 2, 8, True),
        (5.0, 1, 3, 10, False),  # the time is over with the last batch: all was done
        (7.0, 2, 4, 10, True),  # every sample was looked at
        (6.0, 2, 3, 10, True),
        (0.0, 1, 1, 4, True),
        (999.0, 2, 6, 10, False),
    ],
)
def test_training_stops_at_the_batch_after_its_time(
    train_s: float | None, epochs: int, batches: int, samples: int, *, partial: bool
) -> None:
    site = Site()
    result = site.train(replace(TRAIN, train_s=train_s), epochs)
    assert (result.num_samples, result.partial) == (samples, partial)
    assert (len(site.batches), site.allowance.batches_done) == (batches, batches)
    assert "loss" in result.metrics


def test_what_is_trained_by_then_is_what_would_have_been_trained_first() -> None:
    site, other = Site(), Site()
    site.train(TRAIN, 2)
    other.train(replace(TRAIN, train_s=7.0), 2)
    assert site.batches[:4] == other.batches


def test_the_number_of_batches_may_be_the_limit() -> None:
    site = Site()
    result = site.train(replace(TRAIN, batch_limit=4), 2)
    assert (len(site.batches), result.num_samples, result.partial) == (4, 10, True)
    result = site.train(replace(TRAIN, batch_limit=3), 1)
    assert (len(site.batches), result.num_samples, result.partial) == (3, 10, False)


def test_every_assignment_begins_anew_and_an_evaluation_has_no_limit() -> None:
    site = Site()
    site.train(replace(TRAIN, train_s=1.0))
    assert site.allowance.partial
    result = site.train(replace(TRAIN, train_s=1.0, phase=Phase.EVALUATE))
    assert (result.num_samples, result.partial) == (10, False)


@pytest.mark.parametrize(
    ("work", "batches", "samples"),
    [
        (Work(epochs=3), 9, 10),
        (Work(batches=2), 2, 8),
        (Work(batches=7), 7, 10),
        (Work(samples=3), 1, 4),  # rounded up to a whole batch
        (Work(samples=8, epochs=2), 4, 10),
        (Work(samples=8, epochs=2, sample_seed=5), 4, 8),
        (Work(samples=99), 3, 10),
        (Work(samples=4, batches=3, sample_seed=5), 3, 4),
    ],
)
def test_work_takes_the_place_of_what_the_task_says(work: Work, batches: int, samples: int) -> None:
    site = Site()
    result = site.train(replace(TRAIN, work=work))
    assert (len(site.batches), result.num_samples, result.partial) == (batches, samples, False)


def test_samples_are_the_same_ones_in_every_epoch_and_round_where_a_seed_says_so() -> None:
    site = Site()
    site.train(replace(TRAIN, work=Work(samples=4, epochs=2, sample_seed=5)))
    first = list(site.batches)
    site.train(replace(TRAIN, round=2, seed=8, work=Work(samples=4, epochs=2, sample_seed=5)))
    assert site.batches == first == [first[0], first[0]]
    site.train(replace(TRAIN, work=Work(samples=4, epochs=2)))
    assert site.batches[0] != site.batches[1]


def test_a_deadline_cuts_work_short() -> None:
    site = Site()
    result = site.train(replace(TRAIN, work=Work(batches=5), train_s=3.0))
    assert (len(site.batches), result.num_samples, result.partial) == (2, 8, True)


def test_a_loop_of_ones_own_asks_after_each_batch() -> None:
    site = Site()
    site.allowance.begin(replace(TRAIN, train_s=3.0))
    for samples, targets in Loader().train_batches(7, 0):
        site.step(samples, targets)
        if site.allowance.batch_done(len(samples)):
            break
    assert (len(site.batches), site.allowance.num_samples(10)) == (2, 8)


def test_a_loop_that_does_not_ask_is_found_out_where_it_was_told_how_much() -> None:
    allowance = Allowance()
    allowance.begin(replace(TRAIN, train_s=3.0))
    allowance.check_kept("train")
    allowance.begin(replace(TRAIN, work=Work(epochs=2)))
    with pytest.raises(TaskError, match=r"task 'train' was told how much to train, and never asked"):
        allowance.check_kept("train")


def test_what_is_fitted_to_all_samples_at_once_counts_epochs_only() -> None:
    allowance = Allowance()
    allowance.begin(replace(TRAIN, train_s=3.0, work=Work(epochs=4)))
    assert allowance.whole_epochs(1) == 4
    for assignment in (replace(TRAIN, batch_limit=2), replace(TRAIN, work=Work(samples=3))):
        allowance.begin(assignment)
        with pytest.raises(UsageError, match="fitted to all samples at once"):
            allowance.whole_epochs(1)
