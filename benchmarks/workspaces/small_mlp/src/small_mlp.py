"""A network of two layers, trained by plain gradient descent."""

from torch import nn

from openfl_like.frameworks.torch import TorchRunner


class SmallMlp(TorchRunner):
    """32 features, 64 hidden units, 10 classes."""

    stateless = True

    def build_model(self) -> nn.Module:
        """Features in, one score for each class out."""
        return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
