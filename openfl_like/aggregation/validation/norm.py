"""A bound on how far an update may be from the global model."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.aggregation.validation.compared import Compared, Looks, endless, refuse_few
from openfl_like.federation.validation.verdict import Consequence, Measure, UpdateVerdict

_USUAL = 3.0


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class NormLimit:
    """The norm of an update's difference from the global model (Sun et al. 2019, arXiv:1911.07963, section 4).

    The paper scales updates down to a bound; ``above: clip`` does. ``drop`` leaves out those that are longer. A bound
    need not be known beforehand: it may be a multiple of the median of the round's norms, which fewer than half of the
    sites cannot move beyond the honest ones.

    Attributes:
        bound: The Euclidean norm that an update may have (M in the paper); None: see ``multiple``.
        multiple: The same as a multiple of the median norm of the round; None: 3, unless there is a ``bound``.
        above: What is done about an update that is longer.
    """

    looks: ClassVar[Looks] = Looks.NORMS
    bound: Annotated[float, Field(gt=0)] | None = None
    multiple: Annotated[float, Field(ge=1)] | None = None
    above: Literal["drop", "clip"] = "drop"

    def __post_init__(self) -> None:
        """Refuse two bounds."""
        if self.bound is not None and self.multiple is not None:
            raise ValueError("write bound or multiple, not both")

    def judge(self, compared: Compared) -> Iterator[UpdateVerdict]:
        """Compare norms with the bound; what has no finite norm is dropped.

        Raises:
            UpdateRefusedError: If the bound is to come of fewer than three updates.
        """
        norms = compared.norms
        finite = norms[np.isfinite(norms)]
        if self.bound is None:
            refuse_few("norm", len(norms))
        bound = self.bound
        if bound is None:
            bound = (self.multiple or _USUAL) * float(np.sort(finite)[(finite.size - 1) // 2]) if finite.size else 0.0
        yield from endless(compared, "norm", Measure.NORM, bound)
        action = Consequence.CLIP if self.above == "clip" else Consequence.DROP
        for update, norm in zip(compared.updates, norms, strict=True):
            if np.isfinite(norm) and norm > bound:
                yield UpdateVerdict(update.collaborator, "norm", Measure.NORM, float(norm), bound, action)
