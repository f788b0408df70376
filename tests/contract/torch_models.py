"""PyTorch models for the contract of task runners; imported only by a run that may import PyTorch."""

import torch
from torch import nn

from openfl_like.frameworks.algorithms.session import LocalSession
from openfl_like.frameworks.model import Model
from openfl_like.frameworks.torch import TorchRunner
from openfl_like.frameworks.torch_model import TorchModel


class Net(TorchRunner):
    def build_model(self) -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Linear(3, 5),
            torch.nn.BatchNorm1d(5),
            torch.nn.Dropout(0.2),
            torch.nn.ReLU(),
            torch.nn.Linear(5, 1),
        )

    def build_optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


class Adaptive(Net):
    def build_optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.1)


class Mixed(TorchRunner):
    """A layer of each dtype; batch normalisation counts in int64."""

    def build_model(self) -> torch.nn.Module:
        return torch.nn.ModuleDict(
            {
                "f16": torch.nn.Linear(3, 4, dtype=torch.float16),
                "bf16": torch.nn.Linear(3, 4, dtype=torch.bfloat16),
                "f64": torch.nn.Linear(3, 4, dtype=torch.float64),
                "norm": torch.nn.BatchNorm1d(4),
            }
        )


class Whole(Net):
    """Its optimizer has no state that could be shared."""

    def build_optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        return torch.optim.LBFGS(model.parameters())


class Logistic(TorchRunner):
    """Logistic regression in float64, with one tensor that the loss does not depend on."""

    def build_model(self) -> torch.nn.Module:
        model = torch.nn.Linear(3, 1, dtype=torch.float64)
        model.register_parameter("unused", torch.nn.Parameter(torch.ones(2, dtype=torch.float64)))
        return model


class Line(TorchRunner):
    """A linear model with so many outputs."""

    outputs = 1

    def build_model(self) -> torch.nn.Module:
        return torch.nn.Linear(3, self.outputs)


class _Quadratic(nn.Module):
    """Gives the square root of twice its loss."""

    def __init__(self, curvature: float, centre: float) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self._curvature, self._centre = curvature, centre

    def forward(self, samples: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 - it has none
        away: torch.Tensor = self._curvature**0.5 * (self.x - self._centre)
        return away


class QuadraticSite:
    """See `quadratics.Site`."""

    def __init__(self, curvature: float, centre: float, rate: float) -> None:
        self._module = _Quadratic(curvature, centre)
        optimizer = torch.optim.SGD(self._module.parameters(), lr=rate)
        parameters, cpu = dict(self._module.named_parameters()), torch.device("cpu")
        self.batch = torch.zeros(1), torch.zeros(1)
        self.model: Model = TorchModel(
            self._module, parameters, optimizer, lambda outputs, _: outputs.square().sum() / 2, cpu
        )

    def move_to(self, x: float) -> None:
        with torch.no_grad():
            self._module.x.fill_(x)

    def step(self, session: LocalSession) -> None:
        _, gradients = self.model.loss_and_gradients(*self.batch)
        self.model.apply(session.adjust(gradients, self.model))
        session.after_step(self.model)
