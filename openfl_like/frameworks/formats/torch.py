"""State dicts of PyTorch as files, on the user's own machine only: a ``.pt`` file is a pickle inside."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from openfl_like.errors import TensorError
from openfl_like.frameworks.formats.files import first_line
from openfl_like.frameworks.runner import TaskRunner
from openfl_like.frameworks.torch_arrays import to_numpy, to_torch


class StateDictFile:
    """A ``.pt`` file with a state dict: what ``torch.save(model.state_dict(), path)`` writes.

    It is read with ``weights_only=True``, which builds tensors and plain containers and calls nothing else.
    """

    def read(self, path: Path, runner: TaskRunner | None) -> dict[str, np.ndarray]:  # noqa: ARG002 - the file says it all
        """Read all tensors; the file must hold a mapping from names to tensors and nothing else."""
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise TensorError(f"this is not a state dict: {first_line(error)}", place=str(path)) from error
        plain = isinstance(found, Mapping) and all(
            isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in found.items()
        )
        if not plain:
            cure = "save it with torch.save(model.state_dict(), PATH)"
            raise TensorError("the file holds something else than named tensors", place=str(path), cure=cure)
        return {name: to_numpy(tensor) for name, tensor in found.items()}

    def write(self, path: Path, tensors: Mapping[str, np.ndarray], runner: TaskRunner | None) -> None:  # noqa: ARG002 - as above
        """Write a state dict for ``model.load_state_dict(torch.load(path, weights_only=True))``."""
        torch.save({name: to_torch(array) for name, array in tensors.items()}, path)
