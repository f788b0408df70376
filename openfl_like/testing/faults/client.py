"""A client that does not give up: the same request until it is answered, and every call in the history."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from openfl_like.errors import ConflictError, FederationError, UnreachableError
from openfl_like.federation.parties import ExperimentSummary
from openfl_like.federation.ports import Submission
from openfl_like.pki.files import Credentials, load_credentials
from openfl_like.pki.signing import sign_bundle
from openfl_like.plan.bundles.bundle import pack
from openfl_like.plan.digest import plan_digest
from openfl_like.plan.load import load_plan, workspace_of
from openfl_like.tensors.manifest import Manifest, manifest_of, sha256_file
from openfl_like.testing.faults.call_history import History, Pending, Told
from openfl_like.wire.client import director_peer
from openfl_like.wire.experiments import ExperimentsClient

CALL_S = 30.0
AGAIN_S = 0.3


@dataclass(frozen=True, slots=True)
class Parcel:
    """A plan, ready to be submitted any number of times.

    Attributes:
        bundle: The packed workspace.
        manifest: Of the bundle.
        signature: Of the user over its digest.
        plan_digest: Identity of the plan.
    """

    bundle: Path
    manifest: Manifest
    signature: bytes
    plan_digest: str


@dataclass(slots=True)
class PatientClient:
    """Asks until it is answered.

    Args:
        address: Gives ``host:port`` of the Director.
        certificates: Folder of the user's certificate and key.
        history: Gets every call.
        scratch: Where bundles and models go.
    """

    address: Callable[[], str]
    certificates: Path
    history: History
    scratch: Path
    _credentials: Credentials = field(init=False)
    _seen: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._credentials = load_credentials(self.certificates)
        self.scratch.mkdir(parents=True, exist_ok=True)

    def pack(self, plan: Path, overrides: Sequence[str]) -> Parcel:
        """Pack and sign a plan."""
        checked = load_plan(plan, overrides)
        bundle = self.scratch / f"bundle-{secrets.token_hex(4)}.tar"
        pack(workspace_of(plan, checked), checked, bundle)
        manifest = manifest_of(bundle)
        return Parcel(bundle, manifest, sign_bundle(manifest.digest, self._credentials), plan_digest(checked))

    async def submit(self, parcel: Parcel, request_id: str) -> str:
        """Submit until it is acknowledged; return the experiment's id."""
        submission = Submission(request_id, parcel.manifest, parcel.signature, self._credentials.chain)
        while True:
            async with self._call("submit", request_id) as (client, pending):
                summary = await client.submit(submission, parcel.bundle)
                pending.answered(Told(summary.id, summary.status.value))
                return summary.id
            await asyncio.sleep(AGAIN_S)

    async def experiments(self) -> list[ExperimentSummary] | None:
        """List the experiments, once; None when there was no answer. What has changed since the last time is noted."""
        async with self._call("experiments") as (client, pending):
            found = await client.experiments()
            for summary in found:
                if self._seen.get(summary.id) != summary.status.value:
                    self._seen[summary.id] = summary.status.value
                    pending.answered(Told(summary.id, summary.status.value))
            return found
        return None

    async def cancel(self, experiment: str) -> None:
        """Cancel until it is answered, or it had ended before."""
        while True:
            async with self._call("cancel") as (client, pending):
                try:
                    summary = await client.cancel(experiment)
                except ConflictError as error:
                    pending.failed(error)
                    return
                pending.answered(Told(summary.id, summary.status.value))
                return
            await asyncio.sleep(AGAIN_S)

    async def model(self, experiment: str) -> str:
        """Fetch the last model until it is here; return its SHA-256."""
        path = self.scratch / f"{experiment}.safetensors"
        while True:
            async with self._call("model") as (client, pending):
                await client.model(experiment, "last", path)
                sha256 = sha256_file(path)
                path.unlink()
                pending.answered(Told(experiment, "", sha256))
                return sha256
            await asyncio.sleep(AGAIN_S)

    async def ended(self, experiment: str, timeout_s: float) -> ExperimentSummary | None:
        """Wait for the end of an experiment; None when the time has passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while True:
                    for summary in await self.experiments() or []:
                        if summary.id == experiment and summary.status.ended:
                            return summary
                    await asyncio.sleep(AGAIN_S)
        return None

    @contextlib.asynccontextmanager
    async def _call(self, name: str, request_id: str = "") -> AsyncIterator[tuple[ExperimentsClient, Pending]]:
        """Make one call over a line of its own; what goes wrong goes into the history and no further."""
        pending = self.history.begin(name, request_id)
        try:
            async with (
                asyncio.timeout(CALL_S),
                ExperimentsClient(director_peer(self.address(), self._credentials)) as client,
            ):
                yield client, pending
        except FederationError as error:
            pending.failed(error)
        except TimeoutError:
            pending.failed(UnreachableError(f"no answer within {CALL_S:g} s"))
        except asyncio.CancelledError:
            pending.failed(UnreachableError("nobody waits for the answer any more"))
            raise
