"""Server optimizers that are those of PyTorch, with the way of the updates as the gradient."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from openfl_like.aggregation.adaptive import FedAdam
from openfl_like.aggregation.server_optimizers import FedAvgM, ServerOptimizer

CASES: dict[str, tuple[ServerOptimizer, Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]]] = {
    "FedAvgM is SGD with momentum": (
        FedAvgM(learning_rate=0.3, momentum=0.8),
        lambda parameters: torch.optim.SGD(parameters, lr=0.3, momentum=0.8),
    ),
    "FedAdam with bias correction is Adam": (
        FedAdam(learning_rate=0.05, beta1=0.8, beta2=0.95, tau=1e-4, bias_correction=True),
        lambda parameters: torch.optim.Adam(parameters, lr=0.05, betas=(0.8, 0.95), eps=1e-4),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_one_of_torch(name: str) -> None:
    ours, build = CASES[name]
    rng = np.random.default_rng(3)
    model = rng.normal(size=500)
    parameter = torch.nn.Parameter(torch.from_numpy(model.copy()))
    theirs = build([parameter])
    state = np.zeros((len(ours.slots), 500))
    for number in range(1, 21):
        gradient = rng.normal(size=500) * 10.0 ** rng.integers(-3, 2)
        model = ours.step(model, model - gradient, state, number)
        parameter.grad = torch.from_numpy(gradient.copy())
        theirs.step()
        assert np.abs(model - parameter.detach().numpy()).max() <= 1e-12 * np.abs(model).max()
