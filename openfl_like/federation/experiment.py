"""The life of an experiment: events in, commands out."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, Self

from pydantic import JsonValue

from openfl_like.federation import buffered, lifecycle, phases
from openfl_like.federation import uncounted as surplus
from openfl_like.federation.announcements import (
    CollaboratorAdmitted,
    CollaboratorAway,
    CollaboratorRefused,
    CollaboratorsAdmitted,
    ExperimentBegun,
    ModelMade,
)
from openfl_like.federation.components import build_context
from openfl_like.federation.cross_evaluation import phase as cross_evaluation
from openfl_like.federation.deliveries import Receipt
from openfl_like.federation.events import (
    Aggregate,
    CallbackStopped,
    CancelRequested,
    CollaboratorJoined,
    CollaboratorLeft,
    CollaboratorRevoked,
    Command,
    Event,
    EverybodyJoined,
    ExperimentStarted,
    ModelAggregated,
    ModelVersion,
    PlaceUpdates,
    ResumeRequested,
    StepFailed,
    TaskFailed,
    TimerFired,
    UncountedUpdateArrived,
    UpdateCommitted,
    UpdatesPlaced,
    UpdatesValidated,
)
from openfl_like.federation.failure import FailedPartError, Failure, FailureKind
from openfl_like.federation.metrics import weights_of
from openfl_like.federation.participation import admission
from openfl_like.federation.participation.traffic import TrafficCount
from openfl_like.federation.parts.source import REGISTERED, PartSource
from openfl_like.federation.round_state import RoundState, Step, weights_in
from openfl_like.federation.rounds import gathering
from openfl_like.federation.state import ExperimentState, dump_state, load_state
from openfl_like.federation.status import Status
from openfl_like.federation.stopping import goes_by_traffic
from openfl_like.federation.task import Phase, Update
from openfl_like.federation.validation.verdict import factors_of
from openfl_like.numbered_names import NumberedNames
from openfl_like.plan.digest import frozen_values
from openfl_like.plan.schema import Plan

MOST_NAMED, MOST_EXPECTED = 100, 10_000
"""Of so many collaborators that join together each is told of by its name; so many names stand in one announcement."""


@dataclass(frozen=True, slots=True)
class Unpublished:
    """A model that is made and not yet published: how, its identity, and that of the server's state beside it."""

    command: Aggregate
    digest: str
    server_state: str = ""


class Experiment:
    """One experiment, as a state machine without clock and without I/O.

    Args:
        experiment_id: Its identity.
        plan: What was agreed.
        expected: The collaborators asked, in place of the plan's ``admission.collaborators``.
        initial_model: Identity of the model to start from; without one a collaborator makes it in round 0.
        initial_bytes: The size of its file.
        parts: Builds what the plan names.

    Raises:
        PlanError: If a part that the plan names cannot be built.
    """

    def __init__(
        self,
        experiment_id: str,
        plan: Plan,
        expected: Collection[str] = (),
        initial_model: str = "",
        initial_bytes: int = 0,
        parts: PartSource = REGISTERED,
    ) -> None:
        asked = expected or plan.admission.collaborators
        names = asked if isinstance(asked, NumberedNames) else tuple(sorted(set(asked)))
        traffic = TrafficCount(model_bytes=initial_bytes) if goes_by_traffic(plan) else None
        state = ExperimentState(experiment_id, names, initial_model, traffic=traffic)
        self._context = build_context(plan, state, parts)
        # Not part of the state: after a restart nobody is connected until CollaboratorJoined says so.
        self._connected: set[str] = set()
        self._handlers: dict[type, Callable[[Any], None]] = {
            ExperimentStarted: self._on_started,
            CollaboratorJoined: self._on_joined,
            EverybodyJoined: self._on_everybody,
            CollaboratorLeft: self._on_left,
            CollaboratorRevoked: self._on_revoked,
            UpdateCommitted: self._on_update,
            UncountedUpdateArrived: self._on_surplus,
            TaskFailed: self._on_task_failed,
            TimerFired: self._on_timer,
            UpdatesValidated: self._on_validated,
            UpdatesPlaced: self._on_placed,
            ModelAggregated: self._on_aggregated,
            StepFailed: self._on_step_failed,
            CancelRequested: self._on_cancel,
            CallbackStopped: lambda event: self._context.announce(event.told),
            ResumeRequested: self._on_resume,
        }

    @classmethod
    def restore(
        cls,
        plan: Plan,
        snapshot: dict[str, JsonValue],
        versions: Iterable[ModelVersion],
        parts: PartSource = REGISTERED,
    ) -> Self:
        """Build an experiment that goes on where `snapshot` was taken, as soon as it gets `ExperimentStarted`.

        Args:
            plan: The plan it ran by.
            snapshot: What `snapshot` gave.
            versions: What had been published by then, the initial model first.
            parts: As for the constructor.

        Raises:
            ConflictError: If the snapshot is not one of this version.
            PlanError: As the constructor.
        """
        state = load_state(snapshot, versions)
        experiment = cls(state.experiment_id, plan, state.expected, state.initial_model, parts=parts)
        experiment._context.state = state
        return experiment

    def snapshot(self) -> dict[str, JsonValue]:
        """The state as JSON, apart from the plan and the published `versions`."""
        return dump_state(self._context.state)

    @property
    def status(self) -> Status:
        """Where the experiment stands."""
        return self._context.state.status

    @property
    def reason(self) -> str:
        """Why it ended; empty before."""
        return self._context.state.reason

    @property
    def shortfalls(self) -> dict[str, Failure]:
        """Sites without which a round was made or evaluated, with the first such round and the reason."""
        return self._context.state.all_shortfalls()

    @property
    def round(self) -> int:
        """The open round, or the last one; 0 before the first."""
        current = self._context.state.round
        return current.number if current is not None else 0

    @property
    def receipts(self) -> list[Receipt]:
        """The last update that was taken from each collaborator in each phase."""
        sites = self._context.roster.sites
        return [receipt for name in sorted(sites) for receipt in sites[name].receipts()]

    @property
    def certificate_lists(self) -> dict[str, int]:
        """Collaborator -> number of the list under which the certificate was issued that it has joined with last."""
        sites = self._context.roster.sites.items()
        return {name: site.certificate_list for name, site in sites if site.certificate_list is not None}

    @property
    def versions(self) -> tuple[ModelVersion, ...]:
        """The published versions, the initial model first."""
        return self._context.state.versions

    @property
    def server_states(self) -> dict[int, str]:
        """Round -> identity of the server's state that belongs to its model, of the versions that are kept."""
        return dict(self._context.state.server_states)

    @property
    def kept_updates(self) -> tuple[Update, ...]:
        """The updates of the open phase of which a file must be in the spool."""
        current, buffer = self._context.state.round, self._context.state.buffer
        if current is None:
            return ()
        beside = tuple(each.update for each in buffer.arrived) if buffer is not None else ()
        scored = tuple(current.scoring.updates.values()) if current.scoring is not None else ()
        return tuple(update for update in (*current.answers(), *scored, *beside) if update.digest)

    @property
    def placement(self) -> PlaceUpdates | None:
        """What has placed the updates that are being scored now; None: none are."""
        current = self._context.state.round
        return cross_evaluation.placed(current) if current is not None and not self.status.ended else None

    @property
    def unpublished(self) -> Unpublished | None:
        """The open round's model, if it is made already."""
        current = self._context.state.round
        if self.status.ended or current is None or not current.digest or not current.trained:
            return None
        trained = (current.trained[name] for name in sorted(current.trained))
        updates = tuple(update for update in trained if update.num_samples or not current.number)
        if not updates:
            return None  # it is the model of the round before
        return Unpublished(self._aggregate(current, updates), current.digest, current.server_state)

    def lose_updates(self, collaborators: Iterable[str]) -> None:
        """Withdraw updates whose files are gone, before `ExperimentStarted`; their sites are asked for them again."""
        if self._context.state.round is not None:
            for name in collaborators:
                cross_evaluation.lose(self._context, self._context.state.round)
                phases.lose_update(self._context, self._context.state.round, name)

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take an event; what has ended answers nothing any more, unless it is resumed.

        Every collaborator that is connected to the process is announced by `CollaboratorJoined`, shortly before or
        after `ExperimentStarted`; also those that were here before a restart. At most one version is published at a
        time.

        Args:
            event: What happened. Repetitions and events of former rounds are harmless.
            now: Seconds on any clock; used for the durations in announcements.

        Returns:
            What to do, in this order.
        """
        context = self._context
        if context.state.status.ended and not isinstance(event, ResumeRequested):
            return []
        context.now = now
        try:
            self._handlers[type(event)](event)
            while self._advance():
                pass
        except FailedPartError as error:
            number = None if context.state.round is None else self.round
            failure = replace(error.failure, round=number)
            lifecycle.fail(context, f"{'' if number is None else f'round {number}: '}{failure}", failure)
        return context.take_commands()

    # ---- events ---------------------------------------------------------------------------------------------------

    def _on_started(self, event: ExperimentStarted) -> None:
        context, state = self._context, self._context.state
        resumed = state.status is not Status.QUEUED
        context.announce(
            ExperimentBegun(
                experiment_id=state.experiment_id,
                name=context.plan.name,
                expected=tuple(state.expected) if len(state.expected) <= MOST_EXPECTED else (),
                rounds=context.plan.aggregator.settings.rounds,
                resumed=resumed,
                epoch=event.epoch,
                plan=frozen_values(context.plan),
            )
        )
        phases.watch_silence(context)
        returning = context.roster.await_return(self._connected) if resumed else []
        if state.round is None:
            context.roster.forget(returning)
            lifecycle.open_admission(context)
            return
        phases.resume(context, state.round, returning)
        if state.round.step is Step.VALIDATE:
            context.emit(buffered.validation(context, state.round))
        elif state.round.step is Step.PLACE:
            context.emit(cross_evaluation.placement(state.round, state.round.learned()))
        elif state.round.step is Step.AGGREGATE:
            context.emit(self._aggregate(state.round, state.round.learned()))

    def _on_joined(self, event: CollaboratorJoined) -> None:
        name, context, state = event.collaborator, self._context, self._context.state
        late = state.status is Status.RUNNING and not context.roster.is_member(name)
        refusal = admission.refusal(context.plan.admission, state.expected, name, late=late)
        if refusal:
            context.announce(CollaboratorRefused(name, refusal))
            return
        self._connected.add(name)
        context.note_ready(name, event.facts)
        if context.roster.join(name, event.certificate_list):
            context.announce(CollaboratorAdmitted(name, member=not late))
        if state.round is not None:
            if late and context.plan.admission.late_join == "current_round":
                gathering.join_round(context, state.round, name)
            phases.send(context, state.round, name)

    def _on_everybody(self, _: EverybodyJoined) -> None:
        context, state = self._context, self._context.state
        names = state.expected
        if not names:
            raise ValueError("nobody is expected by name, so nobody can have joined with everybody")
        context.roster.join_all(names)
        if len(names) > MOST_NAMED:
            context.announce(CollaboratorsAdmitted(len(names)))
        else:
            for name in names:
                context.announce(CollaboratorAdmitted(name))
        if state.round is not None:
            for name in (*state.round.pending, *buffered.busy(context)):
                phases.send(context, state.round, name)

    def _on_left(self, event: CollaboratorLeft) -> None:
        self._lose(event.collaborator, Failure(FailureKind.LEFT, event.reason), gone=event.gone)

    def _on_revoked(self, event: CollaboratorRevoked) -> None:
        self._lose(event.collaborator, Failure(FailureKind.REVOKED, "its certificate was revoked"), gone=True)

    def _lose(self, name: str, failure: Failure, *, gone: bool) -> None:
        context = self._context
        self._connected.discard(name)
        if not context.roster.leave(name, failure, gone=gone):
            return
        revoked = failure.kind is FailureKind.REVOKED
        context.announce(CollaboratorAway(name, failure.message, gone, revoked))
        if context.state.round is not None:
            phases.notice_leaving(context, context.state.round, context.roster.one(name))

    def _on_update(self, event: UpdateCommitted) -> None:
        current = self._context.state.round
        if current is None:
            phases.refuse_update(self._context, event.update, "no round is open")
        else:
            phases.take_update(self._context, current, event)

    def _on_surplus(self, event: UncountedUpdateArrived) -> None:
        surplus.note(self._context, event)

    def _on_task_failed(self, event: TaskFailed) -> None:
        current = self._context.state.round
        if current is not None:
            phases.take_failure(self._context, current, event)

    def _on_timer(self, event: TimerFired) -> None:
        context, current = self._context, self._context.state.round
        if event.timer == phases.SILENCE_TIMER:
            phases.end_silence(context, current)
        elif current is None:
            if event.timer == lifecycle.ADMISSION_TIMER:
                lifecycle.end_admission(context)
        elif current.waiting and event.timer == current.gather_timer:
            gathering.give_up(context, current)
        elif current.awaited and event.timer == current.deadline_timer:
            phases.pass_deadline(context, current)
        else:
            phases.end_absence(context, current, event.timer)

    def _on_validated(self, event: UpdatesValidated) -> None:
        context, current = self._context, self._context.state.at_step(event.round, Step.VALIDATE)
        if current is None:
            return
        for name, sketch in event.sketches.items():
            if name in context.state.histories and current.phase is Phase.TRAIN:
                context.state.histories[name] = replace(context.state.histories[name], sketch=sketch)
        phases.drop_refused(context, current, event.problems)
        phases.judge_updates(context, current, event.verdicts)
        self._go_on(current)

    def _go_on(self, current: RoundState, *, scored: bool = False) -> None:
        """Have what is left of the updates scored by other sites, if the plan says so, or combined."""
        context = self._context
        if current.phase is Phase.INITIALISE and not current.updates:
            current.step = Step.GATHER
            return
        if len(current.updates) < current.quorum:
            lifecycle.fall_short(context, current, len(current.updates))
            return
        if not current.learned():
            gathering.keep_model(context, current)
            return
        if not scored and cross_evaluation.begin(context, current):
            return
        current.step = Step.AGGREGATE
        context.emit(self._aggregate(current, current.learned()))

    def _on_placed(self, event: UpdatesPlaced) -> None:
        current = self._context.state.at_step(event.round, Step.PLACE)
        if current is not None:
            cross_evaluation.ask(self._context, current, dict(event.models))

    def _aggregate(self, current: RoundState, updates: tuple[Update, ...]) -> Aggregate:
        plan, number = self._context.plan, current.number
        return Aggregate(
            number,
            updates,
            current.base,
            current.base_state,
            current.eligible,
            buffered.counted_factors(plan, number, updates, factors_of(current.verdicts)),
            weights_in(current),
            buffered.bases_of(plan, self._context.state.versions, number, updates),
        )

    def _on_aggregated(self, event: ModelAggregated) -> None:
        context, current = self._context, self._context.state.at_step(event.round, Step.AGGREGATE)
        if current is None:
            return
        current.keep(event.digest, event.server_state)
        if context.state.traffic is not None and event.size_bytes:
            context.state.traffic.model_bytes = event.size_bytes
        buffered.made(context)
        weights = weights_of(list(current.trained.values()), weights_in(current))
        digests = {name: current.trained[name].digest for name in sorted(current.trained)}
        context.announce(ModelMade(current.number, event.digest, weights, digests))
        if current.phase is Phase.INITIALISE:
            lifecycle.publish(context, current)
        else:
            gathering.open_evaluation(context, current)

    def _on_step_failed(self, event: StepFailed) -> None:
        if self._context.state.at_step(event.round, Step.VALIDATE, Step.PLACE, Step.AGGREGATE) is not None:
            failure = replace(event.failure, round=event.round)
            lifecycle.fail(self._context, f"round {event.round}: {failure}", failure)

    def _on_cancel(self, event: CancelRequested) -> None:
        lifecycle.cancel(self._context, event.by)

    def _on_resume(self, _: ResumeRequested) -> None:
        lifecycle.reopen(self._context.state)

    # ---- transitions ----------------------------------------------------------------------------------------------

    def _advance(self) -> bool:
        """Make one transition if one is due."""
        context, current = self._context, self._context.state.round
        if context.state.status.ended:
            return False
        if current is None:
            complete = lifecycle.admission_complete(context)
            if complete:
                lifecycle.start(context)
            return complete
        if current.step is Step.GATHER:
            gathering.begin_phase(context, current)
            return not current.waiting
        return current.step is Step.COLLECT and self._close(current)

    def _close(self, current: RoundState) -> bool:
        """Close the open phase if everybody has answered, or nothing good can come of it any more."""
        context, awaited = self._context, current.awaited
        if context.plan.mode.settings is not None and current.phase is not Phase.INITIALISE:
            return self._close_buffered(current)
        if current.phase is Phase.TRAIN:
            lifecycle.fall_short(context, current, len(current.updates) + awaited)
            if context.state.round is not current:
                return True
        if awaited or context.state.status.ended:
            return False
        if current.phase is Phase.EVALUATE:
            phases.judge_evaluation(context, current)
            lifecycle.publish(context, current)
        elif current.phase is Phase.CROSS_EVALUATE:
            self._end_scoring(current)
        elif current.updates:
            current.step = Step.VALIDATE
            context.emit(buffered.validation(context, current))
        else:
            current.step = Step.GATHER
        return True

    def _end_scoring(self, current: RoundState) -> None:
        reason = cross_evaluation.close(self._context, current)
        if reason:
            lifecycle.fail(self._context, reason, Failure(FailureKind.COMBINE, reason, round=current.number))
        else:
            self._go_on(current, scored=True)

    def _close_buffered(self, current: RoundState) -> bool:
        """Close the phase of a version that is made of the first updates that come; see `_close`."""
        context = self._context
        if current.phase is Phase.TRAIN:
            closed, reason = buffered.close(context, current)
            lifecycle.fail(context, reason)
            return closed
        if current.awaited:
            buffered.fill(context, current)
            return False
        phases.judge_evaluation(context, current)
        buffered.drop_stale(context, current.number + 1)
        lifecycle.publish(context, current)
        return True
