"""How an experiment's end becomes an exit code: FINISHED by all sites is 0, everything else raises its error."""

from typing import TYPE_CHECKING

from openfl_like.errors import ExperimentCancelledError, ExperimentDegradedError, ExperimentFailedError

if TYPE_CHECKING:
    from openfl_like.federation.parties import ExperimentSummary, Outcome


def reason_of(summary: "ExperimentSummary") -> str:
    """Return why an experiment stands where it stands, in words."""
    return summary.reason or (f"resumed by {summary.resumed_by}" if summary.resumed_by else "")


def raise_unless_finished(outcome: "Outcome | ExperimentSummary | None") -> None:
    """Raise the error of an experiment's end, with the reason; None (a signal) counts as cancelled.

    Raises:
        ExperimentFailedError: If it FAILED.
        ExperimentCancelledError: If it was CANCELLED.
        ExperimentDegradedError: If it FINISHED on fewer sites than were asked.
    """
    if outcome is None:
        raise ExperimentCancelledError("stopped by a signal before the experiment ended")
    status = outcome.status.value
    if status == "CANCELLED":
        raise ExperimentCancelledError(f"the experiment was CANCELLED: {outcome.reason}")
    if status != "FINISHED":
        raise ExperimentFailedError(f"the experiment is {status}: {outcome.reason}")
    if outcome.degraded:
        sites = "; ".join(f"site '{name}': {reason}" for name, reason in outcome.shortfalls.items())
        raise ExperimentDegradedError(f"the experiment is FINISHED (DEGRADED): {outcome.reason}; {sites}")
