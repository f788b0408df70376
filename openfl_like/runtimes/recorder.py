"""What an experiment's steps leave behind, written to its record: one step, or several at once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from pydantic import JsonValue

from openfl_like.errors import FederationError, StorageError, no_room
from openfl_like.failpoints import failpoint
from openfl_like.federation.announcements import Announced
from openfl_like.federation.events import Announce, Command, ModelVersion, PublishVersion
from openfl_like.federation.experiment import Experiment
from openfl_like.runtimes.models import ModelRepository
from openfl_like.store.ports import Commit, ExperimentCommits, FileContent, TimedAnnouncement
from openfl_like.tasks import TaskOwner
from openfl_like.tensors.manifest import sha256_file

log = logging.getLogger(__name__)
PAUSE_S, LONGEST_PAUSE_S = 0.5, 5.0  # of a commit that waits for room
CHECKPOINT_AFTER = 64
"""So many commits within a round; then the store does what it has to do besides: a round may last for hours."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Record:
    """Where an experiment leaves its traces.

    Attributes:
        store: Snapshot, events, versions.
        repository: Model files.
        publish: Gets the announcements of each commit, as they are in the history.
        pause_s: The first pause, in seconds, of a commit that waits for room on the disk.
        beside: Gives what else belongs to a snapshot: key -> JSON value.
    """

    store: ExperimentCommits
    repository: ModelRepository
    publish: Callable[[Sequence[Announced]], None] = lambda _: None
    pause_s: float = PAUSE_S
    beside: Callable[[], Mapping[str, JsonValue]] = dict


async def patiently(step: Callable[[], Awaitable[Result]], pause_s: float = PAUSE_S) -> Result:
    """Do what needs room on a disk, again and again until there is some: the experiment waits, and does not end."""
    while True:
        try:
            return await step()
        except (FederationError, OSError) as error:
            full = no_room(error)
            if full is None:
                raise
            log.warning("%s %s; waiting for %g s", full.code, full, pause_s)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


class Recorder:
    """Collects what steps leave behind, and commits it together with the state after the last of them.

    Args:
        experiment: Its state is what is committed.
        record: Where to.
    """

    def __init__(self, experiment: Experiment, record: Record) -> None:
        self._experiment = experiment
        self._record = record
        self._told: list[TimedAnnouncement] = []
        self._versions: list[ModelVersion] = []
        self._changed = False
        self._since_checkpoint = 0
        self._updates: Commit | None = None
        self._tidying: asyncio.Task[None] | None = None
        self._tasks = TaskOwner()

    @property
    def epoch(self) -> int:
        """The epoch of this process, see `ExperimentCommits`."""
        return self._record.store.epoch

    @property
    def publishes(self) -> bool:
        """Whether a version waits for its commit."""
        return bool(self._versions)

    @property
    def unwritten(self) -> bool:
        """Whether updates of the open round are in memory alone, and would be written with a commit."""
        versions = self._experiment.versions
        self._record.repository.in_memory.let_go_before(versions[-1].round if versions else -1)
        return len(self._record.repository.in_memory) > 0

    @property
    def waiting(self) -> bool:
        """Whether anything waits for its commit."""
        return self._changed

    def take(self, commands: Iterable[Command], now: float) -> list[Command]:
        """Collect what is to be recorded of a step's commands; return the others, which are to be acted on."""
        others: list[Command] = []
        for command in commands:
            self._changed = True
            if isinstance(command, Announce):
                self._told.append(TimedAnnouncement(now, command.announcement))
            elif isinstance(command, PublishVersion):
                self._versions.append(command.version)
            else:
                others.append(command)
        return others

    def _snapshot(self) -> dict[str, JsonValue]:
        return {**self._experiment.snapshot(), **self._record.beside()}

    def note_updates(self, now: float) -> None:
        """Keep the state in which all updates of a round are here, for `commit_updates`."""
        self._updates = Commit(now, self._snapshot(), tuple(self._told))

    def commit_updates(self) -> bool:
        """Commit that all updates are here: when the next round is sent ahead, they must not be asked for again.

        Returns:
            Whether the record says so; without room on the disk they are told with the round, which waits for some.
        """
        step, self._updates = self._updates, None
        if step is None:
            return True  # it was said in a step before
        failpoint("aggregator.updates.recorded.before")
        try:
            records = self._record.store.commit(step)
        except StorageError:
            return False
        del self._told[: len(step.told)]
        self._record.publish(records)
        failpoint("aggregator.updates.recorded.after")
        return True

    async def commit(self, now: float, *, ends: bool = False) -> None:
        """Write everything that waits; a version is safe when this returns, and told.

        Files that are not needed any more are removed afterwards, while the next round is at work.

        Args:
            now: Seconds since the epoch.
            ends: Whether the experiment ends with it.
        """
        if not self._changed:
            return
        step = Commit(now, self._snapshot(), tuple(self._told), tuple(self._versions))
        lasting = bool(self._versions) or ends
        if lasting:
            await self.tidied()
            records = await patiently(
                lambda: asyncio.to_thread(self._commit_durably, step, ends=ends), self._record.pause_s
            )
        else:
            records = await patiently(lambda: self._commit_quickly(step), self._record.pause_s)
        self._told.clear()
        self._versions.clear()
        self._changed, self._updates = False, None
        if records:
            self._record.publish(records)
        if lasting:
            versions = self._experiment.versions
            self._record.repository.forget(versions, ended=ends)
            self._tidying = self._tasks.start(asyncio.to_thread(self._tidy, versions, ends=ends))
            self._since_checkpoint = 0
        else:
            await self._checkpoint_now_and_then()
        if ends:
            await self.tidied()

    async def _checkpoint_now_and_then(self) -> None:
        self._since_checkpoint += 1
        if self._since_checkpoint >= CHECKPOINT_AFTER and (self._tidying is None or self._tidying.done()):
            await self.tidied()
            self._tidying = self._tasks.start(asyncio.to_thread(self._record.store.checkpoint))
            self._since_checkpoint = 0

    async def tidied(self) -> None:
        """Wait until what was not needed any more after the last version is removed."""
        tidying, self._tidying = self._tidying, None
        if tidying is not None:
            await tidying

    def _tidy(self, versions: Sequence[ModelVersion], *, ends: bool) -> None:
        self._record.repository.published.tidy(versions, ended=ends)
        self._record.store.checkpoint()
        failpoint("aggregator.tidied")

    async def _commit_quickly(self, step: Commit) -> list[Announced]:
        self._write_updates()
        failpoint("aggregator.step.before")
        records = self._record.store.commit(step)  # a quarter of a millisecond: less than a hop to a thread
        failpoint("aggregator.step.after")
        return records

    def _write_updates(self) -> None:
        """Have no record count on an update that is in memory."""
        if self.unwritten:
            self._record.repository.in_memory.write()

    def _commit_durably(self, step: Commit, *, ends: bool) -> list[Announced]:
        self._record.store.check_epoch()  # one that was asleep must not touch the files of the newer process, either
        self._write_updates()
        repository = self._record.repository
        published = repository.published
        kept = published.kept(self._experiment.versions)
        contents: list[FileContent] = []
        for version in step.versions:
            if version.round in kept:
                contents += repository.publish(version)
        if ends:
            published.force_all(kept)
            contents.clear()
        hashes = self._hashes() if ends else {}
        settled = frozenset(published.settled)
        failpoint("aggregator.version.before")
        records = self._record.store.commit(
            replace(step, sha256=hashes, durable=True, contents=contents, settled=settled)
        )
        published.settled -= settled
        newest = step.versions[-1] if contents else None
        failpoint("aggregator.version.after", repository.path(newest.digest) if newest is not None else None)
        return records

    def _hashes(self) -> dict[int, str]:
        """SHA-256 of the last and the best model, for people: it costs a pass over them, so only at the end."""
        versions = self._experiment.versions
        rounds = {
            (version.round, version.digest) for version in [*versions[-1:], *[v for v in versions if v.best][-1:]]
        }
        failpoint("aggregator.hashed")
        return {number: sha256_file(self._record.repository.path(digest)) for number, digest in rounds}
