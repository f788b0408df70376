"""The files of published versions: which are kept, which the record has until they are on disk, which can go."""

import logging
from collections.abc import Collection, Sequence

from openfl_like.failpoints import failpoint
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.stopping import kept_rounds, settled_round
from openfl_like.plan.schema import Plan
from openfl_like.store.files import ExperimentFiles, make_durable
from openfl_like.store.ports import FileContent
from openfl_like.tensors.manifest import MIN_CHUNK_BYTES, content_digest

log = logging.getLogger(__name__)
SMALL_BYTES = MIN_CHUNK_BYTES
"""Up to here the record takes a model in, and what is kept beside it: a file of its own would be two more syncs."""
MOST_UNFORCED = 8


class PublishedFiles:
    """The files of an experiment's versions; methods that write block and belong on a thread.

    Args:
        plan: Says which are kept.
        files: Where they are.
        has_state: Whether rule and server optimizer keep anything beside a model.

    Attributes:
        unforced: Rounds whose files nobody has forced to disk, for the record has them.
        settled: Rounds of which the record has files that it need not have any more.
    """

    def __init__(self, plan: Plan, files: ExperimentFiles, *, has_state: bool) -> None:
        self._plan, self._files, self._has_state = plan, files, has_state
        self.unforced: set[int] = set()
        self.settled: set[int] = set()

    def kept(self, versions: Sequence[ModelVersion]) -> set[int]:
        """Return the rounds of those of all versions whose models the plan keeps."""
        return kept_rounds(self._plan, versions)

    def take(self, version: ModelVersion) -> list[FileContent]:
        """Return a version's small files for the record; force large ones to disk."""
        model, state = self._files.model(version.round), self._files.server_state(version.round)
        if model.stat().st_size > SMALL_BYTES:
            self._force(version.round)
            return []
        self.unforced.add(version.round)
        kept = [FileContent(version.round, version.digest, model.read_bytes())]
        if self._has_state and state.exists():
            data = state.read_bytes()
            kept.append(FileContent(version.round, content_digest(data), data, is_state=True))
        return kept

    def _force(self, round_number: int) -> None:
        """Force a round's files to disk."""
        if self._has_state and self._files.server_state(round_number).exists():
            make_durable(self._files.server_state(round_number))
            failpoint("aggregator.publish.state")
        make_durable(self._files.model(round_number))
        failpoint("aggregator.publish.after")

    def force_all(self, keep: Collection[int]) -> None:
        """Force to disk what the record has of these rounds; of no round it needs anything any more then."""
        for number in sorted(self.unforced):
            if number in keep:
                self._force(number)
        self.settled |= self.unforced
        self.unforced.clear()

    def tidy(self, versions: Sequence[ModelVersion], *, ended: bool = False) -> None:
        """Remove the newest round's updates and models that the plan does not keep; at the end, spares.

        It may be done while the next round is at work. What cannot be removed stays, which is logged: the next one's
        tidying tries again.
        """
        try:
            self._tidy(versions, ended=ended)
        except OSError as error:
            log.warning("files that are not needed any more stay: %s", error)

    def _tidy(self, versions: Sequence[ModelVersion], *, ended: bool) -> None:
        newest = versions[-1].round if versions else 0
        self._files.clear_spool(newest if ended else settled_round(self._plan, newest), ended=ended)
        failpoint("aggregator.spool.cleared")
        if versions:
            keep = self.kept(versions)
            self._files.retain(keep, newest)
            gone = {number for number in self.unforced if number <= newest and number not in keep}
            self.settled |= gone
            self.unforced -= gone
            if len(self.unforced) > MOST_UNFORCED:
                self.force_all(keep)
        if ended:
            for name in ("model", "state"):
                self._files.recyclable(name).unlink(missing_ok=True)  # what was let go just now
