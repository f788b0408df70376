"""What a torch runner knows of its model's tensors without asking for the ``state_dict`` again."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from openfl_like.frameworks.torch_views import ModuleViews

pytestmark = pytest.mark.torch


class Counts(nn.Module):
    """Adds something to the ``state_dict`` that no module holds."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)

    def get_extra_state(self) -> torch.Tensor:
        return torch.zeros(1)


class Frozen(nn.BatchNorm1d):
    """Does not go into training."""

    def train(self, mode: bool = True) -> "Frozen":  # noqa: FBT001, FBT002, ARG002 - as torch has it
        return super().train(False)  # noqa: FBT003 - as above


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2, bias=False))


def given(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return list(one) == list(other) and all(
        one[name].ctypes.data == other[name].ctypes.data and one[name].shape == other[name].shape for name in one
    )


def move(model: nn.Sequential) -> None:
    model[0].weight.data = torch.ones(4, 3)


def reshape(model: nn.Sequential) -> None:
    weight = model[0].weight
    assert isinstance(weight, torch.Tensor)
    weight.data = weight.data.reshape(3, 4)


def replace(model: nn.Sequential) -> None:
    model[0].weight = nn.Parameter(torch.ones(4, 3))


def drop(model: nn.Sequential) -> None:
    model[0].register_parameter("bias", None)


def add_a_bias(model: nn.Sequential) -> None:
    model[2].bias = nn.Parameter(torch.zeros(2))


def add_a_buffer(model: nn.Sequential) -> None:
    model.register_buffer("seen", torch.zeros(()))


def add_a_layer(model: nn.Sequential) -> None:
    model.append(nn.Linear(2, 2))


def replace_a_layer(model: nn.Sequential) -> None:
    model[2] = nn.Linear(4, 2, bias=False)


CHANGES = [move, reshape, replace, drop, add_a_bias, add_a_buffer, add_a_layer, replace_a_layer]


def test_what_is_known_is_what_the_state_dict_gives() -> None:
    model = network()
    views = ModuleViews.of(model)
    assert views is not None
    model(torch.ones(5, 3)).sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    known = views.arrays(model)
    assert known is not None
    assert same(known, given(model))


def test_tied_weights_are_known_under_both_names() -> None:
    model = nn.ModuleDict({"encoder": nn.Linear(3, 3), "decoder": nn.Linear(3, 3)})
    model["decoder"].weight = model["encoder"].weight
    views = ModuleViews.of(model)
    assert views is not None
    known = views.arrays(model)
    assert known is not None
    assert same(known, given(model))


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_is_looked_at_anew(change: Callable[[nn.Sequential], None]) -> None:
    model = network()
    views = ModuleViews.of(model)
    assert views is not None
    change(model)
    assert views.arrays(model) is None


def test_another_model_is_looked_at_anew() -> None:
    views = ModuleViews.of(network())
    assert views is not None
    assert views.arrays(network()) is None


def test_a_state_dict_that_is_more_than_what_modules_hold_is_not_known() -> None:
    hooked = network()
    hooked[0].register_state_dict_post_hook(lambda *_: None)  # type: ignore[no-untyped-call]  # torch does not annotate it
    assert ModuleViews.of(hooked) is None
    assert ModuleViews.of(nn.Sequential(Counts())) is None


def test_modes_are_compared_unless_a_module_has_ways_of_its_own() -> None:
    model = network().train()
    views = ModuleViews.of(model)
    assert views is not None
    assert views.are_in_mode(training=True)
    model[1].eval()
    assert not views.are_in_mode(training=True)
    own = ModuleViews.of(nn.Sequential(Frozen(3)).train())
    assert own is not None
    assert not own.are_in_mode(training=True)
    assert not own.are_in_mode(training=False)


def test_parameters_are_known_as_long_as_modules_hold_them() -> None:
    model = network()
    views = ModuleViews.of(model)
    assert views is not None
    known = views.parameters(model)
    assert known is not None
    assert [(name, id(value)) for name, value in known.items()] == [
        (name, id(value)) for name, value in model.named_parameters()
    ]
    move(model)  # the same parameter, with other memory
    assert views.parameters(model) is known
    replace(model)
    assert views.parameters(model) is None
