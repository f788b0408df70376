"""What a validator made of an update, as a value: it is put into words where people read it."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import ClassVar

from openfl_like.federation.task import Phase, Update


class Consequence(StrEnum):
    """What is done about an update.

    Attributes:
        DROP: It does not count.
        CLIP: Its difference from the global model is scaled down to the length of the bound.
        COUNT_LESS: It counts with as many samples as the bound says.
        REWEIGH: Its number of samples is multiplied by a share.
    """

    DROP = "drop"
    CLIP = "clip"
    COUNT_LESS = "count_less"
    REWEIGH = "reweigh"


class Measure(StrEnum):
    """What was looked at.

    Attributes:
        NORM: The Euclidean norm of the difference from the global model.
        NORM_SCORE: How many standard deviations that norm is away from those of the others.
        METRIC_SCORE: The same of a metric that the sites report.
        COSINE: The cosine of the angle with the direction of all.
        SAMPLES: The number of samples that the site claims.
        CROSS_SCORE: A metric of the update's model on the data of another site.
    """

    NORM = "norm"
    NORM_SCORE = "norm_score"
    METRIC_SCORE = "metric_score"
    COSINE = "cosine"
    SAMPLES = "samples"
    CROSS_SCORE = "cross_score"


@dataclass(frozen=True, slots=True)
class UpdateVerdict:
    """An update that does not count as it is; those that do have none.

    Attributes:
        collaborator: Whose update it is.
        validator: Who says so: the short name of a validator, or ``sample_limit``, or ``cross_evaluation``.
        measure: What was looked at.
        observed: What it is; None: it is not a finite number, or was not reported.
        bound: What it may be.
        action: What is done about it.
        metric: Which metric was looked at; empty unless it was one.
        scorer: Whose data it was measured on; empty unless it was another site's.
        share: What the number of samples is multiplied by.
    """

    collaborator: str
    validator: str
    measure: Measure
    observed: float | None
    bound: float
    action: Consequence
    metric: str = ""
    scorer: str = ""
    share: float = 1.0

    @property
    def factor(self) -> float:
        """What the difference from the global model is multiplied by."""
        if self.action is not Consequence.CLIP or not self.observed:
            return 1.0
        return self.bound / self.observed

    def __str__(self) -> str:
        done = _CONSEQUENCES[self.action].format(bound=self.bound, share=self.share)
        return f"{self.validator}: {self._found()}{done}"

    def _found(self) -> str:
        found, bound = self.observed, f"{self.bound:g}"
        match self.measure:
            case Measure.NORM:
                length = "has no finite length" if found is None else f"has the length {found:g}"
                return f"the difference from the global model {length}, and may have {bound}"
            case Measure.COSINE:
                if found is None:
                    return "the difference from the global model has no direction"
                return f"the cosine of its angle with the direction of all is {found:g}, and must be {bound} or more"
            case Measure.SAMPLES:
                return f"it claims {found or 0:.0f} samples, and may claim {self.bound:.0f}"
            case Measure.CROSS_SCORE:
                return self._cross_scored()
            case _:
                return self._scored()

    def _cross_scored(self) -> str:
        if not self.scorer:
            return "no other site has scored it"
        if self.observed is None:
            return f"its '{self.metric}' on the data of '{self.scorer}' is not finite"
        return f"its '{self.metric}' on the data of '{self.scorer}' is {self.observed:.4g}, the limit {self.bound:.4g}"

    def _scored(self) -> str:
        of_norm = self.measure is Measure.NORM_SCORE
        what = "the length of its difference from the global model" if of_norm else f"its '{self.metric}'"
        if self.observed is None:
            return f"{what} is {'not finite' if of_norm else 'not reported'}"
        side = "above" if self.observed > 0 else "below"
        return f"{what} is {abs(self.observed):.3g} standard deviations {side} the others', and may be {self.bound:g}"


_CONSEQUENCES = {
    Consequence.DROP: "",
    Consequence.CLIP: "; it is clipped to that",
    Consequence.COUNT_LESS: "; it counts with {bound:.0f}",
    Consequence.REWEIGH: "; its samples count {share:.3g} times",
}


def counted_less(update: Update, verdicts: Sequence[UpdateVerdict]) -> Update:
    """Return an update with the samples that verdicts leave it."""
    less = [
        int(verdict.bound)
        for verdict in verdicts
        if verdict.action is Consequence.COUNT_LESS and verdict.collaborator == update.collaborator
    ]
    return replace(update, num_samples=min(less)) if less else update


def factors_of(verdicts: Iterable[UpdateVerdict]) -> dict[str, float]:
    """Return what the differences of clipped updates from the global model are multiplied by, by collaborator."""
    found: dict[str, float] = {}
    for verdict in verdicts:
        if verdict.action is Consequence.CLIP:
            found[verdict.collaborator] = found.get(verdict.collaborator, 1.0) * verdict.factor
    return found


def shares_of(verdicts: Iterable[UpdateVerdict]) -> dict[str, float]:
    """Return what the samples of updates are multiplied by that were weighed anew, by collaborator."""
    return {one.collaborator: one.share for one in verdicts if one.action is Consequence.REWEIGH}


@dataclass(frozen=True, slots=True)
class UpdatesJudged:
    """Validators have found that updates do not count as they are.

    Attributes:
        round: The round.
        phase: Of which phase they are: counts of samples are looked at in evaluations, too.
        verdicts: In the order in which they were given.
    """

    kind: ClassVar[str] = "updates_judged"
    round: int
    phase: Phase
    verdicts: tuple[UpdateVerdict, ...] = ()

    def verdict_fields(self) -> list[dict[str, object]]:
        """Return the verdicts as JSON values."""
        return [asdict(verdict) for verdict in self.verdicts]


@dataclass(frozen=True, slots=True)
class ModelRejected:
    """A round's model was worse than the best one by more than the plan accepts: the model before it goes on.

    Attributes:
        round: The round.
        digest: Identity of the model that was rejected.
        kept: Identity of the model that goes on.
        metric: By which metric (``model_store.best``).
        value: What the rejected model has; None: nobody could measure it.
        best: What the best one has.
        margin: By how much it may be worse (``model_store.accepted_margin``).
        metrics: All metrics of the rejected model.
    """

    kind: ClassVar[str] = "model_rejected"
    round: int
    digest: str
    kept: str
    metric: str
    value: float | None
    best: float
    margin: float
    metrics: dict[str, float]
