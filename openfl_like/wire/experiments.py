"""The service for experiments: its client for users, and its servicer."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from openfl_like.errors import BundleError
from openfl_like.federation.announcements import Announced
from openfl_like.federation.parties import ExperimentRecord, ExperimentSummary, LogLines, LogQuery, RemovedExperiment
from openfl_like.federation.ports import (
    CheckpointOffer,
    CheckpointPort,
    ExperimentsPort,
    RemovalPort,
    Submission,
    SubmissionPort,
)
from openfl_like.pki.roles import Identity
from openfl_like.tensors.manifest import Manifest
from openfl_like.wire.client import Peer
from openfl_like.wire.convert.envoys import (
    log_query_from,
    log_query_to,
    logs_from,
    logs_to,
)
from openfl_like.wire.convert.experiments import (
    checkpoint_from,
    checkpoint_to,
    record_from,
    record_to,
    removed_from,
    removed_to,
    submission_from,
    submission_to,
    summary_from,
    summary_to,
    watch_from,
    watch_to,
)
from openfl_like.wire.protos import federation_pb2 as pb
from openfl_like.wire.server import Call
from openfl_like.wire.transfer.chunks import described
from openfl_like.wire.transfer.limit import TransferLimiter
from openfl_like.wire.transfer.serving import FileTransport, serve_file, take_file

SERVICE = pb.DESCRIPTOR.services_by_name["Experiments"]
CANCEL_DEADLINE_S = 60.0
EVERY_LINE = LogQuery()


class ExperimentsClient:
    """What a user asks the Director about experiments; as an async context manager it closes its peer.

    Args:
        peer: The Director.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def __aenter__(self) -> "ExperimentsClient":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._peer.__aexit__(*exception)

    @property
    def reached(self) -> bool:
        """Whether a submission ever had a connection: if it fails later, it may have arrived."""
        return self._peer.reached

    async def submit(self, submission: Submission, bundle: Path) -> ExperimentSummary:
        """Deliver a bundle; the answer comes when the experiment is durably queued."""
        request = submission_to(submission)
        answer = await self._peer.upload("Submit", request, bundle, submission.manifest)
        return summary_from(pb.ExperimentSummary.FromString(answer))

    async def experiments(self) -> list[ExperimentSummary]:
        """List all experiments, oldest first."""
        reply = await self._peer.unary("ListExperiments", pb.ListExperimentsRequest())
        return [summary_from(summary) for summary in reply.experiments]

    async def experiment(self, experiment: str) -> ExperimentRecord:
        """Return everything the Director tells of one experiment."""
        reply = await self._peer.unary("GetExperiment", pb.ExperimentRequest(experiment=experiment))
        return record_from(reply)

    async def watch(
        self, experiment: str, after: int = 0, *, stored: bool = False, progress: bool = False
    ) -> AsyncGenerator[ExperimentSummary | Announced]:
        """Yield history and live events until the experiment has ended; or only the events that are ``stored``.

        With ``progress`` also how far tasks are: announcements without a sequence number.
        """
        request = pb.WatchRequest(experiment=experiment, after=after, stored=stored, progress=progress)
        async for message in self._peer.answers("Watch", request):
            for item in watch_from(message):
                yield item

    async def logs(self, experiment: str, query: LogQuery = EVERY_LINE) -> AsyncGenerator[LogLines]:
        """Yield stored log lines, and with ``query.follow`` those that come."""
        async for message in self._peer.answers("ReadLogs", log_query_to(experiment, query)):
            yield logs_from(message)

    async def cancel(self, experiment: str) -> ExperimentSummary:
        """End a queued or running experiment; answer when it has ended."""
        request = pb.ExperimentRequest(experiment=experiment)
        return summary_from(await self._peer.unary("Cancel", request, CANCEL_DEADLINE_S))

    async def resume(self, experiment: str) -> ExperimentSummary:
        """Queue an experiment again that FAILED or was CANCELLED; it goes on after its last finished round."""
        request = pb.ExperimentRequest(experiment=experiment)
        return summary_from(await self._peer.unary("Resume", request))

    async def remove(self, experiment: str) -> RemovedExperiment:
        """Remove an experiment that has ended; answer when it is not there any more."""
        request = pb.ExperimentRequest(experiment=experiment)
        return removed_from(await self._peer.unary("Remove", request, CANCEL_DEADLINE_S))

    async def model(self, experiment: str, which: str, path: Path) -> None:
        """Fetch the ``best`` or ``last`` model, or that of a round number."""
        request = pb.FetchModelRequest(experiment=experiment, which=which)
        await self._peer.download("FetchModel", request, path)

    async def fetch_results(self, experiment: str, path: Path, most_bytes: int) -> None:
        """Fetch the archive of what an experiment's callbacks have written by now.

        Raises:
            BundleError: If it has more bytes than this.
        """

        def check(manifest: Manifest) -> None:
            if manifest.total_bytes > most_bytes:
                raise BundleError(f"the results have {manifest.total_bytes:,} bytes, the limit is {most_bytes:,}")

        request = pb.ExperimentRequest(experiment=experiment)
        await self._peer.download("FetchResults", request, path, check=check)

    async def fetch_checkpoint(self, experiment: str, path: Path) -> None:
        """Fetch the checkpoint of an experiment that has ended."""
        await self._peer.download("ExportExperiment", pb.ExperimentRequest(experiment=experiment), path)

    async def deliver_checkpoint(self, offer: CheckpointOffer, archive: Path) -> ExperimentSummary:
        """Deliver a checkpoint; the answer comes when the experiment is durably there."""
        answer = await self._peer.upload("ImportExperiment", checkpoint_to(offer), archive, offer.manifest)
        return summary_from(pb.ExperimentSummary.FromString(answer))


class AccessPort(Protocol):
    """Who may see and touch which experiment."""

    def require(self, caller: Identity, experiment: str) -> None:
        """Raise NotFoundError unless the caller may: for others it is not there."""

    def visible(self, caller: Identity, experiments: Iterable[ExperimentSummary]) -> list[ExperimentSummary]:
        """Return those of some experiments that the caller may see."""

    def known(self, caller: Identity, experiments: Iterable[str]) -> frozenset[str]:
        """Return those of some ids that are of experiments which the caller may see."""

    def shown(self, caller: Identity, summary: ExperimentSummary) -> ExperimentSummary:
        """Return a summary that names no experiment which the caller may not see."""


class ExperimentsServicer:
    """Carries the calls of the wire to the Director's ports.

    Args:
        submissions: Takes, ends and resumes experiments.
        experiments: Tells of them.
        checkpoints: Moves them.
        removals: Removes them.
        access: Is asked before every call on one experiment.
    """

    def __init__(
        self,
        submissions: SubmissionPort,
        experiments: ExperimentsPort,
        checkpoints: CheckpointPort,
        removals: RemovalPort,
        access: AccessPort,
    ) -> None:
        self._submissions, self._experiments, self._checkpoints = submissions, experiments, checkpoints
        self._removals, self._access = removals, access
        self._transport = FileTransport(TransferLimiter())

    async def submit(self, call: Call) -> None:
        """Take a bundle and answer with the queued experiment."""
        submission = submission_from(pb.SubmitRequest.FromString(await call.receive() or b""))
        target = await self._submissions.expect_bundle(call.caller.uri, submission)
        await take_file(call, target, submission.manifest, self._transport, durable=True)
        summary = await self._submissions.submit(call.caller.name, submission)
        self._access.require(call.caller, summary.id)  # somebody called alike may have sent this request before
        await call.send(summary_to(summary).SerializeToString())

    async def fetch_model(self, call: Call) -> None:
        """Serve a published model."""
        request = pb.FetchModelRequest.FromString(await call.receive() or b"")
        self._access.require(call.caller, request.experiment)
        stored = await self._experiments.model(request.experiment, request.which)
        await serve_file(call, stored.path, stored.manifest, self._transport)

    async def list_experiments(self, call: Call) -> pb.ListExperimentsReply:
        """List the experiments that the caller may see."""
        summaries = self._access.visible(call.caller, await self._experiments.experiments())
        shown = [self._access.shown(call.caller, summary) for summary in summaries]
        return pb.ListExperimentsReply(experiments=[summary_to(summary) for summary in shown])

    async def get_experiment(self, call: Call) -> pb.ExperimentRecord:
        """Tell of one experiment."""
        request = await call.receive()
        self._access.require(call.caller, request.experiment)
        record = await self._experiments.experiment(request.experiment)
        return record_to(replace(record, summary=self._access.shown(call.caller, record.summary)))

    async def watch(self, call: Call) -> None:
        """Send history and live events."""
        request = await call.receive()
        self._access.require(call.caller, request.experiment)
        watched = self._experiments.watch(
            request.experiment, request.after, stored=request.stored, progress=request.progress
        )
        async for values in watched:
            shown = [
                self._access.shown(call.caller, value) if isinstance(value, ExperimentSummary) else value
                for value in values
            ]
            await call.send(watch_to(shown))

    async def read_logs(self, call: Call) -> None:
        """Send log lines."""
        request = await call.receive()
        self._access.require(call.caller, request.experiment)
        async with aclosing(self._experiments.logs(request.experiment, log_query_from(request))) as found:
            async for lines in found:
                await call.send(logs_to(lines))

    async def cancel(self, call: Call) -> pb.ExperimentSummary:
        """End an experiment."""
        request = await call.receive()
        self._access.require(call.caller, request.experiment)
        return summary_to(await self._submissions.cancel(call.caller.name, request.experiment))

    async def resume(self, call: Call) -> pb.ExperimentSummary:
        """Queue an experiment that had ended."""
        request = await call.receive()
        self._access.require(call.caller, request.experiment)
        return summary_to(await self._submissions.resume(call.caller.name, request.experiment))

    async def remove(self, call: Call) -> pb.RemovedExperiment:
        """Remove an experiment that has ended."""
        request = await call.receive()
        self._access.require(call.caller, request.experiment)
        return removed_to(await self._removals.remove(call.caller.name, request.experiment))

    async def fetch_results(self, call: Call) -> None:
        """Serve what an experiment's callbacks have written."""
        request = pb.ExperimentRequest.FromString(await call.receive() or b"")
        self._access.require(call.caller, request.experiment)
        async with self._checkpoints.results(request.experiment) as path:
            await serve_file(call, path, await described(path), self._transport)

    async def export_experiment(self, call: Call) -> None:
        """Serve the checkpoint of an experiment."""
        request = pb.ExperimentRequest.FromString(await call.receive() or b"")
        self._access.require(call.caller, request.experiment)
        async with self._checkpoints.exported(request.experiment) as path:
            await serve_file(call, path, await described(path), self._transport)

    async def import_experiment(self, call: Call) -> None:
        """Take a checkpoint and answer with the experiment."""
        offer = checkpoint_from(pb.ImportRequest.FromString(await call.receive() or b""))
        target = await self._checkpoints.expect_checkpoint(call.caller.uri, offer)
        await take_file(call, target, offer.manifest, self._transport, durable=True)
        summary = await self._checkpoints.take_checkpoint(call.caller.name, offer)
        self._access.require(call.caller, summary.id)  # as above
        await call.send(summary_to(summary).SerializeToString())
