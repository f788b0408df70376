"""A federation as its users see it, for programs that run an event loop; `Federation` is the same for all others."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

from openfl_like.api.checkpoints import CheckpointFiles
from openfl_like.api.experiments import Experiments
from openfl_like.pki.files import Credentials
from openfl_like.wire.client import director_peer
from openfl_like.wire.director import DirectorClient
from openfl_like.wire.envoys import EnvoysClient
from openfl_like.wire.experiments import ExperimentsClient


@dataclass(frozen=True, slots=True)
class AsyncFederation:
    """A connection to a Director, by noun.

    Attributes:
        director: The Director itself.
        envoys: The sites.
        experiments: What runs, ran and is to run.
        checkpoints: Experiments that move from one Director to another.
    """

    director: DirectorClient
    envoys: EnvoysClient
    experiments: Experiments
    checkpoints: CheckpointFiles


Connect: TypeAlias = Callable[[str, Credentials], AbstractAsyncContextManager[AsyncFederation]]


@asynccontextmanager
async def connect(director: str, credentials: Credentials) -> AsyncIterator[AsyncFederation]:
    """Open a connection to a Director; leaving the block closes it.

    Args:
        director: ``host:port``.
        credentials: The user's certificate and key.

    Example:
        >>> async def names(credentials: Credentials) -> list[str]:
        ...     async with connect("localhost:50050", credentials) as federation:
        ...         return [envoy.name for envoy in await federation.envoys.envoys()]
    """
    async with director_peer(director, credentials) as peer:
        experiments, itself = ExperimentsClient(peer), DirectorClient(peer)
        yield AsyncFederation(
            itself,
            EnvoysClient(peer),
            Experiments(experiments, credentials, itself),
            CheckpointFiles(experiments, credentials),
        )
