"""Experiments that go from a Director: because somebody wants it, or because they ended too long ago."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from openfl_like.errors import FederationError
from openfl_like.failpoints import failpoint
from openfl_like.federation.parties import RemovedExperiment
from openfl_like.services.director.settings import DirectorFile
from openfl_like.store.director_files import REMOVING
from openfl_like.store.files import ExperimentFiles, sync_names
from openfl_like.store.ports import DirectorStore
from openfl_like.store.refusals import not_removable

log = logging.getLogger(__name__)
DAY_S = 86400.0
PERIOD_S = 3600.0


@dataclass(frozen=True, slots=True)
class Removals:
    """Removes experiments that have ended: row, record, models, logs and bundle.

    Args:
        settings: director.yaml.
        store: Has their rows.
        forget: Told of each id that is free now: who knew something of it knows nothing any more.
    """

    settings: DirectorFile
    store: DirectorStore
    forget: Callable[[str], None]

    async def remove(self, caller: str, experiment: str) -> RemovedExperiment:
        """Remove an experiment that has ended; it is not there any more when this returns.

        Raises:
            ConflictError: If it has not ended.
            NotFoundError: If there is none.
        """
        removed = await asyncio.to_thread(self._remove, experiment)
        log.info("experiment %s removed by %s: %s", removed.experiment, caller, removed)
        return removed

    async def keep_retention(self) -> None:
        """Remove what is older than director.yaml wants, again and again until cancelled."""
        while True:
            await asyncio.to_thread(self.remove_old, time.time())
            await asyncio.sleep(PERIOD_S)

    def remove_old(self, now: float) -> list[RemovedExperiment]:
        """Remove the experiments that ended longer ago than ``retention_days``; what cannot be removed stays.

        Args:
            now: Seconds since the epoch.
        """
        days = self.settings.retention_days
        if days is None:
            return []
        removed = []
        try:
            known = self.store.experiments()
            old = [item.id for item in known if item.status.ended and item.ended_at < now - days * DAY_S]
            for experiment in old:
                removed.append(self._remove(experiment))
                log.info("experiment %s removed, it ended over %g days ago: %s", experiment, days, removed[-1])
        except (FederationError, OSError) as error:
            log.warning("old experiments cannot be removed: %s", error)
        return removed

    def _remove(self, experiment: str) -> RemovedExperiment:
        """Remove one: a mark says that its directory goes with its row, whenever we die."""
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
        if there:
            gone = self.settings.files.unpacked()  # a name that the next start clears; the id is free at once
            files.directory.rename(gone)
            ExperimentFiles(gone).remove()
        return removed


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
