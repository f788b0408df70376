"""What went wrong, as one value: made where the exception is caught, carried as fields, put into words at the end.

Nothing is decided by the words: they hold what submitted code says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from openfl_like.errors import FederationError, ShardError, TaskError, WorkspacePartError
from openfl_like.federation.task import Phase

MAX_MESSAGE, MAX_NAME = 2000, 200
"""Characters of a message, and of each name: the rest is cut where a failure comes in from another process."""
_MOST = 2**31 - 1
_NAMES = ("error", "file", "task", "step", "site", "call", "samples", "targets")


class FailureKind(StrEnum):
    """What it is that went wrong.

    Attributes:
        TASK: Code that a site ran raised, or returned something that cannot be used.
        WORKER: A site's worker ended over its task.
        DEADLINE: An answer did not come in time.
        LEFT: A collaborator ended, or its connection did.
        NOT_BACK: A collaborator did not connect again.
        REVOKED: A collaborator's certificate was revoked.
        REFUSED: An update failed its checks.
        ORDER: A site did not take the order to take part.
        ENVIRONMENT: A site could not install the packages that the workspace needs.
        NOT_JOINED: A site's collaborator ended before it had joined.
        MISSING: A site that was asked to take part was not there when a round was made.
        TOO_FEW: Too few envoys were there, or too few collaborators joined.
        QUORUM: Too few updates could come for a round; the absences of the round say why.
        SELECTION: The selector has chosen fewer sites than a round needs, although enough of them were here.
        CONTROL: A controller of the plan failed, or decided what cannot be done.
        PART: A part of a round that the workspace brings did not do what it is for.
        COMBINE: The updates of a round could not be combined.
        AGGREGATOR: The Aggregator ended.
        DIRECTOR: The Director could not run the experiment.
        SIMULATED: A simulated device failed or was away, as the plan's ``simulation.devices`` has it.
        TOLD: Of a record of 0.1.0, which has only the words.
    """

    TASK = "task"
    WORKER = "worker"
    DEADLINE = "deadline"
    LEFT = "left"
    NOT_BACK = "not_back"
    REVOKED = "revoked"
    REFUSED = "refused"
    ORDER = "order"
    ENVIRONMENT = "environment"
    NOT_JOINED = "not_joined"
    MISSING = "missing"
    TOO_FEW = "too_few"
    QUORUM = "quorum"
    SELECTION = "selection"
    CONTROL = "control"
    PART = "part"
    COMBINE = "combine"
    AGGREGATOR = "aggregator"
    DIRECTOR = "director"
    SIMULATED = "simulated"
    TOLD = "told"


_AT_A_TASK = frozenset({FailureKind.TASK, FailureKind.WORKER, FailureKind.DEADLINE})
OF_DEVICES = frozenset(
    {FailureKind.DEADLINE, FailureKind.LEFT, FailureKind.NOT_BACK, FailureKind.MISSING, FailureKind.SIMULATED}
)
"""What simulated devices are missing for, as their plan has it."""
_BEGINNINGS = {
    FailureKind.LEFT: "left: ",
    FailureKind.REVOKED: "was put out: ",
    FailureKind.REFUSED: "was refused: ",
    FailureKind.ORDER: "refused: ",
    FailureKind.ENVIRONMENT: "refused: ",
    FailureKind.NOT_JOINED: "its collaborator ended before it joined: ",
    FailureKind.MISSING: "has not joined",
    FailureKind.COMBINE: "the updates could not be combined: ",
    FailureKind.AGGREGATOR: "the aggregator ended: ",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong.

    Attributes:
        kind: What it is.
        message: What was said of it.
        error: Class of the exception, whatever its name; empty if there was none.
        file: File of the workspace in which it was raised; empty if none is known.
        line: Line of that file.
        task: The task that was performed; empty outside tasks.
        step: What else was being done, such as ``loading the model``.
        phase: In which phase of a round.
        round: In which round; None: in none.
        site: At which site; empty: at none.
        exit_code: Of the process that ended; negative: the signal that killed it.
        call: Where no line of the workspace is known: the line of the platform's own training loop that raised.
        samples: Dtype and shape of the samples at hand, as ``float32[16, 30]``; empty: it was not over a batch.
        targets: Dtype and shape of their targets.
    """

    kind: FailureKind
    message: str = ""
    error: str = ""
    file: str = ""
    line: int = 0
    task: str = ""
    step: str = ""
    phase: Phase | None = None
    round: int | None = None
    site: str = ""
    exit_code: int | None = None
    call: str = ""
    samples: str = ""
    targets: str = ""

    @property
    def said(self) -> str:
        """The exception and what was said, with its line and the batch."""
        what = f"{self.error}: {self.message}" if self.error and self.message else self.error or self.message
        where = f"{self.file}:{self.line}" if self.file else f"the training loop's '{self.call}'" if self.call else ""
        told = [where, f"the batch has {self.batch}"] if self.batch else [where]
        places = "; ".join(part for part in told if part)
        return f"{what} ({places})" if places else what

    @property
    def batch(self) -> str:
        """What the batch at hand was like; empty if there was none."""
        return f"samples {self.samples}, targets {self.targets}" if self.samples else ""

    def __str__(self) -> str:
        if self.kind in _AT_A_TASK and (self.task or self.step):
            where = f"in task '{self.task}'" if self.task else f"over {self.step}"
            return f"failed {where}: {self.said}"
        return f"{_BEGINNINGS.get(self.kind, '')}{self.said}"


class FailedTaskError(TaskError):
    """A task failed; ``failure`` says how."""

    def __init__(self, message: str, failure: Failure, *, cure: str = "") -> None:
        super().__init__(message, cure=cure)
        self.failure = failure


class FailedShardError(ShardError):
    """The code of a shard raised; ``failure`` says how."""

    def __init__(self, message: str, failure: Failure, *, place: str = "", cure: str = "") -> None:
        super().__init__(message, place=place, cure=cure)
        self.failure = failure


class FailedPartError(WorkspacePartError):
    """A part of a round that the workspace brings failed; ``failure`` says how."""

    def __init__(self, failure: Failure) -> None:
        place = f"{failure.file}:{failure.line}" if failure.file else ""
        super().__init__(failure.message, place=place, cure="see docs/workspace-parts.md")
        self.failure = failure


def part_failed(part: str, what: str, file: str = "", line: int = 0) -> FailedPartError:
    """Return the error that a part of the workspace failed.

    Args:
        part: Which one, as ``the selector 'src.mine:Mine'``.
        what: What it did.
        file: The file of the workspace in which it was raised, if that is known.
        line: Its line.
    """
    text = " ".join(f"{part} {what}".split())
    return FailedPartError(Failure(FailureKind.PART, bounded(text), file=bounded(file, MAX_NAME), line=line))


def failure_of(error: Exception) -> Failure:
    """Return what went wrong at a site."""
    if isinstance(error, FailedTaskError | FailedShardError):
        return error.failure
    if isinstance(error, TaskError):  # what we say ourselves of a task: the class tells nothing
        return Failure(FailureKind.TASK, error.message)
    text = str(error) if isinstance(error, FederationError) else one_line(error)
    return Failure(FailureKind.TASK, bounded(text), bounded(type(error).__name__, MAX_NAME))


def one_line(error: BaseException) -> str:
    """Return what an exception and its notes say, white space made single spaces; its own code may fail at that."""
    try:
        text = " ".join((str(error), *getattr(error, "__notes__", ())))
    except BaseException:  # noqa: BLE001 (submitted code may raise anything here, too)
        text = "it cannot say what happened: its own __str__ raises"
    return bounded(" ".join(text.split()))


def bounded(text: str, most: int = MAX_MESSAGE) -> str:
    """Return a text cut, and with what no encoding takes (halves of characters, of file names say) written out."""
    return text[:most].encode(errors="backslashreplace").decode()[:most]


def fields_of_failure(failure: Failure) -> dict[str, object]:
    """Return a failure as JSON values; what is not known is left out."""
    values = {item.name: getattr(failure, item.name) for item in fields(failure)}
    return {name: value for name, value in values.items() if value not in {"", None} and (name != "line" or value)}


def failure_from_fields(values: Mapping[str, Any]) -> Failure:
    """Read what `fields_of_failure` gave, of another process: everything is bounded.

    Raises:
        ValueError: If the values are not those of a failure.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{type(values).__name__} is not a failure")  # noqa: TRY004 (what a peer sent, no caller's type)
    try:
        phase, number, code = values.get("phase"), values.get("round"), values.get("exit_code")
        return Failure(
            kind=FailureKind(values["kind"]),
            message=bounded(str(values.get("message", ""))),
            line=_number(values.get("line", 0)),
            phase=None if phase is None else Phase(phase),
            round=None if number is None else _number(number),
            exit_code=None if code is None else _number(code),
            **{name: bounded(str(values.get(name, "")), MAX_NAME) for name in _NAMES},
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"these are not the fields of a failure: {error}") from None


def fields_of_failures(failures: Mapping[str, Failure]) -> dict[str, object]:
    """Return the failures of several sites as JSON values."""
    return {name: fields_of_failure(failure) for name, failure in failures.items()}


def failures_from_fields(values: Mapping[str, Any]) -> dict[str, Failure]:
    """Read what `fields_of_failures` gave, or the words that 0.1.0 wrote in its place.

    Raises:
        ValueError: If a value is neither.
    """
    return {
        name: Failure(FailureKind.TOLD, bounded(value)) if isinstance(value, str) else failure_from_fields(value)
        for name, value in values.items()
    }


def _number(value: object) -> int:
    number = int(str(value))
    return max(-_MOST, min(number, _MOST))
