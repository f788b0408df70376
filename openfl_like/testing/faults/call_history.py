"""What a client asked and what it was told, one JSON line for each call: the first witness of every chaos run."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

from openfl_like.errors import FederationError, InternalError

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Told:
    """What an answer said.

    Attributes:
        experiment: Id of the experiment it was about.
        status: Its status by then; empty if the answer did not tell.
        sha256: SHA-256 (hex) of a model that was fetched.
    """

    experiment: str = ""
    status: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One call of a client; times are seconds since the epoch.

    Attributes:
        name: ``submit``, ``watch``, ``cancel``, ``model`` …
        start: When it was made.
        end: When it was answered.
        request_id: Of a submission; every repetition has the same.
        told: What the answer said; None when there was none.
        error: Code of the error, and its text, when there was no answer.
    """

    name: str
    start: float
    end: float
    request_id: str = ""
    told: Told | None = None
    error: str = ""


@dataclass(slots=True)
class History:
    """Appends calls to a file, each as soon as it is over.

    Args:
        path: The file.
        now: Seconds since the epoch.
    """

    path: Path
    now: Callable[[], float] = time.time
    calls: int = field(default=0, init=False)
    answered: int = field(default=0, init=False)

    def begin(self, name: str, request_id: str = "") -> "Pending":
        """Note that a call begins."""
        return Pending(self, name, request_id, self.now())

    def add(self, call: RecordedCall) -> None:
        """Append a call."""
        self.calls += 1
        self.answered += call.told is not None
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(call)) + "\n")


@dataclass(frozen=True, slots=True)
class Pending:
    """A call that has begun."""

    history: History
    name: str
    request_id: str
    start: float

    def answered(self, told: Told) -> None:
        """Note its answer; a stream of answers notes each."""
        self.history.add(RecordedCall(self.name, self.start, self.history.now(), self.request_id, told))

    def failed(self, error: FederationError) -> None:
        """Note that there was none."""
        text = f"{error.code} {error}"
        self.history.add(RecordedCall(self.name, self.start, self.history.now(), self.request_id, error=text))


def read_history(path: Path) -> list[RecordedCall]:
    """Return the calls in the order in which they ended; a line that was cut at the end is left out.

    Raises:
        InternalError: If a line before the last is no call.
    """
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    calls = []
    for number, line in enumerate(lines, 1):
        try:
            values = json.loads(line)
            told = Told(**values.pop("told")) if values.get("told") else values.pop("told", None)
            calls.append(RecordedCall(**values, told=told))
        except (ValueError, TypeError, AttributeError) as error:
            if number == len(lines):
                break
            raise InternalError(f"this is not a call: {error}", place=f"{path}:{number}") from error
    return calls
