"""An experiment that is played event by event: commands are answered as a loop and its sites would."""

from collections.abc import Sequence

from openfl_like.federation.announcements import Wanted
from openfl_like.federation.events import (
    Aggregate,
    Announce,
    Command,
    Event,
    ModelAggregated,
    SendAssignment,
    UpdatesValidated,
    ValidateUpdates,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.task import Assignment


class PlayedExperiment:
    """Feeds an experiment with events, and with the answers to what it asks for; time stands still.

    Attributes:
        experiment: It.
        commands: All that it has given, in order.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.commands: list[Command] = []

    def feed(self, *events: Event) -> None:
        queue = list(events)
        while queue:
            commands = self.experiment.handle(queue.pop(0), 0.0)
            self.commands += commands
            for command in commands:
                queue += self.answer(command)

    def answer(self, command: Command) -> Sequence[Event]:
        match command:
            case SendAssignment(job):
                return self.perform(job)
            case ValidateUpdates(number):
                return [UpdatesValidated(number)]
            case Aggregate(number):
                return [ModelAggregated(number, f"model-{number}")]
        return []

    def perform(self, job: Assignment) -> Sequence[Event]:
        """What a site answers to an assignment; nothing unless a test says otherwise."""
        del job
        return []

    def announced(self) -> list[object]:
        return [item.announcement for item in self.commands if isinstance(item, Announce)]

    def told(self, kind: type[Wanted]) -> list[Wanted]:
        return [item for item in self.announced() if isinstance(item, kind)]
