"""Who is asked in a round."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from fractions import Fraction
from typing import Annotated, Protocol, Self, runtime_checkable

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from openfl_like.federation.participation.training_history import UNKNOWN, TrainingHistory
from openfl_like.federation.reports.machine import ABLE, UNTOLD, MachineFacts
from openfl_like.federation.seeds import Seeds
from openfl_like.numbered_names import NumberedNames

_STRICT = ConfigDict(extra="forbid")
Names = tuple[str, ...]


@plain_dataclass(frozen=True, slots=True)
class SelectionView:
    """What a selector sees: never a clock, and nothing that is not in the experiment's record.

    Attributes:
        eligible: Who may be chosen in this round, sorted, whether here or not.
        present: Those of them that are here, sorted.
        seed: Of the round.
        round: Its number, from 1.
        histories: Name -> what is known of the sites' training; empty unless the selector says that it ``remembers``.
        count: How many to choose.
        connected: Who was ready first, in that order; empty unless the selector ``needs`` the order.
        facts: Name -> what a site tells of its machine; empty unless the selector ``needs`` that.
        untold: What holds of the machine of a site that tells nothing.
    """

    eligible: Sequence[str]
    present: Sequence[str]
    seed: int = 0
    round: int = 1
    histories: Mapping[str, TrainingHistory] = field(default_factory=dict)
    count: int = 0
    connected: Sequence[str] = ()
    facts: Mapping[str, MachineFacts] = field(default_factory=dict)
    untold: MachineFacts = UNTOLD

    @classmethod
    def of(cls, names: Sequence[str], count: int = 0, seed: int = 0) -> "SelectionView":
        """Return the view of a first round in which everybody is here, with a machine that will do."""
        return cls(names, names, seed, count=count, untold=ABLE)

    def machine(self, name: str) -> MachineFacts:
        """Return what is known of a site's machine."""
        return self.facts.get(name, self.untold)

    def history(self, name: str) -> TrainingHistory:
        """Return what is known of a site."""
        return self.histories.get(name, UNKNOWN)


class Selector(Protocol):
    """Chooses the cohort of a round."""

    def wanted(self, view: SelectionView) -> int:
        """How many updates the round should have, whether or not so many are here.

        ``present`` does not count, unless whoever is away is not missed where enough others are here: then it is how
        many are chosen of these.
        """
        ...

    def eligible(self, names: Sequence[str]) -> Sequence[str]:
        """Return those of some names that may be chosen in any round, sorted; all of `NumberedNames` without a list."""
        ...

    def select(self, view: SelectionView) -> Names:
        """Choose up to ``count`` of those who are here.

        Returns:
            Sorted names.
        """
        ...


@runtime_checkable
class Budgeted(Protocol):
    """A selector under which an experiment ends when its sites have given what they were to give."""

    def used_up(self, eligible: Sequence[str], needed: int, histories: Mapping[str, TrainingHistory]) -> str:
        """Say why no round can have as many updates any more as it needs; empty if one can.

        Args:
            eligible: All that may be chosen in any round, whether here or not.
            needed: How many updates a round needs.
            histories: What is known of them.
        """
        ...


def expected_cohort(selector: Selector, members: int) -> int:
    """Return how many of so many members a selector wants in a round, before any of them is known."""
    return selector.wanted(SelectionView.of(NumberedNames("site-", len(str(members)), members)))


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

    def wanted(self, view: SelectionView) -> int:
        """All of them."""
        return len(view.eligible)

    def eligible(self, names: Sequence[str]) -> Sequence[str]:
        """All that are included and not excluded."""
        return eligible_of(names, self.include, self.exclude)

    def select(self, view: SelectionView) -> Names:
        """The first ``count`` of them."""
        return tuple(view.present[: view.count])


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SizedSelector:
    """What selectors have in common that choose a part of the members.

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

    def wanted(self, view: SelectionView) -> int:
        """The fraction of the members, rounded up, or the count, as far as there are so many."""
        members = len(view.eligible)
        return share_of(self.fraction, members) if self.fraction is not None else min(self.count or 0, members)

    def eligible(self, names: Sequence[str]) -> Sequence[str]:
        """All that are included and not excluded."""
        return eligible_of(names, self.include, self.exclude)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class RandomSelector(SizedSelector):
    """A random part of the members, drawn anew every round.

    Attributes:
        fraction: This part of the members, rounded up; either this or ``count``.
        count: So many.
        include: If given, only these are eligible.
        exclude: Never these.
    """

    def select(self, view: SelectionView) -> Names:
        """Draw places, each once and by a digest of its own, so that no version of a library changes the draw."""
        return drawn_names(view.present, view.count, view.seed)


def drawn_names(names: Sequence[str], count: int, seed: int) -> Names:
    """Draw up to so many names, each once; they are given sorted, as they came."""
    if count >= len(names):
        return tuple(names)
    return tuple(names[place] for place in sorted(_drawn(len(names), count, seed)))


def eligible_of(names: Sequence[str], include: Names, exclude: Names) -> Sequence[str]:
    """Return those of some names that are included and not excluded, sorted."""
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
