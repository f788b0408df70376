"""Partitioners that go by numbers of rows, by what somebody wrote down, or by several others one after the other."""

import re
from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from openfl_like.data.partition import NOBODY, STRICT, build_partitioner, even_sizes, owners_of, spread
from openfl_like.errors import ShardError
from openfl_like.federation.seeds import derive_seed
from openfl_like.plan.section import Component

_RANGE = re.compile(r"(\d{1,15})-(\d{1,15})")
Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SizeSkew:
    """Sites differ in size and not in kind; exactly one of the settings says how.

    The "quantity skew" of Li et al. 2022 (arXiv:2102.02079), with other distributions than theirs.

    Args:
        given: Rows of each site.
        sigma: All rows are dealt by log-normal weights, exp(sigma · a normal number); 0 is as `iid`.
        between: Two numbers: a site's rows are drawn evenly between them, both included.
    """

    needs_labels: ClassVar[bool] = False
    given: tuple[Count, ...] | None = None
    sigma: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    between: tuple[Count, Count] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(way is not None for way in (self.given, self.sigma, self.between)) != 1:
            raise ValueError("give exactly one of given, sigma and between")
        if self.between is not None and self.between[0] > self.between[1]:
            raise ValueError("between needs the smaller number first")
        return self

    def owners(self, targets: np.ndarray, sites: int, seed: int) -> np.ndarray:
        """See `partition.Partitioner.owners`."""
        random = np.random.default_rng(seed)
        order = random.permutation(len(targets))
        sizes = self._sizes(len(targets), sites, random)
        if sizes.sum() > len(targets):
            told = f"the sizes of {sites} sites add up to {sizes.sum()} rows, and there are {len(targets)}"
            raise ShardError(told, cure="lower the sizes, or have fewer sites")
        found = np.full(len(targets), NOBODY, dtype=np.int64)
        found[order[: sizes.sum()]] = np.repeat(np.arange(sites), sizes)
        return found

    def _sizes(self, rows: int, sites: int, random: np.random.Generator) -> np.ndarray:
        if self.sigma is not None:
            return spread(rows, np.exp(self.sigma * random.normal(size=sites)))
        if self.between is not None:
            return random.integers(self.between[0], self.between[1] + 1, size=sites)
        given = np.array(self.given, dtype=np.int64)
        if len(given) != sites:
            raise ShardError(f"there are {sites} sites, and sizes are given for {len(given)}", cure="give one for each")
        return given


@dataclass(frozen=True, slots=True, config=STRICT)
class Manual:
    """Every site gets the rows that are written down for it; rows that nobody gets are left out.

    Args:
        rows: For each site a list of rows, counted from 0, and of ranges such as ``"0-99"``, both ends included.
    """

    needs_labels: ClassVar[bool] = False
    rows: tuple[tuple[Count | str, ...], ...]

    def owners(self, targets: np.ndarray, sites: int, seed: int) -> np.ndarray:  # noqa: ARG002 - nothing is drawn here
        """See `partition.Partitioner.owners`."""
        if len(self.rows) != sites:
            told = f"there are {sites} sites, and rows are written down for {len(self.rows)}"
            raise ShardError(told, cure="write a list for each site")
        found = np.full(len(targets), NOBODY, dtype=np.int64)
        for site, listed in enumerate(self.rows):
            for entry in listed:
                first, last = _ends(entry)
                if last >= len(targets):
                    told = f"there is no row {last}: {len(targets)} rows are trained on, counted from 0"
                    raise ShardError(told, place=f"rows[{site}]", cure="correct the list")
                taken = np.flatnonzero(found[first : last + 1] != NOBODY)
                if len(taken):
                    row = first + int(taken[0])
                    told = f"row {row} is written down twice, for sites {found[row] + 1} and {site + 1} of {sites}"
                    raise ShardError(told, place=f"rows[{site}]", cure="a row is one site's")
                found[first : last + 1] = site
        return found


def _ends(entry: int | str) -> tuple[int, int]:
    if isinstance(entry, int):
        return entry, entry
    found = _RANGE.fullmatch(entry)
    if found is None or int(found[1]) > int(found[2]):
        raise ShardError(f"'{entry}' is not a range of rows", cure='write it as "0-99", the smaller number first')
    return int(found[1]), int(found[2])


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class PipeStage:
    """A stage of `Pipe`: some of the sites, and which of the rows that are left they share.

    Args:
        sites: How many sites it is for.
        labels: Labels of the rows that they get, in equal parts; none: rows of any label.
        size: Rows of a site; none: all rows of these labels that are left.
        partitioner: How these rows are dealt among them: ``template``, a short name, and ``settings``.
    """

    sites: Annotated[int, Field(ge=1)]
    labels: tuple[int, ...] = ()
    size: Annotated[int, Field(ge=1)] | None = None
    partitioner: Component = Component(template="iid")

    @model_validator(mode="after")
    def _by_name(self) -> Self:
        if ":" in self.partitioner.template:
            raise ValueError("the partitioner of a stage is one of the short names, not module:attr")
        return self

    def rows(self, targets: np.ndarray, free: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Choose this stage's rows among those that are left.

        Raises:
            ShardError: If there is no such label, or too few rows of one are left.
        """
        for label in self.labels:
            if not (targets == label).any():
                known = ", ".join(str(known) for known in np.unique(targets)[:20])
                raise ShardError(f"no row has the label {label}", cure=f"the labels are {known}")
        groups = [free[targets[free] == label] for label in self.labels] or [free]
        if self.size is None:
            return np.concatenate(groups)
        chosen = []
        for number, (group, count) in enumerate(
            zip(groups, even_sizes(self.sites * self.size, len(groups)), strict=True)
        ):
            if len(group) < count:
                of = f" of label {self.labels[number]}" if self.labels else ""
                told = f"{self.sites} sites of {self.size} rows need {count} rows{of}, and {len(group)} are left"
                raise ShardError(told, cure="lower size")
            chosen.append(random.permutation(group)[:count])
        return np.concatenate(chosen)


@dataclass(frozen=True, slots=True, config=STRICT)
class Pipe:
    """Several stages, one after the other; each deals some of the rows that those before it left to sites of its own.

    The pipe of localfed (ModularFed), whose stages pick labels.

    Args:
        stages: Each with ``sites`` and, as it likes, ``labels``, ``size`` and ``partitioner``; see `PipeStage`.
    """

    stages: tuple[PipeStage, ...]

    @property
    def needs_labels(self) -> bool:
        """Whether one of the stages picks labels, or deals by them."""
        return any(stage.labels for stage in self.stages) or any(
            build_partitioner(stage.partitioner.template, stage.partitioner.settings).needs_labels
            for stage in self.stages
        )

    def owners(self, targets: np.ndarray, sites: int, seed: int) -> np.ndarray:
        """See `partition.Partitioner.owners`."""
        wanted = sum(stage.sites for stage in self.stages)
        if wanted != sites:
            raise ShardError(f"the stages are for {wanted} sites, and there are {sites}", cure="make them the same")
        found = np.full(len(targets), NOBODY, dtype=np.int64)
        first = 0
        for number, stage in enumerate(self.stages):
            stage_seed = derive_seed(seed, "stage", number)
            try:
                free = np.flatnonzero(found == NOBODY)
                rows = stage.rows(targets, free, np.random.default_rng(stage_seed))
                dealing = build_partitioner(stage.partitioner.template, stage.partitioner.settings)
                dealt = owners_of(dealing, targets[rows], stage.sites, stage_seed)
            except ShardError as error:
                raise ShardError(error.message, place=f"stages[{number}]", cure=error.cure) from error
            found[rows] = np.where(dealt == NOBODY, NOBODY, dealt + first)
            first += stage.sites
        return found
