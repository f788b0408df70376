"""Two convolutions and two dense layers, trained by plain gradient descent."""

from torch import nn

from openfl_like.frameworks.torch import TorchRunner


class SmallCnn(TorchRunner):
    """Images ``[3, 32, 32]``, 10 classes."""

    stateless = True

    def build_model(self) -> nn.Module:
        """Images in, one score for each class out."""
        return nn.Sequential(
            nn.Conv2d(3, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(64 * 6 * 6, 64), nn.ReLU(), nn.Linear(64, 10),
        )  # fmt: skip
