"""Models of the literature, one of which the plan names."""

from collections.abc import Callable, Mapping

import torch
from torch import nn

from openfl_like.errors import UsageError
from openfl_like.frameworks.runner import DataLoader, RunnerContext
from openfl_like.frameworks.torch import TorchRunner
from src.lenet import LeNet
from src.lstm import NextLetter
from src.mobilenet import MobileNetV2
from src.resnet import ResNet18, group_norm

MODELS: Mapping[str, Callable[[int, int, int], nn.Module]] = {
    "lenet": LeNet,
    "resnet18": ResNet18,
    "resnet18_gn": lambda channels, side, classes: ResNet18(channels, side, classes, norm=group_norm),
    "mobilenet_v2": MobileNetV2,
}
"""Name in the plan -> makes the model of channels, pixels of a side, and classes."""


class Scaled(nn.Module):
    """A model that sees images from -1 to 1, given such from 0 to 1, or bytes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Give the scores ``[n, classes]`` of images ``[n, channels, side, side]``, float32 or uint8."""
        values = images.float() / 255 if images.dtype == torch.uint8 else images
        scores: torch.Tensor = self.model(values * 2 - 1)
        return scores


class ZooRunner(TorchRunner):
    """One of the models, fitted to the channels, size and classes of the site's images, or to its letters.

    Args:
        loader: What the site has.
        context: Where to work; it knows shapes and classes.
        model: ``lenet``, ``resnet18``, ``resnet18_gn``, ``mobilenet_v2`` or ``lstm``.
        lr: Learning rate.
        momentum: Share of the last step that is kept.
    """

    stateless = True  # nothing but the model is kept between assignments: simulated sites may share a runner

    def __init__(
        self,
        loader: DataLoader[torch.Tensor],
        context: RunnerContext,
        *,
        model: str = "lenet",
        lr: float = 0.05,
        momentum: float = 0.9,
    ) -> None:
        super().__init__(loader, context)
        if model not in {*MODELS, "lstm"}:
            raise UsageError(f"the zoo has no model '{model}'", cure=f"choose one of {', '.join([*MODELS, 'lstm'])}")
        self._name, self._lr, self._momentum = model, lr, momentum

    def build_model(self) -> nn.Module:
        """One score for each class, or of a text one for each letter at each place."""
        shape, classes = self.context.sample_shape, self.context.classes
        if self._name == "lstm":
            self._check(len(shape) == 1, "lines of letters, [length]")
            return NextLetter(classes)
        self._check(len(shape) == 3 and shape[1] == shape[2], "square images, [channels, side, side]")
        return Scaled(MODELS[self._name](shape[0], shape[1], classes))

    def build_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Gradient descent with momentum."""
        return torch.optim.SGD(model.parameters(), lr=self._lr, momentum=self._momentum)

    def _check(self, fits: bool, wanted: str) -> None:  # noqa: FBT001 - the fact that is looked at
        """Refuse data that the model is not for."""
        if not fits or not self.context.classes:
            found = f"the site has samples {list(self.context.sample_shape)}"
            told = f"'{self._name}' takes {wanted}, and targets that are classes; {found}"
            raise UsageError(told, cure="name another model in task_runner.settings, or other data")
