"""Who may see and touch an experiment: its owner, and admins. For everybody else it is not there."""

import contextlib
import logging
from collections.abc import Iterable
from dataclasses import replace

from openfl_like.errors import CredentialError, NotFoundError, UnauthenticatedError
from openfl_like.federation.parties import ExperimentSummary
from openfl_like.pki.certificate import parse_certificate, read_identity
from openfl_like.pki.roles import Identity, Role
from openfl_like.store.ports import DirectorStore
from openfl_like.store.refusals import unknown_experiment

log = logging.getLogger(__name__)


class ExperimentAccess:
    """Knows the owners of experiments: who signed what was submitted, or imported.

    Args:
        store: Has the certificates with which experiments were signed.
    """

    def __init__(self, store: DirectorStore) -> None:
        self._store = store
        self._owners: dict[str, str] = {}

    def require(self, caller: Identity, experiment: str) -> None:
        """Let the owner and admins pass.

        Raises:
            NotFoundError: If there is no such experiment, or it is somebody else's; nothing tells which.
        """
        if not self._allows(caller, self._store.experiment(experiment).summary):
            raise unknown_experiment(experiment)

    def visible(self, caller: Identity, experiments: Iterable[ExperimentSummary]) -> list[ExperimentSummary]:
        """Return those of some experiments that the caller may see."""
        seen = []
        for summary in experiments:
            with contextlib.suppress(NotFoundError):  # it was removed while others were looked at
                if self._allows(caller, summary):
                    seen.append(summary)
        return seen

    def shown(self, caller: Identity, summary: ExperimentSummary) -> ExperimentSummary:
        """Return a summary that names no experiment which the caller may not see."""
        waiting = summary.waiting
        if waiting is None or not waiting.experiment or self.known(caller, [waiting.experiment]):
            return summary
        return replace(summary, waiting=replace(waiting, experiment=""))

    def known(self, caller: Identity, experiments: Iterable[str]) -> frozenset[str]:
        """Return those of some ids that are of experiments which the caller may see."""
        mine = set()
        for experiment in set(experiments):
            with contextlib.suppress(NotFoundError):  # sites say what they run
                self.require(caller, experiment)
                mine.add(experiment)
        return frozenset(mine)

    def forget(self, experiment: str) -> None:
        """Forget whose an experiment was that has gone: it may come back as somebody else's."""
        self._owners.pop(experiment, None)

    def _allows(self, caller: Identity, summary: ExperimentSummary) -> bool:
        if caller.role is Role.ADMIN:
            return True
        # the name alone is not enough: an admin, or an envoy, may be called alike
        return summary.owner == caller.name and self.owner(summary.id) == caller.uri

    def owner(self, experiment: str) -> str:
        """The identity of who signed an experiment, which never changes; empty if it cannot be read."""
        if experiment not in self._owners:
            try:
                chain = self._store.experiment(experiment).certificates
                self._owners[experiment] = read_identity(parse_certificate(chain, experiment)).uri
            except (CredentialError, UnauthenticatedError) as error:
                log.warning("experiment %s: only admins can see it: %s", experiment, error)
                self._owners[experiment] = ""
        return self._owners[experiment]
