"""What every store refuses, in the same words whatever is behind it."""

from openfl_like.errors import ConflictError, NotFoundError
from openfl_like.federation.parties import ExperimentSummary

_INSTEAD = {False: "'fx experiment watch' follows it", True: "submit its plan again to run it anew"}


def superseded(epoch: int) -> ConflictError:
    """Return the error for a commit or a check of one who has been replaced."""
    return ConflictError(
        f"another process has taken the experiment's record over from epoch {epoch}",
        cure="nothing is needed: the newer process goes on with the experiment",
    )


def not_empty() -> ConflictError:
    """Return the error for a record that cannot become a copy of another one."""
    return ConflictError("the record has something in it already; only an empty one can be filled")


def unknown_experiment(experiment: str) -> NotFoundError:
    """Return the error for an id that no experiment has."""
    return NotFoundError(f"there is no experiment '{experiment}'", cure="'fx experiment list' shows them")


def known_experiment(experiment: str) -> ConflictError:
    """Return the error for a second experiment of the same id."""
    return ConflictError(f"there is an experiment '{experiment}' already, which another request has made")


def not_removable(summary: ExperimentSummary) -> ConflictError:
    """Return the error for an experiment that has not ended."""
    return ConflictError(
        f"the experiment '{summary.id}' is {summary.standing}; only one that has ended can be removed",
        cure=f"'fx experiment cancel {summary.id}' ends it",
    )


def not_resumable(summary: ExperimentSummary) -> ConflictError:
    """Return the error for an experiment that cannot be queued again."""
    told = f"the experiment '{summary.id}' is {summary.standing}"
    cure = _INSTEAD[summary.status.ended]
    return ConflictError(f"{told}; only one that FAILED or was CANCELLED can be resumed", cure=cure)
