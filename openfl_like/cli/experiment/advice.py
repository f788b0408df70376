"""What somebody can do about an experiment: the line ``do:`` of ``fx experiment why``."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from openfl_like.errors import ModelTooLargeError
from openfl_like.federation.failure import FailureKind
from openfl_like.federation.history.cause import Cause, Condition
from openfl_like.federation.status import Status

if TYPE_CHECKING:
    from openfl_like.api.explanation import Explanation

_AGAIN = "fx experiment resume {id}"
_SUBMIT = "then submit the plan again"
_LOG = "fx experiment logs {id} --site {site}"
_CURES: dict[FailureKind, str] = {
    FailureKind.TASK: f"read the log, {_LOG}; mend the task or the site's data, {_SUBMIT}",
    FailureKind.WORKER: f"read what its worker said, {_LOG} --role worker, and look at its memory, "
    f"fx envoy show {{site}}; then {_AGAIN}",
    FailureKind.DEADLINE: f"see how busy the site is, fx envoy show {{site}}; then {_AGAIN}, or submit the plan with "
    "longer deadlines",
    FailureKind.LEFT: f"see that its Envoy runs, fx envoy show {{site}}; then {_AGAIN}",
    FailureKind.NOT_BACK: f"see that its Envoy runs, fx envoy show {{site}}; then {_AGAIN}, or submit the plan with a "
    "longer deadline.rejoin_s",
    FailureKind.REVOKED: f"go on without it: submit the plan for the other sites. If it is to come back, the "
    f"administrator gives it a new token, fx pki token; then {_AGAIN}",
    FailureKind.REFUSED: f"read the log, {_LOG}; mend what the site sends, {_SUBMIT}",
    FailureKind.ORDER: f"ask whoever runs site {{site}} to mend what it says; then {_AGAIN}",
    FailureKind.ENVIRONMENT: f"lock the packages anew, fx workspace lock, or ask whoever runs site {{site}}; {_SUBMIT}",
    FailureKind.NOT_JOINED: f"read the log, {_LOG}; then {_AGAIN}",
    FailureKind.MISSING: f"start its Envoy, fx envoy start; then {_AGAIN}",
    FailureKind.TOO_FEW: "see whether the sites are there, fx envoy list, were not revoked, and reach the Aggregator "
    f"(aggregator_host, aggregator_ports in director.yaml); then {_AGAIN}",
    FailureKind.QUORUM: f"see which sites are there, fx envoy list; then {_AGAIN}",
    FailureKind.SELECTION: f"mend the selector or its settings, or have participation need fewer updates, {_SUBMIT}",
    FailureKind.CONTROL: f"mend the plan's controllers, {_SUBMIT}",
    FailureKind.PART: f"mend the part, try it with fx simulate, {_SUBMIT}",
    FailureKind.COMBINE: f"mend the aggregation, {_SUBMIT}",
    FailureKind.AGGREGATOR: f"read the log, fx experiment logs {{id}} --site aggregator; then {_AGAIN}",
    FailureKind.SIMULATED: f"look at simulation.devices and participation in the plan, {_SUBMIT}",
    FailureKind.DIRECTOR: f"ask the administrator to look at the Director, fx doctor director; then {_AGAIN}",
}
_CURES_OF_ORDERS = {
    ModelTooLargeError.__name__: f"make the model smaller, {_SUBMIT}; or ask whoever runs site {{site}} to raise "
    f"limits.model_gb in its shard.yaml, then {_AGAIN}",
}
"""Of a site that refuses: the class of its error -> what fits better than asking."""
_UNKNOWN = f"read the log, fx experiment logs {{id}}; then {_AGAIN}"
_PART = ", for a model of all sites; that of those that took part: {model}"


def advice(found: "Explanation") -> str:
    """Return what to do next, in a line."""
    return _OF_CONDITION[found.why.verdict](found)


def _about_cause(found: "Explanation") -> str:
    cause = found.why.cause or Cause("")
    text = _UNKNOWN if cause.kind is None else _CURES[cause.kind]
    if cause.kind is FailureKind.ORDER:
        text = _CURES_OF_ORDERS.get(cause.error, text)
    if found.summary.degraded:  # what has FINISHED is not resumed
        text = text.replace(_AGAIN, "submit the plan again")
    told = text.format(id=found.summary.id, site=cause.site)
    if cause.kind is FailureKind.TASK and cause.file:
        others = "" if cause.task else f", or ask whoever runs site {cause.site}, if that file is the site's own"
        told = f"mend {cause.file}:{cause.line}{others}, {_SUBMIT}"
    elif cause.call:
        told = f"see that the model of the workspace takes such a batch ({cause.failure.batch}); {_SUBMIT}"
    return told + (_PART.format(model=_model(found)) if found.summary.degraded else "")


def _model(found: "Explanation") -> str:
    """The command that fetches its model: without any best one it has to say which."""
    return f"fx experiment model {found.summary.id}{'' if found.has_best else ' --which last'}"


def _about_model(found: "Explanation") -> str:
    if found.has_best and not found.why.missing_metrics:
        return f"fetch its model: {_model(found)}"
    keys = ", ".join(key for told in found.why.missing_metrics for key in told.wanted_by)
    mend = f"; name a metric that the sites report in {keys} of the plan, and submit it again" if keys else ""
    return f"fetch its {'best' if found.has_best else 'last'} model: {_model(found)}{mend}"


def _about_waiting(found: "Explanation") -> str:
    why, number = found.why, found.summary.id
    give_up = f"or give it up: fx experiment cancel {number}"
    if found.problems:
        return f"mend what the Director lacks, and it goes on by itself; {give_up}"
    if found.summary.status is Status.QUEUED:
        return f"nothing, it starts by itself; {give_up}"
    sites = [name for name in why.waits_for if name != "aggregator"]
    if found.summary.status is Status.STARTING and sites:
        return f"start what is missing, fx envoy list; {give_up}"
    if sites:
        return f"nothing, or look at a site: fx envoy show {sites[0]}"
    return f"nothing; follow it: fx experiment watch {number}"


_OF_CONDITION: dict[Condition, Callable[["Explanation"], str]] = {
    Condition.FINE: _about_model,
    Condition.CANCELLED: lambda found: f"let it go on, if it should: {_AGAIN.format(id=found.summary.id)}",
    Condition.WAITS: _about_waiting,
    Condition.FAILED: _about_cause,
    Condition.DEGRADED: _about_cause,
}
