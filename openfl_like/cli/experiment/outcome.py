"""How an experiment's end becomes an exit code: FINISHED by all sites is 0, everything else raises its error."""

from typing import TYPE_CHECKING

from openfl_like.cli.output.console import shown
from openfl_like.errors import ExperimentCancelledError, ExperimentDegradedError, ExperimentFailedError

if TYPE_CHECKING:
    from openfl_like.federation.failure import Failure
    from openfl_like.federation.parties import ExperimentRecord, ExperimentSummary, Outcome

MOST_SITES = 10
"""Of so many sites it is said why they were missing."""


def reason_of(summary: "ExperimentSummary") -> str:
    """Return why an experiment stands where it stands, in words."""
    resumed = f"resumed by {summary.resumed_by}" if summary.resumed_by else ""
    waits = "" if summary.waiting is None else str(summary.waiting)
    return summary.reason or "; ".join(filter(None, (resumed, waits)))


def shortfall_text(failure: "Failure") -> str:
    """Say why a site was missing, and in which round."""
    if failure.round is None:  # 0.1.0 wrote the round into the words
        return str(failure)
    return f"{'evaluation of ' if failure.phase == 'evaluate' else ''}round {failure.round}: {failure}"


def raise_unless_finished(outcome: "Outcome | ExperimentSummary | None", *, seen: bool = False) -> None:
    """Raise the error of an experiment's end; None (a signal) counts as cancelled.

    Args:
        outcome: How it ended.
        seen: Whether whoever reads the error has just read the reason, too: then it is not told again.

    Raises:
        ExperimentFailedError: If it FAILED.
        ExperimentCancelledError: If it was CANCELLED.
        ExperimentDegradedError: If it FINISHED on fewer sites than were asked.
    """
    if outcome is None:
        raise ExperimentCancelledError("stopped by a signal before the experiment ended")
    status = outcome.status.value
    reason = "" if seen else f": {outcome.reason}"
    if status == "CANCELLED":
        raise ExperimentCancelledError(f"the experiment was CANCELLED{reason}")
    if status != "FINISHED":
        raise ExperimentFailedError(f"the experiment is {status}{reason}")
    if outcome.degraded:
        shown = list(outcome.shortfalls.items())[:MOST_SITES]
        sites = "; ".join(f"site '{name}': {shortfall_text(failure)}" for name, failure in shown)
        more = len(outcome.shortfalls) - len(shown)
        sites += f"; and {more} more" if more else ""
        told = "" if seen else f"{reason}; {sites}"
        raise ExperimentDegradedError(f"the experiment is FINISHED (DEGRADED){told}")


def best_text(record: "ExperimentRecord") -> str:
    """Say which version is the best so far, and by what; empty if there is none, or the plan is of another release."""
    from openfl_like.errors import FederationError
    from openfl_like.plan.digest import thaw

    best = [item.version for item in record.versions if item.version.best]
    try:
        by = thaw(record.plan.encode()).model_store.best
    except FederationError:
        return ""
    if not best:
        return ""
    newest = max(best, key=lambda version: version.round)
    value = f" ({shown(newest.metrics[by.metric])})" if by.metric in newest.metrics else ""
    better = "less" if by.mode == "min" else "more"
    chosen = f"round {newest.round} is the best by {by.metric}{value}, {better} being better"
    return f"{chosen}; a plan may name another metric that its sites report, such as accuracy, in model_store.best"
