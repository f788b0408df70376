"""A data set dealt out to sites: which rows are trained on where, and which are held out there.

The partitioner deals the rows that are trained on. The held-out ones follow: each site gets of every label the same
part of them as of the label's rows that are trained on, so that it is judged by what it is like. Where sites are made
of groups, such as writers, it gets those of its groups. What the data set holds out is trained on nowhere.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, cast

import numpy as np
from pydantic import Field

from openfl_like.data.partition import NOBODY, build_partitioner, needs_groups, owners_of, spread
from openfl_like.data.shard import Dataset, ShardDescriptor
from openfl_like.errors import ShardError
from openfl_like.federation.seeds import derive_seed
from openfl_like.plan.section import Component, Section
from openfl_like.plan.simulation import MOST_SITES, LabelNoise, WithoutSamples

_SHOWN = 5


def _groups_of(shard: ShardDescriptor, datasets: Mapping[str, Dataset]) -> dict[str, np.ndarray]:
    """Ask a shard for the groups of its samples, if it has any."""
    ask = cast("Callable[[str], np.ndarray | None] | None", getattr(shard, "groups", None))
    found = {kind: ask(kind) if ask is not None else None for kind in datasets}
    known = {kind: np.asarray(groups) for kind, groups in found.items() if groups is not None}
    for kind, groups in known.items():
        if groups.shape != (len(datasets[kind]),) or groups.dtype.kind not in "iu":
            told = f"the groups of the '{kind}' data are {groups.dtype.name} of shape {groups.shape}"
            raise ShardError(told, cure="give a whole number for each sample")
    return known if len(known) == len(datasets) else {}


@dataclass(frozen=True, slots=True)
class DataSet:
    """A whole data set, in memory once, however many sites are made of it.

    Attributes:
        shard: The shard that it is.
        train: What is trained on.
        validate: What is held out.
        groups: Kind (``train``, ``validate``) -> the group of each sample; empty: they are not known.
    """

    shard: ShardDescriptor
    train: Dataset
    validate: Dataset
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, shard: ShardDescriptor) -> "DataSet":
        """Take all data of a shard.

        Raises:
            ShardError: If it says groups that are not a whole number for each sample.
        """
        train, validate = shard.get_dataset("train"), shard.get_dataset("validate")
        return cls(shard, train, validate, _groups_of(shard, {"train": train, "validate": validate}))

    @property
    def labelled(self) -> bool:
        """Whether every sample has a class label."""
        return self.shard.schema.classes > 0 and not tuple(self.shard.target_shape)


class DealSettings(Section):
    """How a data set is dealt out; see `plan.schema.SitesSection`."""

    sites: Annotated[int, Field(ge=1, le=MOST_SITES)]
    partitioner: Component = Component(template="iid")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    without_samples: WithoutSamples = "refuse"
    label_noise: LabelNoise = LabelNoise()


@dataclass(frozen=True, slots=True)
class SitesRows:
    """The rows of each site.

    Attributes:
        order: The rows of the first site, of the second one, and so on, ascending each.
        bounds: Where a site's rows begin in it, and where the last one's end.
    """

    order: np.ndarray
    bounds: np.ndarray

    @classmethod
    def of(cls, owners: np.ndarray, sites: int) -> "SitesRows":
        """Sort rows by their owner."""
        order = np.argsort(owners, kind="stable")
        return cls(order, np.searchsorted(owners[order], np.arange(sites + 1)))

    @property
    def sizes(self) -> np.ndarray:
        """How many rows each site has."""
        return np.diff(self.bounds)

    def rows(self, site: int) -> np.ndarray:
        """Return the rows of a site."""
        return self.order[self.bounds[site] : self.bounds[site + 1]]


@dataclass(frozen=True, slots=True)
class Deal:
    """What came of dealing out; sites are counted from 0.

    Attributes:
        train: Rows that are trained on.
        validate: Rows that are held out.
        joined: The site that took the rows of each site: itself, another one, or `NOBODY`.
        mislabelled: Whether a site has wrong labels.
    """

    train: SitesRows
    validate: SitesRows
    joined: np.ndarray
    mislabelled: np.ndarray

    @property
    def present(self) -> np.ndarray:
        """The sites that there are."""
        return np.flatnonzero(self.joined == np.arange(len(self.joined)))


def deal_out(whole: DataSet, settings: DealSettings) -> Deal:
    """Deal a data set out.

    Raises:
        ShardError: If that cannot be done as the settings say.
    """
    _check_whole(whole, settings)
    partitioner = build_partitioner(settings.partitioner.template, settings.partitioner.settings)
    if partitioner.needs_labels and not whole.labelled:
        told = f"the partitioner '{settings.partitioner.template}' goes by class labels, and {_targets_of(whole)}"
        cure = "use iid, sizes or manual, or have the shard say how many classes its targets name"
        raise ShardError(told, cure=cure)
    train = owners_of(partitioner, whole.train.targets, settings.sites, settings.seed, whole.groups.get("train"))
    validate = _with_groups(whole, train) if needs_groups(partitioner) else held_out_owners(whole, train, settings)
    joined = _joined(train, validate, settings)
    train, validate = (np.where(owners == NOBODY, NOBODY, joined[owners]) for owners in (train, validate))
    sites = settings.sites
    return Deal(SitesRows.of(train, sites), SitesRows.of(validate, sites), joined, _mislabelled(joined, settings))


def _check_whole(whole: DataSet, settings: DealSettings) -> None:
    if settings.label_noise.fraction and not (whole.labelled and whole.shard.schema.classes > 1):
        raise ShardError(f"label_noise is for class labels, and {_targets_of(whole)}", cure="leave it out")
    if settings.without_samples != "refuse":
        return
    for dataset, what in ((whole.train, "to train on"), (whole.validate, "held out")):
        if len(dataset) < settings.sites:
            told = f"the data set has {len(dataset)} samples {what}, too few for {settings.sites} sites"
            raise ShardError(told, cure=f"have at most {len(dataset)} sites")


def _targets_of(whole: DataSet) -> str:
    shape = tuple(whole.shard.target_shape)
    return (
        f"the targets have the shape {list(shape)}" if shape else "the targets of this data set are not class numbers"
    )


def _mislabelled(joined: np.ndarray, settings: DealSettings) -> np.ndarray:
    """Draw which of the sites that there are have wrong labels."""
    found = np.zeros(settings.sites, dtype=bool)
    if settings.label_noise.fraction:
        present = np.flatnonzero(joined == np.arange(settings.sites))
        random = np.random.default_rng(derive_seed(settings.seed, "mislabelled sites"))
        found[random.permutation(present)[: max(1, round(settings.label_noise.sites * len(present)))]] = True
    return found


# ---- held-out rows follow those that are trained on ---------------------------------------------------------------


def held_out_owners(whole: DataSet, train: np.ndarray, settings: DealSettings) -> np.ndarray:
    """Return the site of each held-out row: of every label in the same parts as the rows that are trained on.

    A site that would have none gets one of its own labels, if there is any, from a site that has the most.
    """
    targets, wanted = (_labels(dataset, labelled=whole.labelled) for dataset in (whole.validate, whole.train))
    random = np.random.default_rng(derive_seed(settings.seed, "held-out rows"))
    found = np.full(len(targets), NOBODY, dtype=np.int64)
    for label in np.unique(targets):
        rows = random.permutation(np.flatnonzero(targets == label))
        of_label = train[wanted == label] if (wanted == label).any() else train
        weights = np.bincount(of_label + 1, minlength=settings.sites + 1)  # the first one is of nobody
        found[rows] = np.repeat(np.arange(settings.sites + 1), spread(len(rows), weights)) - 1
    _share(found, targets, train, wanted, settings.sites)
    return found


def _with_groups(whole: DataSet, train: np.ndarray) -> np.ndarray:
    """Return the site of each held-out row: that which trains on its group, or nobody."""
    groups, rows = np.unique(whole.groups["train"], return_index=True)
    wanted = whole.groups["validate"]
    places = np.searchsorted(groups, wanted).clip(max=len(groups) - 1)
    found = np.where(groups[places] == wanted, train[rows[places]], NOBODY)
    if (found == NOBODY).all():
        told = "no held-out sample is from a group that is trained on"
        raise ShardError(told, cure="have the data set hold out a part of each group, not whole ones")
    return found


def _labels(dataset: Dataset, *, labelled: bool) -> np.ndarray:
    return dataset.targets if labelled else np.zeros(len(dataset), dtype=np.int64)


def _share(found: np.ndarray, targets: np.ndarray, train: np.ndarray, wanted: np.ndarray, sites: int) -> None:
    """Give each site that trains and has no held-out row one of another site's."""
    held = np.bincount(found[found != NOBODY], minlength=sites)
    trained = SitesRows.of(train, sites)
    poor = [site for site in range(sites) if trained.sizes[site] and not held[site]]
    spare = _SpareRows(found, targets, held) if poor else None
    for site in poor:
        labels, counts = np.unique(wanted[trained.rows(site)], return_counts=True)
        row = spare.take(labels[np.argsort(-counts, kind="stable")].tolist()) if spare is not None else None
        if row is not None:
            found[row], held[site] = site, 1


class _SpareRows:
    """Held-out rows that can be given away: nobody's first, then those of whoever has the most."""

    def __init__(self, owners: np.ndarray, targets: np.ndarray, held: np.ndarray) -> None:
        self._owners, self._held = owners, held
        self._heaps: dict[int, list[tuple[int, int]]] = {}
        for row, label in enumerate(targets.tolist()):
            self._heaps.setdefault(label, []).append((-self._count(row), row))
        for heap in self._heaps.values():
            heapq.heapify(heap)

    def _count(self, row: int) -> int:
        owner = self._owners[row]
        return len(self._owners) + 1 if owner == NOBODY else int(self._held[owner])

    def take(self, labels: Sequence[int]) -> int | None:
        """Take a row of one of these labels, or else of any; None if nobody has two."""
        for label in (*labels, *self._heaps):
            for row in self._richest(self._heaps.get(label, [])):
                if self._owners[row] != NOBODY:
                    self._held[self._owners[row]] -= 1
                return row
        return None

    def _richest(self, heap: list[tuple[int, int]]) -> Iterator[int]:
        """Yield the row that is given away, if there is one; counts in the heap may be those of before."""
        while heap:
            count, row = heap[0]
            if -count != self._count(row):
                heapq.heapreplace(heap, (-self._count(row), row))
            elif -count > 1:
                heapq.heappop(heap)
                yield row
            else:
                return


# ---- sites without samples ----------------------------------------------------------------------------------------


def _joined(train: np.ndarray, validate: np.ndarray, settings: DealSettings) -> np.ndarray:
    """Return who takes the rows of each site."""
    sizes = [np.bincount(owners[owners != NOBODY], minlength=settings.sites) for owners in (train, validate)]
    without = np.flatnonzero((sizes[0] == 0) | (sizes[1] == 0))
    joined = np.arange(settings.sites)
    if not len(without):
        return joined
    if settings.without_samples == "refuse" or len(without) == settings.sites:
        shown = ", ".join(str(site + 1) for site in without[:_SHOWN])
        more = f" and {len(without) - _SHOWN} more" if len(without) > _SHOWN else ""
        told = f"{len(without)} of {settings.sites} sites have no samples to train on, or none held out: {shown}{more}"
        cure = "have fewer sites, deal more evenly, or set without_samples to merge or drop"
        raise ShardError(told, cure=cure)
    joined[without] = NOBODY
    if settings.without_samples == "merge":
        _merge(joined, without, sizes[0] + sizes[1])
    return joined


def _merge(joined: np.ndarray, without: np.ndarray, sizes: np.ndarray) -> None:
    """Have each site without samples join the smallest one that there is by then."""
    others = [(int(sizes[site]), int(site)) for site in np.flatnonzero(joined != NOBODY)]
    heapq.heapify(others)
    for site in without:
        size, other = others[0]
        joined[site] = other
        heapq.heapreplace(others, (size + int(sizes[site]), other))
