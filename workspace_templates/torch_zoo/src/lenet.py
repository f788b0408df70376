"""LeNet-5 (LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition")."""

import torch
from torch import nn

from openfl_like.errors import UsageError


class LeNet(nn.Sequential):
    """Two convolutions and three full layers: 61,706 parameters for one channel and ten classes.

    As the paper has it, but that every map of the second convolution sees all six of the first, that pooling takes the
    largest value and has no parameters, and that activations are ReLU and the last layer is linear.

    Args:
        channels: Channels of the images.
        side: Their height and width: 32, or 28, which get an edge of zeros.
        classes: How many classes there are.
    """

    def __init__(self, channels: int, side: int, classes: int) -> None:
        if side not in {28, 32}:
            told = f"LeNet takes images of 28 or 32 pixels a side, not {side}"
            raise UsageError(told, cure="use resnet18_gn or mobilenet_v2, or have the shard bring them to that size")
        super().__init__(
            nn.Conv2d(channels, 6, 5, padding=(32 - side) // 2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * 5 * 5, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, classes),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images ``[n, channels, side, side]`` to scores ``[n, classes]``."""
        scores: torch.Tensor = super().forward(images)
        return scores
