"""What the history says of each round: who was selected, who made its model, who measured it, and who did not."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from openfl_like.federation.announcements import Announced, ModelKept, ModelMade, ModelsEvaluated, RoundFinished
from openfl_like.federation.failure import Failure


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
    """A finished round.

    Attributes:
        round: Its number; 0 made the initial model.
        digest: BLAKE3 identity (hex) of its model.
        metrics: Metric name -> value over the sites in ``evaluators``.
        selected: Who was asked to contribute.
        contributors: Who did, and what.
        absent: Who should have contributed and did not -> why.
        evaluators: Who evaluated the model.
        unevaluated: Who should have evaluated it and did not -> why.
        matrix: How each site found each given model: site -> task -> metric -> value.
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


def round_records(events: Iterable[Announced]) -> Iterator[RoundRecord]:
    """Yield the finished rounds of a history, as soon as their last event has come."""
    made: dict[int, ModelMade] = {}
    matrices: dict[int, ModelsEvaluated] = {}
    for event in events:
        match event.announcement:
            case ModelMade() as model:
                made[model.round] = model
            case ModelKept(number, digest, digests):
                made[number] = ModelMade(number, digest, dict.fromkeys(digests, 0.0), digests)
            case ModelsEvaluated() as evaluated:
                matrices[evaluated.round] = evaluated
            case RoundFinished() as finished:
                number = finished.round
                yield _record(finished, made.pop(number, None), matrices.pop(number, None))
            case _:
                pass


def _record(finished: RoundFinished, model: ModelMade | None, evaluated: ModelsEvaluated | None) -> RoundRecord:
    shares = (
        {name: ContributorShare(model.weights[name], model.digests[name]) for name in model.weights} if model else {}
    )
    return RoundRecord(
        round=finished.round,
        digest=finished.digest,
        metrics=finished.metrics,
        selected=finished.selected,
        contributors=dict(sorted(shares.items())),
        absent=finished.absent,
        evaluators=finished.evaluators,
        unevaluated=finished.unevaluated,
        matrix=evaluated.matrix if evaluated else {},
    )
