"""What is told where metrics are missing, or are not numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from openfl_like.federation.task import Phase


@dataclass(frozen=True, slots=True)
class MetricMissing:
    """No site has reported a metric that the plan goes by; told in the first round that lacks it.

    Attributes:
        round: The round.
        metric: Its name.
        wanted_by: The keys of the plan that name it.
        reported: The metrics of the round.
    """

    kind: ClassVar[str] = "metric_missing"
    round: int
    metric: str
    wanted_by: tuple[str, ...]
    reported: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MetricsUndefined:
    """A site has reported metrics that are not finite numbers; they are left out, and its answer counts all the same.

    Told where they are not those that the site left undefined in that phase before.

    Attributes:
        round: The round.
        phase: In which phase it reported them.
        collaborator: The site.
        metrics: Task -> metric -> what it is: ``nan``, ``inf`` or ``-inf``.
    """

    kind: ClassVar[str] = "metrics_undefined"
    round: int
    phase: Phase
    collaborator: str
    metrics: Mapping[str, Mapping[str, str]]
