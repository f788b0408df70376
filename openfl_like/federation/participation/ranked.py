"""Selectors that go by the order of arrival, by speed, by what a round is expected to take, or by work done."""

import math
from typing import ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from openfl_like.federation.participation.informed import cheapest, estimated, inverse_chance, known_s, typical
from openfl_like.federation.participation.needs import Needs
from openfl_like.federation.participation.selection import Names, SelectionView, SizedSelector
from openfl_like.federation.participation.training_history import TrainingHistory
from openfl_like.federation.seeds import derive_seed

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ConnectionOrder(SizedSelector):
    """Those that were ready first when the experiment began; sites of a simulation in the order of their names.

    The order is that of the first time a site was ready, so that one that comes back has its former place.

    Attributes:
        fraction: This part of the members, rounded up; either this or ``count``.
        count: So many.
        include: If given, only these are eligible.
        exclude: Never these.
    """

    needs: ClassVar[frozenset[Needs]] = frozenset({Needs.ORDER})

    def select(self, view: SelectionView) -> Names:
        """Choose the first ones."""
        place = {name: number for number, name in enumerate(view.connected)}
        ranked = sorted(view.present, key=lambda name: (place.get(name, math.inf), name))
        return tuple(sorted(ranked[: view.count]))


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class _Ranked(SizedSelector):
    """A part of the members that goes by what sites have done."""

    remembers: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class BestSpeed(_Ranked):
    """Those that train on most samples in a second, by their own account; those that were never asked come first.

    Unlike ``best_time`` with ``by: training`` it does not prefer sites with few samples. A site that was asked n times
    and told no time counts as if a sample took it n + 2 times the median of the others.

    Attributes:
        fraction: This part of the members, rounded up; either this or ``count``.
        count: So many.
        include: If given, only these are eligible.
        exclude: Never these.
    """

    def select(self, view: SelectionView) -> Names:
        """Choose the highest speeds."""
        return cheapest(estimated(view.present, _sample_s, view), view)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class BestNetwork(_Ranked):
    """Those whose updates come fastest, in bytes a second; those that were never asked come first.

    The time is what a round took besides the work of a site: mostly the ways of model and update, and what it waited. A
    site that was asked n times and never answered counts as if a byte took it n + 2 times the median of the others.

    Attributes:
        fraction: This part of the members, rounded up; either this or ``count``.
        count: So many.
        include: If given, only these are eligible.
        exclude: Never these.
    """

    def select(self, view: SelectionView) -> Names:
        """Choose the highest rates."""
        return cheapest(estimated(view.present, _byte_s, view), view)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class BestExpectedTime(_Ranked):
    """Those of which an update is expected soonest, by how long they take and how often they answer.

    A site that takes t seconds on the average and has answered k of n times is expected to have given an update after
    t (n + 2) / (k + 1) seconds of rounds: the mean time over its chance to answer, by the rule of succession (Laplace).
    A fast site that fails every other time so comes after a steady one that takes half as long again. Of a site that
    has never answered, t is the median of the others. Those that were never asked come first.

    Attributes:
        fraction: This part of the members, rounded up; either this or ``count``.
        count: So many.
        include: If given, only these are eligible.
        exclude: Never these.
    """

    def select(self, view: SelectionView) -> Names:
        """Choose the least times."""
        usual_s = typical(view.present, lambda known: known_s(known, "round"), view)
        expected_s = {name: seconds * inverse_chance(view.history(name)) for name, seconds in usual_s.items()}
        return cheapest(expected_s, view)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TimeRotation(_Ranked):
    """Those that have worked the fewest seconds in all, so that everybody gives the same time, not the same turns.

    A site that is twice as slow is so asked half as often. Times are what sites say they have worked. A round that a
    site was asked for and missed counts as the mean of its trainings, or the median of these means of the others if it
    has never answered (1 s if nobody has), so that whoever fails has no more turns than others.

    Attributes:
        fraction: This part of the members, rounded up; either this or ``count``.
        count: So many.
        include: If given, only these are eligible.
        exclude: Never these.
    """

    def select(self, view: SelectionView) -> Names:
        """Choose the least seconds; of equal ones, who was asked least often."""
        usual_s = typical(view.present, lambda known: known_s(known, "training"), view)

        def place(name: str) -> tuple[float, int, int]:
            known = view.history(name)
            missed_s = max(0, known.asked - known.answered) * usual_s[name]
            return known.worked_s + missed_s, known.asked, derive_seed(view.seed, name)

        return tuple(sorted(sorted(view.present, key=place)[: view.count]))


def _sample_s(history: TrainingHistory) -> float | None:
    """Seconds of training a sample; None if a site has told none."""
    seconds = math.fsum(seen.training_s for seen in history.trainings)
    samples = sum(seen.num_samples for seen in history.trainings)
    if not seconds:
        return None
    return seconds / samples if samples else math.inf


def _byte_s(history: TrainingHistory) -> float | None:
    """Seconds of transfer a byte of an update; None if a site has never answered."""
    seconds = math.fsum(seen.transfer_s for seen in history.trainings)
    moved = sum(max(1, seen.update_bytes) for seen in history.trainings)
    return seconds / moved if moved else None
