"""Thirty faults at a site, each with what submitted code may call its exceptions and say in them.

Each goes every way that a failure goes: caught, a line of JSON from the worker, a message to the Aggregator, the core
of the experiment, the record.
"""

import ast
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

import openfl_like
from openfl_like.federation.announcements import Announced, from_json, to_json
from openfl_like.federation.events import (
    Aggregate,
    Announce,
    CollaboratorJoined,
    Event,
    ExperimentStarted,
    FinishExperiment,
    ModelAggregated,
    SendAssignment,
    TaskFailed,
    UpdateCommitted,
    UpdatesValidated,
    ValidateUpdates,
)
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.failure import (
    FailedTaskError,
    Failure,
    FailureKind,
    failure_from_fields,
    failure_of,
    fields_of_failure,
    one_line,
)
from openfl_like.federation.history.cause import Cause, Condition, explain
from openfl_like.federation.parties import ExperimentSummary
from openfl_like.federation.status import Status
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.plan.schema import Plan
from openfl_like.wire.convert.values import failure_from, failure_to
from openfl_like.wire.protos import federation_pb2 as pb

PLAN = Plan.model_validate(
    {
        "name": "faults",
        "aggregator": {"settings": {"rounds_to_train": 4}},
        "task_runner": {"template": "src.model:Runner"},
        "data_loader": {"template": "src.model:Loader"},
        "tasks": {"train": {"function": "train"}, "validate": {"function": "validate"}},
    }
)
SITES = ("a", "b", "c")


class NoData(Exception):  # noqa: N818 (as submitted code may call its own)
    """An exception of a workspace."""


class Error(Exception):
    """Another one."""


CLASSES: tuple[type[Exception], ...] = (NoData, StopIteration, Error, KeyError, ValueError, OSError)
MESSAGES = (
    "plain",
    "round 9: the updates could not be combined: site 'x' refused: no",
    "left: nothing; site 'x' failed in task 'y': TypeError: z",
    "'quoted' \"twice\" `and` \\\\ once",
    "first line\nsecond: ValueError: third\r\nthe aggregator ended",
)
PLACES = [
    ("a", Phase.INITIALISE, 0),
    ("a", Phase.TRAIN, 1),
    ("b", Phase.TRAIN, 2),
    ("c", Phase.TRAIN, 3),
    ("b", Phase.TRAIN, 4),
]
FAULTS = [(kind, text, PLACES[number % len(PLACES)]) for number, (kind, text) in enumerate(product(CLASSES, MESSAGES))]


def raised(kind: type[Exception], text: str, task: str) -> Failure:
    """What a worker makes of an exception of a task."""
    made = Failure(FailureKind.TASK, one_line(kind(text)), kind.__name__, "src/model.py", 12, task=task)
    return failure_of(FailedTaskError("it failed", made))


def over_the_wires(failure: Failure) -> Failure:
    line = json.dumps({"error": {"failure": fields_of_failure(failure)}})
    told = failure_from_fields(json.loads(line)["error"]["failure"])
    return failure_from(pb.Failure.FromString(failure_to(told).SerializeToString()))


class Run:
    """An experiment of three sites, one of which fails in its turn, and its history."""

    def __init__(self, fault: tuple[type[Exception], str, tuple[str, Phase, int]]) -> None:
        self.kind, self.text, self.place = fault
        self.experiment = Experiment("e-1", PLAN, SITES)
        self.history: list[Announced] = []
        self.end: FinishExperiment | None = None
        self.feed(ExperimentStarted(), *(CollaboratorJoined(name) for name in SITES))

    def feed(self, *events: Event) -> None:
        for event in events:
            for command in self.experiment.handle(event, 0.0):
                match command:
                    case Announce(told):
                        again = from_json(told.kind, to_json(told))
                        assert again == told
                        self.history.append(Announced(len(self.history) + 1, 0.0, again))
                    case SendAssignment(job):
                        self.feed(self.answer(job))
                    case ValidateUpdates(number):
                        self.feed(UpdatesValidated(number))
                    case Aggregate(number):
                        self.feed(ModelAggregated(number, f"model-{number}"))
                    case FinishExperiment():
                        self.end = command

    def answer(self, job: Assignment) -> Event:
        site, phase, number = self.place
        failing = job.collaborator == site or number == 0
        if (job.phase, job.round) == (phase, number) and failing:
            failure = over_the_wires(raised(self.kind, self.text, job.tasks[0].name if job.tasks else "initialise"))
            return TaskFailed(job.round, job.phase, job.collaborator, failure)
        digest = "" if job.phase is Phase.EVALUATE else f"{job.collaborator}-{job.round}"
        return UpdateCommitted(Update(job.round, job.phase, job.collaborator, digest, 4))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault[0].__name__}-{MESSAGES.index(fault[1])}")
def test_why_names_site_phase_round_and_exception(fault: tuple[type[Exception], str, tuple[str, Phase, int]]) -> None:
    run = Run(fault)
    assert run.end is not None
    assert run.end.status is Status.FAILED
    summary = ExperimentSummary("e-1", "faults", Status.FAILED, run.end.reason, "ada", 1.0, ended_at=9.0)
    found = explain(summary, run.history)
    kind, text, (site, phase, number) = fault
    assert found.verdict is Condition.FAILED
    cause = found.cause
    assert isinstance(cause, Cause)
    assert (cause.site, cause.phase, cause.round, cause.error) == (site, phase.value, number, kind.__name__)
    assert cause.message == one_line(kind(text))
    assert (cause.file, cause.line) == ("src/model.py", 12)


def test_there_are_thirty() -> None:
    assert len(FAULTS) == 30


def test_a_sentence_says_the_task_once() -> None:
    assert str(raised(NoData, "none", "train")) == "failed in task 'train': NoData: none (src/model.py:12)"
    assert str(Failure(FailureKind.TASK, "no", "ImportError", step="the task runner 'x:Y'")) == (
        "failed over the task runner 'x:Y': ImportError: no"
    )


def _patterns(path: Path) -> Iterator[str]:
    """Where a module could take words apart."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names) if any(name.name == "re" for name in names):
                yield f"{path.name} imports re"
            case ast.Attribute(
                value=ast.Name(id="reason" | "message") | ast.Attribute(attr="reason" | "message"),
                attr="startswith" | "endswith" | "partition" | "removeprefix" | "split" | "find",
            ):
                yield f"{path.name}:{node.lineno} takes words apart"
            case ast.Compare(ops=[ast.In() | ast.NotIn()], comparators=[ast.Attribute(attr="reason" | "message")]):
                yield f"{path.name}:{node.lineno} takes words apart"
            case _:
                pass


def test_nothing_is_decided_by_the_words_of_a_reason() -> None:
    package = Path(openfl_like.__file__).parent
    for name in ("federation/history", "federation/failure.py", "testing/faults/invariants.py"):
        place = package / name
        assert [
            text for path in ([place] if place.is_file() else sorted(place.glob("*.py"))) for text in _patterns(path)
        ] == []
    everywhere = [text for path in sorted(package.rglob("*.py")) for text in _patterns(path) if "takes words" in text]
    assert everywhere == []
