"""Single envoys, as users see them."""

from openfl_like.api.checkpoints import Run
from openfl_like.federation.parties import EnvoyDetail
from openfl_like.pki.files import Credentials
from openfl_like.wire.envoys import EnvoysClient


class EnvoyLookup:
    """Gives what the Director tells of one envoy; `Federation.envoy` is one.

    Args:
        director: ``host:port``.
        credentials: The user's.
        run: Where the calls run.
    """

    def __init__(self, director: str, credentials: Credentials, run: Run) -> None:
        self._director, self._credentials, self._run = director, credentials, run

    def __call__(self, name: str) -> EnvoyDetail:
        """Gives an envoy's row of the roster and what its machine told over the last hour and the last day.

        Raises:
            NotFoundError: If the Director knows none of this name; the cure lists those that it knows.
        """

        async def ask() -> EnvoyDetail:
            async with EnvoysClient(self._director, self._credentials) as client:
                return await client.envoy(name)

        return self._run(ask())
