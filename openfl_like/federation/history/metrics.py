"""What the history says of metrics: of each round's model over all sites, and what each site reported."""

from collections.abc import Iterable
from dataclasses import dataclass

from openfl_like.federation.announcements import Announced, RoundFinished, UpdateLost, UpdateReceived
from openfl_like.federation.task import Phase


@dataclass(frozen=True, slots=True)
class MetricRecord:
    """One value of one metric.

    Attributes:
        round: The round in which it was measured.
        site: Who reported it; empty for the value over all sites, weighted by their samples.
        task: Which task reported it; empty where ``site`` is.
        metric: Its name.
        value: Its value.
        samples: How many samples of the site it is over; 0 where that is not known.
    """

    round: int
    site: str
    task: str
    metric: str
    value: float
    samples: int = 0


def metric_records(events: Iterable[Announced], *, per_site: bool = False) -> list[MetricRecord]:
    """Return the metrics of the finished rounds, or what each site reported in them, in order.

    Args:
        events: The experiment's history.
        per_site: Whether the values of each site are wanted instead of those over all sites. An update that was lost
            and came again counts once; what a site says of another site's update is no metric of its own.
    """
    if not per_site:
        finished = [event.announcement for event in events if isinstance(event.announcement, RoundFinished)]
        return [
            MetricRecord(told.round, "", "", name, value)
            for told in finished
            for name, value in sorted(told.metrics.items())
        ]
    reported: dict[tuple[int, str, str], UpdateReceived] = {}
    for event in events:
        match event.announcement:
            case UpdateReceived() as update if update.phase is not Phase.CROSS_EVALUATE:
                reported[update.round, update.phase.value, update.collaborator] = update
            case UpdateLost(number, phase, site):
                reported.pop((number, phase.value, site), None)
            case _:
                pass
    return [
        MetricRecord(update.round, update.collaborator, task, name, value, update.num_samples)
        for _, update in sorted(reported.items(), key=lambda item: (item[0][0], item[0][2], item[0][1]))
        for task, values in sorted(update.metrics.items())
        for name, value in sorted(values.items())
    ]
