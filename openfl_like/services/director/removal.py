"""Experiments that go from a Director: because somebody wants it, or because they ended too long ago."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

from openfl_like.errors import FederationError
from openfl_like.failpoints import failpoint
from openfl_like.federation.announcements import ExperimentImported
from openfl_like.federation.parties import RemovedExperiment
from openfl_like.services.director.settings import DirectorFile
from openfl_like.store.director_files import REMOVING
from openfl_like.store.files import ExperimentFiles, sync_names
from openfl_like.store.ports import DirectorStore, Stores
from openfl_like.store.refusals import not_removable
from openfl_like.tasks import TaskOwner

log = logging.getLogger(__name__)
DAY_S = 86400.0
PERIOD_S = 3600.0


@dataclass(frozen=True, slots=True)
class Removals:
    """Removes experiments that have ended: row, record, models, logs and bundle.

    Args:
        settings: director.yaml.
        store: Has their rows.
        stores: Opens their records.
        forget: Told of each id that is free now: who knew something of it knows nothing any more.
    """

    settings: DirectorFile
    store: DirectorStore
    stores: Stores
    forget: Callable[[str], None]
    _deletions: TaskOwner = field(default_factory=TaskOwner)

    async def remove(self, caller: str, experiment: str) -> RemovedExperiment:
        """Remove an experiment that has ended; it is not there any more when this returns, its files soon.

        Raises:
            ConflictError: If it has not ended.
            NotFoundError: If there is none.
        """
        removed, remains = await asyncio.to_thread(self._remove, experiment)
        log.info("experiment %s removed by %s: %s", removed.experiment, caller, removed)
        self._deletions.start(asyncio.to_thread(remains.remove))  # many GB take longer than a caller waits
        return removed

    async def settle(self) -> None:
        """Wait until the files of what was removed are deleted."""
        await self._deletions.wait()

    async def close(self) -> None:
        """Wait no more for what is being deleted; what is left of it then, the next start deletes."""
        await self._deletions.close()

    async def keep_retention(self) -> None:
        """Remove what is older than director.yaml wants, again and again until cancelled."""
        while True:
            await asyncio.to_thread(self.remove_old, time.time())
            await asyncio.sleep(PERIOD_S)

    def remove_old(self, now: float) -> list[RemovedExperiment]:
        """Remove the experiments that ended longer ago than ``retention_days``; what cannot be removed stays.

        One that was imported is kept for as long from its import on, whenever it ended elsewhere.

        Args:
            now: Seconds since the epoch.
        """
        days = self.settings.retention_days
        if days is None:
            return []
        removed = []
        limit = now - days * DAY_S
        for experiment in self._ended_before(limit):
            try:
                if self._imported_at(experiment) >= limit:
                    continue
                gone, remains = self._remove(experiment)
            except (FederationError, OSError) as error:
                log.warning("experiment %s is old and cannot be removed: %s", experiment, error)
                continue
            log.info("experiment %s removed, it ended over %g days ago: %s", experiment, days, gone)
            remains.remove()
            removed.append(gone)
        return removed

    def _ended_before(self, limit: float) -> list[str]:
        try:
            return [item.id for item in self.store.experiments() if item.status.ended and item.ended_at < limit]
        except FederationError as error:
            log.warning("old experiments cannot be removed: %s", error)
            return []

    def _imported_at(self, experiment: str) -> float:
        """Return when an experiment was last imported, as its history says; 0: it began here."""
        files = self.settings.files.experiment(experiment)
        if not self.stores.has_record(files):
            return 0.0
        with closing(self.stores.experiment(files)) as record:
            found = record.latest(ExperimentImported.kind)
        return 0.0 if found is None else found.time

    def _remove(self, experiment: str) -> tuple[RemovedExperiment, ExperimentFiles]:
        """Remove one, and return what is to be deleted; a mark says that it goes with its row, whenever we die."""
        summary = self.store.experiment(experiment).summary
        if not summary.status.ended:
            raise not_removable(summary)
        files = self.settings.files.experiment(summary.id)
        there = files.directory.is_dir()
        removed = RemovedExperiment(summary.id, _models(files), _size(files))
        mark = files.directory / REMOVING
        if there:
            mark.touch()
            sync_names(files.directory)
        failpoint("director.remove.marked")
        try:
            self.store.remove(summary.id)
        except FederationError:
            mark.unlink(missing_ok=True)  # it was resumed meanwhile
            raise
        failpoint("director.remove.forgotten")
        self.forget(summary.id)
        remains = ExperimentFiles(self.settings.files.unpacked())  # a name that the next start clears
        if there:
            files.directory.rename(remains.directory)  # the id is free at once
        return removed, remains


def _models(files: ExperimentFiles) -> int:
    return len(files.models()) if (files.directory / "models").is_dir() else 0


def _size(files: ExperimentFiles) -> int:
    """Return the bytes of all its files; one that has several names counts once."""
    found = {}
    for path in files.directory.rglob("*"):
        status = path.lstat()
        if path.is_file() or path.is_symlink():
            found[status.st_ino] = status.st_size
    return sum(found.values())
