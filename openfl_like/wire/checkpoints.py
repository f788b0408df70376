"""The service for experiments that move between Directors: its client for users, and its servicer."""

from pathlib import Path

from openfl_like.federation.parties import ExperimentSummary
from openfl_like.federation.ports import CheckpointOffer, CheckpointPort
from openfl_like.pki.files import Credentials
from openfl_like.wire import convert
from openfl_like.wire.client import director_peer
from openfl_like.wire.files import Road, serve_file, take_file
from openfl_like.wire.lanes import Lanes
from openfl_like.wire.protos import federation_pb2 as pb
from openfl_like.wire.server import Call
from openfl_like.wire.transfer import described

SERVICE = pb.DESCRIPTOR.services_by_name["Checkpoints"]


class CheckpointClient:
    """What a user asks the Director about checkpoints; an async context manager.

    Args:
        address: ``host:port`` of the Director.
        credentials: The user's certificate and key.
    """

    def __init__(self, address: str, credentials: Credentials) -> None:
        self._peer = director_peer(SERVICE, address, credentials)

    async def __aenter__(self) -> "CheckpointClient":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._peer.__aexit__(*exception)

    @property
    def reached(self) -> bool:
        """Whether there ever was a connection."""
        return self._peer.reached

    async def fetch(self, experiment: str, path: Path) -> None:
        """Fetches the checkpoint of an experiment that has ended."""
        await self._peer.download("ExportExperiment", pb.ExperimentRequest(experiment=experiment), path)

    async def deliver(self, offer: CheckpointOffer, archive: Path) -> ExperimentSummary:
        """Delivers a checkpoint; the answer comes when the experiment is durably there."""
        answer = await self._peer.upload("ImportExperiment", convert.checkpoint_to(offer), archive, offer.manifest)
        return convert.summary_from(pb.ExperimentSummary.FromString(answer))


class CheckpointServicer:
    """Carries the calls of the wire to the Director."""

    def __init__(self, checkpoints: CheckpointPort) -> None:
        self._checkpoints = checkpoints
        self._road = Road(Lanes())

    async def export_experiment(self, call: Call) -> None:
        """Serves the checkpoint of an experiment."""
        request = pb.ExperimentRequest.FromString(await call.receive() or b"")
        async with self._checkpoints.exported(request.experiment) as path:
            await serve_file(call, path, await described(path), self._road)

    async def import_experiment(self, call: Call) -> None:
        """Takes a checkpoint and answers with the experiment."""
        offer = convert.checkpoint_from(pb.ImportRequest.FromString(await call.receive() or b""))
        landing = await self._checkpoints.expect_checkpoint(call.caller.name, offer)
        await take_file(call, landing, offer.manifest, self._road, durable=True)
        summary = await self._checkpoints.take_checkpoint(call.caller.name, offer)
        await call.send(convert.summary_to(summary).SerializeToString())
