"""What the history says of each round: who was selected, who made its model, who measured it, and who did not."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from openfl_like.federation.events import Notice
from openfl_like.federation.parties import EventRecord


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
        absent: Who should have contributed and did not, with the reason.
        evaluators: Who evaluated the model.
        unevaluated: Who should have evaluated it and did not, with the reason.
        matrix: How each site found each given model: site -> task -> metric -> value.
    """

    round: int
    digest: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    selected: tuple[str, ...] = ()
    contributors: Mapping[str, ContributorShare] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    evaluators: tuple[str, ...] = ()
    unevaluated: Mapping[str, str] = field(default_factory=dict)
    matrix: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)


def round_records(events: Iterable[EventRecord]) -> Iterator[RoundRecord]:
    """Gives the finished rounds of a history, as soon as their last event has come."""
    made: dict[int, Mapping[str, Any]] = {}
    matrices: dict[int, Mapping[str, Any]] = {}
    for event in events:
        fields = cast("Mapping[str, Any]", event.fields)
        if event.kind == Notice.MODEL_AGGREGATED:
            made[fields["round"]] = fields
        elif event.kind == Notice.MODELS_EVALUATED:
            matrices[fields["round"]] = fields["matrix"]
        elif event.kind == Notice.ROUND_FINISHED:
            model = made.pop(fields["round"], {})
            weights, digests = model.get("weights", {}), model.get("digests", {})
            yield RoundRecord(
                round=fields["round"],
                digest=fields["digest"],
                metrics=fields["metrics"],
                selected=tuple(fields["selected"]),
                contributors={name: ContributorShare(weights[name], digests[name]) for name in sorted(weights)},
                absent=fields["absent"],
                evaluators=tuple(fields["evaluators"]),
                unevaluated=fields["unevaluated"],
                matrix=matrices.pop(fields["round"], {}),
            )
