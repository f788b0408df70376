"""What the history says of each round: who was selected, who made its model, who measured it, and who did not."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from openfl_like.federation.announcements import (
    Announced,
    Announcement,
    CollaboratorAbsent,
    ExperimentEnded,
    ExperimentResumed,
    ModelKept,
    ModelMade,
    ModelsEvaluated,
    RoundFinished,
    RoundStarted,
    UpdateLost,
    UpdateReceived,
)
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase, UpdatePartial
from openfl_like.federation.validation.scoring import UpdatesScored
from openfl_like.federation.validation.verdict import ModelRejected, UpdatesJudged, UpdateVerdict


@dataclass(frozen=True, slots=True)
class ContributorShare:
    """An update that is part of a round's model.

    Attributes:
        weight: Its share of the samples of all contributors.
        digest: BLAKE3 identity (hex) of its file.
    """

    weight: float
    digest: str


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """A finished round, or the one in which an experiment ended.

    Attributes:
        round: Its number; 0 made the initial model.
        digest: BLAKE3 identity (hex) of its model; empty if none was published.
        metrics: Metric name -> value over the sites in ``evaluators``.
        selected: Who was asked to contribute.
        contributors: Who did, and what.
        absent: Who should have contributed and did not -> why.
        evaluators: Who evaluated the model.
        unevaluated: Who should have evaluated it and did not -> why.
        matrix: How each site found each given model: site -> task -> metric -> value.
        partial: Of the contributors, those whose time was over before they had trained all -> their samples.
        verdicts: What was made of updates that did not count as they were, and of numbers of samples.
        scored: How other sites have scored the updates, if the plan has them do so.
        rejected: Why the round's own model did not go on; None: it did.
        status: FINISHED, or FAILED or CANCELLED like the experiment that ended in it.
    """

    round: int
    digest: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    selected: tuple[str, ...] = ()
    contributors: Mapping[str, ContributorShare] = field(default_factory=dict)
    absent: Mapping[str, Failure] = field(default_factory=dict)
    evaluators: tuple[str, ...] = ()
    unevaluated: Mapping[str, Failure] = field(default_factory=dict)
    matrix: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    partial: Mapping[str, int] = field(default_factory=dict)
    verdicts: tuple[UpdateVerdict, ...] = ()
    scored: UpdatesScored | None = None
    rejected: ModelRejected | None = None
    status: Status = Status.FINISHED


@dataclass(slots=True)
class PartialSamples:
    """Who of the open round had no time to train all, and on how many samples each has trained."""

    samples: dict[str, int] = field(default_factory=dict)

    def see(self, told: Announcement) -> None:
        """Take what is told."""
        match told:
            case RoundStarted():
                self.samples.clear()
            case UpdatePartial(collaborator=name, num_samples=samples):
                self.samples[name] = samples
            case UpdateLost(collaborator=name):
                self.samples.pop(name, None)
            case _:
                pass

    def added_to(self, record: RoundRecord) -> RoundRecord:
        """Return the record of the round with those of its contributors."""
        found = {name: self.samples[name] for name in record.contributors if name in self.samples}
        return replace(record, partial=found) if found else record


def round_records(events: Iterable[Announced]) -> Iterator[RoundRecord]:
    """Yield the finished rounds of a history, as soon as their last event has come, and the one in which it ends.

    A round that begins again, since its experiment was resumed, is told as it went in the end.
    """
    made: dict[int, ModelMade] = {}
    matrices: dict[int, ModelsEvaluated] = {}
    partial = PartialSamples()
    unfinished: RoundRecord | None = None
    for event in events:
        partial.see(event.announcement)
        before, unfinished = unfinished, _unfinished(unfinished, event.announcement)
        match event.announcement:
            case ModelMade() as model:
                made[model.round] = model
            case ModelKept(number, digest, digests):
                made[number] = ModelMade(number, digest, dict.fromkeys(digests, 0.0), digests)
            case ModelsEvaluated() as evaluated:
                matrices[evaluated.round] = evaluated
            case RoundFinished() as finished:
                number = finished.round
                record = _record(finished, made.pop(number, None), matrices.pop(number, None))
                known = before if before is not None and before.round == number else record
                found = replace(record, verdicts=known.verdicts, scored=known.scored, rejected=known.rejected)
                yield partial.added_to(found)
            case _:
                pass
    if unfinished is not None and unfinished.status.ended:
        yield unfinished


def _unfinished(known: RoundRecord | None, told: Announcement) -> RoundRecord | None:
    """Return what is known, after an event, of the round that has begun and has not finished."""
    if isinstance(told, RoundStarted):
        return RoundRecord(told.round, "", selected=told.cohort, status=Status.RUNNING)
    over = isinstance(told, RoundFinished | ExperimentResumed)
    return None if known is None or over else _with(known, told)


def _with(known: RoundRecord, told: Announcement) -> RoundRecord:
    match told:
        case CollaboratorAbsent(phase=Phase.EVALUATE, collaborator=site):
            return replace(known, unevaluated={**known.unevaluated, site: _failure(told)})
        case CollaboratorAbsent(collaborator=site) if told.phase is not Phase.CROSS_EVALUATE:
            return replace(known, absent={**known.absent, site: _failure(told)})
        case UpdateReceived(phase=Phase.EVALUATE, collaborator=site):
            return replace(known, evaluators=tuple(sorted({*known.evaluators, site})))
        case ModelMade():
            return replace(known, contributors=_shares(told))
        case ExperimentEnded():
            return replace(known, status=told.status)
        case _:
            return _judged(known, told)


def _judged(known: RoundRecord, told: Announcement) -> RoundRecord:
    """Add what was made of updates, once if they were looked at again, or of the model."""
    if isinstance(told, ModelRejected):
        return replace(known, rejected=told)
    if isinstance(told, UpdatesScored):
        return replace(known, scored=told)
    if isinstance(told, UpdatesJudged):
        return replace(known, verdicts=tuple(dict.fromkeys((*known.verdicts, *told.verdicts))))
    return known


def _failure(told: CollaboratorAbsent) -> Failure:
    return told.failure or Failure(FailureKind.TOLD, told.reason)  # 0.1.0 wrote only words


def _shares(model: ModelMade) -> dict[str, ContributorShare]:
    return {name: ContributorShare(model.weights[name], model.digests[name]) for name in sorted(model.weights)}


def _record(finished: RoundFinished, model: ModelMade | None, evaluated: ModelsEvaluated | None) -> RoundRecord:
    return RoundRecord(
        round=finished.round,
        digest=finished.digest,
        metrics=finished.metrics,
        selected=finished.selected,
        contributors=_shares(model) if model else {},
        absent=finished.absent,
        evaluators=finished.evaluators,
        unevaluated=finished.unevaluated,
        matrix=evaluated.matrix if evaluated else {},
    )
