"""Rules as one would write them in NumPy at first: all updates in memory at once, whole arrays, float32."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from openfl_like.tensors.container import TensorFile

Matrix = np.ndarray
MOST_BYTES = 1_000_000_000
"""So much is combined, of all updates together: copies of it are made, and have to fit into memory as well."""


def elements(paths: Sequence[Path]) -> int:
    """Return how many elements of each update are combined."""
    with TensorFile(paths[0]) as file:
        size = sum(spec.size_bytes for spec in file.schema)
    return min(size, MOST_BYTES // len(paths)) // 4


def read(path: Path, most: int) -> Matrix:
    """Read the first elements of an update."""
    with TensorFile(path) as file:
        return np.concatenate([np.array(file.tensor(name)).ravel() for name in file.names])[:most]


def combine(paths: Sequence[Path], rule: str) -> Matrix:
    """Read all updates, and combine them."""
    most = elements(paths)
    combined: Matrix = RULES[rule](np.stack([read(path, most) for path in paths]))
    return combined


def _average(updates: Matrix) -> Matrix:
    weights = np.arange(1.0, len(updates) + 1, dtype=np.float32)
    return np.asarray(weights / weights.sum() @ updates)


def _trimmed(updates: Matrix) -> Matrix:
    cut = len(updates) // 4
    return np.asarray(np.sort(updates, axis=0)[cut : len(updates) - cut].mean(axis=0))


def _distances(updates: Matrix) -> Matrix:
    return np.array([[float(((one - other) ** 2).sum()) for other in updates] for one in updates])


def _scores(distances: Matrix, dishonest: int) -> Matrix:
    return np.asarray(np.sort(distances, axis=1)[:, 1 : max(2, len(distances) - dishonest - 1)].sum(axis=1))


def _geometric_median(updates: Matrix, iterations: int = 10) -> Matrix:
    middle = updates.mean(axis=0)
    for _ in range(iterations):  # a tenth of what the rule does, which needs no pass over the updates for each
        pulls = 1 / np.maximum(np.linalg.norm(updates - middle, axis=1), 1e-6)
        middle = (pulls / pulls.sum()) @ updates
    return np.asarray(middle)


def _krum(updates: Matrix) -> Matrix:
    return np.asarray(updates[np.argmin(_scores(_distances(updates), len(updates) // 5))])


def _multi_krum(updates: Matrix) -> Matrix:
    dishonest = len(updates) // 5
    return np.asarray(updates[np.argsort(_scores(_distances(updates), dishonest))[: -dishonest or None]].mean(axis=0))


def _bulyan(updates: Matrix) -> Matrix:
    dishonest, distances = len(updates) * 15 // 100, _distances(updates)
    left, chosen = list(range(len(updates))), list[int]()
    while len(chosen) < len(updates) - 2 * dishonest:
        chosen.append(left.pop(int(np.argmin(_scores(distances[np.ix_(left, left)], dishonest)))))
    kept = updates[chosen]
    away = np.argsort(np.abs(kept - np.median(kept, axis=0)), axis=0)[: len(kept) - 2 * dishonest]
    return np.asarray(np.take_along_axis(kept, away, axis=0).mean(axis=0))


def _shortened(differences: Matrix, bound: float) -> Matrix:
    norms = np.linalg.norm(differences, axis=1)
    return np.asarray(differences * np.minimum(1, bound / np.maximum(norms, 1e-30))[:, None])


def _bounded(updates: Matrix) -> Matrix:
    differences = updates - updates[0]
    bound = float(np.median(np.linalg.norm(differences, axis=1)))
    return np.asarray(updates[0] + _shortened(differences, bound).mean(axis=0))


def _clipped(updates: Matrix) -> Matrix:
    return np.asarray(updates[0] + _shortened(updates - updates[0], 1e4).mean(axis=0))


def _trusting(updates: Matrix) -> Matrix:
    differences = updates - updates.mean(axis=0)
    norms = np.linalg.norm(differences, axis=1)
    trust = np.maximum(differences @ differences[0] / norms / norms[0], 0)
    return np.asarray((trust * norms[0] / norms) @ differences / trust.sum())


RULES: Mapping[str, Callable[[Matrix], Matrix]] = {
    "weighted average": _average,
    "median": lambda updates: np.asarray(np.median(updates, axis=0)),
    "trimmed mean": _trimmed,
    "geometric median": _geometric_median,
    "krum": _krum,
    "multi-krum": _multi_krum,
    "bulyan": _bulyan,
    "norm-bounded mean": _bounded,
    "centred clipping": _clipped,
    "fltrust": _trusting,
}
