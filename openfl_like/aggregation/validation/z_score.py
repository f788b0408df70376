"""Updates that are far from the others by one number."""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.aggregation.validation.compared import Compared, Looks, refuse_few
from openfl_like.errors import UpdateRefusedError
from openfl_like.federation.task import Update
from openfl_like.federation.validation.verdict import Consequence, Measure, UpdateVerdict

MOST_METRIC = 1e30
"""A site may tell any number: squares and sums of more would be none."""
_OF_DEVIATION = 1.4826
"""The median of absolute deviations times this is the standard deviation, of a normal distribution."""
_OF_MEAN_DEVIATION = 1.2533
"""The same of the mean of absolute deviations."""


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ZScore:
    """Numbers that are too many standard deviations away from those of the others.

    ``robust`` scores are the modified ones of Iglewicz and Hoaglin (How to Detect and Handle Outliers, 1993), which
    recommend the bound 3.5: (x - median) / (1.4826 MAD), where MAD is the median of the absolute deviations from the
    median; if that is zero, their mean times 1.2533 stands for it. Fewer than half of the sites cannot hide.

    Otherwise a score is (x - mean) / s with the sample's standard deviation s. Outliers make s large themselves: of K
    numbers none has more than (K - 1) / sqrt(K) (Shiffler 1988, The American Statistician 42), so that with the bound
    3.5 nobody is ever dropped among 14 or fewer; such a round is refused.

    Attributes:
        of: Numbers of what: the ``norm`` of the difference from the global model, or a ``metric`` of the training.
        metric: Which one: ``loss``, or with its task ``train.loss``. Sites report it, so that it is what they say.
        robust: Which score.
        bound: How large a score may be.
        side: Whether numbers ``above`` the others, ``below`` them, or ``both`` are dropped.
    """

    of: Literal["norm", "metric"] = "norm"
    metric: Annotated[str, Field(min_length=1)] = "loss"
    robust: bool = True
    bound: Annotated[float, Field(gt=0)] = 3.5
    side: Literal["above", "below", "both"] = "above"

    @property
    def looks(self) -> Looks:
        """Norms, or nothing but reports."""
        return Looks.NORMS if self.of == "norm" else Looks.REPORTS

    def judge(self, compared: Compared) -> Iterator[UpdateVerdict]:
        """Drop those with too large a score, and those without a number.

        Raises:
            UpdateRefusedError: If no score of so few updates can be too large, or nobody reports the metric.
        """
        numbers = self._numbers(compared)
        known = {name: number for name, number in numbers.items() if number is not None and math.isfinite(number)}
        if not known and self.of == "metric":
            raise UpdateRefusedError(
                f"no site reports the metric '{self.metric}' of its training",
                place="validator.settings.metric",
                cure="name a metric that a task which trains reports",
            )
        self._refuse_few(len(numbers))
        scores = dict(zip(known, self._scores([*known.values()]), strict=True))
        for name in numbers:
            score = scores.get(name)
            if score is None or self._too_large(score):
                yield self._verdict(name, score)

    def _verdict(self, name: str, score: float | None) -> UpdateVerdict:
        measure = Measure.NORM_SCORE if self.of == "norm" else Measure.METRIC_SCORE
        metric = self.metric if self.of == "metric" else ""
        return UpdateVerdict(name, "z_score", measure, score, self.bound, Consequence.DROP, metric)

    def _numbers(self, compared: Compared) -> dict[str, float | None]:
        if self.of == "metric":
            return {update.collaborator: _metric(update, self.metric) for update in compared.updates}
        named = zip(compared.updates, compared.norms, strict=True)
        return {update.collaborator: float(norm) for update, norm in named}

    def _refuse_few(self, count: int) -> None:
        if self.robust:
            refuse_few("z_score", count)
            return
        most = (count - 1) / math.sqrt(count)
        if most <= self.bound:
            raise UpdateRefusedError(
                f"the validator 'z_score' can drop nobody of {count} updates: no score is above {most:.3g}",
                place="validator.settings.bound",
                cure="write robust: true, or a smaller bound",
            )

    def _scores(self, numbers: Sequence[float]) -> list[float]:
        centre, spread = _robust(numbers) if self.robust else _plain(numbers)
        return [(number - centre) / spread if spread else 0.0 for number in numbers]

    def _too_large(self, score: float) -> bool:
        return (self.side != "below" and score > self.bound) or (self.side != "above" and -score > self.bound)


def _metric(update: Update, wanted: str) -> float | None:
    """The value of a metric of a training; of several tasks that have it, of the first by name."""
    for task in sorted(update.metrics):
        for name, value in update.metrics[task].items():
            if wanted in {name, f"{task}.{name}"}:
                return max(-MOST_METRIC, min(MOST_METRIC, value))
    return None


def _robust(numbers: Sequence[float]) -> tuple[float, float]:
    centre = _median(numbers)
    away = [abs(number - centre) for number in numbers]
    return centre, _OF_DEVIATION * _median(away) or _OF_MEAN_DEVIATION * math.fsum(away) / max(1, len(away))


def _median(numbers: Sequence[float]) -> float:
    ordered = sorted(numbers)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2 if ordered else 0.0


def _plain(numbers: Sequence[float]) -> tuple[float, float]:
    count = len(numbers)
    mean = math.fsum(numbers) / max(1, count)
    squares = math.fsum((number - mean) ** 2 for number in numbers)
    return mean, math.sqrt(squares / max(1, count - 1))
