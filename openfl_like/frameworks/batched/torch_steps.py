"""The steps of many sites, side by side."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from openfl_like.frameworks.batched.torch_site import Rows


@dataclass(frozen=True, slots=True)
class BatchStep:
    """What some sites see in a step.

    Attributes:
        active: How many sites take it: the first ones; the others have taken all of theirs.
        samples: ``[active, most, *sample_shape]``.
        targets: ``[active, most, *target_shape]``.
        counts: How many of the samples are each site's own, ``[active]``, int64, where the model is; the rest is one
            of them again. None: all of them.
    """

    active: int
    samples: torch.Tensor
    targets: torch.Tensor
    counts: torch.Tensor | None


class Steps:
    """The steps of many sites; the site with the most of them comes first, so that the active ones stand together.

    Args:
        rows: Of each site; none of them has no step. Dtypes and shapes of all are the same.
        device: Where the model is.

    Attributes:
        order: Which of the given sites stands at each place, ``[sites]``.
        counts: How many samples each site sees in each step, ``[steps, sites]``; 0: it takes no such step.
        samples: Of all sites, one behind the other.
        targets: Of all sites, one behind the other.
    """

    def __init__(self, rows: Sequence[Rows], device: torch.device) -> None:
        steps = np.array([len(one.counts) for one in rows])
        self.order = np.argsort(-steps, kind="stable")
        self._rows = [rows[place] for place in self.order.tolist()]
        self._device = device
        self._sizes = [one.samples.shape[0] for one in self._rows]
        self._first = np.array([len(one.counts) - one.last for one in self._rows])
        self.samples = torch.cat([one.samples.to(device) for one in self._rows])
        self.targets = torch.cat([one.targets.to(device) for one in self._rows])
        alike = len(set(self._sizes)) == 1 and steps.min() == steps.max()
        whole = alike and all(one.places is None for one in self._rows)
        self.counts = (
            np.full((int(steps.max()), len(rows)), self._sizes[0]) if whole else self._counts(int(steps.max()))
        )
        self._places = None if whole else torch.from_numpy(self._indices()).to(device)

    def _counts(self, steps: int) -> np.ndarray:
        counts = np.zeros((steps, len(self._rows)), np.int64)
        for place, one in enumerate(self._rows):
            counts[: len(one.counts), place] = one.counts
        return counts

    def _indices(self) -> np.ndarray:
        """Where the samples of each step are among all, ``[steps, sites, most]``."""
        steps, sites = self.counts.shape
        found = np.zeros((steps, sites, int(self.counts.max())), np.int64)
        offset = 0
        for place, one in enumerate(self._rows):
            indices = one.indices + offset
            taken, most = indices.shape
            found[:taken, place, :most] = indices
            found[:taken, place, most:] = indices[:, :1]
            offset += self._sizes[place]
        return found

    def counted(self, number: int) -> np.ndarray:
        """How many samples of each active site count for its metrics: those of the last epoch, ``[active]``."""
        counts = self.counts[number]
        active = int(np.count_nonzero(counts))
        return np.where(number >= self._first[:active], counts[:active], 0)

    def targets_of_each(self) -> list[torch.Tensor]:
        """Return the targets of each site, at its place."""
        return list(torch.split(self.targets, self._sizes))

    def __iter__(self) -> Iterator[BatchStep]:
        for number, counts in enumerate(self.counts):
            active = int(np.count_nonzero(counts))
            most = int(counts.max())
            even = bool((counts[:active] == most).all())
            own = None if even else torch.from_numpy(counts[:active]).to(self._device)
            yield BatchStep(active, *self._batch(number, active, most), own)

    def _batch(self, number: int, active: int, most: int) -> tuple[torch.Tensor, torch.Tensor]:
        if self._places is None:
            parts = (whole.view(-1, most, *whole.shape[1:])[:active] for whole in (self.samples, self.targets))
        else:
            places = self._places[number, :active, :most].reshape(-1)
            parts = (
                whole.index_select(0, places).view(active, most, *whole.shape[1:])
                for whole in (self.samples, self.targets)
            )
        samples, targets = parts
        return samples, targets
