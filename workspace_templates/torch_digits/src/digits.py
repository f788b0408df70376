"""Handwritten digits: a small network."""

from collections import OrderedDict

import torch
from torch import nn

from openfl_like.frameworks.runner import DataLoader, RunnerContext
from openfl_like.frameworks.torch import TorchRunner


class DigitsRunner(TorchRunner):
    """One hidden layer, ten outputs.

    Args:
        loader: Images of the site.
        context: Where to work.
        hidden: Units of the hidden layer.
        lr: Learning rate.
        momentum: Share of the last step that is kept.
        batch_norm: Whether the hidden layer is normalised over each batch. A batch of one sample cannot be, so that
            the data loader needs ``drop_last: true``. ``aggregation.rules`` names the layer's tensors ``norm.*``.
    """

    stateless = True  # nothing but the model is kept between assignments: simulated sites may share a runner

    def __init__(
        self,
        loader: DataLoader[torch.Tensor],
        context: RunnerContext,
        *,
        hidden: int = 64,
        lr: float = 0.1,
        momentum: float = 0.9,
        batch_norm: bool = False,
    ) -> None:
        super().__init__(loader, context)
        self._hidden = hidden
        self._lr = lr
        self._momentum = momentum
        self._batch_norm = batch_norm

    def build_model(self) -> nn.Module:
        """8 x 8 pixels in, one score for each digit out."""
        hidden, scores = nn.Linear(64, self._hidden), nn.Linear(self._hidden, 10)
        if not self._batch_norm:
            return nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), scores)
        layers = {"flat": nn.Flatten(), "hidden": hidden, "norm": nn.BatchNorm1d(self._hidden)}
        return nn.Sequential(OrderedDict({**layers, "relu": nn.ReLU(), "scores": scores}))

    def build_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Gradient descent with momentum."""
        return torch.optim.SGD(model.parameters(), lr=self._lr, momentum=self._momentum)
