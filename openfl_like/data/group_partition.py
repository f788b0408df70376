"""The partitioner that makes sites of those that samples are from: writers, hospitals, machines."""

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from openfl_like.data.partition import NOBODY, STRICT, even_sizes
from openfl_like.errors import ShardError


@dataclass(frozen=True, slots=True, config=STRICT)
class Natural:
    """Every site gets all samples of some groups, of the writers of ``femnist``, say: data as it was collected apart.

    The partition by user of LEAF (Caldas et al. 2018, arXiv:1812.01097). Held-out samples go to the site that trains on
    their group.

    Args:
        groups_per_site: How many groups a site gets, at random, so that others may be left out; none: all groups are
            dealt out, in numbers that differ by 1 at most.
    """

    needs_labels: ClassVar[bool] = False
    needs_groups: ClassVar[bool] = True
    groups_per_site: Annotated[int, Field(ge=1)] | None = None

    def owners(self, targets: np.ndarray, sites: int, seed: int) -> np.ndarray:
        """See `partition.Partitioner.owners`; ``targets`` are groups."""
        groups, numbers = np.unique(targets, return_inverse=True)
        fewest = self.groups_per_site or 1
        if sites * fewest > len(groups):
            told = f"{sites} sites need {sites * fewest} groups, and there are {len(groups)}"
            most = len(groups) // fewest
            cure = f"have at most {most} site{'' if most == 1 else 's'}" if most else "ask for fewer groups a site"
            raise ShardError(told, cure=cure)
        dealt = len(groups) if self.groups_per_site is None else sites * fewest
        owners = np.full(len(groups), NOBODY, dtype=np.int64)
        chosen = np.random.default_rng(seed).permutation(len(groups))[:dealt]
        owners[chosen] = np.repeat(np.arange(sites), even_sizes(dealt, sites))
        return owners[numbers]
