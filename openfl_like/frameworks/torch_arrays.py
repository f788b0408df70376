"""Torch tensors as arrays with the same bits, and back."""

import ml_dtypes
import numpy as np
import torch
from torch.nn.parameter import is_lazy

from openfl_like.errors import TensorError


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor as an array with the same bits; a tensor on the CPU shares its memory. bfloat16 is kept."""
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def named_array(name: str, tensor: torch.Tensor) -> np.ndarray:
    """Return what `to_numpy` does.

    Raises:
        TensorError: Naming the tensor, if NumPy has nothing of its kind (float8, quantised, sparse), it has no values
            yet (lazily made layers), or the entry is none: what ``get_extra_state`` of a layer gives.
    """
    if not isinstance(tensor, torch.Tensor):
        cure = "have get_extra_state of that layer give a tensor, or keep the layer from having it"
        raise TensorError(f"'{name}' in the state_dict is a {type(tensor).__name__}, not a tensor", cure=cure)
    if is_lazy(tensor):
        cure = "call the model with a batch of zeros in build_model, or give the layer its number of inputs"
        raise TensorError(f"tensor '{name}' is uninitialized: its layer is made lazily, by the first batch", cure=cure)
    try:
        return to_numpy(tensor)
    except (TypeError, RuntimeError) as error:
        kind = f"{str(tensor.dtype).removeprefix('torch.')}, {str(tensor.layout).removeprefix('torch.')}"
        cure = "make it a plain tensor of another dtype, or keep it out of the state_dict (persistent=False)"
        raise TensorError(f"tensor '{name}' ({kind}) cannot be written to a model file", cure=cure) from error


def to_torch(array: np.ndarray) -> torch.Tensor:
    """Return a copy of an array as a tensor on the CPU with the same bits. bfloat16 is kept."""
    copy = np.array(array)  # torch refuses read-only memory, such as that of a mapped model file
    if copy.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(copy.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(copy)


def fill(tensor: torch.Tensor, array: np.ndarray) -> None:
    """Copy an array of the same shape and dtype into a tensor's memory."""
    if tensor.device.type == "cpu":
        np.copyto(to_numpy(tensor), array)
    else:
        tensor.copy_(to_torch(array))
