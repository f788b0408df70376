"""The one training loop, for every framework."""

from collections.abc import Callable, Iterable, Sized
from typing import TypeVar

from openfl_like.errors import UsageError
from openfl_like.frameworks.algorithms.base import StepHooks
from openfl_like.frameworks.algorithms.gradients import SiteGradients
from openfl_like.frameworks.metrics.base import TaskMetrics
from openfl_like.frameworks.metrics.seen import Seen
from openfl_like.frameworks.model import Model, Observation
from openfl_like.frameworks.runner import (
    DataLoader,
    RunnerContext,
    TaskResult,
    allowance_of,
    hooks_of,
    metrics_of,
    progress_of,
)
from openfl_like.frameworks.targets import check_class_numbers
from openfl_like.frameworks.tasks.allowance import Allowance, size_of
from openfl_like.frameworks.tasks.blame import FailedBatch
from openfl_like.frameworks.tasks.progress import Progress

BatchT = TypeVar("BatchT", bound=Sized)
ONE_SAMPLE = "(the batch has one sample: set drop_last: true, or another batch_size, in data_loader.settings)"
Step = Callable[[BatchT, BatchT], Observation]
"""Takes a step with a batch, samples and targets; gives what the model made of it before."""


class Training:
    """Goes through the data: where it is, and what it calls around each step.

    Args:
        hooks: The plan's algorithm, or nothing; see `runner.RunnerContext`.
        own_loss: Says whether the loss is the user's own; the one that comes with a runner takes integers for the
            numbers of classes, so they are looked at.
        allowance: How much a task may train; None: as much as it says.
        metrics: Which metrics a task names; None: none.
        progress: Is told what is done; None: nobody is.

    Attributes:
        seed: Of the assignment; the order of the samples is drawn from it.
        epoch: How many epochs of the assignment are done.
        failed: The last batch of the assignment over which a step raised; None: there is none.
        allowance: How much a task may train.
    """

    def __init__(
        self,
        hooks: StepHooks,
        own_loss: Callable[[], bool] = lambda: True,
        allowance: Allowance | None = None,
        metrics: TaskMetrics | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._hooks = hooks
        self._own_loss = own_loss
        self._gradients = SiteGradients()
        self.allowance = Allowance() if allowance is None else allowance
        self._metrics = TaskMetrics() if metrics is None else metrics
        self._progress = Progress() if progress is None else progress
        self.seed = 0
        self.epoch = 0
        self.failed: FailedBatch | None = None

    @classmethod
    def of(cls, context: RunnerContext, own_loss: Callable[[], bool] = lambda: True) -> "Training":
        """Make the loop of a runner.

        Args:
            context: Of the runner.
            own_loss: As above.
        """
        return cls(hooks_of(context), own_loss, allowance_of(context), metrics_of(context), progress_of(context))

    def begin(self, seed: int) -> None:
        """Start with the first epoch of an assignment."""
        self.seed, self.epoch, self.failed = seed, 0, None

    def train(self, loader: DataLoader[BatchT], model: Model, epochs: int) -> TaskResult:
        """Train a model, a step for each batch.

        Args:
            loader: Gives the batches.
            model: Is stepped.
            epochs: How often every sample is seen, unless the assignment says how much to train.

        Returns:
            The number of samples, and the metrics of the last epoch, each batch measured before its step. When the time
            for training is over, what there is after the batch at work, said to be partial.

        Raises:
            TensorError: If a target is not the number of a class, and the loss takes it for one.
        """
        hooks, own_loss = self._hooks, self._own_loss()
        self._gradients.over(model, lambda: loader.train_batches(self.seed, 0))
        hooks.begin(model, self._gradients)

        def step(samples: BatchT, targets: BatchT) -> Observation:
            try:
                observation, gradients = model.loss_and_gradients(samples, targets)
            except Exception as error:
                if len(samples) == 1:
                    error.add_note(ONE_SAMPLE)
                raise
            if not own_loss:
                check_class_numbers(observation)
            self._gradients.show(samples, targets)
            model.apply(hooks.adjust(gradients, model))
            hooks.after_step(model)
            return observation

        return self.train_by(step, loader, epochs)

    def train_by(self, step: Step[BatchT], loader: DataLoader[BatchT], epochs: int) -> TaskResult:
        """Train with steps that are not taken along gradients; no algorithm sees them. Return what `train` does.

        Raises:
            UsageError: If the number of epochs is none.
        """
        if int(epochs) != epochs or epochs < 1:
            raise UsageError(f"epochs is {epochs!r}", cure="give the task a whole number of epochs, 1 or more")
        seen, allowance = Seen(), self.allowance
        for number in allowance.epochs(int(epochs)):
            self._progress.epoch_begins(number, allowance.epochs_wanted(int(epochs)), loader.num_train)
            seen = self.observe(step, allowance.batches(loader.train_batches, self.seed, self.epoch))
            self.epoch += 1
        return TaskResult(allowance.num_samples(loader.num_train), seen.metrics(), allowance.partial)

    def validate(self, measure: Step[BatchT], loader: DataLoader[BatchT]) -> TaskResult:
        """Measure a model on the held-out samples; raises as `train` does."""
        own_loss = self._own_loss()

        def look(samples: BatchT, targets: BatchT) -> Observation:
            observation = measure(samples, targets)
            if not own_loss:
                check_class_numbers(observation)
            return observation

        self._progress.epoch_begins(0, 1, loader.num_validate)
        return TaskResult(loader.num_validate, self.observe(look, loader.validate_batches()).metrics())

    def observe(self, step: Step[BatchT], batches: Iterable[tuple[BatchT, BatchT]]) -> Seen:
        """Go through batches once; over which of them a step raised is kept in ``failed``."""
        seen = Seen(chosen=self._metrics.chosen)
        for samples, targets in batches:
            try:
                observation = step(samples, targets)
            except Exception as error:
                self.failed = FailedBatch(error, form_of(samples), form_of(targets))
                raise
            seen.add(observation.loss, observation.scores, observation.targets)
            self._progress.batch_done(size_of(samples, targets), observation.loss)
        return seen


class FormerNames:
    """The position in the data by the names that it had in 0.1: subclasses with a loop of their own use them."""

    training: Training

    @property
    def _seed(self) -> int:
        return self.training.seed

    @_seed.setter
    def _seed(self, seed: int) -> None:
        self.training.seed = seed

    @property
    def _epoch(self) -> int:
        return self.training.epoch

    @_epoch.setter
    def _epoch(self, epoch: int) -> None:
        self.training.epoch = epoch


def is_own(loss: Callable[..., object], given: Callable[..., object]) -> bool:
    """Whether a runner's bound loss is another one than that of the class that comes with the platform."""
    return getattr(loss, "__func__", loss) is not given


def form_of(batch: object) -> str:
    """Return dtype and shape of an array or tensor of any framework, or the class of anything else; never a value."""
    try:
        dtype, shape = batch.dtype, list(batch.shape)  # type: ignore[attr-defined] # the frameworks share no base class
        return f"{getattr(dtype, 'name', str(dtype)).removeprefix('torch.')}{shape}"
    except Exception:  # noqa: BLE001 (a loader of the workspace may give anything, and what it raised comes first)
        return type(batch).__name__
