"""What comes of updates that other sites have scored on their own data: who scores whose, and what is made of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median
from typing import TYPE_CHECKING, ClassVar

from openfl_like.federation.failure import Failure
from openfl_like.federation.seeds import derive_seed
from openfl_like.federation.task import Update, Work
from openfl_like.federation.validation.verdict import Consequence, Measure, UpdateVerdict

if TYPE_CHECKING:  # a command that shows nothing must not wait for it
    from openfl_like.plan.schema import CrossEvaluation

NAME = "cross_evaluation"
LEAST_SCORES = 3
"""Of fewer scores the median is what one or two sites say."""
MOST_SCORE = 1e30
"""A site may tell any number: differences of larger ones would be none."""


class Unscored(StrEnum):
    """Why an update has no score.

    Attributes:
        ALONE: It is the only one, and nobody scores its own.
        ABSENT: Whoever was to score it has not answered.
        NOT_REPORTED: The answer does not have the metric.
        NOT_FINITE: The metric is not a finite number, which no good model gives.
    """

    ALONE = "alone"
    ABSENT = "absent"
    NOT_REPORTED = "not_reported"
    NOT_FINITE = "not_finite"


@dataclass(frozen=True, slots=True)
class UpdatesScored:
    """Each update of a round was scored by another site, or it is said why not.

    Attributes:
        round: The round.
        metric: By which metric.
        limit: The worst score that an update may have; None: of so few scores no median can be told.
        scores: Whose update -> its score.
        scorers: Whose update -> who was to score it.
        unscored: Whose update -> why it has no score.
    """

    kind: ClassVar[str] = "updates_scored"
    round: int
    metric: str
    limit: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    scorers: Mapping[str, str] = field(default_factory=dict)
    unscored: Mapping[str, Unscored] = field(default_factory=dict)


@dataclass(slots=True)
class Scoring:
    """An open cross evaluation, as a part of its round's state.

    Attributes:
        pairs: Scorer -> whose update it scores.
        models: Whose update -> BLAKE3 identity (hex) of the model file that it stands for.
        updates: The updates of the training.
        absent: Who did not train, and why.
        assigned: Who was asked to train.
        work: How much those were to train that do not go by the tasks alone.
        limit_s: How long a site might take for its training; None: of a snapshot that knew no limit.
    """

    pairs: dict[str, str]
    models: dict[str, str] = field(default_factory=dict)
    updates: dict[str, Update] = field(default_factory=dict)
    absent: dict[str, Failure] = field(default_factory=dict)
    assigned: tuple[str, ...] = ()
    work: dict[str, Work] = field(default_factory=dict)
    limit_s: float | None = None


def draw_pairs(owners: Sequence[str], seed: int) -> dict[str, str]:
    """Draw who scores whose update: all stand in a circle, in an order that the seed draws, and score the next one's.

    Args:
        owners: Whose updates there are, two or more; the pairs do not depend on their order.
        seed: Of the round.

    Returns:
        Scorer -> whose update it scores; nobody scores its own, and every update is scored once.
    """
    circle = sorted(owners, key=lambda name: (derive_seed(seed, name), name))
    return dict(zip(circle, [*circle[1:], circle[0]], strict=True))


def judge_scores(
    section: "CrossEvaluation",
    number: int,
    pairs: Mapping[str, str],
    answers: Mapping[str, Update],
    undefined: Mapping[str, Collection[str]],
) -> tuple[UpdatesScored, tuple[UpdateVerdict, ...]]:
    """Say what is made of updates that were scored.

    Args:
        section: The plan's.
        number: The round.
        pairs: Scorer -> whose update it was asked to score.
        answers: What scorers have answered.
        undefined: Scorer -> those metrics of its answer that are not finite numbers, as ``task.metric``.

    Returns:
        What is told of all updates, and a verdict on each that does not count as it is, by name.
    """
    scores, unscored = dict[str, float](), dict[str, Unscored]()
    for scorer, owner in sorted(pairs.items(), key=lambda pair: pair[1]):
        found = _score(section.metric, answers.get(scorer), undefined.get(scorer, ()))
        if isinstance(found, Unscored):
            unscored[owner] = found
        else:
            scores[owner] = found
    scorers = {owner: scorer for scorer, owner in sorted(pairs.items(), key=lambda pair: pair[1])}
    told = UpdatesScored(number, section.metric, _limit(section, [*scores.values()]), scores, scorers, unscored)
    verdicts = (_verdict(section, told, owner) for owner in scorers)
    return told, tuple(verdict for verdict in verdicts if verdict is not None)


def _score(metric: str, answer: Update | None, undefined: Collection[str]) -> float | Unscored:
    """Return a score; of several tasks that report the metric, that of the first by name."""
    if answer is None:
        return Unscored.ABSENT
    for task in sorted(answer.metrics):
        for name, value in answer.metrics[task].items():
            if metric in {name, f"{task}.{name}"}:
                return max(-MOST_SCORE, min(MOST_SCORE, value))
    broken = any(metric in {name, name.partition(".")[2]} for name in undefined)
    return Unscored.NOT_FINITE if broken else Unscored.NOT_REPORTED


def _limit(section: "CrossEvaluation", scores: Sequence[float]) -> float | None:
    if section.threshold is not None:
        return section.threshold
    if section.margin is None or len(scores) < LEAST_SCORES:
        return None
    return median(scores) + (section.margin if section.mode == "min" else -section.margin)


def _verdict(section: "CrossEvaluation", told: UpdatesScored, owner: str) -> UpdateVerdict | None:
    reason, scorer, bound = told.unscored.get(owner), told.scorers[owner], told.limit or 0.0

    def given(action: Consequence, share: float = 1.0) -> UpdateVerdict:
        score, by = told.scores.get(owner), "" if reason in _NOBODY else scorer
        return UpdateVerdict(owner, NAME, Measure.CROSS_SCORE, score, bound, action, told.metric, by, share)

    if reason is not None:
        dropped = reason is Unscored.NOT_FINITE or (reason in _NOBODY and section.on_missing == "drop")
        return given(Consequence.DROP) if dropped else None
    beyond = _beyond(section, told, owner)
    if beyond <= 0:
        return None
    if section.result == "drop" or section.margin is None:
        return given(Consequence.DROP)
    return given(Consequence.REWEIGH, section.margin / (section.margin + beyond))


_NOBODY = frozenset({Unscored.ABSENT, Unscored.NOT_REPORTED})


def _beyond(section: "CrossEvaluation", told: UpdatesScored, owner: str) -> float:
    """By how much a score is worse than the limit; not above 0 if it is not."""
    if told.limit is None:
        return 0.0
    worse = told.scores[owner] - told.limit
    return worse if section.mode == "min" else -worse


def nobody_reports(told: UpdatesScored) -> bool:
    """Whether all have answered, and nobody has the metric: the plan names one that there is not."""
    return bool(told.unscored) and not told.scores and {*told.unscored.values()} == {Unscored.NOT_REPORTED}
