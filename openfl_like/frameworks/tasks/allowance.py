"""How much a task that trains may do: until when it may go on, and how many epochs, batches or samples are asked."""

import time
from collections.abc import Callable, Iterator, Mapping, Sized
from typing import TypeAlias, TypeVar

from openfl_like.errors import TaskError, UsageError
from openfl_like.federation.task import Assignment, Phase, Work

BatchT = TypeVar("BatchT", bound=Sized)
_Batches: TypeAlias = Callable[[int, int], Iterator[tuple[BatchT, BatchT]]]


class Allowance:
    """What training may do in the assignment that is performed; a training loop asks it at every batch.

    The loop of `openfl_like.frameworks.training.Training` does. A loop of a runner's own goes through `epochs` and
    `batches` as that does, or, where only the deadline matters, asks `batch_done` after each step. At least one batch
    is trained, whatever the time is, so that a slow site still gives something.

    Args:
        clock: Seconds that never go back.

    Attributes:
        batches_done: How many batches the assignment has trained on.
        partial: Whether a task of the assignment was stopped before it had done what was asked.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends: float | None = None
        self._batch_limit: int | None = None
        self._work: Work | None = None
        self._asked = False
        self.batches_done = 0
        self.partial = False
        self._task_batches = self._task_samples = self._largest_epoch = 0
        self._whole = False

    def begin(self, assignment: Assignment) -> None:
        """Begin an assignment: its time counts from now."""
        trains = assignment.phase is Phase.TRAIN
        train_s = assignment.train_s if trains else None
        self._ends = None if train_s is None else self._clock() + train_s
        self._batch_limit, self._work = (assignment.batch_limit, assignment.work) if trains else (None, None)
        self.batches_done, self.partial = 0, False
        self.begin_task()

    def begin_task(self) -> None:
        """Begin a task that trains."""
        self._asked = self._whole = False
        self._task_batches = self._task_samples = self._largest_epoch = 0

    def epochs(self, planned: int) -> Iterator[int]:
        """Yield the numbers of the epochs to train, from 0: as many as the task says, unless its work is given.

        Args:
            planned: What the task says.
        """
        self._asked = True
        wanted = self.epochs_wanted(planned)
        number, before = 0, -1
        while wanted is None or number < wanted:
            if self._task_batches in (self._work_batches, before):
                return  # it is done, or there is no batch at all
            if self._stops():
                return
            before = self._task_batches
            yield number
            number += 1

    def batches(self, draw: _Batches[BatchT], seed: int, epoch: int) -> Iterator[tuple[BatchT, BatchT]]:
        """Yield the batches of an epoch that may be trained on; each counts when the next one is asked for.

        Args:
            draw: Gives them: `train_batches` of the data loader.
            seed: Of the assignment.
            epoch: How many epochs are done.
        """
        work, samples = self._work, 0
        if work is not None and work.sample_seed is not None:
            seed, epoch = work.sample_seed, 0
        most = work.samples if work is not None else None
        for batch in draw(seed, epoch):
            if (most is not None and samples >= most) or self._task_batches == self._work_batches or self._stops():
                break
            yield batch
            size = size_of(*batch)
            samples += size
            self._count(size)
        else:
            self._whole = True
        self._largest_epoch = max(self._largest_epoch, samples)

    def batch_done(self, samples: int) -> bool:
        """Count a batch; return whether to stop now and to return what there is, with ``partial=True``.

        Args:
            samples: How many the batch had.
        """
        self._asked = True
        self._count(samples)
        return self._over

    def num_samples(self, num_train: int) -> int:
        """Return how many samples the task has trained on, each counted once.

        Args:
            num_train: How many the site has; an epoch that was not cut short stands for all of them.
        """
        if self._whole:
            return num_train
        again = self._work is not None and self._work.sample_seed is not None  # every epoch has the same ones
        return min(num_train, self._largest_epoch if again else self._task_samples)

    def whole_epochs(self, planned: int) -> int:
        """Return how many epochs to train where nothing can be stopped at a batch, since there are none.

        Raises:
            UsageError: If so many batches or samples are asked, which such a task cannot do.
        """
        self._asked = True
        work = self._work
        if self._batch_limit is not None or (work is not None and work.epochs is None):
            problem = "this model is fitted to all samples at once: it cannot train on some batches or samples only"
            cure = "have work count epochs and leave deadline.train_s out, or use another model"
            raise UsageError(problem, cure=cure)
        return planned if work is None or work.epochs is None else work.epochs

    def check_kept(self, task: str) -> None:
        """Check after a task that it has kept to what was asked, as far as that can be seen.

        Raises:
            TaskError: If it was given another amount of work than its own, and never asked for it.
        """
        if not self._asked and (self._work is not None or self._batch_limit is not None):
            raise TaskError(
                f"task '{task}' was told how much to train, and never asked: it trains in a loop of its own",
                cure="train by self.training.train, or go through context.allowance.epochs and .batches; "
                "see docs/frameworks.md",
            )

    @property
    def _work_batches(self) -> int | None:
        return None if self._work is None else self._work.batches

    @property
    def _over(self) -> bool:
        late = self._ends is not None and self._clock() >= self._ends
        return late or (self._batch_limit is not None and self.batches_done >= self._batch_limit)

    def epochs_wanted(self, planned: int) -> int | None:
        """Return how many epochs are asked; None: batches are, in as many epochs as it takes.

        Args:
            planned: What the task says.
        """
        if self._work is None:
            return planned
        if self._work.batches is not None:
            return None
        return planned if self._work.epochs is None else self._work.epochs

    def _stops(self) -> bool:
        """Whether to stop before the next batch, although there is more to do."""
        stops = self._task_batches > 0 and self._over
        self.partial = self.partial or stops
        return stops

    def _count(self, samples: int) -> None:
        self.batches_done += 1
        self._task_batches += 1
        self._task_samples += samples


def size_of(samples: Sized, targets: Sized) -> int:
    """Return how many samples a batch has; one of several named tensors has as many as it has targets."""
    return len(targets) if isinstance(samples, Mapping) else len(samples)
