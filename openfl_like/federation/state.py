"""Everything that an experiment remembers, and its JSON form."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import JsonValue, TypeAdapter, ValidationError

from openfl_like.errors import ConflictError
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.failure import Failure, FailureKind, fields_of_failure, fields_of_failures
from openfl_like.federation.participation.buffer import BufferState
from openfl_like.federation.participation.membership import Member, Membership, Presence
from openfl_like.federation.participation.traffic import TrafficCount
from openfl_like.federation.participation.training_history import TrainingHistory
from openfl_like.federation.reports.machine import MachineFacts
from openfl_like.federation.round_control import ControlMemory
from openfl_like.federation.round_state import RoundState, Step
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase
from openfl_like.numbered_names import SortedNames


@dataclass(slots=True)
class ExperimentState:
    """What a snapshot holds, and the published versions, which have a record of their own.

    Attributes:
        experiment_id: Identity of the experiment.
        expected: The collaborators asked, sorted; empty: everybody who is authorised.
        initial_model: Identity of the model to start from; empty: a collaborator makes it.
        status: Where the experiment stands.
        reason: Why it ended.
        roster: The collaborators.
        round: The open round, or the last one; None before the start.
        versions: What was published.
        shortfalls: Sites without which a round was made -> why, in the first such round.
        unmeasured: Sites without which a model was evaluated -> why, in the first such round.
        counted: Collaborator -> the last published round whose model has a trained update of its.
        server_states: Round -> identity of the server's state that belongs to its model, of the models that are kept.
        longest_s: Phase -> the longest time in which an answer to it has come.
        surplus: Collaborator -> kind -> how many updates came in the open round that cannot count.
        histories: Collaborator -> what is known of its training; kept only if the selector goes by it.
        controls: Place of a controller in the plan -> what it remembers.
        seconds: What the finished rounds took together, on the clock of the events.
        traffic: How much has been sent and received; None: nobody goes by it.
        ready_order: Who was ready first, in that order, if a selector goes by it.
        facts: Collaborator -> what it tells of its machine, if a selector goes by it.
        scored: Whether a site has ever scored an update.
        buffer: Of the buffered mode, what goes on from version to version; None before, and of the other mode.
    """

    experiment_id: str
    expected: SortedNames
    initial_model: str
    status: Status = Status.QUEUED
    reason: str = ""
    roster: Membership = field(default_factory=Membership)
    round: RoundState | None = None
    versions: tuple[ModelVersion, ...] = ()
    shortfalls: dict[str, Failure] = field(default_factory=dict)
    unmeasured: dict[str, Failure] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)
    server_states: dict[int, str] = field(default_factory=dict)
    longest_s: dict[Phase, float] = field(default_factory=dict)
    surplus: dict[str, dict[str, int]] = field(default_factory=dict)
    histories: dict[str, TrainingHistory] = field(default_factory=dict)
    controls: dict[int, ControlMemory] = field(default_factory=dict)
    seconds: float = 0.0
    buffer: BufferState | None = None
    traffic: TrafficCount | None = None
    ready_order: tuple[str, ...] = ()
    facts: dict[str, MachineFacts] = field(default_factory=dict)
    scored: bool = False

    def at_step(self, number: int, *steps: Step) -> RoundState | None:
        """The open round, if it is this one and at one of these steps."""
        current = self.round
        return current if current is not None and current.number == number and current.step in steps else None

    def all_shortfalls(self) -> dict[str, Failure]:
        """Sites without which a round was made, or only evaluated, sorted -> why, in the first such round."""
        return dict(sorted({**self.unmeasured, **self.shortfalls}.items()))


_STATES = TypeAdapter(ExperimentState)
_ELSEWHERE = {"versions"}
_BY_HAND = {"roster"}
"""Most of a large experiment's state, and nearly all of it as it was at first: only what differs is written."""
_OFTEN_EMPTY = {"histories", "buffer", "controls", "traffic", "ready_order", "facts", "scored"}
"""Left out where there are none."""
_SHORT = {"shortfalls", "unmeasured"}
"""Written without what is not known: they are in every snapshot once a site was missing."""


def dump_state(state: ExperimentState) -> dict[str, JsonValue]:
    """The state as JSON values, without the versions: a snapshot must not grow with the rounds."""
    left_out = _ELSEWHERE | _SHORT | _BY_HAND | {name for name in _OFTEN_EMPTY if not getattr(state, name)}
    values: dict[str, JsonValue] = _STATES.dump_python(state, mode="json", exclude=left_out)
    short: dict[str, Any] = {name: fields_of_failures(getattr(state, name)) for name in _SHORT}
    sites: dict[str, Any] = {name: _fields_of_member(site) for name, site in state.roster.sites.items()}
    together: dict[str, Any] = {"everybody": True} if state.roster.everybody else {}
    return values | short | {"roster": {"sites": sites, **together}}


def _fields_of_member(site: Member) -> dict[str, object]:
    """Return what is not as it is at first; `_renewed_member` puts the name back."""
    found: dict[str, object] = {"member": True} if site.member else {}
    if site.presence is not Presence.PRESENT:
        found["presence"] = site.presence.value
    if site.absences:
        found["absences"] = site.absences
    if site.failure is not None:
        found["failure"] = fields_of_failure(site.failure)
    if site.overdue:
        found["overdue"] = True
    if site.delivered:
        found["delivered"] = {
            phase.value: {"round": taken.round, "digest": taken.digest} for phase, taken in site.delivered.items()
        }
    if site.undefined:
        found["undefined"] = {phase.value: list(names) for phase, names in site.undefined.items()}
    if site.certificate_list is not None:
        found["certificate_list"] = site.certificate_list
    return found


def load_state(values: dict[str, JsonValue], versions: Iterable[ModelVersion]) -> ExperimentState:
    """Read what `dump_state` gave; the versions are those that were published by then.

    Raises:
        ConflictError: If the values are not a state as this version has it.
    """
    try:
        state = replace(_STATES.validate_python(_renewed(values)), versions=tuple(versions))
    except ValidationError as error:
        cure = "restore it with the version of the software that wrote it"
        raise ConflictError("the snapshot of the experiment cannot be read", cure=cure) from error
    if _everybody_joined(values):
        state.roster.everybody = state.expected
    return state


def _everybody_joined(values: dict[str, JsonValue]) -> bool:
    roster = values.get("roster")
    return isinstance(roster, dict) and roster.get("everybody") is True


def _renewed(values: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return a snapshot in the present form: 0.1.0 wrote what was delivered as ``"7:ab12"``, and failures as words."""
    roster, current = values.get("roster"), values.get("round")
    if isinstance(roster, dict) and isinstance(sites := roster.get("sites"), dict):
        values = {**values, "roster": {"sites": {name: _renewed_member(name, site) for name, site in sites.items()}}}
    if isinstance(current, dict):
        absences = ("absent", "missed")
        renewed: dict[str, JsonValue] = {name: _renewed_absences(current[name]) for name in absences if name in current}
        values = {**values, "round": {**current, **renewed}}
    both: dict[str, JsonValue] = {
        name: _renewed_absences(values[name]) for name in ("shortfalls", "unmeasured") if name in values
    }
    return {**values, **both}


def _renewed_absences(absent: JsonValue) -> JsonValue:
    if not isinstance(absent, dict):
        return absent
    return {name: _renewed_failure(failure) for name, failure in absent.items()}


def _renewed_failure(failure: JsonValue) -> JsonValue:
    return {"kind": FailureKind.TOLD.value, "message": failure} if isinstance(failure, str) else failure


def _renewed_member(name: str, member: JsonValue) -> JsonValue:
    if not isinstance(member, dict):
        return member
    member = {"name": name, **member}
    if isinstance(delivered := member.get("delivered"), dict):
        member = {**member, "delivered": {phase: _renewed_delivery(taken) for phase, taken in delivered.items()}}
    reason = member.get("reason")
    return {**member, "failure": _renewed_failure(reason)} if reason else member


def _renewed_delivery(taken: JsonValue) -> JsonValue:
    if not isinstance(taken, str):
        return taken
    number, _, digest = taken.partition(":")
    return {"round": number, "digest": digest}
