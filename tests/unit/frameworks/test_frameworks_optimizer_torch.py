"""An optimizer whose state is shared takes the steps that it takes in a plain loop."""

from collections.abc import Callable

import pytest
import torch
from torch import nn, optim

from openfl_like.frameworks.torch_optimizer import BuiltOptimizer, prepare, state_tensors, step, zero_grad

pytestmark = pytest.mark.torch
STEPS = 5
Make = Callable[[nn.Module], optim.Optimizer]
MAKERS: dict[str, Make] = {
    "Adadelta": lambda model: optim.Adadelta(model.parameters(), lr=0.5),
    "Adafactor": lambda model: optim.Adafactor(model.parameters(), lr=0.05),
    "Adagrad": lambda model: optim.Adagrad(model.parameters(), lr=0.1, weight_decay=0.01),
    "Adam": lambda model: optim.Adam(model.parameters(), lr=0.05),
    "Adam, amsgrad": lambda model: optim.Adam(model.parameters(), lr=0.05, amsgrad=True),
    "AdamW": lambda model: optim.AdamW(model.parameters(), lr=0.05, weight_decay=0.1),
    "Adamax": lambda model: optim.Adamax(model.parameters(), lr=0.05),
    "ASGD": lambda model: optim.ASGD(model.parameters(), lr=0.1),
    "NAdam": lambda model: optim.NAdam(model.parameters(), lr=0.05),
    "RAdam": lambda model: optim.RAdam(model.parameters(), lr=0.05),
    "RMSprop": lambda model: optim.RMSprop(model.parameters(), lr=0.01, momentum=0.5, centered=True),
    "Rprop": lambda model: optim.Rprop(model.parameters()),
    "SGD": lambda model: optim.SGD(model.parameters(), lr=0.1),
    "SGD, momentum": lambda model: optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01),
    "SGD, Nesterov": lambda model: optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True),
    "SGD, dampened": lambda model: optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, dampening=0.5, weight_decay=0.01
    ),
    "SGD, dampened, ascending": lambda model: optim.SGD(
        model.parameters(), lr=0.01, momentum=0.9, dampening=0.5, maximize=True, weight_decay=0.01
    ),
}


class Partly(nn.Module):
    """A model of which one parameter never has a gradient."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """Scores of two classes."""
        scores: torch.Tensor = self.layers(samples)
        return scores


def take_steps(model: nn.Module, optimizer: optim.Optimizer, steps: int) -> None:
    generator = torch.Generator().manual_seed(1)
    samples = torch.randn(20, 4, generator=generator)
    targets = (samples[:, 0] > 0).long()
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(samples), targets).backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        optimizer.step()


@pytest.mark.parametrize("name", MAKERS)
def test_the_steps_of_a_prepared_optimizer_are_those_of_a_new_one(name: str) -> None:
    plain, shared = Partly(), Partly()
    take_steps(plain, MAKERS[name](plain), STEPS)
    optimizer = MAKERS[name](shared)
    prepare(optimizer)
    kept = set(state_tensors(optimizer, shared))
    for _ in range(STEPS):  # what is shared has the same names after every step
        take_steps(shared, optimizer, 1)
        assert set(state_tensors(optimizer, shared)) == kept
    for one, other in zip(plain.parameters(), shared.parameters(), strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", MAKERS)
def test_another_process_goes_on_from_the_shared_state(name: str) -> None:
    plain, first, second = Partly(), Partly(), Partly()
    take_steps(plain, MAKERS[name](plain), STEPS)
    former, later = MAKERS[name](first), MAKERS[name](second)
    prepare(former)
    prepare(later)
    take_steps(first, former, 2)
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        for key, tensor in state_tensors(later, second).items():
            tensor.copy_(state_tensors(former, first)[key])
    take_steps(second, later, STEPS - 2)
    for one, other in zip(plain.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=1e-6)


def trained(make: Make, take: Callable[[optim.Optimizer], object], empty: Callable[[optim.Optimizer], None]) -> bytes:
    model = Partly()
    optimizer = make(model)
    samples = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))
    for _ in range(STEPS):
        empty(optimizer)
        nn.functional.cross_entropy(model(samples), (samples[:, 0] > 0).long()).backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        take(optimizer)
    return b"".join(parameter.detach().numpy().tobytes() for parameter in model.parameters())


@pytest.mark.parametrize("name", MAKERS)
def test_a_step_without_wrappers_has_the_same_bits(name: str) -> None:
    usual = trained(MAKERS[name], lambda one: one.step(), lambda one: one.zero_grad())
    assert trained(MAKERS[name], step, zero_grad) == usual


class Twice(optim.SGD):
    """Steps twice, and keeps gradients."""

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # torch overloads it
        for _ in range(2):
            super().step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:  # noqa: FBT001, FBT002 - as torch has it
        """Keep them."""


def halving(model: nn.Module) -> optim.Optimizer:
    """The gradients are halved by a hook."""
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def halve(one: optim.Optimizer, *_: object) -> None:
        for parameter in one.param_groups[0]["params"]:
            if parameter.grad is not None:
                parameter.grad.mul_(0.5)

    optimizer.register_step_pre_hook(halve)
    return optimizer


def scheduled(model: nn.Module) -> optim.Optimizer:
    """A step of its own, as a scheduler sets it."""
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    optim.lr_scheduler.StepLR(optimizer, 1)
    taken = optimizer.step

    def take() -> None:
        taken()
        taken()

    optimizer.step = take  # type: ignore[method-assign, assignment]  # what is tested
    return optimizer


@pytest.mark.parametrize("make", [lambda model: Twice(model.parameters(), lr=0.1), halving, scheduled])
def test_what_an_optimizer_does_besides_is_done(make: Make) -> None:
    usual = trained(make, lambda one: one.step(), lambda one: one.zero_grad())
    assert trained(make, step, zero_grad) == usual
    assert usual != trained(MAKERS["SGD"], step, zero_grad)


def slower(optimizer: optim.Optimizer) -> None:
    optimizer.param_groups[0]["lr"] = 0.05


def remember(optimizer: optim.Optimizer) -> None:
    optimizer.state[optimizer.param_groups[0]["params"][0]]["seen"] = 1


def hook(optimizer: optim.Optimizer) -> None:
    optimizer.register_step_post_hook(lambda *_: None)


def schedule(optimizer: optim.Optimizer) -> None:
    optim.lr_scheduler.StepLR(optimizer, 1)


def add(optimizer: optim.Optimizer) -> None:
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))]})


def take_away(optimizer: optim.Optimizer) -> None:
    optimizer.param_groups[0]["params"].pop()


def default(optimizer: optim.Optimizer) -> None:
    optimizer.defaults["lr"] = 0.05


@pytest.mark.parametrize("change", [slower, remember, hook, schedule, add, take_away, default])
def test_an_optimizer_that_somebody_has_changed_is_not_used_again(change: Callable[[optim.Optimizer], None]) -> None:
    model = Partly()
    built = BuiltOptimizer(optim.SGD(model.parameters(), lr=0.1))
    take_steps(model, built.optimizer, 1)
    assert built.would_be(model.parameters())
    assert not built.would_be(Partly().parameters())
    change(built.optimizer)
    assert not built.would_be(model.parameters())
