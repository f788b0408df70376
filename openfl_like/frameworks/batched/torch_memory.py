"""How much memory the data and the models of many sites take."""

import contextlib
import math

import torch
from torch import nn

from openfl_like.frameworks.batched.torch_site import TorchSite
from openfl_like.frameworks.runner import DataLoader

HELD_BYTES = 1 << 30
"""So much of the sites' data is kept on the CPU where it has to be copied for that; on a GPU, half of what is free."""
_NUMBER_BYTES = 4


class HeldData:
    """Decides whose data stays on the device from round to round.

    Args:
        device: Where the model is.
        most_bytes: How much is kept; None: what the device has room for.
    """

    def __init__(self, device: torch.device, most_bytes: int | None = None) -> None:
        self._left = _room(device) if most_bytes is None else most_bytes
        self.sample_bytes = _NUMBER_BYTES

    def takes(self, loader: DataLoader[torch.Tensor], sample_shape: tuple[int, ...]) -> bool:
        """Count a site's data in; say whether there was room for it."""
        self.sample_bytes = _NUMBER_BYTES * math.prod(sample_shape)
        needed = (loader.num_train + loader.num_validate) * self.sample_bytes
        if needed > self._left:
            return False
        self._left -= needed
        return True


def _room(device: torch.device) -> int:
    if device.type != "cuda":
        return HELD_BYTES
    free, _ = torch.cuda.mem_get_info(device)
    return free // 2


def saved_bytes(model: nn.Module, site: TorchSite, device: torch.device) -> int:
    """Measure what a backward pass needs of one sample, in bytes; 0 if the model does not take it."""
    sizes: list[int] = []

    def count(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.numel() * tensor.element_size())
        return tensor

    weights = {value.data_ptr() for value in model.parameters()}
    before = model.training
    with contextlib.suppress(Exception):  # what is wrong with it shows in its place
        sample = site.sample()
        model.eval()
        hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: tensor if tensor.data_ptr() in weights else count(tensor), lambda tensor: tensor
        )
        with hooks:
            outputs = model(sample.to(device))
        sizes.append(outputs.numel() * outputs.element_size())
    model.train(before)
    return sum(sizes)
