"""Selectors that keep to what a round may take: seconds, joules, and what a machine must have."""

from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush
from statistics import fmean
from typing import Annotated, ClassVar, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from openfl_like.federation.participation.informed import cheapest, estimated, known_s
from openfl_like.federation.participation.needs import Needs
from openfl_like.federation.participation.selection import Names, SelectionView, SizedSelector, drawn_names
from openfl_like.federation.participation.training_history import UNKNOWN, TrainingHistory
from openfl_like.federation.reports.machine import MachineFacts
from openfl_like.federation.seeds import derive_seed

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class _Fitting(SizedSelector):
    """Of a size at most: as many as fit.

    Who is away is not missed as long as enough candidates are here: then these are all that there is to it, so that a
    round that needs everybody whom it chooses can have them. If they are fewer than the size, the round wants as many
    as would fit of all, and whoever is away is missed.
    """

    remembers: ClassVar[bool] = True

    def wanted(self, view: SelectionView) -> int:
        """As many as fit, up to the size: of those who are here, if they are enough for it, or else of all."""
        able, here = self._able(view.eligible, view), self._able(view.present, view)
        size = min(SizedSelector.wanted(self, view), len(able))
        return len(self._fitting(here if len(here) >= size else able, size, view))

    def select(self, view: SelectionView) -> Names:
        """Those of the members that are here who fit."""
        size = SizedSelector.wanted(self, view)
        return tuple(sorted(self._fitting(self._able(view.present, view), size, view)[: view.count]))

    def _able(self, names: Sequence[str], view: SelectionView) -> Sequence[str]:
        """Those that may be asked at all."""
        del view
        return names

    def _fitting(self, names: Sequence[str], size: int, view: SelectionView) -> Sequence[str]:
        """Choose among some names, up to a size; the order is that of the choice."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class LimitedTime(_Fitting):
    """FedCS (Nishio and Yonetani 2019, arXiv:1804.08333, algorithm 3): as many sites as a round has time for.

    Of candidates that are drawn, the one is added again and again that lengthens the round least, as long as it stays
    within the limit. Sites train side by side and send their updates one after the other over the Aggregator's line, so
    that a site lengthens the round by its transfer and by what its training takes longer than all that is planned.
    Deviations from the paper: candidates are not asked for what they can do, but known by the mean of their trainings;
    sites that were never asked take no time, so that they are tried; one that was asked n times and never answered
    counts as if it took n + 2 times the median of the other candidates; and if nobody fits, the quickest site does
    alone, since a round without updates teaches nothing.

    Attributes:
        within_s: Seconds that training and transfers of a round may take.
        fraction: This part of the members are candidates, rounded up; either this or ``count``.
        count: So many are candidates.
        include: If given, only these are eligible.
        exclude: Never these.
    """

    within_s: Annotated[float, Field(gt=0, allow_inf_nan=False)]

    def _fitting(self, names: Sequence[str], size: int, view: SelectionView) -> Sequence[str]:
        candidates = _Candidates.of(drawn_names(names, size, view.seed), view)
        chosen: list[str] = []
        while (best := candidates.take()) and (candidates.planned_s <= self.within_s or not chosen):
            chosen.append(best)
        return chosen


class _Candidates:
    """Candidates of which one is taken after the other: that which lengthens the round least.

    Whoever trains for no longer than is planned anyway lengthens it by its transfer; the others end their training at a
    time of their own. Each is in the heap of the others first, and in the other one from when the plan is long enough,
    so that all of n are taken in n log n steps.

    Attributes:
        planned_s: Seconds that those take who were taken.
    """

    def __init__(self, times: Mapping[str, tuple[float, float]], order: Mapping[str, int]) -> None:
        self.planned_s = 0.0
        self._times, self._order = times, order
        self._by_training = sorted(times, key=lambda name: times[name][0], reverse=True)
        self._longer = [
            (training_s + transfer_s, order[name], name) for name, (training_s, transfer_s) in times.items()
        ]
        heapify(self._longer)
        self._within: list[tuple[float, int, str]] = []
        self._settled: set[str] = set()

    @classmethod
    def of(cls, names: Sequence[str], view: SelectionView) -> "_Candidates":
        """Return candidates by what is known of them: seconds of training and of transfer."""
        training_s = estimated(names, lambda known: known_s(known, "training"), view)
        transfer_s = estimated(names, lambda known: known_s(known, "transfer"), view)
        times = {name: (training_s[name], transfer_s[name]) for name in names}
        return cls(times, {name: derive_seed(view.seed, name) for name in names})

    def take(self) -> str:
        """Take the next one, and plan its time; empty: there is none left."""
        while self._by_training and self._times[self._by_training[-1]][0] <= self.planned_s:
            name = self._by_training.pop()
            if name not in self._settled:
                self._settled.add(name)
                heappush(self._within, (self._times[name][1], self._order[name], name))
        while self._longer and self._longer[0][2] in self._settled:
            heappop(self._longer)
        within = (self.planned_s + self._within[0][0], *self._within[0][1:]) if self._within else None
        longer = self._longer[0] if self._longer else None
        if within is not None and (longer is None or within < longer):
            heappop(self._within)
            best = within
        elif longer is not None:
            heappop(self._longer)
            self._settled.add(longer[2])
            best = longer
        else:
            return ""
        self.planned_s = best[0]
        return best[2]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class LimitedEnergy(_Fitting):
    """Those that draw least, as long as the round keeps to its joules; who has used up its own is not asked any more.

    In virtual time only, where devices have a power. Those that were never asked come first, and count as nothing; one
    that was asked n times and never answered counts as n + 2 times the median of the others. If the first one would
    already take too much, it trains alone, as long as it has anything left of its own.

    Attributes:
        round_j: Joules that the trainings of a round may take together; None: no limit.
        site_j: Joules that the trainings of a site may take in the whole experiment, but for its first one, of which
            nothing is known before; None: no limit. Once fewer sites than a round needs have enough of them left, the
            experiment is finished.
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

    def used_up(self, eligible: Sequence[str], needed: int, histories: Mapping[str, TrainingHistory]) -> str:
        """Say that too few sites have enough of their own left for one more training."""
        left = self._with_some_left(eligible, histories)
        if self.site_j is None or len(left) >= min(needed, len(eligible)):
            return ""
        who = "no site has enough of its" if not left else f"{len(left)} of {len(eligible)} sites have enough of their"
        return f"{who} {self.site_j:g} J left for one more training (selector.settings.site_j)"

    def _able(self, names: Sequence[str], view: SelectionView) -> Sequence[str]:
        return self._with_some_left(names, view.histories)

    def _with_some_left(self, names: Sequence[str], histories: Mapping[str, TrainingHistory]) -> Sequence[str]:
        limit_j = self.site_j
        if limit_j is None:
            return names
        return [name for name in names if _next_j(histories.get(name, UNKNOWN)) <= limit_j]

    def _fitting(self, names: Sequence[str], size: int, view: SelectionView) -> Sequence[str]:
        joules = estimated(names, known_j, view)
        ranked = sorted(names, key=lambda name: (joules[name], derive_seed(view.seed, name)))
        costs = [joules[name] for name in ranked[:size]]
        return ranked[: _affordable(costs, self.round_j)]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class BudgetedFairness(_Fitting):
    """Those that were asked least often, as long as the round keeps to its budget of sites' seconds.

    So everybody has the same share, but that a round of slow sites has fewer of them: a slow site is asked as often as
    a fast one, and costs no round more than the budget. If the first one would already take too much, it trains alone.
    Times are the means of what sites say they have worked; those that were never asked count as nothing, and one that
    was asked n times and never answered as n + 2 times the median of the others that are asked.

    Attributes:
        round_s: Seconds that the sites of a round may work, summed over them.
        fraction: This part of the members at most, rounded up; either this or ``count``.
        count: So many at most.
        include: If given, only these are eligible.
        exclude: Never these.
    """

    round_s: Annotated[float, Field(gt=0, allow_inf_nan=False)]

    def _fitting(self, names: Sequence[str], size: int, view: SelectionView) -> Sequence[str]:
        ranked = sorted(names, key=lambda name: (view.history(name).asked, derive_seed(view.seed, name)))[:size]
        seconds = estimated(ranked, lambda known: known_s(known, "training"), view)
        return ranked[: _affordable([seconds[name] for name in ranked], self.round_s)]


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
    """Those whose trainings draw least; those that were never asked come first.

    In virtual time only, where devices have a power. A site that was asked n times and never answered counts as if it
    drew n + 2 times the median of the others. Compare with `rotation`: whoever draws much is never asked again.

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
        return cheapest(estimated(view.present, known_j, view), view)


def known_j(history: TrainingHistory) -> float | None:
    """Return the joules of a site's training, the mean of those that are known; None if none is."""
    known = [seen.energy_j for seen in history.trainings if seen.energy_j is not None]
    return fmean(known) if known else None


def _next_j(history: TrainingHistory) -> float:
    """Joules that a site will have used up after one more training."""
    return history.energy_j + (known_j(history) or 0.0)


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
