"""The one training loop, for every framework."""

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

from openfl_like.frameworks.algorithms.base import StepHooks
from openfl_like.frameworks.metrics import Seen
from openfl_like.frameworks.model import Model, Observation
from openfl_like.frameworks.runner import DataLoader, TaskResult
from openfl_like.frameworks.targets import check_class_numbers

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

    Attributes:
        seed: Of the assignment; the order of the samples is drawn from it.
        epoch: How many epochs of the assignment are done.
    """

    def __init__(self, hooks: StepHooks, own_loss: Callable[[], bool] = lambda: True) -> None:
        self._hooks = hooks
        self._own_loss = own_loss
        self.seed = 0
        self.epoch = 0

    def begin(self, seed: int) -> None:
        """Start with the first epoch of an assignment."""
        self.seed, self.epoch = seed, 0

    def train(self, loader: DataLoader[BatchT], model: Model, epochs: int) -> TaskResult:
        """Train a model, a step for each batch.

        Args:
            loader: Gives the batches.
            model: Is stepped.
            epochs: How often every sample is seen.

        Returns:
            The number of samples, and the metrics of the last epoch, each batch measured before its step.

        Raises:
            TensorError: If a target is not the number of a class, and the loss takes it for one.
        """
        hooks, own_loss = self._hooks, self._own_loss()
        hooks.begin(model)

        def step(samples: BatchT, targets: BatchT) -> Observation:
            with _noted(samples):
                observation, gradients = model.loss_and_gradients(samples, targets)
            if not own_loss:
                check_class_numbers(observation)
            model.apply(hooks.adjust(gradients, model))
            hooks.after_step(model)
            return observation

        return self.train_by(step, loader, epochs)

    def train_by(self, step: Step[BatchT], loader: DataLoader[BatchT], epochs: int) -> TaskResult:
        """Train with steps that are not taken along gradients; no algorithm sees them. Return what `train` does."""
        seen = Seen()
        for _ in range(epochs):
            seen = observe(step, loader.train_batches(self.seed, self.epoch))
            self.epoch += 1
        return TaskResult(loader.num_train, seen.metrics())

    def validate(self, measure: Step[BatchT], loader: DataLoader[BatchT]) -> TaskResult:
        """Measure a model on the held-out samples; raises as `train` does."""
        own_loss = self._own_loss()

        def look(samples: BatchT, targets: BatchT) -> Observation:
            observation = measure(samples, targets)
            if not own_loss:
                check_class_numbers(observation)
            return observation

        return TaskResult(loader.num_validate, observe(look, loader.validate_batches()).metrics())


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


@contextmanager
def _noted(samples: Sized) -> Iterator[None]:
    """Have an error that one sample alone may have caused say so."""
    try:
        yield
    except Exception as error:
        if len(samples) == 1:
            error.add_note(ONE_SAMPLE)
        raise


def is_own(loss: Callable[..., object], given: Callable[..., object]) -> bool:
    """Whether a runner's bound loss is another one than that of the class that comes with the platform."""
    return getattr(loss, "__func__", loss) is not given


def observe(step: Step[BatchT], batches: Iterable[tuple[BatchT, BatchT]]) -> Seen:
    """Go through batches once."""
    seen = Seen()
    for samples, targets in batches:
        observation = step(samples, targets)
        seen.add(observation.loss, observation.scores, observation.targets)
    return seen
