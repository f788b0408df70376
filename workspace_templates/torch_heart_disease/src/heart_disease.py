"""Heart disease from 13 clinical findings: logistic regression."""

from collections import OrderedDict

import torch
from torch import nn

from openfl_like.frameworks.runner import DataLoader, RunnerContext
from openfl_like.frameworks.torch import TorchRunner


class HeartDiseaseRunner(TorchRunner):
    """One output: the log-odds of a narrowed coronary artery.

    Args:
        loader: Patients of the site.
        context: Where to work.
        lr: Learning rate.
        momentum: Share of the last step that is kept.
        weight_decay: Penalty on large weights; the bias is free.
        batch_norm: Whether the features are normalised over each batch. A batch of one patient cannot be.
            ``aggregation.rules`` names the tensors of that layer ``norm.*``.
    """

    stateless = True  # nothing but the model is kept between assignments: simulated sites may share a runner

    def __init__(
        self,
        loader: DataLoader[torch.Tensor],
        context: RunnerContext,
        *,
        lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 0.01,
        batch_norm: bool = False,
    ) -> None:
        super().__init__(loader, context)
        self._lr = lr
        self._momentum = momentum
        self._weight_decay = weight_decay
        self._batch_norm = batch_norm

    def build_model(self) -> nn.Module:
        """One weight for each feature."""
        features = self.context.sample_shape[0]
        linear = nn.Linear(features, 1)
        if not self._batch_norm:
            return linear
        return nn.Sequential(OrderedDict(norm=nn.BatchNorm1d(features), linear=linear))

    def build_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Gradient descent with momentum."""
        penalised = {"weight", "linear.weight"}
        weights = [value for name, value in model.named_parameters() if name in penalised]
        others = [value for name, value in model.named_parameters() if name not in penalised]
        groups = [{"params": weights, "weight_decay": self._weight_decay}, {"params": others}]
        return torch.optim.SGD(groups, lr=self._lr, momentum=self._momentum)
