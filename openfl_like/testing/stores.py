"""Stores without a database: what `store.ports` promises, kept in memory."""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any

from openfl_like.errors import ConflictError, DamagedError
from openfl_like.federation.announcements import Announced, Announcement, from_json, to_json
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.failure import Failure
from openfl_like.federation.history.site import PartEnd, PerformedTasks, SitePart
from openfl_like.federation.parties import EnvoyRecord, ExperimentSummary, PublishedVersion
from openfl_like.federation.status import Status
from openfl_like.store.director_files import DirectorFiles
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import RESUMABLE, Commit, FileContent, Recorded, StoredExperiment, Stores
from openfl_like.store.refusals import (
    known_experiment,
    not_empty,
    not_removable,
    not_resumable,
    superseded,
    unknown_experiment,
)
from openfl_like.store.site_files import SiteFiles

RECORD_NAME = "record-in-memory"
"""File in an experiment's directory that names its record, so that this moves and goes with the directory."""


def memory_stores() -> Stores:
    """Return stores that live as long as the value: whoever opens one again finds in it what was there."""
    directors: dict[Path, MemoryDirector] = {}
    records: dict[str, MemoryRecord] = {}
    sites: dict[Path, dict[int, SitePart]] = {}

    def director(files: DirectorFiles) -> MemoryDirectorStore:
        _check_place(files.state)
        return MemoryDirectorStore(directors.setdefault(files.state, MemoryDirector()))

    def experiment(files: ExperimentFiles) -> MemoryExperimentStore:
        _check_place(files.directory)
        path = files.directory / RECORD_NAME
        if not path.exists():
            path.write_text(uuid.uuid4().hex, encoding="ascii")
        return MemoryExperimentStore(records.setdefault(path.read_text(encoding="ascii"), MemoryRecord()))

    def site(files: SiteFiles) -> MemorySiteStore:
        _check_place(files.directory)
        return MemorySiteStore(sites.setdefault(files.directory, {}))

    def has_record(files: ExperimentFiles) -> bool:
        return (files.directory / RECORD_NAME).exists()

    return Stores(director, experiment, site, has_record)


def _check_place(directory: Path) -> None:
    if not directory.is_dir():
        raise ConflictError("the store cannot be opened: its directory is missing", place=str(directory))


# ---- the record of an experiment ----------------------------------------------------------------------------------


@dataclass(slots=True)
class MemoryRecord:
    """What is in the record of one experiment; values that go through JSON elsewhere are kept as JSON here, too.

    Attributes:
        state: The snapshot; empty before the first.
        epoch: The newest that was taken.
        events: Time, kind and fields, in order.
        versions: Round -> its version.
        contents: Round, and whether it is the server state -> the file.
        lock: Held while several of these change.
    """

    state: str = ""
    epoch: int = 0
    events: list[tuple[float, str, str]] = field(default_factory=list)
    versions: dict[int, PublishedVersion] = field(default_factory=dict)
    contents: dict[tuple[int, bool], FileContent] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)


class MemoryExperimentStore:
    """An `ExperimentStore` over a record in memory.

    Args:
        record: Who has the same one sees the same; default: a new one.
    """

    def __init__(self, record: MemoryRecord | None = None) -> None:
        self._record = record or MemoryRecord()
        self._epoch = 0
        self._sequence = len(self._record.events)

    def events(self, after: int = 0, kinds: Sequence[str] = ()) -> list[Announced]:
        """Return the events after a sequence number, in order; only those of some kinds if these are named."""
        numbered = enumerate(list(self._record.events), 1)
        return [
            Announced(sequence, time, from_json(kind, fields))
            for sequence, (time, kind, fields) in numbered
            if sequence > after and (not kinds or kind in kinds)
        ]

    def latest(self, *kinds: str) -> Announced | None:
        """Return the newest event that is of one of these kinds."""
        events = self.events(kinds=kinds) if kinds else []
        return events[-1] if events else None

    def announce(self, now: float, announcement: Announcement) -> Announced:
        """Add to the history from outside the experiment."""
        row = float(now), announcement.kind, to_json(announcement)
        with self._record.lock:
            self._record.events.append(row)
            self._sequence = len(self._record.events)
            return Announced(self._sequence, now, announcement)

    def snapshot(self) -> dict[str, Any] | None:
        """Return the state after the last commit, or None before the first."""
        state = self._record.state
        found: dict[str, Any] | None = json.loads(state) if state else None
        return found

    def versions(self) -> list[PublishedVersion]:
        """Return the published versions by round."""
        return [version for _, version in sorted(self._record.versions.items())]

    def recorded(self) -> Recorded:
        """Return all but the events, as of one moment."""
        with self._record.lock:
            return Recorded(self.snapshot(), self._record.epoch, tuple(self.versions()))

    def contents(self) -> list[FileContent]:
        """Return the files that may not be on disk, by round."""
        return [content for _, content in sorted(self._record.contents.items())]

    @property
    def epoch(self) -> int:
        """The epoch that was taken by this store; taken now if it has none."""
        return self._epoch or self.take_epoch()

    def take_epoch(self) -> int:
        """Make this store the only one that may commit, and return the number of its epoch, from 1."""
        with self._record.lock:
            self._record.epoch += 1
            self._epoch, self._sequence = self._record.epoch, len(self._record.events)
        return self._epoch

    def check_epoch(self) -> None:
        """Raise ConflictError if another store has taken the record over."""
        if self._record.epoch > self._epoch:
            raise superseded(self._epoch)

    def commit(self, step: Commit) -> list[Announced]:
        """Record a step as a whole or not at all; return its announcements as they are now in the history."""
        epoch = self.epoch
        state = _dump(step.snapshot)
        told = [(float(item.time), item.announcement.kind, to_json(item.announcement)) for item in step.told]
        published = {version.round: _published(version, step.now) for version in step.versions}
        with self._record.lock:
            if self._record.epoch != epoch or (told and len(self._record.events) != self._sequence):
                raise superseded(epoch)
            records = step.numbered(self._sequence)
            self._record.state = state
            self._record.events += told
            self._record.versions |= published
            self._record.contents |= {(item.round, item.is_state): item for item in step.contents}
            for key in [key for key in self._record.contents if key[0] in step.settled]:
                del self._record.contents[key]
            self._sequence += len(told)
            for number in self._record.versions.keys() & step.sha256.keys():
                version = self._record.versions[number]
                self._record.versions[number] = replace(version, sha256=step.sha256[number])
        return records

    def checkpoint(self) -> None:
        """Do nothing: it is kept where it was committed to."""

    def fill(self, recorded: Recorded, events: Iterable[Announced]) -> None:
        """Make an empty record what another one was."""
        state = "" if recorded.snapshot is None else _dump(recorded.snapshot)
        told = [(float(event.time), event.kind, to_json(event.announcement)) for event in events]
        with self._record.lock:
            if self._record.epoch or self._record.events or self._record.versions:
                raise not_empty()
            self._record.state, self._record.epoch = state, recorded.epoch
            self._record.events += told
            self._record.versions |= {item.version.round: item for item in recorded.versions}
            self._sequence = len(told)

    def verify(self) -> None:
        """Look whether a round is missing; nothing else can be in memory."""
        rounds = [version.version.round for version in self.versions()]
        if rounds != list(range(len(rounds))):
            raise DamagedError("rows of 'versions' are missing")

    def close(self) -> None:
        """Do nothing: the record stays for whoever opens it next."""


def _dump(value: Mapping[str, object]) -> str:
    return json.dumps(dict(value), separators=(",", ":"), sort_keys=True)


def _published(version: ModelVersion, now: float) -> PublishedVersion:
    metrics = json.loads(_dump(version.metrics))
    return PublishedVersion(replace(version, metrics=metrics), "", float(now))


# ---- the memory of a Director -------------------------------------------------------------------------------------


@dataclass(slots=True)
class MemoryDirector:
    """What a Director remembers.

    Attributes:
        experiments: By id, in the order in which they came.
        requests: Owner and request id -> the experiment that it made.
        envoys: By name, offline.
        lock: Held while several of these change.
    """

    experiments: dict[str, StoredExperiment] = field(default_factory=dict)
    requests: dict[tuple[str, str], str] = field(default_factory=dict)
    envoys: dict[str, EnvoyRecord] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)


class MemoryDirectorStore:
    """A `DirectorStore` over what is kept in memory.

    Args:
        memory: Who has the same one sees the same; default: a new one.
    """

    def __init__(self, memory: MemoryDirector | None = None) -> None:
        self._memory = memory or MemoryDirector()

    def requested(self, owner: str, request_id: str) -> ExperimentSummary | None:
        """Return the experiment that this request of this owner made before."""
        known = self._memory.requests.get((owner, request_id))
        return None if known is None else self.experiment(known).summary

    def experiment(self, experiment: str) -> StoredExperiment:
        """Return one experiment; raises NotFoundError."""
        self.require(experiment)
        return self._memory.experiments[experiment]

    def require(self, experiment: str) -> None:
        """Raise NotFoundError if there is no such experiment."""
        if experiment not in self._memory.experiments:
            raise unknown_experiment(experiment)

    def experiments(self) -> list[ExperimentSummary]:
        """Return all experiments in the order in which they came."""
        return [stored.summary for stored in self._memory.experiments.values()]

    def add(self, request_id: str, experiment: StoredExperiment) -> ExperimentSummary:
        """Queue an experiment; the same owner's same request id gives the experiment that it made before."""
        summary = experiment.summary
        with self._memory.lock:
            known = self.requested(summary.owner, request_id)
            if known is not None:
                return known
            if summary.id in self._memory.experiments:
                raise known_experiment(summary.id)
            self._memory.requests[summary.owner, request_id] = summary.id
            self._memory.experiments[summary.id] = replace(experiment, summary=_rated(summary))
        return summary

    def set_status(
        self,
        experiment: str,
        status: Status,
        reason: str,
        now: float,
        shortfalls: Mapping[str, Failure] | None = None,
        failure: Failure | None = None,
    ) -> ExperimentSummary:
        """Move an experiment on; one that has ended stays as it is."""
        with self._memory.lock:
            former = self.experiment(experiment).summary
            if former.status.ended:
                return former
            moved = replace(former, status=status, reason=reason, resumed_by="")
            if status.ended:
                moved = replace(moved, ended_at=now, shortfalls=dict(shortfalls or {}), failure=failure)
            elif status is Status.STARTING:
                moved = replace(moved, started_at=now)
            return self._put(moved)

    def requeue(self, experiment: str, by: str) -> ExperimentSummary:
        """Queue an experiment again that FAILED or was CANCELLED."""
        with self._memory.lock:
            former = self.experiment(experiment).summary
            if former.status not in RESUMABLE:
                raise not_resumable(former)
            again = replace(former, status=Status.QUEUED, reason="", resumed_by=by)
            return self._put(replace(again, ended_at=0.0, shortfalls={}, failure=None))

    def remove(self, experiment: str) -> None:
        """Forget an experiment that has ended, with the request that made it."""
        with self._memory.lock:
            summary = self.experiment(experiment).summary
            if not summary.status.ended:
                raise not_removable(summary)
            del self._memory.experiments[experiment]
            self._memory.requests = {key: made for key, made in self._memory.requests.items() if made != experiment}

    def _put(self, summary: ExperimentSummary) -> ExperimentSummary:
        rated = _rated(summary)
        self._memory.experiments[summary.id] = replace(self._memory.experiments[summary.id], summary=rated)
        return rated

    def record_envoy(self, envoy: EnvoyRecord) -> None:
        """Remember an envoy: what it said of its shards, when it was here, and the list of its certificate."""
        first, *more = (replace(one, schema=json.loads(json.dumps(one.schema))) for one in envoy.shards)
        self._memory.envoys[envoy.name] = EnvoyRecord(
            envoy.name, online=False, last_seen=envoy.last_seen, shard=first, more_shards=tuple(more),
            certificate_list=envoy.certificate_list,
        )  # fmt: skip

    def envoys(self) -> list[EnvoyRecord]:
        """Return every envoy ever seen, offline, by name."""
        return [envoy for _, envoy in sorted(self._memory.envoys.items())]

    def verify(self) -> None:
        """Do nothing: what is in memory is as it was written."""

    def close(self) -> None:
        """Do nothing: it is there for whoever opens it next."""


def _rated(summary: ExperimentSummary) -> ExperimentSummary:
    """Return a summary that says whether it is degraded, as follows from the rest of it."""
    return replace(summary, degraded=summary.status is Status.FINISHED and bool(summary.shortfalls))


# ---- the record of a site -----------------------------------------------------------------------------------------


class MemorySiteStore:
    """A `SiteStore` over what is kept in memory.

    Args:
        kept: The parts by number; who has the same one sees the same; default: a new one.
    """

    def __init__(self, kept: dict[int, SitePart] | None = None) -> None:
        self._parts = {} if kept is None else kept

    def begin(self, part: SitePart) -> int:
        """Record that an order was taken, and return the part's number."""
        number = max(self._parts, default=0) + 1
        self._parts[number] = replace(part, number=number, ended_at=0.0, end=None, reason="", performed=())
        return number

    def end(self, part: int, end: PartEnd, reason: str, now: float, performed: Sequence[PerformedTasks]) -> None:
        """Record how a part ended, and what was done for it; one that has ended stays as it is."""
        known = self._parts.get(part)
        if known is not None and known.end is None:
            self._parts[part] = replace(known, ended_at=now, end=end, reason=reason, performed=tuple(performed))

    def parts(self, experiment: str | None = None, *, performed: bool = True) -> list[SitePart]:
        """Return the parts in the order in which they began: those in one experiment, or all."""
        found = [part for _, part in sorted(self._parts.items()) if experiment in {None, part.experiment}]
        return found if performed else [replace(part, performed=()) for part in found]

    def remove(self, parts: Sequence[int]) -> None:
        """Forget parts, with what was done for them."""
        for number in parts:
            self._parts.pop(number, None)

    def close(self) -> None:
        """Do nothing: it is there for whoever opens it next."""
