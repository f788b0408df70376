"""Partitioners that go by labels, besides those of `partition`: shards, a dominant label, one label, levels of skew."""

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from openfl_like.data.partition import NOBODY, STRICT, even_sizes, spread
from openfl_like.errors import ShardError

LEVELS = 5


@dataclass(frozen=True, slots=True, config=STRICT)
class LabelShards:
    """Rows are sorted by label and cut into shards of equal size (± 1), of which every site gets some at random.

    The non-IID deal of McMahan et al. 2017 (arXiv:1602.05629, section 3).

    Args:
        shards_per_site: How many a site gets; with 2, most sites have one to four labels.
    """

    needs_labels: ClassVar[bool] = True
    shards_per_site: Annotated[int, Field(ge=1)] = 2

    def owners(self, targets: np.ndarray, sites: int, seed: int) -> np.ndarray:
        """See `partition.Partitioner.owners`."""
        random = np.random.default_rng(seed)
        shuffled = random.permutation(len(targets))
        by_label = shuffled[np.argsort(targets[shuffled], kind="stable")]
        shards = sites * self.shards_per_site
        found = np.empty(len(targets), dtype=np.int64)
        dealt = random.permutation(shards) // self.shards_per_site
        found[by_label] = np.repeat(dealt, even_sizes(len(targets), shards))
        return found


@dataclass(frozen=True, slots=True, config=STRICT)
class Percentage:
    """Every site has a dominant label, of which it gets this part of its rows; the others are of all other labels.

    As in Wang et al. 2020 (FAVOR, INFOCOM, "Non-IID data"). A label is dominant at sites in proportion to its rows; all
    sites have equal sizes (± 1).

    Args:
        fraction: The dominant label's part of a site's rows. It is more only at sites that are dealt last, when no
            other label is left.
        size: Rows of a site; none: all rows are dealt out.
    """

    needs_labels: ClassVar[bool] = True
    fraction: Annotated[float, Field(gt=0, le=1)] = 0.8
    size: Annotated[int, Field(ge=1)] | None = None

    def owners(self, targets: np.ndarray, sites: int, seed: int) -> np.ndarray:
        """See `partition.Partitioner.owners`."""
        random = np.random.default_rng(seed)
        sizes = even_sizes(len(targets), sites) if self.size is None else np.full(sites, self.size)
        if sizes.sum() > len(targets):
            told = f"{sites} sites of {self.size} rows need {sizes.sum()}, and there are {len(targets)}"
            raise ShardError(told, cure="lower size, or have fewer sites")
        wanted = np.rint(sizes * self.fraction).astype(np.int64)
        dominant = self._dominant(targets, wanted, random)
        found = np.full(len(targets), NOBODY, dtype=np.int64)
        for label in np.unique(dominant):
            takers = np.flatnonzero(dominant == label)
            rows = random.permutation(np.flatnonzero(targets == label))
            found[rows[: wanted[takers].sum()]] = np.repeat(takers, wanted[takers])
        return _filled(found, targets, sizes, dominant, random)

    def _dominant(self, targets: np.ndarray, wanted: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Choose the dominant label of each site: as many for a label as it has rows for, in proportion to these."""
        sites, most = len(wanted), max(1, int(wanted.max(initial=1)))
        labels, counts = np.unique(targets, return_counts=True)
        room = counts // most
        if room.sum() < sites:
            told = f"of {len(targets)} rows only {room.sum()} sites can have {most} of one label, and there are {sites}"
            raise ShardError(told, cure="lower fraction or size, or change the number of sites")
        chosen = np.minimum(sites * counts // len(targets), room)
        for _ in range(sites - chosen.sum()):
            chosen[np.argmax(np.where(chosen < room, counts - chosen * most, -1))] += 1
        return random.permutation(np.repeat(labels, chosen))


def _filled(
    found: np.ndarray, targets: np.ndarray, sizes: np.ndarray, dominant: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Deal out what is left, first to each site what is not of its dominant label."""
    rest = random.permutation(np.flatnonzero(found == NOBODY))
    missing = sizes - np.bincount(found[found != NOBODY], minlength=len(sizes))
    for site in np.flatnonzero(missing):
        others_first = np.argsort(targets[rest] == dominant[site], kind="stable")
        found[rest[others_first[: missing[site]]]] = site
        rest = rest[np.sort(others_first[missing[site] :])]
    return found


@dataclass(frozen=True, slots=True, config=STRICT)
class OneLabel:
    """Every site has one label only: the first site the smallest, and so on; further sites share labels equally.

    The most extreme label skew; "1-class non-IID" in Zhao et al. 2018 (arXiv:1806.00582, section 2).

    Args:
        size: Most rows of a site; none: all rows are dealt out.
    """

    needs_labels: ClassVar[bool] = True
    size: Annotated[int, Field(ge=1)] | None = None

    def owners(self, targets: np.ndarray, sites: int, seed: int) -> np.ndarray:
        """See `partition.Partitioner.owners`."""
        random = np.random.default_rng(seed)
        labels = np.unique(targets)
        if sites < len(labels):
            told = f"{sites} sites with one label each cannot cover {len(labels)} labels"
            raise ShardError(told, cure=f"have at least {len(labels)} sites, or use 'labels'")
        found = np.full(len(targets), NOBODY, dtype=np.int64)
        for number, label in enumerate(labels):
            takers = np.arange(number, sites, len(labels))
            rows = random.permutation(np.flatnonzero(targets == label))
            shares = even_sizes(len(rows), len(takers))
            kept = np.minimum(shares, self.size) if self.size is not None else shares
            found[rows[: kept.sum()]] = np.repeat(takers, kept)
        return found


@dataclass(frozen=True, slots=True, config=STRICT)
class NonIid:
    """Presets from 1, all labels everywhere in equal parts, to 5, about one label at a site.

    Modelled on the levels of FedERA: of n labels, a site has each with the chance 1 - (level - 1) / 4 · (1 - 1 / n),
    and sites that have it share it by weights drawn between 1 and the level. They are not the same draws.

    Args:
        level: 1 to 5.
    """

    needs_labels: ClassVar[bool] = True
    level: Annotated[int, Field(ge=1, le=LEVELS)] = 1

    def owners(self, targets: np.ndarray, sites: int, seed: int) -> np.ndarray:
        """See `partition.Partitioner.owners`."""
        random = np.random.default_rng(seed)
        labels = np.unique(targets)
        weights = random.uniform(1, self.level, (len(labels), sites)) * self._present(len(labels), sites, random)
        found = np.empty(len(targets), dtype=np.int64)
        for number, label in enumerate(labels):
            rows = random.permutation(np.flatnonzero(targets == label))
            found[rows] = np.repeat(np.arange(sites), spread(len(rows), weights[number]))
        return found

    def _present(self, labels: int, sites: int, random: np.random.Generator) -> np.ndarray:
        """Draw which site has which label: each at least one, and each label somewhere."""
        absent = (self.level - 1) / (LEVELS - 1) * (1 - 1 / labels)
        found = random.random((labels, sites)) >= absent
        for site in np.flatnonzero(~found.any(axis=0)):
            found[random.integers(labels), site] = True
        for label in np.flatnonzero(~found.any(axis=1)):
            found[label, random.integers(sites)] = True
        return found
