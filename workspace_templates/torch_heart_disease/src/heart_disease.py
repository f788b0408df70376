"""Heart disease from 13 clinical findings: logistic regression."""

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
    ) -> None:
        super().__init__(loader, context)
        self._lr = lr
        self._momentum = momentum
        self._weight_decay = weight_decay

    def build_model(self) -> nn.Module:
        """One weight for each feature."""
        return nn.Linear(self.context.sample_shape[0], 1)

    def build_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Gradient descent with momentum."""
        weights = [value for name, value in model.named_parameters() if name.endswith("weight")]
        biases = [value for name, value in model.named_parameters() if name.endswith("bias")]
        groups = [{"params": weights, "weight_decay": self._weight_decay}, {"params": biases}]
        return torch.optim.SGD(groups, lr=self._lr, momentum=self._momentum)
