"""How far a task is, told while it works: thinned here, so that a loop may say it after every batch."""

import contextlib
import math
import operator
import time
from collections.abc import Callable, Mapping

from openfl_like.federation.reports.progress import MOST_METRICS, TaskProgress, checked_progress
from openfl_like.federation.task import MAX_NAME_LENGTH, Assignment, Phase

EACH_S = 0.5
"""At most one report in so many seconds leaves the process, and none before."""


class Progress:
    """Tells how far the assignment's task is; a training loop says what it has done.

    The loop of `openfl_like.frameworks.training.Training` does. A loop of a runner's own may call `epoch_begins` and
    `batch_done`, as often as it likes. Nothing that is told has any influence on what is trained: numbers may be of
    numpy or another framework, and what is no number, or cannot be, is not told.

    Args:
        clock: Seconds that never go back.

    Attributes:
        site: Whose assignment it is.
        tell: Is given a report now and then, on the thread of the task; None: nobody wants any.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.tell: Callable[[TaskProgress], None] | None = None
        self.site = ""
        self._due = math.inf
        self._round, self._phase, self._task, self._began = 0, Phase.TRAIN, "", 0.0
        self._epoch, self._batches, self._samples, self._of_samples = 0, 0, 0, 0
        self._epochs: int | None = None
        self._loss_total, self._metrics = 0.0, dict[str, float]()

    def begin(self, assignment: Assignment) -> None:
        """Begin an assignment."""
        self.site, self._round, self._phase = assignment.collaborator, assignment.round, assignment.phase
        self._due = math.inf

    def begin_task(self, name: str) -> None:
        """Begin a task."""
        self._task, self._batches, self._epochs = name, 0, None
        self.epoch_begins(0)
        if self.tell is not None:
            self._began = self._clock()
            self._due = self._began + EACH_S

    def epoch_begins(self, number: int, epochs: int | None = None, of_samples: int = 0) -> None:
        """Say that an epoch begins.

        Args:
            number: How many are done.
            epochs: How many there will be; None: that is not known.
            of_samples: How many samples each has; 0: that is not known.
        """
        self._epoch, self._epochs, self._of_samples = number, epochs, of_samples
        self._samples, self._loss_total, self._metrics = 0, 0.0, {}

    def batch_done(self, samples: int, loss: float = math.nan, metrics: Mapping[str, float] | None = None) -> None:
        """Say that a batch is done.

        Args:
            samples: How many it had.
            loss: Its mean loss; NaN: it is not told.
            metrics: What else is to be told, as it is now; the first 16 whose values are finite.
        """
        if self.tell is None:
            return
        self._batches += 1
        with contextlib.suppress(Exception):  # (whatever a number of somebody's own loop raises: it is only told)
            self._add(operator.index(samples), float(loss), metrics)
        now = self._clock()
        if now >= self._due:
            self._due = now + EACH_S
            report = self._report(now)
            if report is not None:
                self.tell(report)

    def _add(self, samples: int, loss: float, metrics: Mapping[str, float] | None) -> None:
        self._samples += samples
        self._loss_total += loss * samples
        if metrics:
            self._metrics = dict(metrics)

    def _report(self, now: float) -> TaskProgress | None:
        """Return what is to be told, of plain numbers; None: something in it is none."""
        with contextlib.suppress(Exception):  # (as above)
            return checked_progress(
                TaskProgress(
                    self._round,
                    self._phase,
                    self._task,
                    operator.index(self._epoch),
                    None if self._epochs is None else operator.index(self._epochs),
                    self._batches,
                    self._samples,
                    operator.index(self._of_samples),
                    now - self._began,
                    self._told(),
                )
            )
        return None

    def _told(self) -> dict[str, float]:
        mean = self._loss_total / self._samples if self._samples else math.nan
        numbers = {name: float(value) for name, value in {"loss": mean, **self._metrics}.items()}
        sound = [
            (name, value) for name, value in numbers.items() if math.isfinite(value) and len(name) <= MAX_NAME_LENGTH
        ]
        return dict(sound[:MOST_METRICS])
