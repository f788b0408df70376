"""Selectors that go by what sites have done: their losses, their times, how often they were asked."""

import math
from collections.abc import Callable, Sequence
from statistics import fmean, pstdev
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
    """The fastest sites; those of which nothing is known come first.

    Whoever is slow is never asked again, so that the model becomes that of the fast: compare with `Rotation`.

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
        return highest(view.present, lambda name: -taken_s(view.history(name), self.by, self.of), view)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Rotation(_Informed):
    """Those that were asked least often, so that all have their turn; with a limit, only those who are fast enough.

    Attributes:
        within_s: Leave those out whose rounds take longer on the average; those of which nothing is known are tried.
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
        return [name for name in names if taken_s(view.history(name), "round", "mean") <= limit_s]


def taken_s(history: TrainingHistory, by: str, of: str) -> float:
    """Return the seconds that a site takes; 0 if nothing is known of it."""
    times = [_TIMES[by](seen) for seen in history.trainings]
    if not times:
        return 0.0
    return times[-1] if of == "last" else fmean(times)


def highest(names: Sequence[str], value: Callable[[str], float], view: SelectionView) -> Names:
    """Return the names with the highest values, sorted; of equal ones, those that the round's seed draws."""
    ranked = sorted(names, key=lambda name: (-value(name), derive_seed(view.seed, name)))
    return tuple(sorted(ranked[: view.count]))
