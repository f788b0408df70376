"""A rule that trusts a site, and the others as far as they go the same way."""

import math
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.aggregation.gram import Gram
from openfl_like.aggregation.steps import Vector
from openfl_like.errors import UpdateRefusedError


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class FLTrust:
    """Trust bootstrapping, FLTrust (Cao et al. 2021, arXiv:2012.13995, section IV-B, algorithm 2).

    With the update g of the trusted site, the trust in an update u is the cosine of the angle between both, or 0 if
    that is negative. Each update is scaled to the norm of g; their mean, weighted by trust, is the model's direction.
    Integers and booleans do not count for angles; they are combined with the same weights. Samples do not count.

    Deviation from the paper, in which the server has clean data of its own and trains on them: here a site of the
    federation has, and its update, which has the trust 1, counts like the others.

    Attributes:
        trusted: The collaborator whose data is known to be clean. It has to take part in every round.
    """

    trusted: Annotated[str, Field(min_length=1)]

    def gram_factors(self, gram: Gram, weights: Vector) -> Vector:  # noqa: ARG002 - sites cannot buy influence with samples
        """Weigh and scale.

        Args:
            gram: Inner products of the K updates less the base.
            weights: Float64 [K].

        Returns:
            Float64 [K]; they add up to more than one if others are shorter than the trusted one. All are zero if that
            one changes nothing: then the model stays where it is.

        Raises:
            UpdateRefusedError: If there is no update of the trusted site, or an update is not finite.
        """
        if self.trusted not in gram.names:
            raise UpdateRefusedError(
                f"the trusted site '{self.trusted}' has no update in this round",
                place="aggregation.settings.trusted",
                cure="name a site that takes part in every round, and have the selector choose it",
            )
        gram.check_finite()
        norms = gram.norms()
        place = gram.names.index(self.trusted)
        if not norms[place]:
            return np.zeros(len(norms))
        lengths = np.where(norms > 0, norms, np.inf)  # who changes nothing has no angle, and no trust
        trust = np.maximum(gram.differences[place] / lengths / norms[place], 0.0)
        trust[place] = 1.0
        factors: Vector = trust * norms[place] / lengths / math.fsum(trust)
        return factors
