"""What code of a workspace says is cut, and can be written down, before anybody keeps it."""

from collections.abc import Sequence

from played import PlayedExperiment

from openfl_like.federation.announcements import CollaboratorAbsent, ExperimentEnded, UpdateRefused
from openfl_like.federation.events import (
    CollaboratorJoined,
    Command,
    Event,
    ExperimentStarted,
    UpdateCommitted,
    UpdatesValidated,
    ValidateUpdates,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.status import Status
from openfl_like.federation.task import Assignment, Update
from openfl_like.plan.schema import Plan

REASON = "\ud800 no " * 10_000
PLAN = {
    "name": "demo",
    "aggregator": {"settings": {"rounds_to_train": 2}},
    "task_runner": {"template": "src.model:Runner"},
    "data_loader": {"template": "src.model:Loader"},
    "tasks": {"train": {"function": "train"}},
}


class Refused(PlayedExperiment):
    """One site, whose update a validator refuses at length."""

    def answer(self, command: Command) -> Sequence[Event]:
        if isinstance(command, ValidateUpdates) and command.round:
            return [UpdatesValidated(command.round, {"a": REASON})]
        return super().answer(command)

    def perform(self, job: Assignment) -> Sequence[Event]:
        return [UpdateCommitted(Update(job.round, job.phase, job.collaborator, f"update-{job.round}", 4))]


def test_a_reason_that_no_encoding_takes_goes_nowhere_as_it_is() -> None:
    played = Refused(Experiment("exp-1", Plan.model_validate(PLAN), ("a",), "given"))
    played.feed(ExperimentStarted(), CollaboratorJoined("a"))
    assert played.experiment.status is Status.FAILED
    told = [
        *(one.reason for one in played.told(UpdateRefused)),
        *(one.reason for one in played.told(CollaboratorAbsent)),
        *(one.reason for one in played.told(ExperimentEnded)),
        played.experiment.reason,
    ]
    assert len(told) == 4
    for text in told:
        assert text.encode()
        assert len(text) < 5_000
