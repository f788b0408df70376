"""How an experiment's end becomes an exit code: FINISHED is 0, everything else raises its error."""

from typing import TYPE_CHECKING

from openfl_like.errors import ExperimentCancelledError, ExperimentFailedError

if TYPE_CHECKING:
    from openfl_like.federation.parties import ExperimentSummary
    from openfl_like.runtimes.loop import Outcome


def raise_unless_finished(outcome: "Outcome | ExperimentSummary | None") -> None:
    """Raises ExperimentFailedError or ExperimentCancelledError with the reason; None (a signal) counts as cancelled."""
    if outcome is None:
        raise ExperimentCancelledError("stopped by a signal before the experiment ended")
    status = outcome.status.value
    if status == "CANCELLED":
        raise ExperimentCancelledError(f"the experiment was CANCELLED: {outcome.reason}")
    if status != "FINISHED":
        raise ExperimentFailedError(f"the experiment is {status}: {outcome.reason}")
