"""A PyTorch model as the training loop sees it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from openfl_like.frameworks.model import Observation, Tensors
from openfl_like.frameworks.torch_arrays import to_numpy, to_torch
from openfl_like.frameworks.torch_optimizer import step, zero_grad


class TorchModel:
    """A `model.Model` of a module and its optimizer; weights are the parameters that require a gradient.

    Args:
        module: On its device, in the mode that is wanted.
        parameters: The module's parameters by name.
        optimizer: Of the module's parameters.
        loss: Gives the mean loss of a batch from outputs and targets.
        device: Where batches go.
    """

    def __init__(
        self,
        module: nn.Module,
        parameters: Mapping[str, nn.Parameter],
        optimizer: torch.optim.Optimizer,
        loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        device: torch.device,
    ) -> None:
        self._module, self._optimizer, self._loss, self._device = module, optimizer, loss, device
        self._parameters = {name: value for name, value in parameters.items() if value.requires_grad}

    def loss_and_gradients(self, samples: torch.Tensor, targets: torch.Tensor) -> tuple[Observation, Tensors]:
        """See `model.Model`; samples ``[n, *sample_shape]``, targets ``[n, *target_shape]``, both on the CPU."""
        loss, observation = self._look(samples, targets)
        zero_grad(self._optimizer)
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        gradients = {name: value.grad for name, value in self._parameters.items() if value.grad is not None}
        return observation, gradients

    def gradients_at(self, weights: Tensors, samples: torch.Tensor, targets: torch.Tensor) -> Tensors:
        """See `model.GradientsAnywhere`; shapes are those of `loss_and_gradients`."""
        with _left_alone(self._module, self._device):
            with torch.no_grad():
                for name, value in weights.items():
                    self._parameters[name].copy_(value)
            loss, _ = self._look(samples, targets)
            slopes: Sequence[torch.Tensor | None] = torch.autograd.grad(
                loss, list(self._parameters.values()), allow_unused=True
            )
        return {name: slope for name, slope in zip(self._parameters, slopes, strict=True) if slope is not None}

    def apply(self, gradients: Tensors) -> None:
        """Have the optimizer step."""
        for name, gradient in gradients.items():
            parameter = self._parameters[name]
            if parameter.grad is not gradient:
                parameter.grad = gradient
        step(self._optimizer)

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the parameters' own memory."""
        return {name: value.detach() for name, value in self._parameters.items()}

    def to_arrays(self, tensors: Tensors) -> dict[str, np.ndarray]:
        """Return arrays that share the memory of tensors on the CPU."""
        return {name: to_numpy(tensor) for name, tensor in tensors.items()}

    def to_tensors(self, arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
        """Return copies on the model's device."""
        return {name: to_torch(array).to(self._device) for name, array in arrays.items()}

    def measure(self, samples: torch.Tensor, targets: torch.Tensor) -> Observation:
        """Look at a batch without gradients."""
        return self._look(samples, targets)[1]

    def _look(self, samples: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, Observation]:
        outputs = self._module(samples.to(self._device))
        loss = self._loss(outputs, targets.to(self._device))
        return loss, Observation(loss.item(), _scores(outputs), to_numpy(targets))


@contextmanager
def _left_alone(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Give a module its values and torch its random numbers back, whatever is done in between."""
    own = [*module.parameters(), *module.buffers()]
    before = [value.detach().clone() for value in own]
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            with torch.no_grad():
                for value, was in zip(own, before, strict=True):
                    value.copy_(was)


def _scores(outputs: torch.Tensor) -> np.ndarray:
    """Return outputs as numbers of 64 bits, which have memory of their own unless they were that before."""
    if outputs.dtype == torch.float32:
        return to_numpy(outputs).astype(np.float64)
    return to_numpy(outputs.detach().to(torch.float64))
