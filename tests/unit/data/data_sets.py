"""Whole data sets to make parts of; each sample is its own number, so that it can be followed."""

import numpy as np

from openfl_like.data.shard import ArrayShard, Dataset

MADE: list[str] = []
"""What was made, in order."""


class ManyLabels(ArrayShard):
    """Numbered samples whose labels go round: 300 to train on, 100 held out, of five labels; or as many as is said.

    Args:
        train: Samples to train on.
        validate: Held-out samples.
        classes: Labels; 0: the targets are numbers without a meaning.
        title: What is noted when it is made.
    """

    def __init__(self, train: int = 300, validate: int = 100, classes: int = 5, title: str = "many") -> None:
        MADE.append(title)
        samples = np.arange(train + validate, dtype=np.float32)[:, None]
        numbers = np.arange(train + validate)
        targets = numbers % classes if classes else (numbers / 7).astype(np.float32)
        super().__init__(
            {
                "train": Dataset(samples[:train], targets[:train]),
                "validate": Dataset(samples[train:], targets[train:]),
            },
            "Numbers, each its own sample.",
            sample_range=(0.0, float(train + validate)),
            classes=classes,
        )


class Pictures(ArrayShard):
    """Targets that are pictures of classes, not one class."""

    def __init__(self) -> None:
        data = Dataset(np.zeros((20, 2, 2), np.float32), np.zeros((20, 2, 2), np.int64))
        super().__init__({"train": data, "validate": data}, "Masks.", (0.0, 1.0), classes=3)
