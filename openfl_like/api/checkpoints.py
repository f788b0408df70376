"""Experiments that move from one Director to another, each as one file."""

import asyncio
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

from openfl_like.api.reconnect import retry
from openfl_like.federation.parties import ExperimentSummary
from openfl_like.federation.ports import CheckpointOffer
from openfl_like.pki.files import Credentials
from openfl_like.pki.signing import sign_bundle
from openfl_like.store.checkpoint import read_checkpoint
from openfl_like.store.results import MOST_ARCHIVE_BYTES, read_results
from openfl_like.tensors.manifest import manifest_of
from openfl_like.wire.experiments import ExperimentsClient


@dataclass(frozen=True, slots=True)
class CheckpointFiles:
    """Fetches and delivers checkpoints.

    Args:
        client: The Director's service.
        credentials: The user's; what is delivered is signed with them.
    """

    client: ExperimentsClient
    credentials: Credentials

    async def fetch(self, experiment: str, path: str | Path) -> Path:
        """Fetch an experiment that has ended as one file, which another Director can take in.

        Raises:
            ConflictError: If it has not ended.
        """
        await self.client.fetch_checkpoint(experiment, Path(path))
        return Path(path)

    async def results(self, experiment: str, folder: str | Path) -> list[Path]:
        """Fetch what an experiment's callbacks have written by now into a folder that is new or empty.

        Raises:
            BundleError: If what comes is not an archive of results.
            ConflictError: If there is something in the folder.
            NotFoundError: If nothing was written.
        """
        with tempfile.TemporaryDirectory(prefix="fx-results-") as scratch:
            archive = Path(scratch, "results.tar")
            await self.client.fetch_results(experiment, archive, MOST_ARCHIVE_BYTES)
            return await asyncio.to_thread(read_results, archive, Path(folder))

    async def deliver(self, path: str | Path) -> ExperimentSummary:
        """Have the Director take in a checkpoint, under the same id; `Experiments.resume` goes on with it.

        The bundle in it is signed anew by this user, who answers for its code from now on.

        Raises:
            BundleError: If the checkpoint is damaged; the message names the entry.
            ConflictError: If the Director has this experiment already.
        """
        archive = Path(path)
        bundle = (await asyncio.to_thread(read_checkpoint, archive)).bundle
        signature = sign_bundle(bundle, self.credentials)
        manifest = await asyncio.to_thread(manifest_of, archive)
        offer = CheckpointOffer(secrets.token_hex(16), manifest, bundle, signature, self.credentials.chain)
        return await retry(lambda: self.client.deliver_checkpoint(offer, archive), lambda: self.client.reached)
