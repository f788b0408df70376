"""Ways to deal one data set out to several sites, for simulations of data that was collected apart.

Every partitioner answers the same question for one site: which rows of the whole are yours? Asked with the same seed
for all sites, the answers are disjoint and together complete. Sites count from 1.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from openfl_like.errors import ShardError

_DRAWS = 1000


class Partitioner(Protocol):
    """Deals rows to sites."""

    def indices(self, targets: np.ndarray, site: int, sites: int, seed: int) -> np.ndarray:
        """Return the rows of one site, ascending, int64.

        Args:
            targets: Class numbers of all rows, ``[n]``.
            site: Which site, from 1 to ``sites``.
            sites: How many sites there are.
            seed: Seed of the deal; every site must use the same.

        Raises:
            ShardError: If the rows cannot be dealt out like that.
        """
        ...


@dataclass(frozen=True, slots=True)
class Iid:
    """Every site gets a random share of equal size (± 1)."""

    def indices(self, targets: np.ndarray, site: int, sites: int, seed: int) -> np.ndarray:
        """See `Partitioner.indices`."""
        _check_site(site, sites)
        order = np.random.default_rng(seed).permutation(len(targets))
        return np.sort(np.array_split(order, sites)[site - 1])


@dataclass(frozen=True, slots=True)
class Dirichlet:
    """Every label is spread over the sites by proportions from a symmetric Dirichlet distribution.

    The prior is that of Hsu, Qi, Brown 2019 (arXiv:1909.06335, section 3); it is drawn label by label, so that no row
    is left over. The draw is repeated until every site has at least ``min_size`` rows.

    Args:
        alpha: Concentration; 0.1 gives sites of one or two labels, 100 nearly equal sites.
        min_size: Fewest rows of a site.
    """

    alpha: float = 0.5
    min_size: int = 10

    def indices(self, targets: np.ndarray, site: int, sites: int, seed: int) -> np.ndarray:
        """See `Partitioner.indices`."""
        _check_site(site, sites)
        if self.alpha <= 0:
            raise ShardError(f"alpha must be positive, not {self.alpha:g}")
        random = np.random.default_rng(seed)
        for _ in range(_DRAWS):
            owner = self._deal(targets, sites, random)
            if np.bincount(owner, minlength=sites).min() >= self.min_size:
                return np.flatnonzero(owner == site - 1)
        told = f"no deal of {len(targets)} rows gave all of {sites} sites {self.min_size} rows"
        raise ShardError(told, cure="raise alpha or lower min_size")

    def _deal(self, targets: np.ndarray, sites: int, random: np.random.Generator) -> np.ndarray:
        owner = np.empty(len(targets), dtype=np.int64)
        for label in np.unique(targets):
            rows = random.permutation(np.flatnonzero(targets == label))
            shares = random.dirichlet(np.full(sites, self.alpha))
            cuts = np.rint(np.cumsum(shares)[:-1] * len(rows)).astype(np.int64)
            for number, part in enumerate(np.split(rows, cuts)):
                owner[part] = number
        return owner


@dataclass(frozen=True, slots=True)
class LabelsPerSite:
    """Every site sees only some of the labels; a label that several sites have is divided equally among them.

    Args:
        labels: How many labels a site has.
    """

    labels: int = 2

    def indices(self, targets: np.ndarray, site: int, sites: int, seed: int) -> np.ndarray:
        """See `Partitioner.indices`."""
        _check_site(site, sites)
        random = np.random.default_rng(seed)
        known = random.permutation(np.unique(targets))
        if not 1 <= self.labels <= len(known) <= sites * self.labels:
            told = f"{sites} sites with {self.labels} labels each cannot cover {len(known)} labels"
            raise ShardError(told, cure="choose labels between (all labels / sites) and all labels")
        owners: dict[int, list[int]] = {number: [] for number in range(len(known))}
        for slot in range(sites * self.labels):
            owners[slot % len(known)].append(slot // self.labels)
        mine: list[np.ndarray] = []
        for number, label in enumerate(known):
            rows = random.permutation(np.flatnonzero(targets == label))
            parts = np.array_split(rows, len(owners[number]))
            mine += [part for owner, part in zip(owners[number], parts, strict=True) if owner == site - 1]
        return np.sort(np.concatenate(mine))


def _check_site(site: int, sites: int) -> None:
    if not 1 <= site <= sites:
        raise ShardError(f"there is no site {site} among {sites}", cure="count sites from 1")
