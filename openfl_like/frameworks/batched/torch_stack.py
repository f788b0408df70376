"""One model as often as there are sites: its trained parameters stacked, and one optimizer over the stacks."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import cast

import torch
from torch import nn
from torch.func import functional_call, vmap

Stacked = Mapping[str, torch.Tensor]


class Stack:
    """The parameters of a model, stacked; they begin with the model's values.

    Args:
        model: On its device, with the values to begin with. Nothing of it is changed.
        count: How many there are.

    Attributes:
        leaves: Name -> the stacked parameter of those that are active, ``[active, *shape]``.
    """

    def __init__(self, model: nn.Module, count: int) -> None:
        trained = {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}
        self._whole = {name: value.expand(count, *value.shape).clone() for name, value in trained.items()}
        self.leaves = {name: value.detach().requires_grad_() for name, value in self._whole.items()}
        self._names = {id(value): name for name, value in model.named_parameters()}
        self._optimizer: torch.optim.Optimizer | None = None
        self._active = count

    def optimize_by(self, pattern: torch.optim.Optimizer) -> None:
        """Step as an optimizer of the model would; its class treats every number alone, so rows do not meet."""
        groups = [
            {
                **{key: value for key, value in group.items() if key != "param_names"},
                "params": [self.leaves[self._names[id(value)]] for value in group["params"] if value.requires_grad],
            }
            for group in pattern.param_groups
        ]
        make = cast("Callable[..., torch.optim.Optimizer]", type(pattern))
        options = {name: value for name, value in pattern.defaults.items() if name in _options(make)}
        self._optimizer = make([group for group in groups if group["params"]], **options)

    def narrow(self, active: int) -> None:
        """Leave the models behind the first ones as they are from now on, and the optimizer's state of them."""
        if active == self._active:
            return
        former, self._active = self.leaves, active
        self.leaves = {name: value[:active].detach().requires_grad_() for name, value in self._whole.items()}
        if self._optimizer is None:
            return
        renewed = {former[name]: leaf for name, leaf in self.leaves.items()}
        for group in self._optimizer.param_groups:
            group["params"] = [renewed[leaf] for leaf in group["params"]]
        for old, leaf in renewed.items():
            if old in self._optimizer.state:
                state = self._optimizer.state.pop(old)
                self._optimizer.state[leaf] = {key: _narrowed(value, old, active) for key, value in state.items()}

    def step(self, gradients: Stacked) -> None:
        """Take a step along gradients, ``[active, *shape]`` each."""
        for name, leaf in self.leaves.items():
            leaf.grad = gradients.get(name)
        if self._optimizer is not None:
            self._optimizer.step()

    def values(self) -> Stacked:
        """Return the parameters of all, ``[count, *shape]`` each."""
        return self._whole


@cache
def _options(kind: Callable[..., torch.optim.Optimizer]) -> frozenset[str]:
    """Name what an optimizer is made with."""
    return frozenset(inspect.signature(kind).parameters)


def _narrowed(value: object, of: torch.Tensor, active: int) -> object:
    """Return what an optimizer keeps of the first models; a counter is the same for all."""
    return value[:active] if isinstance(value, torch.Tensor) and value.shape == of.shape else value


class StackedModel:
    """Calls a model with values of its own for each site.

    Args:
        model: In the mode that is wanted; only what is not trained is read of it.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        frozen = {name: value.detach() for name, value in model.named_parameters() if not value.requires_grad}
        self._fixed = {**dict(model.named_buffers()), **frozen}
        self._own = {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}

    def _call(self, weights: Stacked, samples: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = functional_call(self._model, {**self._fixed, **weights}, (samples,))
        return outputs

    def outputs(self, weights: Stacked | None, samples: torch.Tensor) -> torch.Tensor:
        """Return the outputs of each site's model, ``[sites, n, …]``.

        Args:
            weights: Stacked, ``[sites, *shape]`` each; None: every site has those of the model.
            samples: ``[sites, n, *sample_shape]``.
        """
        if weights is None:
            alike: torch.Tensor = vmap(self._call, in_dims=(None, 0))(self._own, samples)
            return alike
        found: torch.Tensor = vmap(self._call)(dict(weights), samples)
        return found


def elementwise(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a step of an optimizer treats every number of a parameter alone, but for counters that all share."""
    return type(optimizer) in _ELEMENTWISE


def belongs(optimizer: torch.optim.Optimizer, parameters: Iterable[torch.Tensor]) -> bool:
    """Whether all that an optimizer steps are among these parameters."""
    known = {id(value) for value in parameters}
    return all(id(value) in known for group in optimizer.param_groups for value in group["params"])


_ELEMENTWISE: frozenset[type[torch.optim.Optimizer]] = frozenset(
    {
        torch.optim.SGD,
        torch.optim.Adam,
        torch.optim.AdamW,
        torch.optim.Adamax,
        torch.optim.NAdam,
        torch.optim.RAdam,
        torch.optim.Adagrad,
        torch.optim.Adadelta,
        torch.optim.RMSprop,
        torch.optim.Rprop,
        torch.optim.ASGD,
    }
)
