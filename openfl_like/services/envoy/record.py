"""The site's record: begun with each order that is taken, ended with each end, and not longer than the site wants."""

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock

from openfl_like.errors import FederationError, NotAllowedError
from openfl_like.failpoints import failpoint
from openfl_like.federation.failure import bounded
from openfl_like.federation.history.site import PartEnd, SitePart
from openfl_like.store.ports import SiteStore
from openfl_like.store.removal import remove_tree
from openfl_like.store.site_files import CollaboratorFiles, SiteFiles
from openfl_like.store.site_journal import notes

log = logging.getLogger(__name__)
_SAID = {end.value: end for end in (PartEnd.FINISHED, PartEnd.FAILED, PartEnd.CANCELLED)}


@dataclass(frozen=True, slots=True)
class SiteRecord:
    """Writes the record of a site, from any thread: an order and the removal of what is old never meet.

    Args:
        store: Where it is.
        files: What the Envoy keeps besides.
        keep: So many experiments that have ended are kept, with their parts and folders; None: all.
    """

    store: SiteStore
    files: SiteFiles
    keep: int | None = None
    _lock: RLock = field(default_factory=RLock, init=False, repr=False, compare=False)

    def recover(self) -> None:
        """Give parts an end that have none: whoever would have recorded it was killed."""
        with self._lock:
            for part in self.store.parts(performed=False):
                if part.end is None:
                    log.warning("experiment %s: no end of it was recorded; it was interrupted", part.experiment)
                    self.end(part.number, part.experiment, PartEnd.INTERRUPTED, "the envoy ended without recording it")
            self._tidy()

    def begin(self, experiment: str, identity: str, bundle: str) -> int:
        """Record an order whose signature was verified, and return the number of its part.

        Args:
            experiment: Its id.
            identity: Who has signed the bundle.
            bundle: The bundle's digest.

        Raises:
            NotAllowedError: If the id was one of other code before: what that keeps here is none of this one's.
        """
        with self._lock:
            former = {part.bundle for part in self.store.parts(experiment, performed=False)}
            if former - {bundle}:
                raise NotAllowedError(
                    f"the experiment '{experiment}' had another bundle when it was here before",
                    cure="an id belongs to one bundle: have other code submitted as a new experiment",
                )
            number = self.store.begin(SitePart(experiment, identity, bundle, time.time()))
        failpoint("envoy.record.begun")
        return number

    def forget(self, part: int) -> None:
        """Forget a part of which nothing came: the order will be given again."""
        with self._lock:
            self.store.remove([part])

    def end(self, part: int, experiment: str, end: PartEnd, reason: str) -> None:
        """Record how a part ended, with what its Collaborator noted; what the Aggregator said last counts most."""
        noted = self.noted(experiment)
        performed, last = notes(noted)
        if last is not None and last.status in _SAID:
            end, reason = _SAID[last.status], last.reason
        try:
            with self._lock:
                self.store.end(part, end, bounded(reason), time.time(), performed)
                failpoint("envoy.record.ended")
                noted.unlink(missing_ok=True)
                self._tidy()
        except (FederationError, OSError) as error:
            log.warning("experiment %s: its end cannot be recorded: %s", experiment, error)

    def noted(self, experiment: str) -> Path:
        """Return where the Collaborator of an experiment notes what it does."""
        return CollaboratorFiles(self.files.experiment(experiment).run).performed

    def _tidy(self) -> None:
        """Remove the experiments beyond those that the site keeps, the one with the oldest last part first."""
        if self.keep is None:
            return
        parts: dict[str, list[SitePart]] = {}
        for part in self.store.parts(performed=False):
            parts[part.experiment] = [*parts.pop(part.experiment, ()), part]  # its last part has its place
        ended = [name for name, own in parts.items() if all(part.end is not None for part in own)]
        for experiment in ended[: max(0, len(ended) - self.keep)]:
            self.store.remove([part.number for part in parts[experiment]])
            remove_tree(self.files.experiment(experiment).directory)
            log.info("experiment %s: removed, record and folder: %d newer ones are kept", experiment, self.keep)
