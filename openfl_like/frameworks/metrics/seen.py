"""What a task has seen so far."""

from dataclasses import dataclass, field

import numpy as np

from openfl_like.frameworks.metrics.base import ChosenMetrics
from openfl_like.frameworks.metrics.classifiers import classification
from openfl_like.frameworks.targets import are_classes, class_numbers, outputs_of, squeezed


@dataclass(slots=True)
class Seen:
    """Batches that were looked at: their mean losses, outputs and targets.

    Attributes:
        chosen: The metrics to measure; None: those of a classifier, where the targets are numbers of classes.
    """

    losses: list[float] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)
    targets: list[np.ndarray] = field(default_factory=list)
    chosen: ChosenMetrics | None = None

    def add(self, loss: float, scores: np.ndarray, targets: np.ndarray) -> None:
        """Take a batch in: its mean loss, its scores as for `classification`, its targets.

        Scores of what has no class numbers are kept only for metrics that were chosen: they may be as large as the
        samples.
        """
        self.losses.append(loss)
        numbers = class_numbers(targets)
        self.targets.append(targets if numbers is None else numbers)
        if numbers is not None or self.chosen is not None:
            self.scores.append(scores)

    def metrics(self) -> dict[str, float]:
        """Return the mean loss over all samples and the chosen metrics.

        Without a choice they are those of a classifier, for numbers of classes that have scores.
        """
        if not self.targets:
            return {}
        truth = _joined(self.targets)
        total = sum(loss * len(batch) for loss, batch in zip(self.losses, self.targets, strict=True))
        found = {"loss": total / len(truth)}
        if self.chosen is not None:
            return found | self.chosen.measure(_joined(self.scores), truth)
        if self.scores:
            scores = _joined(self.scores)
            if are_classes(truth, outputs_of(scores)):
                found |= classification(squeezed(scores), truth)
        return found


def _joined(batches: list[np.ndarray]) -> np.ndarray:
    return batches[0] if len(batches) == 1 else np.concatenate(batches)
