"""What the parent of a callback's process tells it, and is told: lines of JSON, and events as the record has them."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue, TypeAdapter, ValidationError

from openfl_like.federation.announcements import Announced, from_json
from openfl_like.federation.callback_end import CallbackEnd
from openfl_like.federation.failure import bounded
from openfl_like.peer_json import read_peer_json

MOST_MESSAGE = 2000
"""Characters of what is told of the end of a callback."""
_ANSWER_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class CodeOfCallbacks:
    """Where callbacks are that the workspace brings.

    Attributes:
        workspace: The folder of their modules.
        confined: Whether they are kept from all files but code, models and their own folder, from the network, and from
            starting processes: whoever brought them is not who runs them.
    """

    workspace: Path
    confined: bool = False


@dataclass(frozen=True, slots=True)
class CallbackOrder:
    """What a process is to be.

    Attributes:
        template: The callback's registered name, or ``module:attr`` of the workspace.
        settings: Its settings.
        directory: Where it writes.
        experiment: The directory of the experiment's record.
        most_bytes: So many bytes its files may have.
        code: Where it is, if the workspace brings it.
    """

    template: str
    settings: dict[str, JsonValue]
    directory: str
    experiment: str
    most_bytes: int
    code: CodeOfCallbacks | None = None


@dataclass(frozen=True, slots=True)
class CallbackAnswer:
    """That a batch was taken; or, with ``end``, that nothing more will be."""

    end: CallbackEnd | None = None
    message: str = ""


_ORDER, _ANSWER = TypeAdapter(CallbackOrder), TypeAdapter(CallbackAnswer)


def order_line(order: CallbackOrder) -> bytes:
    """Return the first line that a process reads."""
    return _ORDER.dump_json(order) + b"\n"


def order_from(line: bytes) -> CallbackOrder:
    """Read that line."""
    return _ORDER.validate_json(line)


def answer_line(answer: CallbackAnswer) -> bytes:
    """Return the line that answers a batch, or the end of all."""
    return _ANSWER.dump_json(answer) + b"\n"


def answer_from(line: str) -> CallbackAnswer:
    """Read that line; raises ValueError if it is none."""
    try:
        answer = _ANSWER.validate_python(read_peer_json(line, _ANSWER_BYTES))
    except ValidationError as error:
        raise ValueError("it is no answer of a callback") from error
    return CallbackAnswer(answer.end, bounded(" ".join(answer.message[:MOST_MESSAGE].split()), MOST_MESSAGE))


def batch_lines(events: Sequence[Announced], *, more: bool) -> bytes:
    """Return some events as lines: how many there are and whether more wait, then each in the form of the record."""
    lines = [json.dumps([len(events), more])]
    for event in events:
        head = json.dumps([event.sequence, event.time, event.kind])
        lines += [head, event.fields_json]
    return "".join(f"{line}\n" for line in lines).encode()


def batches_from(lines: Iterable[bytes]) -> Iterator[tuple[list[Announced], bool]]:
    """Yield the batches that our parent sends, until it sends no more."""
    source = iter(lines)
    for line in source:
        count, more = json.loads(line)
        events = []
        for _ in range(count):
            sequence, time, kind = json.loads(next(source))
            events.append(Announced(sequence, time, from_json(kind, next(source))))
        yield events, more
