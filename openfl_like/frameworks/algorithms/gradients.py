"""Gradients at weights that are not the model's own, for algorithms that ask for them."""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from openfl_like.errors import TaskError
from openfl_like.frameworks.model import GradientsAnywhere, Model, Tensor, Tensors

Batches: TypeAlias = Callable[[], Iterable[tuple[Any, Any]]]


class SiteGradients:
    """What an algorithm can ask the training loop for: gradients of the site's loss wherever it likes.

    One is given to the algorithm with `base.LocalStart`, and the loop tells it what it works on.
    """

    def __init__(self) -> None:
        self._model: Model | None = None
        self._batches: Batches = tuple
        self._batch: tuple[Any, Any] | None = None

    def over(self, model: Model, batches: Batches) -> None:
        """Take a model, and what gives the batches of all samples to train on, in an order that is always the same."""
        self._model, self._batches, self._batch = model, batches, None

    def show(self, samples: Tensor, targets: Tensor) -> None:
        """Take the batch that the next step is taken with."""
        self._batch = samples, targets

    def of_batch(self, weights: Tensors) -> Tensors:
        """Return the gradient of the mean loss of the batch of this step, at these weights.

        Raises:
            TaskError: If the loop does not show its batches, or the model gives no gradients at other weights.
        """
        model = self._able()
        if self._batch is None:
            raise _no_data()
        return model.gradients_at(weights, *self._batch)

    def of_all(self, weights: Tensors) -> Tensors:
        """Return the gradient of the mean loss of the site's samples at these weights: one more epoch of gradients.

        Samples that the data loader leaves out (``drop_last``) are left out. Raises as `of_batch` does.
        """
        model, total, count = self._able(), dict[str, Tensor](), 0
        for samples, targets in self._batches():
            for name, gradient in model.gradients_at(weights, samples, targets).items():
                share = len(samples) * gradient
                total[name] = total[name] + share if name in total else share
            count += len(samples)
        return {name: gradient / count for name, gradient in total.items()}

    def squares_of_all(self, weights: Tensors) -> Tensors:
        """Return about the mean, over the site's samples, of the squares of their gradients at these weights.

        It is taken from the mean gradients g of batches of n samples, as the mean of n g^2: where the gradients of
        samples add up to nothing, as at the end of training, that is the same on average, and it costs no more than
        `of_all`. Raises as that does.
        """
        model, total, count = self._able(), dict[str, Tensor](), 0
        for samples, targets in self._batches():
            for name, gradient in model.gradients_at(weights, samples, targets).items():
                share = len(samples) ** 2 * (gradient * gradient)
                total[name] = total[name] + share if name in total else share
            count += len(samples)
        return {name: square / count for name, square in total.items()}

    def _able(self) -> GradientsAnywhere:
        if self._model is None:
            raise _no_data()
        if not isinstance(self._model, GradientsAnywhere):
            raise TaskError(
                "the algorithm asks for gradients at other weights, which the task runner's model does not give",
                cure="add gradients_at to it (openfl_like.frameworks.model.GradientsAnywhere), or choose another one",
            )
        return self._model


def _no_data() -> TaskError:
    return TaskError(
        "the algorithm asks for gradients at other weights, and the task that trains does not show it its batches",
        cure="train by the runner's own loop (self.training.train), or choose another algorithm",
    )
