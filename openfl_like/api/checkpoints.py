"""Experiments that move from one Director to another, each as one file."""

import secrets
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Protocol, TypeVar

from openfl_like.api.reconnect import retry
from openfl_like.federation.parties import ExperimentSummary
from openfl_like.federation.ports import CheckpointOffer
from openfl_like.pki.files import Credentials
from openfl_like.pki.signing import sign_bundle
from openfl_like.store.checkpoint import read_checkpoint
from openfl_like.tensors.manifest import manifest_of
from openfl_like.wire.experiments import CheckpointClient

Result = TypeVar("Result")


class Run(Protocol):
    """Runs a coroutine to its end from any thread."""

    def __call__(self, work: Coroutine[Any, Any, Result], /) -> Result:
        """Gives its result."""


class CheckpointFiles:
    """Fetches and delivers checkpoints; part of a `Federation`.

    Args:
        director: ``host:port``.
        credentials: The user's.
        run: Where the calls run.
    """

    def __init__(self, director: str, credentials: Credentials, run: Run) -> None:
        self._director, self._credentials, self._run = director, credentials, run

    def fetch(self, experiment: str, path: str | Path) -> Path:
        """Fetches an experiment that has ended as one file, which another Director can take in.

        Raises:
            ConflictError: If it has not ended.
        """
        target = Path(path)

        async def fetch() -> None:
            async with CheckpointClient(self._director, self._credentials) as client:
                await client.fetch(experiment, target)

        self._run(fetch())
        return target

    def deliver(self, path: str | Path) -> ExperimentSummary:
        """Has the Director take in a checkpoint, under the same id; `Federation.resume` goes on with it.

        The bundle in it is signed anew by this user, who answers for its code from now on.

        Raises:
            BundleError: If the checkpoint is damaged; the message names the entry.
            ConflictError: If the Director has this experiment already.
        """
        archive = Path(path)
        bundle = read_checkpoint(archive).bundle
        signature = sign_bundle(bundle, self._credentials)
        chain = self._credentials.chain
        offer = CheckpointOffer(secrets.token_hex(16), manifest_of(archive), bundle, signature, chain)

        async def deliver() -> ExperimentSummary:
            async with CheckpointClient(self._director, self._credentials) as client:
                return await retry(lambda: client.deliver(offer, archive), lambda: client.reached)

        return self._run(deliver())
