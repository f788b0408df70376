"""All that a report tells of one experiment, as it was asked from the Director."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from openfl_like.api.explanation import Explanation, explanation
from openfl_like.api.federation import Federation
from openfl_like.errors import FederationError
from openfl_like.federation.announcements import Announced
from openfl_like.federation.history.metrics import MetricRecord, metric_records
from openfl_like.federation.history.rounds import RoundRecord, round_records
from openfl_like.federation.history.times import RoundTimes, round_times
from openfl_like.federation.parties import ExperimentRecord
from openfl_like.plan.digest import thaw
from openfl_like.plan.schema import Plan


@dataclass(frozen=True)
class ExperimentCourse:
    """One experiment, from its first event to its last so far.

    Attributes:
        record: What the Director tells of it.
        history: Its events, in order.
        explanation: Why it is as it is; None: nothing went wrong.
    """

    record: ExperimentRecord
    history: Sequence[Announced]
    explanation: Explanation | None

    @property
    def id(self) -> str:
        """Its identity."""
        return self.record.summary.id

    @cached_property
    def plan(self) -> Plan | None:
        """Its plan; None: it is of a release that this one does not understand."""
        try:
            return thaw(self.record.plan.encode())
        except FederationError:
            return None

    @cached_property
    def rounds(self) -> list[RoundRecord]:
        """The rounds that are over."""
        return list(round_records(self.history))

    @cached_property
    def times(self) -> list[RoundTimes]:
        """How long each part of the finished rounds took."""
        return round_times(self.history)

    @cached_property
    def metrics(self) -> list[MetricRecord]:
        """The metrics of each round's model over all sites."""
        return metric_records(self.history)

    @cached_property
    def reported(self) -> list[MetricRecord]:
        """What each site reported in each round."""
        return metric_records(self.history, per_site=True)


def course_of(federation: Federation, experiment: str) -> ExperimentCourse:
    """Ask the Director for everything that a report tells of an experiment.

    Raises:
        NotFoundError: If there is no such experiment.
    """
    record = federation.experiment(experiment)
    history = [item for item in federation.watch(experiment, stored=True) if isinstance(item, Announced)]
    wrong = record.summary.degraded or record.summary.status.value == "FAILED"
    return ExperimentCourse(record, history, explanation(federation, experiment) if wrong else None)
