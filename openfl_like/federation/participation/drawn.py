"""Selectors that draw, or go by a list, and know nothing of what sites have done."""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.federation.participation.selection import Names, SelectionView, drawn_names, eligible_of, share_of
from openfl_like.federation.seeds import SEED_BITS, derive_seed

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class PoissonSelector:
    """Every member is drawn by itself, with the same probability, so that the size of a cohort varies.

    Privacy accounting by sub-sampling presumes this (Abadi et al. 2016, arXiv:1607.00133, section 3). Deviation: if
    nobody is drawn, the first member whose draw comes next is, since a round without updates teaches nothing.

    Attributes:
        rate: The probability of each.
        include: If given, only these are eligible.
        exclude: Never these.
    """

    rate: Annotated[float, Field(gt=0, le=1)]
    include: Names = ()
    exclude: Names = ()

    def wanted(self, view: SelectionView) -> int:
        """As many as are drawn, whether they are here or not."""
        return len(self._drawn(view.eligible, view.seed))

    def eligible(self, names: Sequence[str]) -> Sequence[str]:
        """All that are included and not excluded."""
        return eligible_of(names, self.include, self.exclude)

    def select(self, view: SelectionView) -> Names:
        """Those of the drawn ones that are here."""
        drawn = self._drawn(view.eligible, view.seed)
        if len(view.present) == len(view.eligible):
            return drawn
        here = set(view.present)
        return tuple(name for name in drawn if name in here)

    def _drawn(self, names: Sequence[str], seed: int) -> Names:
        if not names:
            return ()
        return tuple(names[place] for place in self._places(len(names), seed)) or drawn_names(names, 1, seed)

    def _places(self, total: int, seed: int) -> Iterator[int]:
        """Go from one drawn place to the next: gaps between them are geometric, so that a draw costs what it draws."""
        if self.rate == 1:
            yield from range(total)
            return
        place, step = -1, 0
        while True:
            uniform = (derive_seed(seed, "poisson", step) + 1) / 2**SEED_BITS
            gap = math.log(uniform) / math.log1p(-self.rate)
            if gap >= total - place - 1:
                return
            place += 1 + math.floor(gap)
            step += 1
            yield place


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class FixedSelector:
    """The cohort of each round is written down; after the last list the first one comes again.

    Attributes:
        rounds: A list of names for each round. A name that is not there is missed in its round.
    """

    rounds: Annotated[tuple[Annotated[Names, Field(min_length=1)], ...], Field(min_length=1)]

    def wanted(self, view: SelectionView) -> int:
        """As many as the round's list has."""
        return len(set(self._of(view.round)))

    def eligible(self, names: Sequence[str]) -> Sequence[str]:
        """All that are in any list."""
        return eligible_of(names, tuple({name for names in self.rounds for name in names}), ())

    def select(self, view: SelectionView) -> Names:
        """Those of the round's list that are here."""
        wanted = set(self._of(view.round))
        return tuple(name for name in view.present if name in wanted)

    def _of(self, round_number: int) -> Names:
        return self.rounds[(round_number - 1) % len(self.rounds)]


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class DynamicSampling:
    """A random part of the members that becomes smaller from round to round (Ji et al. 2020, arXiv:2003.09603).

    In round t it is ``fraction exp(-decay (t - 1))`` of them, rounded up, and ``least`` at least; the paper's equation
    1 with the first round as the whole ``fraction``.

    Attributes:
        fraction: The part in the first round.
        decay: How fast it becomes smaller (beta in the paper).
        least: So many at least, as far as there are so many.
        include: If given, only these are eligible.
        exclude: Never these.
    """

    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    least: Annotated[int, Field(ge=1)] = 2
    include: Names = ()
    exclude: Names = ()

    def wanted(self, view: SelectionView) -> int:
        """The part of the round."""
        members = len(view.eligible)
        share = self.fraction * math.exp(-self.decay * (view.round - 1))
        return min(members, max(self.least, share_of(round(share, 9), members)))

    def eligible(self, names: Sequence[str]) -> Sequence[str]:
        """All that are included and not excluded."""
        return eligible_of(names, self.include, self.exclude)

    def select(self, view: SelectionView) -> Names:
        """Draw as the selector ``random`` does."""
        return drawn_names(view.present, view.count, view.seed)
