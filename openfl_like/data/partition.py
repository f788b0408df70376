"""Ways to deal one data set out to several sites, for simulations of data that was collected apart.

Every partitioner answers one question: to which site does each row of the whole go? So no row can be at two sites, and
with the same seed and the same targets the answer is the same for whoever asks.
"""

from collections.abc import Callable, Mapping
from traceback import walk_tb
from typing import Annotated, ClassVar, Protocol, cast

import numpy as np
from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from openfl_like import registry
from openfl_like.errors import NotFoundError, ShardError
from openfl_like.federation.failure import one_line
from openfl_like.plan.mistakes import check_keywords, dotted, explain

STRICT = ConfigDict(extra="forbid")
NOBODY = -1
"""The owner of a row that no site gets."""
_DRAWS = 1000


class Partitioner(Protocol):
    """Deals the rows of a data set to sites. Its keyword arguments are the settings.

    One whose class says ``needs_groups = True`` is given the group of each row in the place of its target.
    """

    @property
    def needs_labels(self) -> bool:
        """Whether it goes by class labels, so that it cannot deal targets of any other kind."""
        ...

    def owners(self, targets: np.ndarray, sites: int, seed: int) -> np.ndarray:
        """Return the site of each row, from 0 to ``sites`` - 1, or `NOBODY`: int64, ``[n]``.

        A site may be left without rows: what then is done is not the partitioner's to say.

        Args:
            targets: Of all rows; class labels, ``[n]``, if it needs any; of one that needs groups, these.
            sites: How many sites there are.
            seed: Seed of the deal; nothing else may decide.

        Raises:
            ShardError: If the rows cannot be dealt out like that.
        """
        ...


class OneSitesPartitioner(Protocol):
    """What a partitioner was before 0.2: it told the rows of one site at a time, and is still taken."""

    def indices(self, targets: np.ndarray, site: int, sites: int, seed: int) -> np.ndarray:
        """Return the rows of one site, which is counted from 1."""
        ...


def build_partitioner(template: str, settings: Mapping[str, object]) -> Partitioner:
    """Make a partitioner.

    Args:
        template: A short name, or ``module:attr``.
        settings: Its keyword arguments.

    Raises:
        ShardError: If there is none of that name, or it refuses its settings.
    """
    place = f"partitioner '{template}'"
    try:
        factory = cast("Callable[..., object]", registry.resolve("partitioner", template))
        check_keywords(factory, settings, "setting")
        made = factory(**settings)
    except ShardError:
        raise
    except NotFoundError as error:
        raise ShardError(error.message, place="partitioner", cure=error.cure) from error
    except ValidationError as error:
        found = explain(error, factory)
        told = "; ".join(": ".join(part for part in (dotted(one.path), one.problem) if part) for one in found)
        raise ShardError(told, place=place, cure=found[0].cure or "correct its settings") from error
    except TypeError as error:
        raise ShardError(str(error), place=place, cure="correct its settings") from error
    except Exception as error:
        raise _raised(template, error) from error
    if not hasattr(made, "owners"):
        return _Asked(cast("OneSitesPartitioner", made))
    if not hasattr(type(made), "needs_labels"):
        told = "it does not say whether it goes by class labels"
        raise ShardError(told, place=place, cure="give its class needs_labels = True, or False")
    return cast("Partitioner", made)


def needs_groups(partitioner: Partitioner) -> bool:
    """Whether a partitioner goes by groups of samples."""
    return bool(getattr(partitioner, "needs_groups", False))


def owners_of(
    partitioner: Partitioner, targets: np.ndarray, sites: int, seed: int, groups: np.ndarray | None = None
) -> np.ndarray:
    """Ask a partitioner, and check what it says.

    Args:
        partitioner: Which one.
        targets: Of all rows.
        sites: How many sites there are.
        seed: Seed of the deal.
        groups: The group of each row; None: it is not known.

    Raises:
        ShardError: If it cannot deal these rows, or says something that is no answer.
    """
    if not len(targets):
        raise ShardError("there are no rows to deal out", cure="give the data set samples to train on")
    name = type(partitioner).__name__
    if needs_groups(partitioner):
        if groups is None:
            told = f"the partitioner {name} goes by groups, such as writers, and these rows have none"
            cure = "use a data set that says so (femnist, heart_disease, csv with group), or another partitioner"
            raise ShardError(told, cure=cure)
        targets = groups
    try:
        found = np.asarray(partitioner.owners(targets, sites, seed))
    except ShardError:
        raise
    except Exception as error:
        raise _raised(name, error) from error
    cure = "this is a defect of the partitioner: it has to return a site from 0 on, or -1, for each row"
    if found.shape != (len(targets),) or found.dtype.kind not in "iu":
        told = f"the partitioner {name} returned {found.dtype.name} of shape {found.shape} for {len(targets)} rows"
        raise ShardError(told, cure=cure)
    if len(found) and not NOBODY <= found.min() <= found.max() < sites:
        told = f"the partitioner {name} dealt rows to sites from {found.min()} to {found.max()}, and there are {sites}"
        raise ShardError(told, cure=cure)
    return found.astype(np.int64)


def _raised(name: str, error: Exception) -> ShardError:
    """Tell of an exception, with the line that it came from."""
    last = list(walk_tb(error.__traceback__))[-1]
    where = f"{last[0].f_code.co_filename}:{last[1]}"
    told = f"the partitioner '{name}' raised {type(error).__name__}: {one_line(error)} ({where})"
    return ShardError(told, cure="correct the line that is named, or its settings")


def rows_of_site(partitioner: Partitioner, targets: np.ndarray, site: int, sites: int, seed: int) -> np.ndarray:
    """Return the rows of one site, ascending, int64; sites count from 1 here.

    Raises:
        ShardError: If there is no such site, or the rows cannot be dealt out like that.
    """
    if not 1 <= site <= sites:
        raise ShardError(f"there is no site {site} among {sites}", cure="count sites from 1")
    return np.flatnonzero(owners_of(partitioner, targets, sites, seed) == site - 1)


class _Asked:
    """A partitioner that tells the rows of one site at a time, asked for each."""

    needs_labels: ClassVar[bool] = True

    def __init__(self, partitioner: OneSitesPartitioner) -> None:
        self._partitioner = partitioner

    def owners(self, targets: np.ndarray, sites: int, seed: int) -> np.ndarray:
        """See `Partitioner.owners`."""
        found = np.full(len(targets), NOBODY, dtype=np.int64)
        for site in range(sites):
            rows = self._partitioner.indices(targets, site + 1, sites, seed)
            if (found[rows] != NOBODY).any():
                told = f"the partitioner {type(self._partitioner).__name__} gave a row to two sites"
                raise ShardError(told, cure="this is a defect of the partitioner: a row is one site's")
            found[rows] = site
        return found


@dataclass(frozen=True, slots=True, config=STRICT)
class Iid:
    """Every site gets a random share of equal size (± 1): independent and identically distributed.

    The IID deal of McMahan et al. 2017 (arXiv:1602.05629, section 3).
    """

    needs_labels: ClassVar[bool] = False

    def owners(self, targets: np.ndarray, sites: int, seed: int) -> np.ndarray:
        """See `Partitioner.owners`."""
        found = np.empty(len(targets), dtype=np.int64)
        order = np.random.default_rng(seed).permutation(len(targets))
        found[order] = np.repeat(np.arange(sites), even_sizes(len(targets), sites))
        return found


@dataclass(frozen=True, slots=True, config=STRICT)
class Dirichlet:
    """Labels are skewed by draws from a symmetric Dirichlet distribution.

    Every label is spread over the sites by proportions drawn for it, so that sites differ in size, too, and no row is
    left over (Yurochkin et al. 2019, arXiv:1905.12022, section 4). With ``balanced``, a mix of labels is drawn for each
    site instead, around the mix of the whole, and all sites have equal sizes (± 1), as in Hsu, Qi, Brown 2019
    (arXiv:1909.06335, section 3); the last sites get what labels are left.

    Args:
        alpha: Concentration; 0.1 gives sites of one or two labels, 100 nearly equal sites.
        min_size: Fewest rows of a site; the draw is repeated until every site has them. A site of the shards
            ``digits`` and ``breast_cancer`` has 10, unless this says otherwise.
        balanced: Whether all sites have equal sizes.
    """

    needs_labels: ClassVar[bool] = True
    alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.5
    min_size: Annotated[int, Field(ge=0)] = 0
    balanced: bool = False

    def owners(self, targets: np.ndarray, sites: int, seed: int) -> np.ndarray:
        """See `Partitioner.owners`."""
        random = np.random.default_rng(seed)
        if self.min_size * sites > len(targets):
            self._give_up(targets, sites)
        for _ in range(_DRAWS):
            found = self._balanced(targets, sites, random) if self.balanced else self._spread(targets, sites, random)
            if np.bincount(found, minlength=sites).min() >= self.min_size:
                return found
        return self._give_up(targets, sites)

    def _give_up(self, targets: np.ndarray, sites: int) -> np.ndarray:
        told = f"no deal of {len(targets)} rows gave all of {sites} sites {self.min_size} rows"
        raise ShardError(told, cure="raise alpha or lower min_size")

    def _spread(self, targets: np.ndarray, sites: int, random: np.random.Generator) -> np.ndarray:
        found = np.empty(len(targets), dtype=np.int64)
        for label in np.unique(targets):
            rows = random.permutation(np.flatnonzero(targets == label))
            shares = random.dirichlet(np.full(sites, self.alpha))
            cuts = np.rint(np.cumsum(shares)[:-1] * len(rows)).astype(np.int64)
            found[rows] = np.repeat(np.arange(sites), np.diff(cuts, prepend=0, append=len(rows)))
        return found

    def _balanced(self, targets: np.ndarray, sites: int, random: np.random.Generator) -> np.ndarray:
        labels, numbers = np.unique(targets, return_inverse=True)
        rows = [random.permutation(np.flatnonzero(numbers == number)) for number in range(len(labels))]
        left = np.array([len(of_label) for of_label in rows])
        prior = left / left.sum()
        found = np.empty(len(targets), dtype=np.int64)
        for site, size in enumerate(even_sizes(len(targets), sites)):
            for label, count in enumerate(_mixed(random.dirichlet(self.alpha * prior), left, size, random)):
                found[rows[label][left[label] - count : left[label]]] = site
                left[label] -= count
        return found


def _mixed(mix: np.ndarray, left: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """Draw so many rows of labels by a mix; a label that has no more is drawn no more."""
    taken = np.zeros_like(left)
    while (missing := size - taken.sum()) > 0:
        room = left - taken
        weights = np.where(room > 0, mix, 0.0)
        if weights.sum() <= 0:
            weights = room.astype(np.float64)
        taken += np.minimum(random.multinomial(missing, weights / weights.sum()), room)
    return taken


@dataclass(frozen=True, slots=True, config=STRICT)
class LabelsPerSite:
    """Every site sees only some of the labels; a label that several sites have is divided equally among them.

    The "quantity-based label imbalance" of Li et al. 2022 (arXiv:2102.02079, "Label distribution skew").

    Args:
        labels: How many labels a site has.
    """

    needs_labels: ClassVar[bool] = True
    labels: Annotated[int, Field(ge=1)] = 2

    def owners(self, targets: np.ndarray, sites: int, seed: int) -> np.ndarray:
        """See `Partitioner.owners`."""
        random = np.random.default_rng(seed)
        known = random.permutation(np.unique(targets))
        if not self.labels <= len(known) <= sites * self.labels:
            told = f"{sites} sites with {self.labels} labels each cannot cover {len(known)} labels"
            raise ShardError(told, cure="choose labels between (all labels / sites) and all labels")
        owners: dict[int, list[int]] = {number: [] for number in range(len(known))}
        for slot in range(sites * self.labels):
            owners[slot % len(known)].append(slot // self.labels)
        found = np.empty(len(targets), dtype=np.int64)
        for number, label in enumerate(known):
            rows = random.permutation(np.flatnonzero(targets == label))
            found[rows] = np.repeat(owners[number], even_sizes(len(rows), len(owners[number])))
        return found


def spread(rows: int, weights: np.ndarray) -> np.ndarray:
    """Return sizes in proportion to the weights, which add up to so many rows; each is rounded up or down."""
    cuts = np.rint(np.cumsum(weights)[:-1] / weights.sum() * rows).astype(np.int64)
    return np.diff(cuts, prepend=0, append=rows)


def even_sizes(rows: int, sites: int) -> np.ndarray:
    """Return sizes that differ by 1 at most, the larger ones first."""
    return np.full(sites, rows // sites) + (np.arange(sites) < rows % sites)
