"""The state of a torch optimizer as named tensors, complete before the first step."""

from collections.abc import Mapping

import torch
from torch import nn

from openfl_like.errors import UsageError

_FIRST = {"step": 0.0, "mu_product": 1.0}
"""Values before the first step of what a step without gradient changes all the same."""
_MOMENTUM = "momentum_buffer"


def prepare(optimizer: torch.optim.Optimizer) -> None:
    """Have an optimizer make the state that it would make in its first step; the parameters stay as they are.

    A step with gradients of zero leaves averages of gradients at zero; only counters have to be set back.

    Raises:
        UsageError: If the optimizer cannot take a step like that (`torch.optim.LBFGS`).
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    before = [parameter.detach().clone() for parameter in parameters]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    _step_without_decay(optimizer)
    with torch.no_grad():
        for parameter, value in zip(parameters, before, strict=True):
            parameter.copy_(value)
            parameter.grad = None
    for state in optimizer.state.values():
        for key, first in _FIRST.items():
            if isinstance(state.get(key), torch.Tensor):
                state[key].fill_(first)
    if any(group.get("dampening") for group in optimizer.param_groups):
        optimizer.register_step_pre_hook(_forget_empty_momentum)
        optimizer.register_step_post_hook(_complete_momentum)


def _forget_empty_momentum(optimizer: torch.optim.Optimizer, *_: object) -> None:
    """Have the first step of `torch.optim.SGD` be a first step: only that one takes the gradient undampened."""
    for state in optimizer.state.values():
        buffer = state.get(_MOMENTUM)
        if buffer is not None and not buffer.any():
            state[_MOMENTUM] = None


def _complete_momentum(optimizer: torch.optim.Optimizer, *_: object) -> None:
    """Put back what a step without gradient has not made."""
    for parameter, state in optimizer.state.items():
        if state.get(_MOMENTUM, parameter) is None:
            state[_MOMENTUM] = torch.zeros_like(parameter)


def _step_without_decay(optimizer: torch.optim.Optimizer) -> None:
    """Take a step in which no weight counts as a gradient."""
    groups = [group for group in optimizer.param_groups if "weight_decay" in group]
    decays = [group["weight_decay"] for group in groups]
    for group in groups:
        group["weight_decay"] = 0.0
    try:
        optimizer.step()
    except TypeError as error:
        kind = type(optimizer).__name__
        cure = "choose another optimizer, or collaborator.settings.opt_treatment RESET or CONTINUE_LOCAL"
        raise UsageError(f"the state of the optimizer {kind} cannot be shared", cure=cure) from error
    for group, decay in zip(groups, decays, strict=True):
        group["weight_decay"] = decay


def state_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> Mapping[str, torch.Tensor]:
    """Return the optimizer's own tensors: ``<kind>/<parameter>``, such as ``exp_avg/0.weight``."""
    names: dict[torch.Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{key}/{names[parameter]}": value
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
        if isinstance(value, torch.Tensor) and parameter in names
    }
