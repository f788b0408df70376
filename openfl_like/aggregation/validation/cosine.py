"""Updates that go another way than the others."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.aggregation.geometric_median import GeometricMedian
from openfl_like.aggregation.gram import Gram
from openfl_like.aggregation.steps import Vector
from openfl_like.aggregation.validation.compared import Compared, Looks, endless, refuse_few
from openfl_like.federation.validation.verdict import Consequence, Measure, UpdateVerdict


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class CosineLimit:
    """The cosine of an update's angle with the direction of all.

    A direction is the difference from the global model at the length one, so that nobody has more influence on that of
    all by a longer update. That of all is their mean or, unless fewer than half of the sites may be dishonest, their
    geometric median (`GeometricMedian`). Cao et al. 2021 (FLTrust, arXiv:2012.13995) trust an update by its cosine with
    that of a server which has clean data, and with a bound of 0 drop the same ones; here there is no such data.

    An update that changes nothing has no direction, and counts.

    It does not bound lengths. Near the end of a training honest directions differ, too, so that an update which goes
    the other way may pass: have `norm` look at it before.

    Attributes:
        to: What the direction of all is: the ``median`` or the ``mean``.
        bound: The least cosine, from -1 to 1.
    """

    looks: ClassVar[Looks] = Looks.PRODUCTS
    to: Literal["median", "mean"] = "median"
    bound: Annotated[float, Field(ge=-1, le=1)] = 0.0

    def judge(self, compared: Compared) -> Iterator[UpdateVerdict]:
        """Drop those that go another way, and those that are not finite.

        Raises:
            UpdateRefusedError: If these are fewer than three updates.
        """
        refuse_few("cosine", len(compared.updates))
        yield from endless(compared, "cosine", Measure.COSINE, self.bound)
        norms = compared.norms
        going = np.flatnonzero(np.isfinite(norms) & (norms > 0))
        if not going.size:
            return
        lengths = norms[going]
        cosines = compared.products[np.ix_(going, going)] / lengths / lengths[:, np.newaxis]
        for index, cosine in zip(going, self._with_all(cosines), strict=True):
            if cosine < self.bound:
                name = compared.updates[index].collaborator
                yield UpdateVerdict(name, "cosine", Measure.COSINE, float(cosine), self.bound, Consequence.DROP)

    def _with_all(self, cosines: Vector) -> Vector:
        """Return the cosine of each direction with that of all.

        Args:
            cosines: Float64 [K, K], of each with each.

        Returns:
            Float64 [K]; ones if directions cancel each other out, for then there is none of all.
        """
        shares = np.full(len(cosines), 1.0 / len(cosines))
        if self.to == "median":
            shares = GeometricMedian().gram_factors(Gram(cosines, np.zeros(len(cosines)), 0.0), shares)
        crossed = (cosines * shares).sum(axis=1)
        length = np.sqrt(max(0.0, float((crossed * shares).sum())))
        return crossed / length if length > np.finfo(np.float64).eps else np.ones(len(cosines))
