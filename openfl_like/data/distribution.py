"""How a data set is distributed over the sites that were made from it: sizes, labels, and how far from IID that is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from openfl_like.data.deal import DataSet, Deal
from openfl_like.data.shard import KINDS, ShardDescriptor


@dataclass(frozen=True, slots=True)
class Distribution:
    """What each site has.

    Attributes:
        sites: The sites that there are, from 0.
        labels: Labels of the samples that are trained on, ascending; empty if they have none.
        counts: Samples that a site trains on, by label: ``[sites, labels]``; one column if they have none.
        held_out: Samples that are held out at each site.
    """

    sites: np.ndarray
    labels: tuple[int, ...]
    counts: np.ndarray
    held_out: np.ndarray

    @property
    def trained(self) -> np.ndarray:
        """Samples that each site trains on."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def sizes(self) -> Mapping[str, int]:
        """Samples of the sites, held-out ones included: ``least``, ``median`` (rounded down) and ``most``."""
        samples = np.sort(self.trained + self.held_out)
        return {"least": int(samples[0]), "median": int(samples[(len(samples) - 1) // 2]), "most": int(samples[-1])}

    @property
    def facts(self) -> dict[str, object]:
        """What is told of it in short: ``samples``, `sizes`, and ``iidness``."""
        return {"samples": dict(self.sizes), "iidness": self.iidness}

    @property
    def iidness(self) -> float | None:
        """How alike the sites' labels are: 1 where every site has the mix of the whole; None without labels.

        It is 1 less the mean, over all sites, of the Jensen-Shannon distance (base 2; Endres and Schindelin 2003) of
        the site's labels from those of all sites together. Sites of few samples are never quite alike.
        """
        if not self.labels:
            return None
        together = self.counts.sum(axis=0) / self.counts.sum()
        mixes = self.counts / self.counts.sum(axis=1, keepdims=True)
        return 1.0 - float(np.mean([_distance(mix, together) for mix in mixes]))


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """The Jensen-Shannon distance: from 0 to 1."""
    middle = (one + other) / 2
    divergence = (_relative_entropy(one, middle) + _relative_entropy(other, middle)) / 2
    return float(np.sqrt(max(divergence, 0.0)))


def _relative_entropy(one: np.ndarray, other: np.ndarray) -> float:
    there = one > 0
    return float(np.sum(one[there] * np.log2(one[there] / other[there])))


def distribution_of_sites(shards: Sequence[ShardDescriptor]) -> Distribution:
    """Count what each of some sites has; all have data of the same kind."""
    sizes = np.array([[shard.schema.counts[kind] for kind in KINDS] for shard in shards])
    classes = shards[0].schema.classes
    if not classes or tuple(shards[0].target_shape):
        return Distribution(np.arange(len(shards)), (), sizes[:, :1], sizes[:, 1])
    counts = np.stack([np.bincount(shard.get_dataset(KINDS[0]).targets, minlength=classes) for shard in shards])
    return Distribution(np.arange(len(shards)), tuple(range(classes)), counts, sizes[:, 1])


def distribution_of(whole: DataSet, deal: Deal) -> Distribution:
    """Count what each site has, before labels are made wrong."""
    sites = deal.present
    held_out = deal.validate.sizes[sites]
    if not whole.labelled:
        return Distribution(sites, (), deal.train.sizes[sites][:, None], held_out)
    labels, numbers = np.unique(whole.train.targets, return_inverse=True)
    counts = np.stack([np.bincount(numbers[deal.train.rows(site)], minlength=len(labels)) for site in sites])
    return Distribution(sites, tuple(int(label) for label in labels), counts, held_out)
