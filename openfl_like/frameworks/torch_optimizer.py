"""A torch optimizer: its steps, and its state as named tensors, complete before the first step."""

import inspect
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn
from torch.optim import optimizer as torch_steps

from openfl_like.errors import UsageError

_FIRST = {"step": 0.0, "mu_product": 1.0}
"""Values before the first step of what a step without gradient changes all the same."""
_MOMENTUM = "momentum_buffer"
_OF_TORCH = "torch.optim."
_WRAPPERS = Path(str(torch_steps.__file__))
_PROFILES: Callable[[], bool] = getattr(torch.autograd, "_profiler_enabled", lambda: True)
_ZERO_GRAD = torch.optim.Optimizer.zero_grad


class BuiltOptimizer:
    """An optimizer that may be used again instead of building it anew, as long as it is what it was at first.

    Args:
        optimizer: It, just built.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self._parts = _parts(optimizer)
        containers = (part for part in vars(optimizer).values() if isinstance(part, dict))
        self._empty = [part for part in containers if part is not optimizer.defaults]  # the state, and hooks

    def would_be(self, parameters: Iterable[nn.Parameter]) -> bool:
        """Whether nobody has changed it, and it would be built with these parameters in one group."""
        (group, *others) = self.optimizer.param_groups
        unchanged = not any(self._empty) and _are_the_same(_parts(self.optimizer), self._parts)
        return unchanged and not others and _are_the_same(group["params"], list(parameters))


def _parts(optimizer: torch.optim.Optimizer) -> list[object]:
    """Return all that an optimizer has but its state."""
    groups = (value for group in optimizer.param_groups for value in group.values())
    return [*vars(optimizer).values(), *optimizer.defaults.values(), *groups]


def _are_the_same(some: Sequence[object], others: Sequence[object]) -> bool:
    return len(some) == len(others) and all(map(operator.is_, some, others))


def zero_grad(optimizer: torch.optim.Optimizer) -> None:
    """Do what ``optimizer.zero_grad()`` does."""
    if type(optimizer).zero_grad is not _ZERO_GRAD or "zero_grad" in vars(optimizer):
        optimizer.zero_grad()
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


def step(optimizer: torch.optim.Optimizer) -> None:
    """Do what ``optimizer.step()`` does.

    A class of torch wraps its step for hooks, profilers and compilers, which takes as long as a small model's step.
    Where none of them is there, the step is called as it was written.
    """
    kind = type(optimizer)
    plain = _plain_step(kind.step) if kind.__module__.startswith(_OF_TORCH) else None
    if plain is None or _is_watched(optimizer):
        optimizer.step()
        return
    with torch.no_grad():
        plain(optimizer)


@lru_cache(32)
def _plain_step(wrapped: Callable[..., object]) -> Callable[..., object] | None:
    """Return a step without what torch wraps it in; None if it is wrapped in anything else, or not torch's own."""
    function = inspect.unwrap(wrapped, stop=lambda layer: _file_of(layer) != _WRAPPERS)
    return function if _file_of(function).parent == _WRAPPERS.parent and function is not wrapped else None


def _file_of(function: Callable[..., object]) -> Path:
    return Path(function.__code__.co_filename if inspect.isfunction(function) else "")


def _is_watched(optimizer: torch.optim.Optimizer) -> bool:
    """Whether somebody else has to know of a step, or it is not to be taken as usual."""
    own = vars(optimizer)
    return bool(
        "step" in own
        or own.get("_optimizer_step_pre_hooks", True)
        or own.get("_optimizer_step_post_hooks", True)
        or getattr(torch_steps, "_global_optimizer_pre_hooks", True)
        or getattr(torch_steps, "_global_optimizer_post_hooks", True)
        or optimizer.defaults.get("differentiable", False)
        or _PROFILES()
    )


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
        cure = "choose another optimizer, or collaborator.settings.opt_treatment RESET"
        raise UsageError(f"the state of the optimizer {kind} cannot be kept from round to round", cure=cure) from error
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
