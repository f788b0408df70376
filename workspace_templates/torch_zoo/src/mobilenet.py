"""MobileNetV2 (Sandler, Howard, Zhu, Zhmoginov, Chen 2018, arXiv:1801.04381), width 1."""

import torch
from torch import nn

_SMALL = 64
"""Images of at most so many pixels a side are made smaller twice less often."""
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks and stride of the first of these: table 2 of the paper."""


class MobileNetV2(nn.Module):
    """Inverted residuals with linear bottlenecks: 3,504,872 parameters for three channels and 1000 classes.

    For small images the first convolution and the second stage have no stride, which changes no parameter: 2,236,682
    for ten classes. There is no dropout before the last layer.

    Args:
        channels: Channels of the images.
        side: Their height and width.
        classes: How many classes there are.
    """

    def __init__(self, channels: int, side: int, classes: int) -> None:
        super().__init__()
        small = side <= _SMALL
        layers: list[nn.Module] = [*_convolution(channels, 32, 3, stride=1 if small else 2)]
        before = 32
        for stage, (expansion, width, blocks, stride) in enumerate(_STAGES):
            for block in range(blocks):
                step = stride if block == 0 and not (small and stage == 1) else 1
                layers.append(InvertedResidual(before, width, expansion, step))
                before = width
        self.features = nn.Sequential(*layers, *_convolution(before, 1280, 1))
        self.head = nn.Linear(1280, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images ``[n, channels, side, side]`` to scores ``[n, classes]``."""
        scores: torch.Tensor = self.head(self.features(images).mean(dim=(2, 3)))
        return scores


class InvertedResidual(nn.Module):
    """Widens, filters each channel alone, narrows; what came in is added where it has the same form."""

    def __init__(self, before: int, width: int, expansion: int, stride: int) -> None:
        super().__init__()
        wide = before * expansion
        self.layers = nn.Sequential(
            *(_convolution(before, wide, 1) if expansion != 1 else ()),
            *_convolution(wide, wide, 3, stride=stride, groups=wide),
            nn.Conv2d(wide, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.adds = stride == 1 and before == width

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Values ``[n, before, side, side]`` to ``[n, width, side / stride, side / stride]``."""
        found: torch.Tensor = self.layers(values)
        return values + found if self.adds else found


def _convolution(before: int, width: int, size: int, stride: int = 1, groups: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(before, width, size, stride=stride, padding=size // 2, groups=groups, bias=False)
    return convolution, nn.BatchNorm2d(width), nn.ReLU6()
