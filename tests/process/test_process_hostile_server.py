"""What a Director or an Aggregator that is not to be trusted can do to a site's disk: over real sockets and TLS."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from federations import OBEDIENT, PLAN, federation_of, fx_fine
from pace import limit

from openfl_like.errors import TransferError
from openfl_like.federation.parties import Validity
from openfl_like.federation.ports import (
    CollaboratorReport,
    EnvoyInstruction,
    EnvoyReport,
    Order,
    OrderReply,
    TaskFailure,
    Welcome,
)
from openfl_like.federation.task import Assignment, Phase, TaskCall
from openfl_like.pki.files import Credentials
from openfl_like.pki.peer import PeerVerifier
from openfl_like.pki.roles import Role
from openfl_like.pki.signing import sign_bundle
from openfl_like.plan.load import load_plan, workspace_of
from openfl_like.plan.names import MAX_BUNDLE_BYTES
from openfl_like.services.collaborator import CollaboratorArguments, run_collaborator
from openfl_like.services.envoy.service import EnvoySettings, run_envoy
from openfl_like.tensors.manifest import DIGEST_BYTES, MIN_CHUNK_BYTES, Manifest, manifest_of
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.testing.stores import memory_stores
from openfl_like.wire.aggregator import SERVICE as AGGREGATOR
from openfl_like.wire.aggregator import AggregatorServicer
from openfl_like.wire.attendance import SERVICE as ATTENDANCE
from openfl_like.wire.attendance import AttendanceServicer
from openfl_like.wire.convert.rounds import instruction_to
from openfl_like.wire.convert.values import manifest_to
from openfl_like.wire.protos import federation_pb2 as pb
from openfl_like.wire.server import Call, Guard, Server, service_handler

pytestmark = pytest.mark.process

EXPERIMENT = "obedient-0123abcd"
HUGE = Manifest(
    2 * MAX_BUNDLE_BYTES, MIN_CHUNK_BYTES, (b"\1" * DIGEST_BYTES,) * (2 * MAX_BUNDLE_BYTES // MIN_CHUNK_BYTES)
)


@dataclass
class HostileDirector:
    """Gives one order to whoever attends, and keeps the answer."""

    order: Order
    answered: asyncio.Future[OrderReply] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    asked_for: list[str] = field(default_factory=list)

    async def attend(
        self,
        _caller: str,
        reports: AsyncIterator[EnvoyReport],
        send: Callable[[EnvoyInstruction], Awaitable[None]],
        _certificate: Validity | None = None,
    ) -> None:
        await anext(reports)
        await send(Welcome(5.0))
        await send(self.order)
        async for report in reports:
            if isinstance(report, OrderReply) and not self.answered.done():
                self.answered.set_result(report)

    async def bundle_file(self, caller: str, experiment: str) -> Path:  # noqa: ARG002 (one envoy is enough)
        self.asked_for.append(experiment)
        return PLAN


@dataclass
class HostileAggregator:
    """Gives one assignment to whoever takes part."""

    assignment: Assignment
    reported: asyncio.Future[CollaboratorReport] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    async def participate(
        self,
        _caller: str,
        reports: AsyncIterator[CollaboratorReport],
        send: Callable[[Assignment], Awaitable[None]],
        _certificate: Validity | None = None,
    ) -> None:
        await anext(reports)
        await send(self.assignment)
        async for report in reports:
            if not self.reported.done():
                self.reported.set_result(report)


@pytest.fixture
def treasure(tmp_path: Path) -> Path:
    """A folder of the hospital's own."""
    folder = tmp_path / "hospital-data"
    (folder / "scans").mkdir(parents=True)
    (folder / "scans" / "patient-1.dcm").write_text("x" * 1000)
    (folder / "index.sqlite").write_text("x")
    return folder


def content(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "shard.yaml"
    path.write_text("template: digits\nparams: {site: 1, sites: 2}\n")
    return path


@asynccontextmanager
async def ordered(
    federation: ThrowAwayFederation, order: Order, shard: Path, directory: Path
) -> AsyncIterator[HostileDirector]:
    """Runs an Envoy with a Director that orders this."""
    director = HostileDirector(order)
    servicer = AttendanceServicer(director)

    async def offer_huge(call: Call) -> None:
        director.asked_for.append("chunks")
        await call.receive()
        await call.send(manifest_to(HUGE).SerializeToString())
        while await call.receive() is not None:
            await call.send(b"\0" * MIN_CHUNK_BYTES)

    servicer.fetch_bundle = offer_huge  # type: ignore[method-assign] # it keeps to no rule of ours
    guard = Guard(PeerVerifier(federation.trust))
    credentials = federation.credentials(Role.DIRECTOR, "director")
    async with Server("localhost:0", credentials, (service_handler(ATTENDANCE, servicer, guard),)) as server:
        envoy = federation.credentials(Role.ENVOY, "bern")
        settings = EnvoySettings("bern", f"localhost:{server.port}", shard, envoy, directory, spare_worker=False)
        running = asyncio.create_task(run_envoy(settings, memory_stores(), lambda _: None))
        try:
            yield director
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def signed_by(user: Credentials, experiment: str, bundle: str) -> Order:
    return Order(experiment, bundle, sign_bundle(bundle, user), user.chain, "localhost:1")


async def answer_of(director: HostileDirector) -> OrderReply:
    async with asyncio.timeout(limit(60)):
        return await director.answered


async def test_an_experiment_named_like_a_folder_of_the_site(
    certificates: ThrowAwayFederation, treasure: Path, shard: Path, tmp_path: Path
) -> None:
    before = content(treasure)
    for name in (str(treasure), f"../{treasure.name}", "", "a/../../hospital-data-00000000"):
        order = signed_by(certificates.credentials(Role.USER, "alice"), name, "0" * 64)
        async with ordered(certificates, order, shard, tmp_path / "envoy") as director:
            answer = await answer_of(director)
        assert (answer.accepted, "is not a valid id of an experiment" in answer.reason) == (False, True)
        assert content(treasure) == before
        assert not director.asked_for


@pytest.mark.parametrize("forged", ["no signature", "of another bundle", "of a stranger"])
async def test_an_order_that_nobody_signed_touches_nothing(
    certificates: ThrowAwayFederation, strangers: ThrowAwayFederation, shard: Path, tmp_path: Path, forged: str
) -> None:
    alice = certificates.credentials(Role.USER, "alice")
    honest = signed_by(alice, EXPERIMENT, "1" * 64)
    order = {
        "no signature": Order(EXPERIMENT, "0" * 64, b"no signature", b"no certificate", "localhost:1"),
        "of another bundle": Order(EXPERIMENT, "0" * 64, honest.signature, honest.certificates, "localhost:1"),
        "of a stranger": signed_by(strangers.credentials(Role.USER, "alice"), EXPERIMENT, "0" * 64),
    }[forged]
    kept = tmp_path / "envoy" / EXPERIMENT / "workspace" / "src" / "runner.py"
    kept.parent.mkdir(parents=True)
    kept.write_text("of the run before")
    async with ordered(certificates, order, shard, tmp_path / "envoy") as director:
        answer = await answer_of(director)
    assert not answer.accepted
    assert kept.read_text() == "of the run before"
    assert content(tmp_path / "envoy" / EXPERIMENT) == ["workspace", "workspace/src", "workspace/src/runner.py"]
    assert not director.asked_for


@pytest.mark.parametrize(
    ("bundle", "reason"),
    [(HUGE.digest, f"the bundle has {HUGE.total_bytes:,} bytes"), ("0" * 64, "the order names the bundle '0000")],
    ids=["signed", "another one"],
)
async def test_a_bundle_beyond_every_limit_is_not_taken(
    certificates: ThrowAwayFederation, shard: Path, tmp_path: Path, bundle: str, reason: str
) -> None:
    order = signed_by(certificates.credentials(Role.USER, "alice"), EXPERIMENT, bundle)
    async with ordered(certificates, order, shard, tmp_path / "envoy") as director:
        answer = await answer_of(director)
    assert (answer.accepted, reason in answer.reason) == (False, True)
    assert director.asked_for == ["chunks"]
    assert sum(path.stat().st_size for path in (tmp_path / "envoy" / EXPERIMENT).rglob("*") if path.is_file()) == 0


@asynccontextmanager
async def taking_part(
    federation: ThrowAwayFederation, aggregator: HostileAggregator, shard: Path, directory: Path
) -> AsyncIterator[CollaboratorArguments]:
    """Serves an Aggregator that keeps to no rule of ours, and gives what a Collaborator takes part in it with."""
    servicer = AggregatorServicer(aggregator, None)  # type: ignore[arg-type] # nobody watches it

    async def as_it_is(_name: str, value: Assignment) -> pb.AggregatorMessage:
        return instruction_to(value)

    async def offer_huge(call: Call) -> None:
        await call.receive()
        await call.send(manifest_to(HUGE).SerializeToString())
        while await call.receive() is not None:
            await call.send(b"\0" * MIN_CHUNK_BYTES)

    servicer._instruction = as_it_is  # type: ignore[assignment,method-assign] # an honest one looks the model up
    servicer.download = offer_huge  # type: ignore[method-assign] # an honest one, too
    plan = load_plan(PLAN)
    guard = Guard(PeerVerifier(federation.trust))
    credentials = federation.credentials(Role.AGGREGATOR, EXPERIMENT)
    async with Server("localhost:0", credentials, (service_handler(AGGREGATOR, servicer, guard),)) as server:
        yield CollaboratorArguments(
            EXPERIMENT,
            plan,
            workspace_of(PLAN, plan),
            shard,
            f"localhost:{server.port}",
            federation.credentials(Role.COLLABORATOR, "bern", EXPERIMENT),
            directory,
            device="cpu",
        )


async def test_a_model_beyond_the_limit_of_the_site_is_not_taken(
    certificates: ThrowAwayFederation, shard: Path, tmp_path: Path
) -> None:
    shard.write_text(f"{shard.read_text()}limits: {{model_gb: 0.1}}\n")
    task = TaskCall("train", "train", {}, "global", trains=True)
    aggregator = HostileAggregator(Assignment(1, Phase.TRAIN, "bern", (task,), HUGE.digest, 1, None))
    async with taking_part(certificates, aggregator, shard, tmp_path / "run") as arguments:
        running = asyncio.create_task(run_collaborator(arguments))
        async with asyncio.timeout(limit(60)):
            report = await aggregator.reported
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert isinstance(report, TaskFailure)
    told = f"the model of the experiment '{EXPERIMENT}' has {HUGE.total_bytes:,} bytes, this site takes 100,000,000"
    assert told in report.failure.message
    assert not [path for path in (tmp_path / "run" / "models").iterdir() if path.is_file()]


async def test_the_submitter_is_told_which_site_takes_how_much(tmp_path: Path) -> None:
    site = tmp_path / "site"
    shutil.copytree(OBEDIENT / "shards", site)
    with (site / "site-2.yaml").open("a") as file:
        file.write("limits: {model_gb: 0.0001}\nlogs: {share: false}\n")
    sites = {"site-1": site / "site-1.yaml", "site-2": site / "site-2.yaml"}
    async with federation_of(sites, tmp_path) as (local, user):
        experiment = await user.submit(PLAN, "task_runner.settings.length=100000")
        assert (await user.ended(experiment)).status == "FAILED"
        told = await fx_fine("experiment", "why", experiment, federation=local)
    assert "site-2" in told
    said = " ".join(told.split())
    assert f"the model of the experiment '{experiment}' has 400," in said
    assert "this site takes 100,000 at most" in said
    assert "limits.model_gb" in said


@pytest.mark.parametrize("digest", ["{up}/anything", "../updates/0001-train", "0" * 63, "A" * 64, "0" * 63 + "/"])
async def test_a_model_named_like_a_folder_of_the_site(
    certificates: ThrowAwayFederation, treasure: Path, shard: Path, tmp_path: Path, digest: str
) -> None:
    up = f"../../{treasure.name}"
    task = TaskCall("train", "train", {}, "global", trains=True)
    digest = digest.format(up=up)
    aggregator = HostileAggregator(Assignment(1, Phase.TRAIN, "bern", (task,), digest, 1, None))
    before = content(treasure)
    async with taking_part(certificates, aggregator, shard, tmp_path / "run") as arguments:
        with pytest.raises(
            TransferError, match=r"the aggregator sent a message that is malformed: .* is not a valid digest"
        ):
            async with asyncio.timeout(limit(60)):
                await run_collaborator(arguments)
    assert content(treasure) == before
    assert manifest_of(treasure / "index.sqlite").total_bytes == 1
