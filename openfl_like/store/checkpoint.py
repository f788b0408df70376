"""A checkpoint: an experiment that has ended, as one file that another Director can take in.

It is an archive as `plan.archive` describes, with these entries::

    checkpoint.json             who and what, and size and digest of every other entry
    bundle.tar                  as it was submitted
    events.jsonl                the history
    models/v0003.safetensors    the models that are kept, the last and the best among them
    models/v0003.state.safetensors  what rule and server optimizer keep beside a model, if they do
    plan.json                   the frozen plan
    record.json                 snapshot, epoch and versions

The same experiment gives the same bytes. A database file is not part of it: rows are values that can be checked, and a
file for SQLite from anybody is not.
"""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic import JsonValue, TypeAdapter, ValidationError

from openfl_like.errors import BundleError, ConflictError, no_room
from openfl_like.federation.announcements import Announced, from_fields, to_json
from openfl_like.federation.failure import failure_from_fields, failures_from_fields
from openfl_like.federation.parties import ExperimentSummary
from openfl_like.peer_json import read_peer_json
from openfl_like.plan.bundles.archive import BLOCK, END, ArchiveReader, Kind, header_of
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import Recorded, Stores
from openfl_like.tensors.manifest import ChunkDigests, manifest_of

FORMAT = "openfl-like checkpoint 1"
MAX_CHECKPOINT_BYTES = 64 << 30
HEAD, BUNDLE, EVENTS, PLAN, RECORD = "checkpoint.json", "bundle.tar", "events.jsonl", "plan.json", "record.json"
CHECKPOINT = Kind("checkpoint", HEAD, MAX_CHECKPOINT_BYTES)
_MODEL = re.compile(r"models/v(\d{4,9})\.safetensors")
_STATE = re.compile(r"models/v(\d{4,9})\.state\.safetensors")
_FIXED = frozenset({BUNDLE, EVENTS, PLAN, RECORD})
_MOST_BYTES = {HEAD: 4 << 20, RECORD: 64 << 20, PLAN: 4 << 20, EVENTS: 1 << 30, BUNDLE: 128 << 20}
_LINE_BYTES = 4 << 20
_DAMAGED = "fetch it again, or export it again; nothing of it was taken in"
_COPY_BYTES = 1 << 20
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Origin:
    """Who submitted the bundle where the checkpoint was made.

    Attributes:
        federation: Name of that federation.
        signature: The submitter's signature over the bundle's digest, hex.
        certificates: The submitter's chain there, PEM.
    """

    federation: str
    signature: str
    certificates: str


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """An entry: its size and its identity as a file."""

    size_bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the first entry says.

    Attributes:
        summary: The experiment as its Director had it.
        bundle: Digest of its workspace bundle.
        origin: Who submitted that.
        members: Path -> entry, of all others.
    """

    summary: ExperimentSummary
    bundle: str
    origin: Origin
    members: Mapping[str, ArchiveEntry]

    def models(self) -> dict[int, ArchiveEntry]:
        """The models in it, by round."""
        return self._by_round(_MODEL)

    def server_states(self) -> dict[int, ArchiveEntry]:
        """What rule and server optimizer keep, by round."""
        return self._by_round(_STATE)

    def _by_round(self, form: re.Pattern[str]) -> dict[int, ArchiveEntry]:
        found = ((form.fullmatch(path), member) for path, member in sorted(self.members.items()))
        return {int(match[1]): member for match, member in found if match is not None}


@dataclass(frozen=True, slots=True)
class EventLine:
    """An announcement as a line of a checkpoint has it; the fields with the version of their form."""

    sequence: int
    time: float
    kind: str
    fields: Mapping[str, JsonValue] = field(default_factory=dict)


_CHECKPOINT: TypeAdapter[Checkpoint] = TypeAdapter(Checkpoint)
_RECORD: TypeAdapter[Recorded] = TypeAdapter(Recorded)
_EVENT: TypeAdapter[EventLine] = TypeAdapter(EventLine)

# ---- writing ------------------------------------------------------------------------------------------------------


def write_checkpoint(
    summary: ExperimentSummary, origin: Origin, bundle: str, files: ExperimentFiles, stores: Stores, out: Path
) -> None:
    """Write the checkpoint of an experiment that has ended and that nobody touches meanwhile.

    Args:
        summary: The experiment.
        origin: Who submitted it.
        bundle: Digest that its bundle has.
        files: Its directory.
        stores: Opens its record.
        out: The archive; a folder of nearly this name is there while it is written.

    Raises:
        ConflictError: If a file is missing or is not what the record says.
        StorageError: If there is no room for it.
    """
    scratch = out.with_name(f"{out.name}.parts")
    scratch.mkdir(mode=0o700)
    try:
        with contextlib.closing(stores.experiment(files)) as store:
            recorded = store.recorded()
            (scratch / EVENTS).write_bytes(b"".join(_line(_EVENT, _event_line(event)) for event in store.events()))
        (scratch / RECORD).write_bytes(_line(_RECORD, recorded))
        sources = _sources(recorded, files, scratch)
        members = {path: _member(source) for path, source in sources.items()}
        checkpoint = Checkpoint(summary, bundle, origin, members)
        _agree(checkpoint, recorded, f"the directory of '{summary.id}'")
        with out.open("xb") as archive:
            _append(archive, HEAD, _head(checkpoint))
            for path, source in sources.items():
                _copy(archive, path, source, members[path].size_bytes)
            archive.write(END)
    except OSError as error:
        what = f"the checkpoint cannot be written: {error.strerror or error}"
        raise no_room(error, str(out)) or ConflictError(what, place=str(error.filename or out)) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _sources(recorded: Recorded, files: ExperimentFiles, scratch: Path) -> dict[str, Path]:
    """Return the files of the entries, in order."""
    rounds = {item.version.round for item in recorded.versions}
    kept = {number: path for number, path in files.models().items() if number in rounds}  # not what was never published
    states = {number: path for number, path in files.server_states().items() if number in _states_of(recorded)}
    sources = {f"models/{path.name}": path for path in (*kept.values(), *states.values())}
    sources |= {BUNDLE: files.bundle, PLAN: files.plan}
    sources |= {name: scratch / name for name in (EVENTS, RECORD)}
    return dict(sorted(sources.items()))


def _member(path: Path) -> ArchiveEntry:
    manifest = manifest_of(path)
    return ArchiveEntry(manifest.total_bytes, manifest.digest)


def _head(checkpoint: Checkpoint) -> bytes:
    """The first entry: it carries its own digest, since nothing else could tell that a bit of it has changed."""
    return _with_digest(_CHECKPOINT.dump_python(checkpoint, mode="json"))


def _with_digest(body: object) -> bytes:
    return _canonical({"format": FORMAT, "digest": _own_digest(body), "checkpoint": body})


def _own_digest(body: object) -> str:
    digests = ChunkDigests(len(data := _canonical(body)))
    digests.add(memoryview(data))
    return digests.manifest().digest


def _canonical(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()  # a metric may be NaN


def _line(adapter: TypeAdapter[Value], value: Value) -> bytes:
    return _canonical(adapter.dump_python(value, mode="json")) + b"\n"


def _copy(archive: BinaryIO, path: str, source: Path, size: int) -> None:
    archive.write(_header(path, size))
    with source.open("rb") as file:
        shutil.copyfileobj(file, archive, _COPY_BYTES)
        if file.tell() != size:
            raise ConflictError("the file has changed while it was exported", place=str(source), cure="export it again")
    archive.write(b"\0" * (-size % BLOCK))


def _append(archive: BinaryIO, path: str, data: bytes) -> None:
    archive.write(_header(path, len(data)) + data + b"\0" * (-len(data) % BLOCK))


def _header(path: str, size: int) -> bytes:
    try:
        return header_of(path, size)
    except ValueError:
        raise ConflictError(f"a file of {size:,} bytes is too large for a checkpoint", place=path) from None


# ---- reading ------------------------------------------------------------------------------------------------------


def read_checkpoint(archive: Path, into: Path | None = None) -> Checkpoint:
    """Read a checkpoint that may come from anybody: every byte is checked against the first entry.

    Args:
        archive: The file.
        into: A new directory that gets its entries; None: they are only checked.

    Raises:
        BundleError: At the first thing that no checkpoint has; the message names the entry.
    """
    try:
        if into is not None:
            into.mkdir(mode=0o700)
            (into / "models").mkdir(mode=0o700)
        with archive.open("rb") as file:
            return _read(ArchiveReader(file, archive.name, CHECKPOINT), into, archive.name)
    except OSError as error:
        place = str(error.filename or archive)
        raise BundleError(f"the checkpoint cannot be read: {error.strerror or error}", place=place) from error


def _read(reader: ArchiveReader, into: Path | None, place: str) -> Checkpoint:
    checkpoint: Checkpoint | None = None
    seen = set()
    for path, size in reader.entries():
        if size > _MOST_BYTES.get(path, MAX_CHECKPOINT_BYTES):
            raise _refusal(path, f"it has {size} bytes, the limit is {_MOST_BYTES[path]}", place)
        if checkpoint is None:
            data = b"".join(reader.content(path, size))
            checkpoint = _parse_head(data, place)
            if into is not None:
                (into / HEAD).write_bytes(data)
            continue
        member = checkpoint.members.get(path)
        if member is None or member.size_bytes != size:
            raise _refusal(path, f"{HEAD} does not name it with this size", place)
        seen.add(path)
        if _digest(reader.content(path, size), size, into and into / path) != member.digest:
            raise _refusal(path, f"its bytes do not have the digest that {HEAD} names: it is damaged", place)
    if checkpoint is None or set(checkpoint.members) - seen:
        missing = ", ".join(sorted(set(checkpoint.members if checkpoint else ()) - seen))
        raise BundleError(f"the checkpoint lacks {missing}", place=place, cure=_DAMAGED)
    return checkpoint


def _digest(pieces: Iterable[bytes], size: int, target: Path | None) -> str:
    digests = ChunkDigests(size)
    with contextlib.ExitStack() as stack:
        file = None if target is None else stack.enter_context(target.open("xb"))
        for piece in pieces:
            digests.add(memoryview(piece))
            if file is not None:
                file.write(piece)
        if file is not None:
            file.flush()
            os.fsync(file.fileno())
    return digests.manifest().digest


def _renewed(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a checkpoint with its failures read and bounded; 0.1.0 wrote shortfalls as words."""
    summary = checkpoint["summary"]
    shortfalls, failure = failures_from_fields(summary.get("shortfalls", {})), summary.get("failure")
    read = {"shortfalls": shortfalls, "failure": None if failure is None else failure_from_fields(failure)}
    return {**checkpoint, "summary": {**summary, **read}}


def _parse_head(data: bytes, place: str) -> Checkpoint:
    try:
        found = read_peer_json(data, _MOST_BYTES[HEAD])
        if found["format"] != FORMAT:
            cure = "use a version of the platform that knows it"
            raise BundleError(
                f"{HEAD}: the format is not '{FORMAT}' but {str(found['format'])[:80]!r}", place=place, cure=cure
            )
        checkpoint = _CHECKPOINT.validate_python(_renewed(found["checkpoint"]))
        sound = data == _with_digest(found["checkpoint"])  # of its own form: former versions had fewer fields
    except (ValueError, TypeError, KeyError) as error:
        raise _refusal(HEAD, f"it cannot be understood ({type(error).__name__})", place) from None
    if not sound:
        raise _refusal(HEAD, "it does not have its own digest: it is damaged", place)
    odd = [path for path in checkpoint.members if not _may_have(path)]
    if odd or _FIXED - set(checkpoint.members):
        names = ", ".join(sorted(_FIXED))
        raise _refusal(HEAD, f"a checkpoint has {names} and models{f', not {odd[0][:80]!r}' if odd else ''}", place)
    if checkpoint.members[BUNDLE].digest != checkpoint.bundle:
        raise _refusal(BUNDLE, "its digest is not that of the bundle which was signed", place)
    return checkpoint


def _may_have(path: str) -> bool:
    return path in _FIXED or any(form.fullmatch(path) for form in (_MODEL, _STATE))


def read_record(directory: Path, checkpoint: Checkpoint) -> Recorded:
    """Return the record of a checkpoint that was read into a directory.

    Raises:
        BundleError: If it is none, or does not fit the models.
    """
    data = (directory / RECORD).read_bytes()
    recorded = _valid(_RECORD, data, RECORD)
    try:
        _agree(checkpoint, recorded, directory.name)
    except ConflictError as error:
        raise _refusal(RECORD, error.message, directory.name) from None
    return recorded


def read_events(directory: Path) -> Iterator[Announced]:
    """Yield the history in a checkpoint that was read into a directory, one by one.

    Raises:
        BundleError: If a line is no event, or one is missing.
    """
    with (directory / EVENTS).open("rb") as file:
        expected = 1
        while line := file.readline(_LINE_BYTES):
            event = _valid(_EVENT, line, EVENTS)
            if event.sequence != expected:
                raise _refusal(EVENTS, f"event {expected} is missing", directory.name)
            expected += 1
            yield Announced(event.sequence, event.time, from_fields(event.kind, event.fields))


def _event_line(event: Announced) -> EventLine:
    return EventLine(event.sequence, event.time, event.kind, json.loads(to_json(event.announcement)))


def _valid(adapter: TypeAdapter[Value], data: bytes, path: str) -> Value:
    try:
        values: Any = read_peer_json(data, _MOST_BYTES[RECORD])
        found = adapter.validate_python(values)
        same = _line(adapter, found) == data
    except ValueError as error:
        kind = "values" if isinstance(error, ValidationError) else "JSON"
        raise _refusal(path, f"it has no {kind} that a checkpoint has", "checkpoint") from None
    if not same:
        raise _refusal(path, "it is not written as a checkpoint is", "checkpoint")
    return found


def _agree(checkpoint: Checkpoint, recorded: Recorded, place: str) -> None:
    """Compare record and files: no round is missing, and each model is the one that its round made."""
    rounds = [item.version.round for item in recorded.versions]
    if rounds != list(range(len(rounds))):
        raise ConflictError("the rounds of the record have gaps", place=place)
    models = checkpoint.models()
    if checkpoint.members[BUNDLE].digest != checkpoint.bundle:
        raise ConflictError(f"{BUNDLE} does not have the digest that was signed", place=place)
    for number, member in models.items():
        if number >= len(rounds) or member.digest != recorded.versions[number].version.digest:
            raise ConflictError(f"the model of round {number} is not the one that its round made", place=place)
    _agree_on_states(checkpoint, _states_of(recorded), rounds, place)
    best = [item.version.round for item in recorded.versions if item.version.best][-1:]
    missing = [number for number in {*best, *rounds[-1:]} if number not in models]
    if missing:
        raise ConflictError(f"the model of round {missing[0]} is missing", place=place)


def _states_of(recorded: Recorded) -> dict[int, str]:
    """Return the identities of what rule and server optimizer keep, as the snapshot has them; it may be anybody's."""
    values = (recorded.snapshot or {}).get("server_states")
    named = values.items() if isinstance(values, dict) else ()
    return {int(number): str(digest) for number, digest in named if number.isdecimal()}


def _agree_on_states(checkpoint: Checkpoint, states: Mapping[int, str], rounds: Sequence[int], place: str) -> None:
    members = checkpoint.server_states()
    if not states.keys() <= set(rounds):
        raise ConflictError("the snapshot names the server's state of a round that was not published", place=place)
    for number, member in members.items():
        if states.get(number) != member.digest:
            raise ConflictError(f"the server's state of round {number} is not the one that its round left", place=place)
    missing = [number for number in rounds[-1:] if number in states and number not in members]
    if missing:
        raise ConflictError(f"the server's state of round {missing[0]} is missing", place=place)


def _refusal(path: str, rule: str, place: str) -> BundleError:
    return BundleError(f"the entry '{path}' is refused: {rule}", place=place, cure=_DAMAGED)
