"""Task runner and data loader for PyTorch; only the modules ``torch*`` of this package import it."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import lru_cache

import numpy as np
import torch
from torch import nn

from openfl_like.errors import DeviceError
from openfl_like.frameworks.numpy import NumpyLoader
from openfl_like.frameworks.runner import (
    DataLoader,
    RunnerContext,
    Shard,
    TaskResult,
    check_tensors,
)
from openfl_like.frameworks.targets import check_classes, check_numbers, check_two_classes
from openfl_like.frameworks.torch_arrays import fill, named_array, to_torch
from openfl_like.frameworks.torch_model import TorchModel
from openfl_like.frameworks.torch_optimizer import BuiltOptimizer, prepare, state_tensors
from openfl_like.frameworks.torch_views import ModuleViews
from openfl_like.frameworks.training import FormerNames, Training, is_own
from openfl_like.tensors.named import OPTIMIZER


class TorchLoader:
    """Batches of torch tensors on the CPU.

    Args:
        shard: The site's data.
        batch_size: Samples in a batch; the last one of an epoch may be smaller.
        drop_last: As for `numpy.NumpyLoader`: batch normalisation cannot train on a batch of one sample.
    """

    def __init__(self, shard: Shard, batch_size: int = 32, *, drop_last: bool = False) -> None:
        self._batches = NumpyLoader(shard, batch_size, drop_last=drop_last)
        self._held = [(to_torch(samples), to_torch(targets)) for samples, targets in self._batches.validate_batches()]

    @property
    def cut(self) -> NumpyLoader:
        """What cuts the samples, for whoever has them on a device already."""
        return self._batches

    @property
    def num_train(self) -> int:
        """Number of samples to train on."""
        return self._batches.num_train

    @property
    def num_validate(self) -> int:
        """Number of held-out samples."""
        return self._batches.num_validate

    def train_batches(self, seed: int, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield shuffled (samples, targets); the order depends on nothing but the seed and the epoch."""
        for samples, targets in self._batches.train_batches(seed, epoch):
            yield torch.from_numpy(samples), torch.from_numpy(targets)

    def validate_batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Return the held-out (samples, targets) in their own order."""
        return iter(self._held)


class TorchRunner(FormerNames, ABC):
    """A torch model with the tasks ``train`` and ``validate``.

    A subclass gives `build_model`, and may replace `build_optimizer` and `loss` or add task functions. Its ``__init__``
    takes the plan's settings as keyword arguments. The model is made when it is first needed, so that ``__init__`` may
    set what `build_model` reads after it has called this one.

    The same seed gives the same bits on the same machine and thread count: every assignment seeds torch, deterministic
    algorithms are required, and the number of threads is fixed.

    Attributes:
        pure_loss: Whether a `loss` of the subclass's own depends on nothing but outputs and targets, and gives for a
            batch the mean of what it gives for each sample: then ``fx simulate --runtime batched`` can take it.
        batch_form: What trains the models of many sites at once; see `batched.form`.
    """

    pure_loss = False
    batch_form = "openfl_like.frameworks.batched.torch_batch:TorchBatch"

    def __init__(self, loader: DataLoader[torch.Tensor], context: RunnerContext) -> None:
        self.loader = loader
        self.context = context
        self.device = _choose_device(context.device)
        self._model: nn.Module | None = None
        self._optimizer: torch.optim.Optimizer | None = None
        self._plain_descent: BuiltOptimizer | None = None
        self._known_views: ModuleViews | None = None
        self.training = Training.of(context, lambda: is_own(self.loss, TorchRunner.loss))

    @abstractmethod
    def build_model(self) -> nn.Module:
        """Make the model; its initial values may be drawn from torch's generator, which is seeded."""

    def build_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Make the optimizer; plain gradient descent with rate 0.1 unless replaced."""
        return torch.optim.SGD(model.parameters(), lr=0.1)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a batch.

        Unless replaced: squared error for targets that are floats, else cross entropy, in its binary form when the
        model has one output.

        Raises:
            TensorError: If outputs and targets do not belong together, by their shapes.
        """
        shapes = outputs.shape, targets.shape
        if targets.is_floating_point():
            check_numbers(*shapes, self.context.classes)
            return nn.functional.mse_loss(outputs.reshape(targets.shape), targets)
        if outputs.ndim == 1 or outputs.shape[1] == 1:
            check_two_classes(*shapes, self.context.classes, axis=1)
            truth = targets.reshape(-1).to(outputs.dtype)
            return nn.functional.binary_cross_entropy_with_logits(outputs.reshape(-1), truth)
        _classes_fit(*shapes)
        if targets.dtype != torch.long or targets.ndim == outputs.ndim:
            targets = targets.reshape(shapes[0][:1] + shapes[0][2:]).long()
        return nn.functional.cross_entropy(outputs, targets)

    @property
    def model(self) -> nn.Module:
        """The model, on its device."""
        if self._model is None:
            self._model = self.build_model().to(self.device)
        return self._model

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of the model."""
        if self._optimizer is None:
            self._optimizer = self._build_optimizer()
            if self.context.names_optimizer:
                prepare(self._optimizer)
        return self._optimizer

    def _build_optimizer(self) -> torch.optim.Optimizer:
        """Build the optimizer, unless what would be built is there: that of the platform keeps nothing."""
        if is_own(self.build_optimizer, TorchRunner.build_optimizer):
            return self.build_optimizer(self.model)
        parameters = self._parameters()
        if self._plain_descent is None or not self._plain_descent.would_be(parameters.values()):
            self._plain_descent = BuiltOptimizer(self.build_optimizer(self.model))
        return self._plain_descent.optimizer

    def initialise(self, seed: int) -> None:
        """Make the model anew from the seed."""
        self._model, self._optimizer, self._plain_descent, self._known_views = None, None, None, None
        self._seed_generators(seed)
        self.begin(seed)

    def begin(self, seed: int) -> None:
        """Seed torch for an assignment; forget the optimizer's state under ``RESET``."""
        _require_determinism()
        torch.set_num_threads(self.context.threads)
        _ = self.model  # made before the seed is set, so that a process that is new draws like one that has a model
        self._seed_generators(seed)
        self.training.begin(seed)
        if self.context.opt_treatment == "RESET":
            self._optimizer = None

    def _seed_generators(self, seed: int) -> None:
        """Seed what the device in use draws from; to seed that of every device costs a tenth of a millisecond."""
        if self.device.type == "cpu":
            torch.default_generator.manual_seed(seed % 2**63)
        else:
            torch.manual_seed(seed % 2**63)

    def get_tensors(self) -> dict[str, np.ndarray]:
        """Return the ``state_dict`` as arrays of the same dtypes; on the CPU they are views of the model's memory."""
        if self.context.names_optimizer:
            return _arrays(self._tensors())
        return self._views() or _arrays(self._tensors())

    def set_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Copy values into the model's memory; see `runner.TaskRunner.set_tensors`."""
        views = None if self.context.names_optimizer else self._views()
        if views is not None:
            check_tensors(tensors, views)
            for name, array in views.items():
                np.copyto(array, tensors[name])
            return
        own = self._tensors()
        check_tensors(tensors, _arrays(own))
        for name, tensor in own.items():
            fill(tensor, tensors[name])

    def _views(self) -> dict[str, np.ndarray] | None:
        """Return the model as arrays that are views of its memory; None if it has no such arrays."""
        arrays = self._known_views.arrays(self.model) if self._known_views is not None else None
        if arrays is None:
            self._known_views = ModuleViews.of(self.model)
            arrays = self._known_views.arrays(self.model) if self._known_views is not None else None
        return arrays

    def _set_mode(self, *, training: bool) -> None:
        if self._known_views is None or not self._known_views.are_in_mode(training=training):
            self.model.train(training)

    def _tensors(self) -> dict[str, torch.Tensor]:
        own: dict[str, torch.Tensor] = self.model.state_dict()
        if not self.context.names_optimizer:
            return own
        shared = state_tensors(self.optimizer, self.model)
        return {**own, **{f"{OPTIMIZER}{name}": tensor for name, tensor in shared.items()}}

    def train(self, epochs: int = 1, learning_rate: float | None = None) -> TaskResult:
        """Train for some epochs; the metrics are those of the last one, each batch measured before its step.

        Args:
            epochs: How many.
            learning_rate: That of the optimizer in this task; None: its own.
        """
        self._set_mode(training=True)
        if learning_rate is None:
            return self.training.train(self.loader, self._steps(), epochs)
        own = [(group, group["lr"]) for group in self.optimizer.param_groups]
        try:
            for group, _ in own:
                group["lr"] = learning_rate
            return self.training.train(self.loader, self._steps(), epochs)
        finally:
            for group, rate in own:
                group["lr"] = rate

    def validate(self) -> TaskResult:
        """Measure the model on the held-out samples."""
        self._set_mode(training=False)
        with torch.no_grad():
            return self.training.validate(self._steps().measure, self.loader)

    def _steps(self) -> TorchModel:
        optimizer = self.optimizer  # made first: whoever makes it may change the model
        return TorchModel(self.model, self._parameters(), optimizer, self.loss, self.device)

    def _parameters(self) -> Mapping[str, nn.Parameter]:
        known = self._known_views.parameters(self.model) if self._known_views is not None else None
        return dict(self.model.named_parameters()) if known is None else known


def _require_determinism() -> None:
    """Require deterministic algorithms, unless they are: to set it again takes ten times as long as to ask."""
    if not torch.are_deterministic_algorithms_enabled() or torch.is_deterministic_algorithms_warn_only_enabled():
        torch.use_deterministic_algorithms(True)  # noqa: FBT003 - torch takes it by position only


@lru_cache(32)
def _classes_fit(outputs: torch.Size, targets: torch.Size) -> None:
    """Check shapes as `check_classes` does; the batches of a site have few of them."""
    check_classes(outputs, targets, axis=1)


def _arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: named_array(name, tensor) for name, tensor in tensors.items()}


def _choose_device(name: str) -> torch.device:
    there = name != "cpu" and torch.cuda.is_available()
    if name == "auto":
        name = "cuda" if there else "cpu"
    elif name != "cpu" and not there:
        raise DeviceError(
            f"the worker was given '{name}', but this PyTorch ({torch.__version__}) finds no GPU",
            cure="install a build of PyTorch for the site's driver, or ask for auto in collaborator.settings.device",
        )
    if name != "cpu":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS is not deterministic
    return torch.device(name)
