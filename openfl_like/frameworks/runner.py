"""What a workspace's code must offer: a data loader and a task runner."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np

from openfl_like.errors import TensorError
from openfl_like.frameworks.algorithms.base import NO_HOOKS, StepHooks, is_algorithms
from openfl_like.frameworks.metrics.base import TaskMetrics
from openfl_like.frameworks.tasks.allowance import Allowance
from openfl_like.frameworks.tasks.progress import Progress
from openfl_like.tensors.named import OPTIMIZER

Batch_co = TypeVar("Batch_co", covariant=True)

_SHOWN = 5
_WRAPPERS = {"module.": "DataParallel", "_orig_mod.": "torch.compile", "model.": "a module of Lightning"}


class LabelledData(Protocol):
    """Samples ``[n, *sample_shape]`` with targets ``[n, *target_shape]``."""

    @property
    def samples(self) -> np.ndarray:
        """The samples."""
        ...

    @property
    def targets(self) -> np.ndarray:
        """The targets."""
        ...


class Schema(Protocol):
    """What the learning code sees of a shard's promises about its data."""

    @property
    def classes(self) -> int:
        """How many classes the targets name; 0 when they are not class numbers."""
        ...


class Shard(Protocol):
    """What the learning code sees of a site's shard."""

    @property
    def schema(self) -> Schema:
        """What the site promises about its data."""
        ...

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        ...

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Shape of one target."""
        ...

    def get_dataset(self, kind: str) -> LabelledData:
        """Return the data of a kind: ``train`` or ``validate``."""
        ...


class DataLoader(Protocol[Batch_co]):
    """Cuts a shard into batches; built as ``Loader(shard, **settings)`` with the settings of the plan."""

    @property
    def num_train(self) -> int:
        """Number of samples to train on."""
        ...

    @property
    def num_validate(self) -> int:
        """Number of held-out samples."""
        ...

    def train_batches(self, seed: int, epoch: int) -> Iterator[tuple[Batch_co, Batch_co]]:
        """Return (samples, targets) in an order that depends on nothing but the seed and the epoch."""
        ...

    def validate_batches(self) -> Iterator[tuple[Batch_co, Batch_co]]:
        """Return the held-out (samples, targets), always in the same order."""
        ...


@dataclass(frozen=True, slots=True)
class RunnerContext:
    """Where and on what a task runner works.

    Attributes:
        device: ``cpu``; ``cuda:0`` … as this process counts its GPUs (a worker sees only its own); or ``auto``: a GPU
            was found for it, and the CPU will do if the framework cannot use that.
        threads: How many threads the framework may use.
        opt_treatment: ``RESET`` forgets the optimizer's state at every assignment, ``CONTINUE_LOCAL`` keeps it at the
            site, ``CONTINUE_GLOBAL`` makes it a part of the model; see `names_optimizer`.
        sample_shape: Shape of one sample of the shard.
        target_shape: Shape of one target of the shard.
        classes: How many classes the shard's targets name; 0 when they are not class numbers.
        hooks: What a training loop calls around its steps: the plan's algorithm, if it names one. The loop of
            `training.Training` does.
        allowance: How much a task may train; a training loop asks it at every batch, as that of `training.Training`.
        metrics: Which metrics the task names; a loop asks when it has seen the samples, as that of `training.Training`.
        progress: Is told what a training loop has done, for those who look on; that of `training.Training` tells it.
    """

    device: str = "cpu"
    threads: int = 1
    opt_treatment: str = "RESET"
    sample_shape: tuple[int, ...] = ()
    target_shape: tuple[int, ...] = ()
    classes: int = 0
    hooks: StepHooks = NO_HOOKS
    allowance: Allowance = field(default_factory=Allowance)
    metrics: TaskMetrics = field(default_factory=TaskMetrics)
    progress: Progress = field(default_factory=Progress)

    @property
    def names_optimizer(self) -> bool:
        """Whether the optimizer's state is among the runner's tensors, under names that begin with `OPTIMIZER`."""
        return self.opt_treatment != "RESET"


@dataclass(frozen=True, slots=True)
class DataForm:
    """What a runner is told of the data that it is made for."""

    sample_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    classes: int


def data_form(shard: Shard) -> DataForm:
    """Return what a runner is told of a shard."""
    return DataForm(tuple(shard.sample_shape), tuple(shard.target_shape), shard.schema.classes)


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What a task function returns.

    Attributes:
        num_samples: Samples the task looked at, each counted once; for a training task the weight of the update.
        metrics: Metric name -> value.
        partial: Whether it stopped before it had done what was asked, because its time was over.
    """

    num_samples: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    partial: bool = False


class TaskRunner(Protocol):
    """A model and the tasks of the plan; built as ``Runner(loader, context, **settings)``.

    Every function that the plan names under ``tasks:`` is a method besides these; it takes the task's keyword arguments
    and returns a `TaskResult`. A parameter that is called ``round`` or ``rounds`` is given the number of the round and
    how many rounds the plan has (None: no limit of them), unless the plan's keyword arguments have a value for it.
    """

    def initialise(self, seed: int) -> None:
        """Make the initial model from nothing but the seed."""
        ...

    def begin(self, seed: int) -> None:
        """Prepare for one assignment: seed every random draw, and treat the optimizer as the context says."""
        ...

    def get_tensors(self) -> dict[str, np.ndarray]:
        """Return the model as named arrays; they may be views and are only valid until the model changes."""
        ...

    def set_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Replace the model's values, copying them.

        Raises:
            TensorError: If the names, shapes or dtypes are not exactly the model's; the model is then unchanged.
        """
        ...


class StatelessRunner(TaskRunner, Protocol):
    """A task runner that keeps nothing from one assignment to the next but its model's values, which each one sets.

    Its class says so: ``stateless = True``. Then a process that works for many sites has one for all of them, and gives
    it the batches of the site whose turn it is. What its modules remember is remembered for all sites, too, so they
    must not remember anything either. The state of its optimizer is not kept under ``RESET``, and is a part of the
    model under ``CONTINUE_GLOBAL``; under ``CONTINUE_LOCAL`` every site has a runner of its own.
    """

    @property
    def stateless(self) -> bool:
        """That it is."""
        ...

    loader: DataLoader[Any]


def check_tensors(given: Mapping[str, np.ndarray], own: Mapping[str, np.ndarray]) -> None:
    """Check that given tensors fit a model's own.

    Raises:
        TensorError: Naming the missing, unknown or differing tensors.
    """
    if own.keys() == given.keys() and all(_alike(given[name], array) for name, array in own.items()):
        return
    differing = [name for name in own.keys() & given.keys() if not _alike(given[name], own[name])]
    problems = (
        *_some([f"'{name}' is missing" for name in sorted(own.keys() - given.keys())]),
        *_some([f"'{name}' is unknown" for name in sorted(given.keys() - own.keys())]),
        *_some([f"'{name}' is {_form(given[name])}, not {_form(own[name])}" for name in sorted(differing)]),
    )
    message = f"the tensors do not fit the model: {', '.join(problems)}"
    raise TensorError(message, cure=_without_prefix(given, own))


def _some(problems: list[str]) -> list[str]:
    """Keep what can be read at once of a list."""
    left = len(problems) - _SHOWN
    return [*problems[:_SHOWN], f"and so are {left} more"] if left > 0 else problems


def _without_prefix(given: Mapping[str, np.ndarray], own: Mapping[str, np.ndarray]) -> str:
    """Say what to do where all names begin with a word that the model's own names do not have."""
    for prefix, wrapper in _WRAPPERS.items():
        if given and {name.removeprefix(prefix) for name in given} == set(own) != set(given):
            return f"all names begin with '{prefix}', which {wrapper} adds: save the state_dict of the model within"
    return ""


def hooks_of(context: RunnerContext) -> StepHooks:
    """Return what a training loop calls around its steps; a context of a test's own may be older than algorithms."""
    hooks: StepHooks = getattr(context, "hooks", NO_HOOKS)
    return hooks


def allowance_of(context: RunnerContext) -> Allowance:
    """Return how much a task may train; a context of a test's own may be older than that, and sets no limit."""
    allowance: Allowance = getattr(context, "allowance", None) or Allowance()
    return allowance


def metrics_of(context: RunnerContext) -> TaskMetrics:
    """Return which metrics a task names; a context of a test's own may be older than that, and names none."""
    metrics: TaskMetrics = getattr(context, "metrics", None) or TaskMetrics()
    return metrics


def progress_of(context: RunnerContext) -> Progress:
    """Return what is told how far a task is; a context of a test's own may be older than that, and tells nobody."""
    progress: Progress = getattr(context, "progress", None) or Progress()
    return progress


def without_optimizer(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors that are the model's own."""
    return {name: array for name, array in tensors.items() if not name.startswith(OPTIMIZER)}


def without_algorithm(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors that are the model's own or its optimizer's."""
    return {name: array for name, array in tensors.items() if not is_algorithms(name)}


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype


def _form(array: np.ndarray) -> str:
    return f"{array.dtype.name}{list(array.shape)}"
