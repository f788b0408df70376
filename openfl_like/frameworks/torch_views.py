"""The tensors of a torch module as arrays that are views of its memory, found once and not at every look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from openfl_like.frameworks.torch_arrays import named_array

_METHODS = ("state_dict", "_save_to_state_dict", "get_extra_state")
_HOOKS = ("_state_dict_hooks", "_state_dict_pre_hooks")
_HOLDERS = ("_modules", "_parameters", "_buffers")


@dataclass(frozen=True, slots=True)
class _Entry:
    """What a module held: a child, a tensor with the address of its values, or nothing under that name."""

    holder: Mapping[str, object]
    name: str
    path: str
    value: object
    address: int = 0
    shape: Sequence[int] = ()


class ModuleViews:
    """The ``state_dict`` of a module as arrays, which knows when it has to be made anew.

    To ask a module for its ``state_dict`` takes longer than a small step. What it would give is known as long as all
    modules hold what they held, and tensors have not moved.

    Args:
        module: The module they are of.
        arrays: Name -> array, views of the module's memory.
        entries: What its modules hold.
    """

    def __init__(self, module: nn.Module, arrays: Mapping[str, np.ndarray], entries: Sequence[_Entry]) -> None:
        self._module = module
        self._parts = list(module.modules())
        self._modes_are_plain = all(type(part).train is nn.Module.train for part in self._parts)
        self._entries = entries
        self._tensors = [entry for entry in entries if isinstance(entry.value, torch.Tensor)]
        plain = type(module).named_parameters is nn.Module.named_parameters
        self._parameters = dict(module.named_parameters()) if plain else None
        self._sizes = [(holder, len(holder)) for part in self._parts for holder in _holders(part)]
        self._arrays = arrays

    @classmethod
    def of(cls, module: nn.Module) -> "ModuleViews | None":
        """Look at a module; None if its ``state_dict`` is not simply what its modules hold, in memory of the CPU.

        Raises:
            TensorError: If a tensor cannot be an array.
        """
        entries: list[_Entry] = []
        for prefix, part in module.named_modules(remove_duplicate=False):
            held = _entries(part, f"{prefix}." if prefix else "")
            if held is None:
                return None
            entries += held
        addresses = {entry.path: entry.address for entry in entries if isinstance(entry.value, torch.Tensor)}
        own: dict[str, torch.Tensor] = module.state_dict()
        if any(addresses.get(name) != tensor.data_ptr() for name, tensor in own.items()):
            return None
        return cls(module, {name: named_array(name, tensor) for name, tensor in own.items()}, entries)

    def arrays(self, module: nn.Module) -> dict[str, np.ndarray] | None:
        """Return what the module's ``state_dict`` would give now, as arrays; None if that has to be looked at anew."""
        if not self._holds_the_same(module):
            return None
        for entry in self._tensors:
            value = entry.value
            if value.data_ptr() != entry.address or value.shape != entry.shape:  # type: ignore[attr-defined] # a tensor
                return None
        return dict(self._arrays)

    def parameters(self, module: nn.Module) -> Mapping[str, nn.Parameter] | None:
        """Return the module's ``named_parameters``; None if they have to be looked for anew."""
        return self._parameters if self._holds_the_same(module) else None

    def _holds_the_same(self, module: nn.Module) -> bool:
        if module is not self._module:
            return False
        for holder, size in self._sizes:
            if len(holder) != size:
                return False
        return all(entry.holder.get(entry.name) is entry.value for entry in self._entries)

    def are_in_mode(self, *, training: bool) -> bool:
        """Whether setting the mode would change nothing; `arrays` has said before that the modules are the same."""
        return self._modes_are_plain and all(part.training is training for part in self._parts)


def _entries(part: nn.Module, prefix: str) -> list[_Entry] | None:
    """Return what a module holds; None if its ``state_dict`` may be something else, or is not in memory of the CPU."""
    if not _is_plain(part):
        return None
    found: list[_Entry] = []
    for holder in _holders(part):
        for name, value in holder.items():
            if not isinstance(value, torch.Tensor):
                found.append(_Entry(holder, name, prefix + name, value))
            elif value.layout is torch.strided and value.device.type == "cpu" and not is_lazy(value):
                found.append(_Entry(holder, name, prefix + name, value, value.data_ptr(), value.shape))
            else:
                return None
    return found


def _holders(part: nn.Module) -> list[Mapping[str, object]]:
    return [vars(part)[name] for name in _HOLDERS]


def _is_plain(part: nn.Module) -> bool:
    """Whether a module adds to a ``state_dict`` what it holds, and nothing else."""
    kind = type(part)
    return all(getattr(kind, name) is getattr(nn.Module, name) for name in _METHODS) and not any(
        getattr(part, name, None) for name in _HOOKS
    )
