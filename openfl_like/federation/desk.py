"""What the rules of an experiment have before them while an event is handled."""

from dataclasses import dataclass, field

from openfl_like.federation.assignment import Assigner, calls_in_phase
from openfl_like.federation.events import Announce, Command, Notice
from openfl_like.federation.roster import Roster
from openfl_like.federation.selection import Selector
from openfl_like.federation.state import ExperimentState
from openfl_like.federation.task import Phase, TaskCall
from openfl_like.plan.schema import Plan


@dataclass(slots=True)
class Desk:
    """The plan and its parts, the state, the time of the event, and the commands given so far."""

    plan: Plan
    selector: Selector
    assigner: Assigner
    state: ExperimentState
    now: float = 0.0
    commands: list[Command] = field(default_factory=list)

    @property
    def roster(self) -> Roster:
        """The collaborators."""
        return self.state.roster

    def emit(self, command: Command) -> None:
        """Gives a command."""
        self.commands.append(command)

    def announce(self, kind: Notice, **fields: object) -> None:
        """Gives the command to tell everybody."""
        self.commands.append(Announce(kind, fields))

    def calls(self, name: str, phase: Phase) -> tuple[TaskCall, ...]:
        """The tasks of a collaborator in a phase."""
        tasks = self.plan.tasks
        return calls_in_phase(tasks, self.assigner.tasks_for(name, tuple(tasks)), phase)

    def take_commands(self) -> list[Command]:
        """Hands out the commands and forgets them."""
        commands, self.commands = self.commands, []
        return commands
