"""A shard of one number."""

import numpy as np

from openfl_like.data.shard import Dataset, DataSchema


class NumberShard:
    """Ten samples and five held-out ones, all the same number.

    Args:
        value: The number.
        behaviour: ``train``, ``raise`` or ``hang``.
    """

    sample_shape = (1,)
    target_shape = ()
    dataset_description = "one number"
    schema = DataSchema("float32", "int64", (-100.0, 100.0), (0.0, 0.0), 0, {"train": 10, "validate": 5})

    def __init__(self, value: float = 0.0, behaviour: str = "train") -> None:
        self._value = value
        self.behaviour = behaviour

    def get_dataset(self, kind: str) -> Dataset:
        """The number, as often as the kind wants it."""
        count = self.schema.counts[kind]
        return Dataset(np.full((count, 1), self._value, np.float32), np.zeros((count,), np.int64))
