"""Selectors that keep to what a round may take: seconds, joules, and what a machine must have."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Annotated, ClassVar, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from openfl_like.federation.participation.informed import highest, taken_s
from openfl_like.federation.participation.needs import Needs
from openfl_like.federation.participation.selection import Names, SelectionView, SizedSelector, drawn_names
from openfl_like.federation.participation.training_history import TrainingHistory
from openfl_like.federation.reports.machine import MachineFacts
from openfl_like.federation.seeds import derive_seed

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class _Fitting(SizedSelector):
    """Of a size at most: as many as fit."""

    remembers: ClassVar[bool] = True

    def wanted(self, view: SelectionView) -> int:
        """As many as fit, up to the size, whether they are here or not."""
        return len(self._fitting(view.eligible, SizedSelector.wanted(self, view), view))

    def select(self, view: SelectionView) -> Names:
        """Those of the members that are here who fit."""
        return tuple(sorted(self._fitting(view.present, view.count, view)))

    def _fitting(self, names: Sequence[str], count: int, view: SelectionView) -> Sequence[str]:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class LimitedTime(_Fitting):
    """FedCS (Nishio and Yonetani 2019, arXiv:1804.08333, algorithm 3): as many sites as a round has time for.

    Of candidates that are drawn, the one is added again and again that lengthens the round least, as long as it stays
    within the limit. Sites train side by side and send their updates one after the other over the Aggregator's line, so
    that a site lengthens the round by its transfer and by what its training takes longer than all that is planned.
    Deviations from the paper: candidates are not asked for what they can do, but known by the mean of their trainings;
    sites that have not trained yet take no time, so that they are tried; and if nobody fits, the quickest site does
    alone, since a round without updates teaches nothing.

    Attributes:
        within_s: Seconds that training and transfers of a round may take.
        fraction: This part of the members are candidates, rounded up; either this or ``count``.
        count: So many are candidates.
        include: If given, only these are eligible.
        exclude: Never these.
    """

    within_s: Annotated[float, Field(gt=0, allow_inf_nan=False)]

    def _fitting(self, names: Sequence[str], count: int, view: SelectionView) -> Sequence[str]:
        left = list(drawn_names(names, count, view.seed))
        times = {
            name: (taken_s(view.history(name), "training", "mean"), taken_s(view.history(name), "transfer", "mean"))
            for name in left
        }
        chosen: list[str] = []
        planned_s = 0.0

        def until(name: str) -> float:
            training_s, transfer_s = times[name]
            return max(planned_s, training_s) + transfer_s

        while left:
            best = min(left, key=lambda name: (until(name), derive_seed(view.seed, name)))
            if until(best) > self.within_s and chosen:
                break
            left.remove(best)
            chosen.append(best)
            planned_s = until(best)
            if planned_s > self.within_s:
                break
        return chosen


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class LimitedEnergy(_Fitting):
    """Those that draw least, as long as the round keeps to its joules; who has used up its own is not asked any more.

    In virtual time only, where devices have a power. Those of which nothing is known come first, and count as nothing.
    If the first one would already take too much, it trains alone, as long as it has anything left of its own.

    Attributes:
        round_j: Joules that the trainings of a round may take together; None: no limit.
        site_j: Joules that the trainings of a site may take in the whole experiment; None: no limit.
        fraction: This part of the members at most, rounded up; either this or ``count``.
        count: So many at most.
        include: If given, only these are eligible.
        exclude: Never these.
    """

    needs: ClassVar[frozenset[Needs]] = frozenset({Needs.ENERGY})
    round_j: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    site_j: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _any_limit(self) -> Self:
        if self.round_j is None and self.site_j is None:
            raise ValueError("give round_j, site_j or both")  # pydantic turns this into its own error
        return self

    def _fitting(self, names: Sequence[str], count: int, view: SelectionView) -> Sequence[str]:
        most_j = math.inf if self.site_j is None else self.site_j
        left = [name for name in names if view.history(name).energy_j + energy_j(view.history(name)) <= most_j]
        ranked = sorted(left, key=lambda name: (energy_j(view.history(name)), derive_seed(view.seed, name)))
        costs = [energy_j(view.history(name)) for name in ranked[:count]]
        return ranked[: _affordable(costs, self.round_j)]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class BudgetedFairness(_Fitting):
    """Those that were asked least often, as long as the round keeps to its budget of sites' seconds.

    So everybody has the same share, but that a round of slow sites has fewer of them: a slow site is asked as often as
    a fast one, and costs no round more than the budget. If the first one would already take too much, it trains alone.
    Times are the means of what sites say they have worked; those of which nothing is known count as nothing.

    Attributes:
        round_s: Seconds that the sites of a round may work, summed over them.
        fraction: This part of the members at most, rounded up; either this or ``count``.
        count: So many at most.
        include: If given, only these are eligible.
        exclude: Never these.
    """

    round_s: Annotated[float, Field(gt=0, allow_inf_nan=False)]

    def _fitting(self, names: Sequence[str], count: int, view: SelectionView) -> Sequence[str]:
        ranked = sorted(names, key=lambda name: (view.history(name).asked, derive_seed(view.seed, name)))[:count]
        costs = [taken_s(view.history(name), "training", "mean") for name in ranked]
        return ranked[: _affordable(costs, self.round_s)]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Capability(SizedSelector):
    """A random part of those whose machine has what the model needs, by what sites tell when they are ready.

    Whoever does not tell does not have it. Simulated sites have no machines of their own, so that a simulation refuses
    this selector.

    Attributes:
        gpu: Whether a worker must have a GPU.
        memory_bytes: Main memory that a machine must have.
        fraction: This part of them, rounded up; either this or ``count``.
        count: So many.
        include: If given, only these are eligible.
        exclude: Never these.
    """

    needs: ClassVar[frozenset[Needs]] = frozenset({Needs.MACHINE})
    gpu: bool = False
    memory_bytes: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _any_need(self) -> Self:
        if not self.gpu and self.memory_bytes is None:
            raise ValueError("give gpu: true, memory_bytes or both")  # pydantic turns this into its own error
        return self

    def wanted(self, view: SelectionView) -> int:
        """The size, of those that have it."""
        return SizedSelector.wanted(self, SelectionView.of(self._able(view.eligible, view)))

    def select(self, view: SelectionView) -> Names:
        """Draw as the selector ``random`` does."""
        return drawn_names(self._able(view.present, view), view.count, view.seed)

    def _able(self, names: Sequence[str], view: SelectionView) -> Names:
        return tuple(name for name in names if self._has(view.machine(name)))

    def _has(self, facts: MachineFacts) -> bool:
        enough = self.memory_bytes is None or (facts.memory_bytes or 0) >= self.memory_bytes
        return enough and (facts.gpu is True or not self.gpu)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class BestEnergy(SizedSelector):
    """Those whose trainings draw least; those of which nothing is known come first.

    In virtual time only, where devices have a power. Compare with `rotation`: whoever draws much is never asked again.

    Attributes:
        fraction: This part of the members, rounded up; either this or ``count``.
        count: So many.
        include: If given, only these are eligible.
        exclude: Never these.
    """

    remembers: ClassVar[bool] = True
    needs: ClassVar[frozenset[Needs]] = frozenset({Needs.ENERGY})

    def select(self, view: SelectionView) -> Names:
        """Choose the least joules."""
        return highest(view.present, lambda name: -energy_j(view.history(name)), view)


def energy_j(history: TrainingHistory) -> float:
    """Return the joules of a site's training, the mean of those that are known; 0 if none is."""
    known = [seen.energy_j for seen in history.trainings if seen.energy_j is not None]
    return fmean(known) if known else 0.0


def _affordable(costs: Sequence[float], budget: float | None) -> int:
    """Return how many of these a budget is enough for, in their order: one at least."""
    if budget is None:
        return len(costs)
    total = 0.0
    for number, cost in enumerate(costs):
        total += cost
        if total > budget:
            return max(1, number)
    return len(costs)
