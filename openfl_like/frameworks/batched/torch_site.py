"""The data of one site as a batch of sites takes it: its samples where the model is, and which of them a step sees."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
import torch

from openfl_like.frameworks.runner import DataLoader
from openfl_like.frameworks.torch import TorchLoader
from openfl_like.frameworks.torch_arrays import to_torch

_NUMBER_BYTES = 4
Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True, slots=True)
class Rows:
    """Which samples of a site its steps see.

    Attributes:
        samples: ``[n, *sample_shape]``.
        targets: ``[n, *target_shape]``.
        counts: How many samples each step sees, ``[steps]``, int64; none is zero.
        places: Where these are among all, ``[steps, most]``, int64; a step that sees fewer than most has its first
            one again. None: every step sees all of them.
        last: How many of the steps are the last epoch's.
        form: Dtypes and shapes; only sites of the same form are put together.
    """

    samples: torch.Tensor
    targets: torch.Tensor
    counts: np.ndarray
    places: np.ndarray | None
    last: int
    form: object = field(init=False)

    def __post_init__(self) -> None:
        form = self.samples.dtype, self.samples.shape[1:], self.targets.dtype, self.targets.shape[1:]
        object.__setattr__(self, "form", form)

    @property
    def indices(self) -> np.ndarray:
        """The places, also where every step sees all samples."""
        if self.places is not None:
            return self.places
        return np.broadcast_to(np.arange(len(self.samples)), (len(self.counts), len(self.samples)))


def cut(order: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut an order of samples into steps.

    Args:
        order: Places of samples, ``[n]``.
        size: How many of them a step sees; the last one may see fewer.

    Returns:
        ``counts`` and ``places`` as `Rows` has them.
    """
    steps = -(-len(order) // size)
    counts = np.full(steps, size, np.int64)
    places = np.empty(steps * size, np.int64)
    places[: len(order)] = order
    if steps and len(order) < len(places):
        counts[-1] = len(order) - (steps - 1) * size
        places[len(order) :] = order[(steps - 1) * size]
    return counts, places.reshape(steps, size)


def joined(*epochs: Batches) -> Rows | None:
    """Put the batches of a loader one behind the other; None if there are none."""
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    last = 0
    for batches in epochs:
        before = len(found)
        found += batches
        last = len(found) - before
    if not found:
        return None
    counts = np.array([len(samples) for samples, _ in found], np.int64)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    within = np.arange(counts.max())
    places = first[:, None] + np.where(within < counts[:, None], within, 0)
    return Rows(torch.cat([one for one, _ in found]), torch.cat([one for _, one in found]), counts, places, last)


@lru_cache(4)
def _alike(count: int, steps: int) -> np.ndarray:
    """Return the counts of steps that see so many samples each; sites are mostly of a size, and share them."""
    counts = np.full(steps, count, np.int64)
    counts.flags.writeable = False
    return counts


class TorchSite:
    """A site's data loader, and what is kept of its data.

    Args:
        loader: The site's.
        device: Where the model is.
        sample_shape: Of the site's samples.

    Attributes:
        data_bytes: How much memory its data takes, as far as it can be told beforehand.
    """

    def __init__(self, loader: DataLoader[torch.Tensor], device: torch.device, sample_shape: tuple[int, ...]) -> None:
        self.loader = loader
        self._device = device
        self.num_train = loader.num_train
        self.num_validate = loader.num_validate
        self.data_bytes = (self.num_train + self.num_validate) * _NUMBER_BYTES * math.prod(sample_shape)
        self._whole: Rows | None = None

    @property
    def most(self) -> int:
        """How many samples a step sees at most, as far as that is known: of a loader of the workspace it is not."""
        return self.loader.cut.batch_size if type(self.loader) is TorchLoader else self.num_train

    def sample(self) -> torch.Tensor:
        """Return a batch of one sample to train on."""
        samples, _ = next(iter(self.loader.train_batches(0, 0)))
        return samples[:1]

    @cached_property
    def _cuts(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """All samples to train on, where the loader is the one whose cuts are known; any other one is asked."""
        if type(self.loader) is not TorchLoader:
            return None
        data = self.loader.cut.train_set
        return self._taken(data.samples), self._taken(data.targets)

    def _taken(self, array: np.ndarray) -> torch.Tensor:
        """Return an array as a tensor, without a copy where that is possible."""
        whole = array.flags.writeable and all(stride > 0 for stride in array.strides)
        return (torch.from_numpy(array) if whole else to_torch(array)).to(self._device)

    def training(self, seed: int, epochs: int) -> Rows | None:
        """Return what the steps of some epochs see, in the order of the loader; None if there is no step."""
        if self._whole is not None and len(self._whole.counts) == epochs:
            return self._whole
        if self._cuts is None:
            return joined(*(self.loader.train_batches(seed, epoch) for epoch in range(epochs)))
        assert isinstance(self.loader, TorchLoader)  # noqa: S101 (what _cuts has seen)
        cuts = self.loader.cut
        if not cuts.num_cut:
            return None
        samples, targets = self._cuts
        if cuts.num_cut == len(samples) <= cuts.batch_size:  # whatever the order: the mean over all is the same
            self._whole = Rows(samples, targets, _alike(len(samples), epochs), None, 1)
            return self._whole
        steps = [cut(cuts.train_order(seed, epoch), cuts.batch_size) for epoch in range(epochs)]
        counts, places = zip(*steps, strict=True)
        return Rows(samples, targets, np.concatenate(counts), np.concatenate(places), len(counts[-1]))

    def held_out(self) -> Rows | None:
        """Return what a validation sees; None if nothing is held out."""
        if self._cuts is None:
            return joined(self.loader.validate_batches())
        return self._held

    @cached_property
    def _held(self) -> Rows | None:
        found = joined(self.loader.validate_batches())
        if found is None:
            return None
        samples, targets = found.samples.to(self._device), found.targets.to(self._device)
        return Rows(samples, targets, found.counts, found.places, found.last)
