"""Splitting a data set into the part to train on and the part that is held out."""

from collections.abc import Sequence

import numpy as np

from openfl_like.data.shard import Dataset
from openfl_like.errors import ShardError


def stratified_holdout(targets: np.ndarray, holdout: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split rows into a training and a held-out part with the same share of every label.

    Args:
        targets: Class numbers, ``[n]``.
        holdout: Share of the held-out part, between 0 and 1; of every label the number of rows is rounded to the
            nearest.
        seed: Seed of the draw.

    Returns:
        Rows to train on and rows to validate on, ascending, int64. A label with a single row is trained on.

    Raises:
        ShardError: If ``holdout`` is not between 0 and 1.
    """
    if not 0 < holdout < 1:
        raise ShardError(f"holdout must lie between 0 and 1, not {holdout:g}")
    random = np.random.default_rng(seed)
    held = np.zeros(len(targets), dtype=bool)
    for label in np.unique(targets):
        rows = random.permutation(np.flatnonzero(targets == label))
        held[rows[: min(round(len(rows) * holdout), len(rows) - 1)]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def split_dataset(dataset: Dataset, holdout: float, seed: int) -> dict[str, Dataset]:
    """Split a data set with class targets by `stratified_holdout` into ``train`` and ``validate``."""
    train, validate = stratified_holdout(dataset.targets, holdout, seed)
    return {
        "train": Dataset(dataset.samples[train], dataset.targets[train]),
        "validate": Dataset(dataset.samples[validate], dataset.targets[validate]),
    }


def concatenate(datasets: Sequence[Dataset]) -> Dataset:
    """Join data sets of one shape, in order."""
    return Dataset(
        np.concatenate([dataset.samples for dataset in datasets]),
        np.concatenate([dataset.targets for dataset in datasets]),
    )
