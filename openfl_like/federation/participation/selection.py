"""Who is asked in a round."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Protocol, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from openfl_like.federation.seeds import Seeds
from openfl_like.numbered_names import NumberedNames

_STRICT = ConfigDict(extra="forbid")
Names = tuple[str, ...]


class Selector(Protocol):
    """Chooses the cohort of a round."""

    def wanted(self, members: int) -> int:
        """How many of so many eligible members a round should have, whether or not they are all present."""
        ...

    def eligible(self, names: Sequence[str]) -> Sequence[str]:
        """Return those of some names that may be chosen in any round, sorted; all of `NumberedNames` without a list."""
        ...

    def select(self, present: Sequence[str], count: int, seed: int) -> Names:
        """Choose up to ``count`` eligible names out of ``present``.

        Returns:
            Sorted names; the same for every order of ``present``.
        """
        ...


def share_of(fraction: float, number: int) -> int:
    """A fraction of a number, rounded up; the fraction counts as the decimal it is written as (0.1 of 30 is 3)."""
    share = Fraction(str(fraction)) * number
    return -(-share.numerator // share.denominator)


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class AllSelector:
    """Everybody takes part.

    Attributes:
        include: If given, only these are eligible.
        exclude: Never these.
    """

    include: Names = ()
    exclude: Names = ()

    def wanted(self, members: int) -> int:
        """All of them."""
        return members

    def eligible(self, names: Sequence[str]) -> Sequence[str]:
        """All that are included and not excluded."""
        return _eligible(names, self.include, self.exclude)

    def select(self, present: Sequence[str], count: int, seed: int) -> Names:  # noqa: ARG002 - nothing is drawn here
        """The first ``count`` eligible names."""
        return tuple(self.eligible(present)[:count])


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class RandomSelector:
    """A random part of the members, drawn anew every round.

    Attributes:
        fraction: This part of the members, rounded up; either this or ``count``.
        count: So many.
        include: If given, only these are eligible.
        exclude: Never these.
    """

    fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    count: Annotated[int, Field(ge=1)] | None = None
    include: Names = ()
    exclude: Names = ()

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if (self.fraction is None) == (self.count is None):
            raise ValueError("give exactly one of fraction and count")  # pydantic turns this into its own error
        return self

    def wanted(self, members: int) -> int:
        """The fraction of the members, rounded up, or the count, as far as there are so many."""
        return share_of(self.fraction, members) if self.fraction is not None else min(self.count or 0, members)

    def eligible(self, names: Sequence[str]) -> Sequence[str]:
        """All that are included and not excluded."""
        return _eligible(names, self.include, self.exclude)

    def select(self, present: Sequence[str], count: int, seed: int) -> Names:
        """Draw places, each once and by a digest of its own, so that no version of a library changes the draw."""
        eligible = self.eligible(present)
        if count >= len(eligible):
            return tuple(eligible)
        return tuple(eligible[place] for place in sorted(_drawn(len(eligible), count, seed)))


def _eligible(names: Sequence[str], include: Names, exclude: Names) -> Sequence[str]:
    if include or exclude:
        return sorted({name for name in names if (not include or name in include) and name not in exclude})
    return names if isinstance(names, NumberedNames) else sorted(set(names))


def _drawn(total: int, count: int, seed: int) -> list[int]:
    """Draw some of the numbers below a total: the first steps of a shuffle, of which only what moved is remembered.

    Fisher and Yates in the form of Durstenfeld (1964, Communications of the ACM 7, algorithm 235). Its cost is that of
    the numbers drawn, however large the total is.
    """
    moved: dict[int, int] = {}
    drawn, seeds = [], Seeds(seed)
    for step in range(count):
        place = step + seeds.derive(step) % (total - step)
        drawn.append(moved.get(place, place))
        moved[place] = moved.get(step, step)
    return drawn
