"""Selectors that go by what sites have done: their losses, their times, how often they were asked."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean, median, pstdev
from typing import Annotated, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from openfl_like.federation.participation.selection import Names, SelectionView, SizedSelector, drawn_names
from openfl_like.federation.participation.training_history import PastTraining, TrainingHistory
from openfl_like.federation.seeds import derive_seed

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class _Informed(SizedSelector):
    """A selector of a part of the members that goes by what sites have done."""

    remembers: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PowerOfChoice(_Informed):
    """Power-of-choice (Cho, Wang and Joshi 2020, arXiv:2010.01243, section 4): of candidates, those with the most loss.

    So many candidates are drawn, and of these the sites with the highest losses are chosen. Deviations from the paper:
    candidates are not asked for their loss, which would be a round of its own, but known by the loss of their last
    training (the paper's variant rpow-d); sites that have not trained yet come first; and candidates are drawn alike,
    not by their numbers of samples, which sites could claim.

    Attributes:
        candidates: How many are drawn, at least as many as are chosen (d in the paper); the more, the more it favours
            sites that the model does not fit.
        fraction: This part of the members, rounded up; either this or ``count``.
        count: So many.
        include: If given, only these are eligible.
        exclude: Never these.
    """

    candidates: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.count is not None and self.candidates < self.count:
            raise ValueError("there must be at least as many candidates as are chosen (count)")
        return self

    def select(self, view: SelectionView) -> Names:
        """Draw candidates, and choose."""
        candidates = drawn_names(view.present, max(self.candidates, view.count), view.seed)

        def loss(name: str) -> float:
            last = view.history(name).last
            return math.inf if last is None or last.loss is None else last.loss

        return highest(candidates, loss, view)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class UpperConfidenceBound(_Informed):
    """UCB-CS (Cho et al. 2020, arXiv:2012.08009, algorithm 1): high losses, and sites that were not asked for long.

    Of a site that trained in the rounds s, N is the sum of ``discount^(t - s)`` over them, L that of the losses with
    these factors; its index is ``L / N + sqrt(2 sigma^2 log T / N)`` with T the sum over all rounds before. Sites that
    have not trained come first. Deviations from the paper: sigma is the spread of the sites' newest losses, since
    sites do not tell that of their batches; indices are not multiplied by numbers of samples, which sites could claim;
    and the newest 32 trainings of a site count, which is nearly all with a discount below 0.9.

    Attributes:
        discount: How much a training counts that is a round older (gamma in the paper).
        fraction: This part of the members, rounded up; either this or ``count``.
        count: So many.
        include: If given, only these are eligible.
        exclude: Never these.
    """

    discount: Annotated[float, Field(gt=0, le=1)] = 0.7

    def select(self, view: SelectionView) -> Names:
        """Choose the highest indices."""
        newest = [last.loss for name in view.present if (last := view.history(name).last) and last.loss is not None]
        spread = pstdev(newest) if len(newest) > 1 else 0.0
        rounds = math.fsum(self.discount**age for age in range(1, view.round))

        def index(name: str) -> float:
            seen = [each for each in view.history(name).trainings if each.loss is not None]
            if not seen:
                return math.inf
            factors = [self.discount ** (view.round - each.round) for each in seen]
            times = math.fsum(factors)
            if not times:
                return math.inf  # so long ago that nothing of it is left
            mean = math.fsum(factor * (each.loss or 0.0) for factor, each in zip(factors, seen, strict=True)) / times
            return mean + math.sqrt(2 * spread**2 * max(0.0, math.log(max(rounds, 1.0))) / times)

        return highest(view.present, index, view)


_TIMES: dict[str, Callable[[PastTraining], float]] = {
    "round": lambda seen: seen.round_s,
    "training": lambda seen: seen.training_s,
    "transfer": lambda seen: seen.transfer_s,
}


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class BestTime(_Informed):
    """The fastest sites; those that were never asked come first.

    A site that was asked n times and never answered counts as if it took n + 2 times the median of the others. Whoever
    is slow is never asked again, so that the model becomes that of the fast: compare with `Rotation`.

    Attributes:
        by: Which time counts: of the whole ``round``, of the ``training`` alone (who computes fastest), or of the
            ``transfer``, which is the rest (who has the best network).
        of: The ``last`` training, or the ``mean`` of those that are remembered (the time that is expected).
        fraction: This part of the members, rounded up; either this or ``count``.
        count: So many.
        include: If given, only these are eligible.
        exclude: Never these.
    """

    by: Literal["round", "training", "transfer"] = "round"
    of: Literal["last", "mean"] = "last"

    def select(self, view: SelectionView) -> Names:
        """Choose the least times."""
        return cheapest(estimated(view.present, lambda known: known_s(known, self.by, self.of), view), view)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Rotation(_Informed):
    """Those that were asked least often, so that all have their turn; with a limit, only those who are fast enough.

    Attributes:
        within_s: Leave those out whose rounds take longer on the average; those that have not answered yet are tried.
            None: nobody.
        fraction: This part of the members, rounded up; either this or ``count``.
        count: So many.
        include: If given, only these are eligible.
        exclude: Never these.
    """

    within_s: Annotated[float, Field(gt=0)] | None = None

    def wanted(self, view: SelectionView) -> int:
        """The size, as far as there are so many that are fast enough."""
        return min(SizedSelector.wanted(self, view), len(self._fast(view.eligible, view)))

    def select(self, view: SelectionView) -> Names:
        """Choose the least asked ones."""
        return highest(self._fast(view.present, view), lambda name: -view.history(name).asked, view)

    def _fast(self, names: Sequence[str], view: SelectionView) -> Sequence[str]:
        limit_s = self.within_s
        if limit_s is None:
            return names
        return [name for name in names if (known_s(view.history(name), "round") or 0.0) <= limit_s]


def known_s(history: TrainingHistory, by: str, of: str = "mean") -> float | None:
    """Return the seconds that a site takes; None if it has never answered."""
    times = [_TIMES[by](seen) for seen in history.trainings]
    if not times:
        return None
    return times[-1] if of == "last" else fmean(times)


def inverse_chance(history: TrainingHistory) -> float:
    """Return one over the chance that a site answers.

    Of one that has answered k of n times it is (n + 2) / (k + 1), by the rule of succession (Laplace 1814).
    """
    return (history.asked + 2) / (history.answered + 1)


def typical(
    names: Iterable[str], cost: Callable[[TrainingHistory], float | None], view: SelectionView
) -> dict[str, float]:
    """Return what a training of each site costs: where that is not known, the median of the others; 1 if none is known.

    Args:
        names: The sites.
        cost: Of a site by its history, in whatever unit; None: nothing is known.
        view: What is known of them.
    """
    found = {name: cost(view.history(name)) for name in names}
    known = [value for value in found.values() if value is not None]
    usual = median(known) if known else 1.0
    return {name: usual if value is None else value for name, value in found.items()}


def estimated(
    names: Iterable[str], cost: Callable[[TrainingHistory], float | None], view: SelectionView
) -> dict[str, float]:
    """Return what an update of each site costs as far as it is known, with an estimate for those that never answered.

    Of a site that was asked n times and of which nothing has come, it is what is `typical`, m, over the chance that it
    answers: m (n + 2). So it comes after all that cost less, and the further behind the more often it was asked in
    vain. A site that was never asked costs nothing, so that it is tried. The arguments are those of `typical`.
    """
    costs = typical(names, cost, view)
    for name in costs:
        history = view.history(name)
        if not was_asked(history):
            costs[name] = 0.0
        elif not history.trainings:
            costs[name] *= inverse_chance(history)
    return costs


def was_asked(history: TrainingHistory) -> bool:
    """Whether anything is known of a site: that it was asked, if nothing else."""
    return bool(history.asked or history.trainings)


def cheapest(costs: Mapping[str, float], view: SelectionView) -> Names:
    """Return the names with the least costs, sorted; first come those that were never asked.

    Of equal ones, those that the round's seed draws.
    """

    def place(name: str) -> tuple[bool, float, int]:
        return was_asked(view.history(name)), costs[name], derive_seed(view.seed, name)

    return tuple(sorted(sorted(costs, key=place)[: view.count]))


def highest(names: Sequence[str], value: Callable[[str], float], view: SelectionView) -> Names:
    """Return the names with the highest values, sorted; of equal ones, those that the round's seed draws."""
    ranked = sorted(names, key=lambda name: (-value(name), derive_seed(view.seed, name)))
    return tuple(sorted(ranked[: view.count]))
