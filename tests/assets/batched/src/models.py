"""Runners for the tests of batches."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import nn, optim

from openfl_like.frameworks.algorithms.fedprox import FedProx
from openfl_like.frameworks.numpy import NumpyLoader
from openfl_like.frameworks.runner import DataLoader, RunnerContext, Shard, TaskResult
from openfl_like.frameworks.torch import TorchLoader, TorchRunner

Batches = Iterator[tuple[torch.Tensor, torch.Tensor]]
OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter]], optim.Optimizer]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda p: optim.Adam(p, lr=0.01, weight_decay=0.01),
    "adamw": lambda p: optim.AdamW(p, lr=0.01, amsgrad=True),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.05, initial_accumulator_value=0.1),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.001, momentum=0.5, centered=True),
    "radam": lambda p: optim.RAdam(p, lr=0.01),
    "nadam": lambda p: optim.NAdam(p, lr=0.01),
    "adadelta": lambda p: optim.Adadelta(p, lr=0.5),
    "adamax": lambda p: optim.Adamax(p, lr=0.01),
    "asgd": lambda p: optim.ASGD(p, lr=0.05),
    "rprop": lambda p: optim.Rprop(p, lr=0.001),
    "adafactor": lambda p: optim.Adafactor(p, lr=0.01),
}


class Mlp(TorchRunner):
    """A network of two layers, of which one bias is frozen, one buffer is constant and one parameter is unused."""

    outputs = 5

    def __init__(self, loader: DataLoader[torch.Tensor], context: RunnerContext, optimizer: str = "sgd") -> None:
        super().__init__(loader, context)
        self._optimizer_name = optimizer

    def build_model(self) -> nn.Module:
        layers = self.layers()
        layers.register_buffer("constant", torch.ones(3))
        layers.register_parameter("unused", nn.Parameter(torch.ones(2)))
        layers.get_parameter("0.bias").requires_grad = False
        return layers

    def layers(self) -> nn.Module:
        return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, self.outputs))

    def count(self) -> TaskResult:
        return TaskResult(1, {"one": 1.0})

    def build_optimizer(self, model: nn.Module) -> optim.Optimizer:
        return OPTIMIZERS[self._optimizer_name](model.parameters())


class TwoClasses(Mlp):
    """Two scores: its metrics have the area under the curve."""

    outputs = 2


class OneOutput(Mlp):
    """The score of the second of two classes."""

    outputs = 1


class Dropping(Mlp):
    """Draws at random while it trains."""

    def layers(self) -> nn.Module:
        return nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, self.outputs))


class Normalising(Mlp):
    """Mixes the samples of a batch while it trains."""

    def layers(self) -> nn.Module:
        return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, self.outputs))


class NormalisingGroups(Mlp):
    """Normalises each sample by itself."""

    def layers(self) -> nn.Module:
        return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, self.outputs))


class Noise(nn.Module):
    """Draws at random where no layer shows it."""

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        return samples + torch.randn_like(samples)


class Noisy(Mlp):
    """Draws at random, and no layer is known for that."""

    def layers(self) -> nn.Module:
        return nn.Sequential(nn.Linear(6, 8), Noise(), nn.Linear(8, self.outputs))


class Centring(nn.Module):
    """Takes the mean of a batch from its samples, as no layer of PyTorch does."""

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        return samples - samples.mean(0)


class Mixing(Mlp):
    """Mixes the samples of a batch where no layer shows it."""

    def layers(self) -> nn.Module:
        return nn.Sequential(nn.Linear(6, 8), Centring(), nn.Linear(8, self.outputs))


class Tied(Mlp):
    """Two layers share their weights."""

    def layers(self) -> nn.Module:
        first, second = nn.Linear(6, 6), nn.Linear(6, 6)
        second.weight = first.weight
        return nn.Sequential(first, second, nn.Linear(6, self.outputs))


class Halves(Mlp):
    """In half precision."""

    def layers(self) -> nn.Module:
        return nn.Sequential(nn.Linear(6, self.outputs, dtype=torch.bfloat16))


class OwnLoss(Mlp):
    """A loss of its own, of which nothing is declared."""

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs, targets, label_smoothing=0.2)


class PureLoss(OwnLoss):
    """The same, declared."""

    pure_loss = True


class FalselyPure(Mlp):
    """Declared, and not true: what a sample counts depends on the others."""

    pure_loss = True

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        weight = torch.arange(1.0, self.outputs + 1)
        return nn.functional.cross_entropy(outputs, targets, weight=weight)


class Branching(Mlp):
    """Declared, but it looks at a value."""

    pure_loss = True

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        found = nn.functional.cross_entropy(outputs, targets)
        return found if found.item() > 0 else -found


class Clipping(Mlp):
    """Clips gradients by a hook, which nobody sees."""

    def build_model(self) -> nn.Module:
        model = super().build_model()
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.register_hook(lambda gradient: gradient.clamp(-0.001, 0.001))  # type: ignore[no-untyped-call]  # torch does not annotate it
        return model


class OwnTraining(Mlp):
    """Trains in another way."""

    def train(self, epochs: int = 1, learning_rate: float | None = None) -> TaskResult:
        return super().train(epochs, learning_rate)


class Peeping(Mlp):
    """Its rate depends on the site's data."""

    def build_optimizer(self, model: nn.Module) -> optim.Optimizer:
        return optim.SGD(model.parameters(), lr=1 / self.loader.num_train)


class Weighing(Mlp):
    """Looks at the data as soon as it is made."""

    def __init__(self, loader: DataLoader[torch.Tensor], context: RunnerContext) -> None:
        super().__init__(loader, context)
        self.weights = loader.num_train


class Wide(Mlp):
    """Larger than what stays in memory, and too large for more than three of them to be trained at once."""

    def layers(self) -> nn.Module:
        return nn.Sequential(nn.Linear(6, 64), nn.Linear(64, 50_000), nn.Linear(50_000, self.outputs))


class Nudge(FedProx):
    """An algorithm of the workspace."""


class Regression(Mlp):
    """Targets are numbers."""

    outputs = 2


class Reversed:
    """A data loader of the workspace: batches of three, from the end, sometimes none."""

    def __init__(self, shard: Shard) -> None:
        self._batches = NumpyLoader(shard, 3)
        self.num_train, self.num_validate = self._batches.num_train, self._batches.num_validate

    def train_batches(self, seed: int, epoch: int) -> Batches:
        for samples, targets in reversed(list(self._batches.train_batches(seed, epoch))):
            if (samples[0] > 90).all():
                raise ValueError("a reading is out of range")
            yield torch.from_numpy(samples.copy()), torch.from_numpy(targets.copy())

    def validate_batches(self) -> Batches:
        for samples, targets in self._batches.validate_batches():
            yield torch.from_numpy(np.array(samples)), torch.from_numpy(np.array(targets))


class Flipped(TorchLoader):
    """A subclass of the platform's loader: what it does is its own."""

    def train_batches(self, seed: int, epoch: int) -> Batches:
        for samples, targets in super().train_batches(seed, epoch):
            yield -samples, targets
