"""What the rules of an experiment have before them while an event is handled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from openfl_like.federation.announcements import Announcement
from openfl_like.federation.control.decision import Controller
from openfl_like.federation.events import Announce, Command, SendAssignment
from openfl_like.federation.participation.assignment import Assigner, SameTasks, calls_in_phase
from openfl_like.federation.participation.membership import Membership
from openfl_like.federation.participation.needs import Needs
from openfl_like.federation.participation.selection import SelectionView, Selector
from openfl_like.federation.participation.work import TasksAlone, WorkPolicy, WorkView
from openfl_like.federation.reports.machine import UNTOLD, MachineFacts
from openfl_like.federation.seeds import derive_seed
from openfl_like.federation.state import ExperimentState
from openfl_like.federation.task import Assignment, Phase, TaskCall, Work
from openfl_like.plan.limits import return_limit_s
from openfl_like.plan.schema import Plan


@dataclass(slots=True)
class ExperimentContext:
    """The plan and its parts, the state, the time of the event, and the commands given so far.

    ``needs`` is what the selectors go by besides what sites have done.
    """

    plan: Plan
    selector: Selector
    evaluation_selector: Selector
    assigner: Assigner
    controllers: tuple[Controller, ...]
    work: WorkPolicy
    state: ExperimentState
    needs: frozenset[str] = frozenset()
    now: float = 0.0
    commands: list[Command] = field(default_factory=list)
    _dealt: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    _dealt_in: int | None = None
    _calls: dict[tuple[tuple[str, ...], Phase], tuple[TaskCall, ...]] = field(default_factory=dict)

    @property
    def remembers(self) -> bool:
        """Whether a selector, a controller, or who says how much sites train, goes by what they have done."""
        parts = (self.selector, self.evaluation_selector, self.work, *self.controllers)
        return any(getattr(part, "remembers", False) is True for part in parts)

    @property
    def roster(self) -> Membership:
        """The collaborators."""
        return self.state.roster

    @property
    def return_limit_s(self) -> float:
        """Seconds that a collaborator may take to come back."""
        return return_limit_s(self.plan.deadline, self.state.longest_s.values())

    def emit(self, command: Command) -> None:
        """Give a command."""
        self.commands.append(command)

    def give_out(self, assignment: Assignment) -> None:
        """Give the command to hand an assignment out, and count its model."""
        if self.state.traffic is not None:
            self.state.traffic.give(assignment.collaborator, assignment.model)
        self.emit(SendAssignment(assignment))

    def announce(self, announcement: Announcement) -> None:
        """Give the command to tell everybody."""
        self.commands.append(Announce(announcement))

    def deal(self) -> None:
        """Divide the tasks of the open round among its members; once more whenever members have come."""
        number = self.state.round.number if self.state.round is not None else 0
        seed = derive_seed(self.plan.seed, number, "assignment")
        self._dealt = self.assigner.deal(self.roster.members(), tuple(self.plan.tasks), seed)
        self._dealt_in = number

    def calls(self, name: str, phase: Phase) -> tuple[TaskCall, ...]:
        """The tasks of a collaborator in a phase of the open round; whoever has trained scores updates as well."""
        if phase is Phase.CROSS_EVALUATE:
            return self._called(tuple(self.plan.tasks), phase)
        if self.state.round is None or self._dealt_in != self.state.round.number:
            self.deal()
        return self._called(self._dealt.get(name, ()), phase)

    def _called(self, names: tuple[str, ...], phase: Phase) -> tuple[TaskCall, ...]:
        if (names, phase) not in self._calls:
            self._calls[names, phase] = calls_in_phase(self.plan.tasks, names, phase)
        return self._calls[names, phase]

    def work_of(self, names: Sequence[str]) -> dict[str, Work]:
        """How much those are to train that are asked in the open round, where the plan's tasks do not say it."""
        if isinstance(self.work, TasksAlone):
            return {}
        number = self.state.round.number if self.state.round is not None else 0
        seeds = derive_seed(self.plan.seed, number, "work"), derive_seed(self.plan.seed, 0, "work")
        rounds = self.plan.aggregator.settings.rounds
        return dict(self.work.assign(WorkView(sorted(names), *seeds, number, rounds, self.state.histories)))

    def view_of(self, eligible: Sequence[str], purpose: str) -> SelectionView:
        """Return what a selector sees in the open round.

        Args:
            eligible: Who may be chosen.
            purpose: Names the stream of random numbers that it draws from.
        """
        state = self.state
        number = state.round.number if state.round is not None else 0
        return SelectionView(
            eligible,
            self.roster.present(eligible),
            derive_seed(self.plan.seed, number, purpose),
            number,
            state.histories,
            connected=state.ready_order,
            facts=state.facts,
        )

    def note_ready(self, name: str, facts: MachineFacts) -> None:
        """Remember of a site that is ready what selectors go by."""
        state = self.state
        if Needs.ORDER in self.needs and name not in state.ready_order:
            state.ready_order = (*state.ready_order, name)
        if Needs.MACHINE in self.needs and facts != UNTOLD:
            state.facts[name] = facts

    def members_with_calls(self, phase: Phase) -> Sequence[str]:
        """The members that have a task in a phase of the open round, sorted."""
        if self.state.round is None or self._dealt_in != self.state.round.number:
            self.deal()
        members = self.roster.members()
        if not members or not isinstance(self._dealt, SameTasks):
            return [name for name in members if self.calls(name, phase)]
        return members if self.calls(members[0], phase) else ()

    def take_commands(self) -> list[Command]:
        """Hand out the commands and forget them."""
        commands, self.commands = self.commands, []
        return commands
