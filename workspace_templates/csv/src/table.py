"""A table: a small network that fits any number of columns, and classes or numbers as targets."""

import torch
from torch import nn

from openfl_like.frameworks.runner import DataLoader, RunnerContext
from openfl_like.frameworks.torch import TorchRunner


class TableRunner(TorchRunner):
    """One hidden layer; one output for numbers and for two classes, else one for each class.

    Args:
        loader: Rows of the site.
        context: Where to work; it knows how many columns and classes the site's shard.yaml names.
        hidden: Units of the hidden layer.
        lr: Learning rate.
    """

    stateless = True  # nothing but the model is kept between assignments: simulated sites may share a runner

    def __init__(
        self, loader: DataLoader[torch.Tensor], context: RunnerContext, *, hidden: int = 16, lr: float = 0.05
    ) -> None:
        super().__init__(loader, context)
        self._hidden = hidden
        self._lr = lr

    def build_model(self) -> nn.Module:
        """One input for each column."""
        (columns,) = self.context.sample_shape
        outputs = self.context.classes if self.context.classes > 2 else 1
        return nn.Sequential(nn.Linear(columns, self._hidden), nn.ReLU(), nn.Linear(self._hidden, outputs))

    def build_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Gradient descent with momentum."""
        return torch.optim.SGD(model.parameters(), lr=self._lr, momentum=0.9)
