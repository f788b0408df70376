"""How much memory the data and the models of many sites take."""

import contextlib

import torch
from torch import nn

from openfl_like.frameworks.batched.torch_site import TorchSite

HELD_BYTES = 1 << 30
"""So much of the sites' data is kept on the CPU; on a GPU, half of what is free."""


def room_for_data(device: torch.device) -> int:
    """Return how many bytes of the sites' data are kept on a device from round to round."""
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
