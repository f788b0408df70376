"""Small images, five classes: a network of two layers."""

import torch
from torch import nn

from openfl_like.frameworks.runner import DataLoader, RunnerContext
from openfl_like.frameworks.torch import TorchRunner


class ImagesRunner(TorchRunner):
    """One hidden layer, a score for each class.

    Args:
        loader: Images of the site.
        context: Where to work.
        hidden: Units of the hidden layer.
        lr: Learning rate.
    """

    def __init__(self, loader: DataLoader[torch.Tensor], context: RunnerContext, *, hidden: int, lr: float) -> None:
        super().__init__(loader, context)
        self._hidden, self._lr = hidden, lr

    def build_model(self) -> nn.Module:
        """6 x 6 pixels in, five scores out."""
        return nn.Sequential(nn.Flatten(), nn.Linear(36, self._hidden), nn.ReLU(), nn.Linear(self._hidden, 5))

    def build_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Gradient descent."""
        return torch.optim.SGD(model.parameters(), lr=self._lr)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Cross entropy."""
        return nn.functional.cross_entropy(outputs, targets)
