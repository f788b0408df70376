"""A site without data."""

import numpy as np

from openfl_like.data.shard import DataSchema, Dataset


class NoShard:
    """A site without data."""

    sample_shape = (1,)
    target_shape = ()
    dataset_description = "no data"
    schema = DataSchema("float32", "int64", (0.0, 0.0), (0.0, 0.0), 0, {"train": 1, "validate": 1})

    def get_dataset(self, kind: str) -> Dataset:  # noqa: ARG002 (the shard's interface)
        """One sample of zero."""
        return Dataset(np.zeros((1, 1), np.float32), np.zeros((1,), np.int64))
