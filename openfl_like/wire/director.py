"""The Director's service: its clients for envoys and users, and its servicer."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from openfl_like.errors import BundleError
from openfl_like.federation.parties import (
    DirectorStatus,
    EnvoyRecord,
    EventRecord,
    ExperimentRecord,
    ExperimentSummary,
    LogLines,
    LogQuery,
)
from openfl_like.federation.ports import EnvoyInstruction, EnvoyPort, EnvoyReport, Submission, UserPort
from openfl_like.pki.files import Credentials
from openfl_like.wire import convert
from openfl_like.wire.client import Stream, director_peer
from openfl_like.wire.files import Road, serve_file, take_file
from openfl_like.wire.lanes import Lanes
from openfl_like.wire.protos import federation_pb2 as pb
from openfl_like.wire.server import Call
from openfl_like.wire.transfer import described

SERVICE = pb.DESCRIPTOR.services_by_name["Director"]
CANCEL_DEADLINE_S = 60.0
EVERY_LINE = LogQuery()


@dataclass(frozen=True, slots=True)
class Attendance:
    """An envoy's session with the Director."""

    stream: Stream

    async def report(self, value: EnvoyReport) -> None:
        """Sends a report."""
        await self.stream.write(convert.envoy_report_to(value))

    async def instruction(self) -> EnvoyInstruction | None:
        """Gives the next instruction, or None when the Director has ended the session."""
        message = await self.stream.read()
        return None if message is None else convert.envoy_instruction_from(message)


class EnvoyClient:
    """What an envoy asks the Director; an async context manager.

    Args:
        address: ``host:port``.
        credentials: The envoy's certificate and key.
    """

    def __init__(self, address: str, credentials: Credentials) -> None:
        self.credentials = credentials
        self._peer = director_peer(SERVICE, address, credentials)

    async def __aenter__(self) -> "EnvoyClient":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._peer.__aexit__(*exception)

    async def ready(self) -> None:
        """Waits until there is a connection; raises UnreachableError if there is none in time."""
        await self._peer.ready()

    @asynccontextmanager
    async def attend(self) -> AsyncIterator[Attendance]:
        """Opens the envoy's session."""
        async with self._peer.session("Attend") as stream:
            yield Attendance(stream)

    async def fetch_bundle(self, experiment: str, digest: str, path: Path) -> None:
        """Fetches a workspace bundle; raises BundleError if it does not have this digest."""
        manifest = await self._peer.download("FetchBundle", pb.FetchBundleRequest(experiment=experiment), path)
        if manifest.digest != digest:
            path.unlink(missing_ok=True)
            raise BundleError(f"the order names the bundle {digest[:12]}, but {manifest.digest[:12]} was sent")


class UserClient:
    """What a user asks the Director; an async context manager.

    Args:
        address: ``host:port``.
        credentials: The user's certificate and key.
    """

    def __init__(self, address: str, credentials: Credentials) -> None:
        self._peer = director_peer(SERVICE, address, credentials)

    async def __aenter__(self) -> "UserClient":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._peer.__aexit__(*exception)

    @property
    def reached(self) -> bool:
        """Whether a submission ever had a connection: if it fails later, it may have arrived."""
        return self._peer.reached

    async def submit(self, submission: Submission, bundle: Path) -> ExperimentSummary:
        """Delivers a bundle; the answer comes when the experiment is durably queued."""
        request = convert.submission_to(submission)
        answer = await self._peer.upload("Submit", request, bundle, submission.manifest)
        return convert.summary_from(pb.ExperimentSummary.FromString(answer))

    async def experiments(self) -> list[ExperimentSummary]:
        """Lists all experiments, oldest first."""
        reply = await self._peer.unary("ListExperiments", pb.ListExperimentsRequest())
        return [convert.summary_from(summary) for summary in reply.experiments]

    async def experiment(self, experiment: str) -> ExperimentRecord:
        """Gives everything the Director tells of one experiment."""
        reply = await self._peer.unary("GetExperiment", pb.ExperimentRequest(experiment=experiment))
        return convert.record_from(reply)

    async def watch(
        self, experiment: str, after: int = 0, *, stored: bool = False
    ) -> AsyncGenerator[ExperimentSummary | EventRecord]:
        """Gives history and live events until the experiment has ended; or only the events that are ``stored``."""
        request = pb.WatchRequest(experiment=experiment, after=after, stored=stored)
        async for message in self._peer.answers("Watch", request):
            for item in convert.watch_from(message):
                yield item

    async def logs(self, experiment: str, query: LogQuery = EVERY_LINE) -> AsyncGenerator[LogLines]:
        """Gives stored log lines, and with ``query.follow`` those that come."""
        async for message in self._peer.answers("ReadLogs", convert.log_query_to(experiment, query)):
            yield convert.logs_from(message)

    async def cancel(self, experiment: str) -> ExperimentSummary:
        """Ends a queued or running experiment; answers when it has ended."""
        request = pb.ExperimentRequest(experiment=experiment)
        return convert.summary_from(await self._peer.unary("Cancel", request, CANCEL_DEADLINE_S))

    async def resume(self, experiment: str) -> ExperimentSummary:
        """Queues an experiment again that FAILED or was CANCELLED; it goes on after its last finished round."""
        request = pb.ExperimentRequest(experiment=experiment)
        return convert.summary_from(await self._peer.unary("Resume", request))

    async def model(self, experiment: str, which: str, path: Path) -> None:
        """Fetches the ``best`` or ``last`` model, or that of a round number."""
        request = pb.FetchModelRequest(experiment=experiment, which=which)
        await self._peer.download("FetchModel", request, path)

    async def status(self) -> DirectorStatus:
        """Says how the Director is."""
        return convert.status_from(await self._peer.unary("GetStatus", pb.GetStatusRequest()))

    async def envoys(self) -> list[EnvoyRecord]:
        """Lists the roster."""
        reply = await self._peer.unary("ListEnvoys", pb.ListEnvoysRequest())
        return [convert.envoy_from(envoy) for envoy in reply.envoys]


class DirectorServicer:
    """Carries the calls of the wire to the Director's two ports."""

    def __init__(self, envoys: EnvoyPort, users: UserPort) -> None:
        self._envoys = envoys
        self._users = users
        self._road = Road(Lanes())

    async def attend(self, call: Call) -> None:
        """Holds an envoy's session."""

        async def reports() -> AsyncIterator[EnvoyReport]:
            async for message in call.messages():
                yield convert.envoy_report_from(message)

        async def send(value: EnvoyInstruction) -> None:
            await call.send(convert.envoy_instruction_to(value))

        await self._envoys.attend(call.caller.name, reports(), send, call.certificate)

    async def fetch_bundle(self, call: Call) -> None:
        """Serves a workspace bundle."""
        request = pb.FetchBundleRequest.FromString(await call.receive() or b"")
        path = await self._envoys.bundle_file(request.experiment)
        await serve_file(call, path, await described(path), self._road)

    async def submit(self, call: Call) -> None:
        """Takes a bundle and answers with the queued experiment."""
        submission = convert.submission_from(pb.SubmitRequest.FromString(await call.receive() or b""))
        landing = await self._users.expect_bundle(call.caller.name, submission)
        await take_file(call, landing, submission.manifest, self._road, durable=True)
        summary = await self._users.submit(call.caller.name, submission)
        await call.send(convert.summary_to(summary).SerializeToString())

    async def fetch_model(self, call: Call) -> None:
        """Serves a published model."""
        request = pb.FetchModelRequest.FromString(await call.receive() or b"")
        stored = await self._users.model(request.experiment, request.which)
        await serve_file(call, stored.path, stored.manifest, self._road)

    async def list_experiments(self, _call: Call) -> pb.ListExperimentsReply:
        """Lists all experiments."""
        summaries = await self._users.experiments()
        return pb.ListExperimentsReply(experiments=[convert.summary_to(summary) for summary in summaries])

    async def get_experiment(self, call: Call) -> pb.ExperimentRecord:
        """Tells of one experiment."""
        request = await call.receive()
        return convert.record_to(await self._users.experiment(request.experiment))

    async def watch(self, call: Call) -> None:
        """Sends history and live events."""
        request = await call.receive()
        async for values in self._users.watch(request.experiment, request.after, stored=request.stored):
            await call.send(convert.watch_to(values))

    async def read_logs(self, call: Call) -> None:
        """Sends log lines."""
        request = await call.receive()
        async with aclosing(self._users.logs(request.experiment, convert.log_query_from(request))) as found:
            async for lines in found:
                await call.send(convert.logs_to(lines))

    async def cancel(self, call: Call) -> pb.ExperimentSummary:
        """Ends an experiment."""
        request = await call.receive()
        return convert.summary_to(await self._users.cancel(call.caller.name, request.experiment))

    async def resume(self, call: Call) -> pb.ExperimentSummary:
        """Queues an experiment that had ended."""
        request = await call.receive()
        return convert.summary_to(await self._users.resume(call.caller.name, request.experiment))

    async def get_status(self, _call: Call) -> pb.DirectorStatus:
        """Says how the Director is."""
        return convert.status_to(await self._users.status())

    async def list_envoys(self, _call: Call) -> pb.ListEnvoysReply:
        """Lists the roster."""
        return pb.ListEnvoysReply(envoys=[convert.envoy_to(envoy) for envoy in await self._users.envoys()])
