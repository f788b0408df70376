"""The losses that come with `torch.TorchRunner`, of each sample of many sites."""

from collections.abc import Callable

import torch
from torch import nn
from torch.func import vmap

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def platform_losses(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the loss of each sample, ``[sites, n]``; their mean over a site's batch is what `TorchRunner.loss` gives.

    It is much quicker than to call that under vmap, where cross entropy has no kernel of its own.

    Args:
        outputs: ``[sites, n, …]``.
        targets: ``[sites, n, *target_shape]``; that they belong together was looked at before.
    """
    sites, most = outputs.shape[:2]
    if targets.is_floating_point():
        found = nn.functional.mse_loss(outputs.reshape(targets.shape), targets, reduction="none")
    elif outputs.ndim == 2 or outputs.shape[2] == 1:
        truth = targets.reshape(-1).to(outputs.dtype)
        found = nn.functional.binary_cross_entropy_with_logits(outputs.reshape(-1), truth, reduction="none")
    else:
        scores = outputs.flatten(0, 1)
        truth = targets.reshape(scores.shape[:1] + scores.shape[2:]).long()
        found = nn.functional.cross_entropy(scores, truth, reduction="none")
    each = found.reshape(sites, most, -1)
    return each[:, :, 0] if each.shape[2] == 1 else each.mean(2)


def own_losses(loss: Loss, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return what a loss of the workspace's own gives for each sample, ``[sites, n]``."""

    def of_one(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return loss(output[None], target[None])

    found: torch.Tensor = vmap(vmap(of_one))(outputs, targets)
    return found
