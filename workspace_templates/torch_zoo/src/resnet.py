"""ResNet-18 (He, Zhang, Ren, Sun 2016, arXiv:1512.03385), with batch norm as in the paper, or with group norm."""

from collections.abc import Callable

import torch
from torch import nn

_SMALL = 64
"""Images of at most so many pixels a side keep their size at first."""
Norm = Callable[[int], nn.Module]


def group_norm(channels: int) -> nn.Module:
    """Norm over 32 groups of a sample's own channels (Wu, He 2018, arXiv:1803.08494): no sample sees another one."""
    return nn.GroupNorm(32, channels)


class ResNet18(nn.Module):
    """Eighteen layers with weights, in four stages of two blocks.

    For 1000 classes of large images it has the 11,689,512 parameters of the paper's network. For small ones the first
    convolution is 3 x 3, without stride and pooling, as the paper's own networks for CIFAR-10 begin: 11,173,962
    parameters for three channels and ten classes. Group norm has as many parameters as batch norm.

    Args:
        channels: Channels of the images.
        side: Their height and width.
        classes: How many classes there are.
        norm: Makes the layer after each convolution, of its channels.
    """

    def __init__(self, channels: int, side: int, classes: int, norm: Norm = nn.BatchNorm2d) -> None:
        super().__init__()
        if side <= _SMALL:
            first: list[nn.Module] = [nn.Conv2d(channels, 64, 3, padding=1, bias=False), norm(64), nn.ReLU()]
        else:
            first = [nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False), norm(64), nn.ReLU()]
            first.append(nn.MaxPool2d(3, stride=2, padding=1))
        stages = [
            layer
            for before, width, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2))
            for layer in (Block(before, width, stride, norm), Block(width, width, 1, norm))
        ]
        self.features = nn.Sequential(*first, *stages)
        self.head = nn.Linear(512, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images ``[n, channels, side, side]`` to scores ``[n, classes]``."""
        scores: torch.Tensor = self.head(self.features(images).mean(dim=(2, 3)))
        return scores


class Block(nn.Module):
    """Two convolutions of 3 x 3, and a way past them."""

    def __init__(self, before: int, width: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False),
            norm(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            norm(width),
        )
        self.past: nn.Module = nn.Identity()
        if stride != 1 or before != width:
            self.past = nn.Sequential(nn.Conv2d(before, width, 1, stride=stride, bias=False), norm(width))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Values ``[n, before, side, side]`` to ``[n, width, side / stride, side / stride]``."""
        return torch.relu(self.layers(values) + self.past(values))
