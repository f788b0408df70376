"""The service for workers of a simulation: its client, and its servicer."""

from collections.abc import Callable, Sequence
from pathlib import Path

from openfl_like.errors import BundleError, NotFoundError, TransferError
from openfl_like.federation.failure import bounded
from openfl_like.federation.jobs import GivenUp, JobAnswer, JobFilesPort, JobsPort, Lease, NoJobs, Terms
from openfl_like.pki.files import Credentials
from openfl_like.pki.roles import Identity
from openfl_like.plan.names import MAX_BUNDLE_BYTES
from openfl_like.tensors.manifest import Manifest, keep_manifest
from openfl_like.wire.channel import UNARY_DEADLINE_S
from openfl_like.wire.client import Peer, understood
from openfl_like.wire.convert.jobs import answers_from, answers_to, lease_from, lease_to, terms_from, terms_to
from openfl_like.wire.convert.values import digest_from, manifest_from, manifest_to
from openfl_like.wire.protos import federation_pb2 as pb
from openfl_like.wire.server import Call
from openfl_like.wire.transfer.chunks import described
from openfl_like.wire.transfer.limit import TransferLimiter
from openfl_like.wire.transfer.serving import FileTransport, serve_file, take_file

SERVICE = pb.DESCRIPTOR.services_by_name["Jobs"]
WAITING_S = 15.0
"""So long a worker's question for jobs stays open; then it asks again."""


class JobsClient:
    """What a worker asks of a simulation; an async context manager.

    Args:
        address: ``host:port``.
        credentials: The worker's certificate, of a collaborator of the experiment, and its key.
    """

    def __init__(self, address: str, credentials: Credentials) -> None:
        identity = credentials.identity
        server = Identity.aggregator(identity.federation, identity.experiment)
        self._peer = Peer((SERVICE,), address, server.server_name, credentials)

    async def __aenter__(self) -> "JobsClient":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._peer.__aexit__(*exception)

    async def register(self) -> Terms:
        """Take part."""
        message = await self._peer.unary("Register", pb.RegisterRequest())
        with understood("the simulation"):
            return terms_from(message)

    async def next_lease(self, bundle: str) -> Lease | NoJobs:
        """Wait for jobs; raises ConflictError if the simulation does not know this worker, or has another bundle."""
        request = pb.NextLeaseRequest(bundle=bundle)
        message = await self._peer.unary("NextLease", request, WAITING_S + UNARY_DEADLINE_S)
        with understood("the simulation"):
            return lease_from(message)

    async def renew(self, lease: str) -> None:
        """Have a lease last longer; raises NotFoundError if it has run out."""
        await self._peer.unary("RenewLease", pb.RenewLeaseRequest(lease=lease))

    async def complete(self, lease: str, answers: Sequence[JobAnswer]) -> None:
        """Answer; raises NotFoundError if the lease has run out."""
        await self._peer.unary("CompleteLease", pb.CompleteLeaseRequest(lease=lease, answers=answers_to(answers)))

    async def give_up(self, lease: str, reason: str) -> None:
        """Tell that there is no answer; raises NotFoundError if the lease has run out."""
        await self._peer.unary("CompleteLease", pb.CompleteLeaseRequest(lease=lease, given_up=reason))

    async def fetch_bundle(self, digest: str, path: Path) -> None:
        """Fetch the bundle; raises BundleError if another one is offered, or one that is too large."""

        def check(offered: Manifest) -> None:
            if offered.digest != digest or offered.total_bytes > MAX_BUNDLE_BYTES:
                raise BundleError(f"asked for the bundle {digest[:12]}, was offered {offered.digest[:12]}")

        await self._fetch(digest, path, check)

    async def fetch_model(self, digest: str, path: Path) -> None:
        """Fetch a model; raises TransferError if another one is offered."""

        def check(offered: Manifest) -> None:
            if offered.digest != digest:
                raise TransferError(f"asked for the model {digest[:12]}, was offered {offered.digest[:12]}")

        await self._fetch(digest, path, check)

    async def _fetch(self, digest: str, path: Path, check: Callable[[Manifest], None]) -> None:
        await self._peer.download("FetchJobFile", pb.FetchJobFileRequest(digest=digest), path, check=check)

    async def deliver(self, lease: str, job: int, path: Path) -> None:
        """Deliver an update that is too large for a message."""
        manifest = await described(path)
        request = pb.DeliverJobUpdateRequest(lease=lease, job=job, manifest=manifest_to(manifest))
        receipt = pb.Receipt.FromString(await self._peer.upload("DeliverJobUpdate", request, path, manifest))
        if receipt.digest != manifest.digest:
            raise TransferError("the receipt is for another update")


class JobsServicer:
    """Carries the calls of the wire to a simulation's jobs.

    Args:
        jobs: Answers workers.
        files: Their files.
    """

    def __init__(self, jobs: JobsPort, files: JobFilesPort) -> None:
        self._jobs, self._files = jobs, files
        self._transport = FileTransport(TransferLimiter())

    async def register(self, call: Call) -> pb.Terms:
        """Have a worker take part."""
        return terms_to(self._jobs.register(call.caller.name))

    async def next_lease(self, call: Call) -> pb.Lease:
        """Give a worker jobs when there are some."""
        request = await call.receive()
        return lease_to(await self._jobs.next_lease(call.caller.name, request.bundle))

    async def renew_lease(self, call: Call) -> pb.RenewLeaseReply:
        """Have a lease last longer."""
        request = await call.receive()
        self._jobs.renew(call.caller.name, request.lease)
        return pb.RenewLeaseReply()

    async def complete_lease(self, call: Call) -> pb.CompleteLeaseReply:
        """Take what came of a lease."""
        request = await call.receive()
        worker = call.caller.name
        lease = self._jobs.renew(worker, request.lease)
        lost = bounded(request.given_up)
        outcome = GivenUp(lost) if lost else answers_from(request.answers, lease.jobs)
        self._jobs.complete(worker, lease.id, outcome)
        return pb.CompleteLeaseReply()

    async def fetch_job_file(self, call: Call) -> None:
        """Serve the bundle, or a model."""
        request = pb.FetchJobFileRequest.FromString(await call.receive() or b"")
        path, manifest = await self._files.job_file(digest_from(request.digest))
        await serve_file(call, path, manifest, self._transport)

    async def deliver_job_update(self, call: Call) -> None:
        """Take an update that is too large for a message, and answer with a receipt."""
        request = pb.DeliverJobUpdateRequest.FromString(await call.receive() or b"")
        manifest = manifest_from(request.manifest)
        worker = call.caller.name
        target = self._files.expect_job_update(worker, request.lease, request.job, manifest)
        await take_file(call, target, manifest, self._transport)
        try:
            self._jobs.renew(worker, request.lease)
        except NotFoundError:  # meanwhile it has run out, and nobody would remove the file any more
            target.path.unlink(missing_ok=True)
            raise
        keep_manifest(target.path, manifest)
        await call.send(pb.Receipt(digest=manifest.digest).SerializeToString())
