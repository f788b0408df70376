"""State dicts of PyTorch as files, on the user's own machine only: a ``.pt`` file is a pickle inside."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from openfl_like.errors import TensorError
from openfl_like.frameworks.runner import TaskRunner
from openfl_like.frameworks.torch_arrays import named_array, to_torch

_CURE = "save the tensors alone, with torch.save(model.state_dict(), PATH)"
_OTHER = "the file holds something else than named tensors"
_SHOWN_KEYS = 8
_OLDER = b"\x80"  # of files before torch 1.6


class StateDictFile:
    """A ``.pt`` file with a state dict: what ``torch.save(model.state_dict(), path)`` writes.

    It is read with ``weights_only=True``, which builds tensors and plain containers and calls nothing else.
    """

    def read(self, path: Path, runner: TaskRunner | None) -> dict[str, np.ndarray]:  # noqa: ARG002 - the file says it all
        """Read all tensors; the file must hold a mapping from names to tensors and nothing else."""
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise TensorError(f"this is not a state dict: {_told(path)}", place=str(path), cure=_CURE) from error
        if not isinstance(found, Mapping):
            raise TensorError(f"{_OTHER}: a {type(found).__name__}", place=str(path), cure=_CURE)
        others = [name for name, value in found.items() if not (isinstance(name, str) and _is_tensor(value))]
        if others:
            raise _checkpoint(path, found, others)
        return {name: named_array(name, tensor) for name, tensor in found.items()}

    def write(self, path: Path, tensors: Mapping[str, np.ndarray], runner: TaskRunner | None) -> None:  # noqa: ARG002 - as above
        """Write a state dict for ``model.load_state_dict(torch.load(path, weights_only=True))``."""
        torch.save({name: to_torch(array) for name, array in tensors.items()}, path)


def _is_tensor(value: object) -> bool:
    return isinstance(value, torch.Tensor)


def _told(path: Path) -> str:
    """Say what a file is that torch does not read as tensors alone; its own words advise to trust the file."""
    names: list[str] = []
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    if any(name.endswith("/constants.pkl") for name in names):
        return "the file is a program of TorchScript"
    with path.open("rb") as file:
        older = file.read(1) == _OLDER
    if older or any(name.endswith("/data.pkl") for name in names):
        return "the file holds objects of Python besides tensors, such as a whole model"
    return "torch.save has not written it"


def _checkpoint(path: Path, found: Mapping[object, object], others: Sequence[object]) -> TensorError:
    """Say which entries are no tensors, and under which key the state dict is."""
    inner = [
        name
        for name, value in found.items()
        if isinstance(value, Mapping) and value and all(_is_tensor(tensor) for tensor in value.values())
    ]
    if not inner:
        told = f"{_OTHER}: {others[0]!r} is a {type(found[others[0]]).__name__}"
        return TensorError(told, place=str(path), cure=_CURE)
    keys = ", ".join(repr(name) for name in list(found)[:_SHOWN_KEYS]) + (", …" if len(found) > _SHOWN_KEYS else "")
    told = f"{_OTHER}: a checkpoint with the keys {keys}, whose state_dict is under {inner[0]!r}"
    return TensorError(
        told,
        place=str(path),
        cure=f"save that alone: torch.save(torch.load(PATH, weights_only=True)[{inner[0]!r}], OTHER)",
    )
