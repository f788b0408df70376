"""Who is refused, and what they are told: over real sockets and TLS."""

import asyncio
import io
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from federations import PLAN
from pace import limit

from openfl_like.errors import (
    BundleError,
    CertificateExpiredError,
    FederationError,
    NotAllowedError,
    ShardMismatchError,
    UnauthenticatedError,
)
from openfl_like.federation.parties import ShardFacts
from openfl_like.federation.ports import Hello, Ready, Submission, Welcome
from openfl_like.pki.files import Credentials
from openfl_like.pki.peer import PeerVerifier
from openfl_like.pki.roles import Role
from openfl_like.pki.signing import sign_bundle
from openfl_like.plan.bundles.archive import END, header_of
from openfl_like.plan.bundles.bundle import pack
from openfl_like.plan.digest import freeze, plan_digest
from openfl_like.plan.load import load_plan, workspace_of
from openfl_like.plan.names import MAX_TOTAL_BYTES
from openfl_like.services.aggregator.service import AggregatorArguments, run_aggregator
from openfl_like.services.director.service import run_director
from openfl_like.services.director.settings import DirectorFile
from openfl_like.services.envoy.service import EnvoySettings, run_envoy
from openfl_like.store.sqlite.stores import SQLITE
from openfl_like.tensors.manifest import DIGEST_BYTES, MAX_CHUNK_BYTES, Manifest, manifest_of
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.testing.stores import memory_stores
from openfl_like.wire.aggregator import AggregatorClient
from openfl_like.wire.attendance import EnvoyClient, EnvoySession
from openfl_like.wire.client import director_peer
from openfl_like.wire.experiments import SERVICE, ExperimentsClient
from openfl_like.wire.server import Guard, Server, service_handler

pytestmark = pytest.mark.process

Kind = TypeVar("Kind", bound=FederationError)
FACTS = ShardFacts((8, 8), ())


@dataclass(frozen=True)
class Running:
    """A Director in this process."""

    address: str
    state: Path


@asynccontextmanager
async def in_background(start: Callable[[Callable[..., None]], Coroutine[Any, Any, object]]) -> AsyncIterator[str]:
    """Runs a server until the block ends; gives the address at which it says it is ready."""
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(start(lambda address, *_: ready.set_result(address)))
    try:
        async with asyncio.timeout(30):
            both: list[asyncio.Future[Any]] = [task, ready]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield await ready
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def director(certificates: ThrowAwayFederation, tmp_path: Path) -> AsyncIterator[Running]:
    state = tmp_path / "state"
    settings = DirectorFile(
        listen="localhost:0",
        sample_shape=FACTS.sample_shape,
        target_shape=FACTS.target_shape,
        experiment_ca=certificates.certs / "experiment-ca",
        state=state,
    )
    credentials = certificates.credentials(Role.DIRECTOR, "director")
    async with in_background(lambda ready: run_director(settings, credentials, SQLITE, ready)) as address:
        yield Running(address, state)


@pytest.fixture
def alice(certificates: ThrowAwayFederation) -> Credentials:
    return certificates.credentials(Role.USER, "alice")


async def refusal(kind: type[Kind], work: Awaitable[object]) -> Kind:
    with pytest.raises(kind) as caught:
        async with asyncio.timeout(30):
            await work
    return caught.value


async def list_experiments(address: str, credentials: Credentials) -> list[str]:
    async with ExperimentsClient(director_peer(address, credentials)) as client:
        return [summary.id for summary in await client.experiments()]


async def hello(session: EnvoySession) -> object:
    """Introduces an envoy; a refusal may come before the words are out."""
    await session.report(Hello(FACTS, "0.1.0"))
    return await session.instruction()


# ---- certificates -------------------------------------------------------------------------------------------------


async def test_a_certificate_of_another_authority(
    director: Running, certificates: ThrowAwayFederation, strangers: ThrowAwayFederation
) -> None:
    stranger = strangers.credentials(Role.USER, "alice")
    error = await refusal(UnauthenticatedError, list_experiments(director.address, stranger))
    assert f"the TLS handshake with {director.address} failed" in error.message
    assert error.cure == "check that both sides' certificates come from the same federation and are not expired"
    mixed = Credentials(stranger.identity, stranger.chain, stranger.key, certificates.trust)
    error = await refusal(UnauthenticatedError, list_experiments(director.address, mixed))
    assert str(error) == "the site-ca of 'hospitals' has not issued fx://hospitals/user/alice"


async def test_an_expired_certificate(director: Running, certificates: ThrowAwayFederation) -> None:
    old = certificates.credentials(Role.USER, "alice", now=datetime.now(UTC) - timedelta(days=3))
    error = await refusal(CertificateExpiredError, list_experiments(director.address, old))
    assert error.message.startswith("the certificate of fx://hospitals/user/alice expired on ")
    assert error.cure == "renew it"


async def test_a_certificate_that_expires_in_a_live_stream(
    director: Running, certificates: ThrowAwayFederation
) -> None:
    brief = certificates.credentials(Role.ENVOY, "bern", lifetime=timedelta(seconds=4))
    async with EnvoyClient(director.address, brief) as client:
        async with client.attend() as session:
            assert isinstance(await hello(session), Welcome)
            error = await refusal(CertificateExpiredError, session.instruction())
            assert str(error) == "the certificate of fx://hospitals/envoy/bern expired during the call"
        async with client.attend() as session:  # the channel is still open; the next call is refused all the same
            error = await refusal(CertificateExpiredError, hello(session))
            assert "renew it" in str(error)


async def test_an_envoy_that_submits(director: Running, certificates: ThrowAwayFederation, tmp_path: Path) -> None:
    envoy = certificates.credentials(Role.ENVOY, "bern")
    error = await refusal(NotAllowedError, submit(director, envoy, packed(tmp_path)))
    assert str(error) == (
        "fx://hospitals/envoy/bern may not call /openfl_like.v1.Experiments/Submit (allowed: admin, user)"
    )


async def test_a_collaborator_of_another_experiment(certificates: ThrowAwayFederation, tmp_path: Path) -> None:
    plan = load_plan(PLAN)
    aggregator = certificates.credentials(Role.AGGREGATOR, "digits-1")
    settings = AggregatorArguments("digits-1", plan, PLAN.parent, tmp_path, "localhost:0", 0, aggregator, ("bern",))

    async def take_part(address: str, experiment: str) -> object:
        credentials = certificates.credentials(Role.COLLABORATOR, "bern", experiment)
        async with AggregatorClient(address, "digits-1", credentials) as client, client.participate() as session:
            session.report(Ready(plan_digest(plan)))
            return await session.instruction()

    async with in_background(lambda ready: run_aggregator(settings, SQLITE, ready)) as address:
        error = await refusal(NotAllowedError, take_part(address, "digits-2"))
        assert error.message.startswith(
            "fx://hospitals/collaborator/digits-2/bern is a collaborator of another experiment than 'digits-1'"
        )
        assert "use a certificate that was issued for 'digits-1'" in str(error)
        assert await take_part(address, "digits-1")


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        ((Role.COLLABORATOR, "bern", "digits-1"), "the TLS handshake with"),
        ((Role.ENVOY, "bern", ""), "the TLS handshake with"),
        ((Role.AGGREGATOR, "digits-1", ""), "is not 'director.hospitals.fx'"),
    ],
    ids=["collaborator", "envoy", "aggregator"],
)
async def test_a_rogue_director(
    identity: tuple[Role, str, str], message: str, certificates: ThrowAwayFederation, alice: Credentials
) -> None:
    rogue = certificates.credentials(*identity)
    handler = service_handler(SERVICE, AnyServicer(), Guard(PeerVerifier(rogue.trust)))
    async with Server("localhost:0", rogue, (handler,)) as server:
        error = await refusal(UnauthenticatedError, list_experiments(f"localhost:{server.port}", alice))
    assert message in error.message
    assert error.cure.startswith("check ")


async def test_an_aggregator_of_another_experiment(certificates: ThrowAwayFederation) -> None:
    rogue = certificates.credentials(Role.AGGREGATOR, "digits-2")
    handler = service_handler(SERVICE, AnyServicer(), Guard(PeerVerifier(rogue.trust)))
    collaborator = certificates.credentials(Role.COLLABORATOR, "bern", "digits-1")
    async with (
        Server("localhost:0", rogue, (handler,)) as server,
        AggregatorClient(f"localhost:{server.port}", "digits-1", collaborator) as client,
    ):
        error = await refusal(UnauthenticatedError, client.cancel())
    assert "is not 'digits-1.aggregator.hospitals.fx'" in error.message
    assert "the port may have passed to another server" in error.cure


class AnyServicer:
    """Would serve whoever comes so far."""

    def __getattr__(self, name: str) -> object:
        async def serve(_: object) -> None:
            pytest.fail(f"{name} was served")

        return serve


# ---- shards -------------------------------------------------------------------------------------------------------


async def test_an_envoy_whose_shard_has_another_shape(
    director: Running, certificates: ThrowAwayFederation, tmp_path: Path
) -> None:
    shard = PLAN.parent / "shards" / "site-1.yaml"
    credentials = certificates.credentials(Role.ENVOY, "bern")
    settings = EnvoySettings("bern", director.address, shard, credentials, tmp_path / "envoy")
    error = await refusal(
        ShardMismatchError, run_envoy(settings, memory_stores(), lambda _: pytest.fail("it was welcomed"))
    )
    assert error.message.startswith("the shard of 'bern' has the sample shape [")
    assert "this federation's is [8, 8]" in error.message
    assert "change the shard descriptor, or sample_shape in director.yaml" in str(error)


# ---- submissions --------------------------------------------------------------------------------------------------


def packed(directory: Path) -> Path:
    """A bundle that nothing is wrong with."""
    plan = load_plan(PLAN)
    bundle = directory / "good.tar"
    pack(workspace_of(PLAN, plan), plan, bundle)
    return bundle


def by_hand(directory: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> Path:
    """A bundle that begins well."""
    frozen = freeze(load_plan(PLAN))
    archive = io.BytesIO()
    archive.write(header_of("plan.json", len(frozen)) + frozen + b"\0" * (-len(frozen) % 512))
    for entry, data in entries:
        entry.size = len(data)
        archive.write(entry.tobuf(tarfile.USTAR_FORMAT) + data + b"\0" * (-len(data) % 512))
    archive.write(END)
    bundle = directory / "hostile.tar"
    bundle.write_bytes(archive.getvalue())
    return bundle


async def submit(director: Running, sender: Credentials, bundle: Path, signer: Credentials | None = None) -> str:
    """Submits like a client that checks nothing; the signature is valid."""
    manifest = manifest_of(bundle)
    return await offer(director, sender, Submission("00" * 8, manifest, b"", b""), bundle, signer)


async def offer(
    director: Running, sender: Credentials, offered: Submission, bundle: Path, signer: Credentials | None = None
) -> str:
    signer = signer or sender
    signature = sign_bundle(offered.manifest.digest, signer)
    submission = Submission(offered.request_id, offered.manifest, signature, signer.chain)
    async with ExperimentsClient(director_peer(director.address, sender)) as client:
        return (await client.submit(submission, bundle)).id


def link(name: str, target: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    return entry


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (tarfile.TarInfo("../x"), "the entry '../x' is refused: a name has"),
        (tarfile.TarInfo("src/../../x"), "the entry 'src/../../x' is refused: a name has"),
        (tarfile.TarInfo("/etc/x"), "/x' is refused: a name has"),
        (link("src/link", "/etc/passwd"), "the entry 'src/link' is refused: it is a symbolic link, not a regular file"),
    ],
    ids=["parent", "parent inside", "absolute", "symlink"],
)
async def test_a_bundle_that_reaches_outside(
    director: Running, alice: Credentials, tmp_path: Path, entry: tarfile.TarInfo, message: str
) -> None:
    before = {path for path in tmp_path.rglob("*") if "state" not in path.parts}
    bundle = by_hand(tmp_path, (entry, b"" if entry.issym() else b"evil"))
    error = await refusal(BundleError, submit(director, alice, bundle))
    assert message in error.message
    assert await list_experiments(director.address, alice) == []
    assert {path for path in tmp_path.rglob("*") if "state" not in path.parts} == before | {bundle}
    assert [path for path in director.state.rglob("*") if path.name in {"x", "link"}] == []
    assert list((director.state / "incoming").iterdir()) == []
    assert await submit(director, alice, packed(tmp_path))  # the same request id is free again


async def test_a_bundle_over_the_size_cap_is_refused_before_a_byte_is_sent(
    director: Running, alice: Credentials, tmp_path: Path
) -> None:
    count = MAX_TOTAL_BYTES // MAX_CHUNK_BYTES + 17
    huge = Manifest(count * MAX_CHUNK_BYTES, MAX_CHUNK_BYTES, (bytes(DIGEST_BYTES),) * count)
    absent = tmp_path / "never-read.tar"
    error = await refusal(BundleError, offer(director, alice, Submission("00" * 8, huge, b"", b""), absent))
    assert f"the bundle has {huge.total_bytes:,} bytes, the limit is {MAX_TOTAL_BYTES:,}" in str(error)
    assert "keep data and models out of the workspace" in str(error)
    assert list((director.state / "incoming").iterdir()) == []


async def test_an_entry_that_claims_more_than_the_cap(director: Running, alice: Credentials, tmp_path: Path) -> None:
    bundle = by_hand(tmp_path, (tarfile.TarInfo("src/big.py"), b""))
    claimed = tarfile.TarInfo("src/big.py")
    claimed.size = MAX_TOTAL_BYTES
    data = bundle.read_bytes()
    empty = header_of("src/big.py", 0)
    bundle.write_bytes(data.replace(empty, header_of("src/big.py", claimed.size)))
    error = await refusal(BundleError, submit(director, alice, bundle))
    assert f"'src/big.py' is refused: with it the bundle holds more than {MAX_TOTAL_BYTES} bytes" in error.message


async def test_a_bundle_that_another_user_signed(
    director: Running, alice: Credentials, certificates: ThrowAwayFederation, tmp_path: Path
) -> None:
    bob = certificates.credentials(Role.USER, "bob")
    error = await refusal(NotAllowedError, submit(director, alice, packed(tmp_path), signer=bob))
    assert str(error) == "fx://hospitals/user/alice submits a bundle that fx://hospitals/user/bob signed"


async def test_a_bundle_that_a_site_signed(
    director: Running, alice: Credentials, certificates: ThrowAwayFederation, tmp_path: Path
) -> None:
    envoy = certificates.credentials(Role.ENVOY, "alice")
    error = await refusal(NotAllowedError, submit(director, alice, packed(tmp_path), signer=envoy))
    assert "fx://hospitals/envoy/alice, whose role may not submit" in str(error)


async def test_a_signature_of_other_bytes(director: Running, alice: Credentials, tmp_path: Path) -> None:
    bundle = packed(tmp_path)
    submission = Submission("00" * 8, manifest_of(bundle), sign_bundle("of something else", alice), alice.chain)
    async with ExperimentsClient(director_peer(director.address, alice)) as client:
        error = await refusal(UnauthenticatedError, client.submit(submission, bundle))
    assert "the signature is not one of fx://hospitals/user/alice for these bytes" in str(error)


# ---- plans --------------------------------------------------------------------------------------------------------

FIVE_MISTAKES = """\
name: digits
sede: 7
seed: seven
task_runner: {template: src.obedient:Runner}
data_loader: {template: src.obedient:Loader}
tasks:
  train: {function: train}
aggregation: {template: fedavgg}
participation: {min_fraction: 1.5}
admission: {collaborators: bern}
"""


def test_all_mistakes_of_a_plan_at_once(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(FIVE_MISTAKES)
    command = [sys.executable, "-m", "openfl_like.cli", "plan", "check", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit(60), check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    first, *problems = done.stderr.splitlines()
    assert first == f"Error [E101]: {path}: 5 mistakes"
    for problem, line, words in zip(
        problems,
        (2, 3, 8, 9, 10),
        (
            "sede: unknown key; did you mean 'seed'?",
            "seed: must be a whole number, not 'seven'",
            "did you mean 'fedavg'?",
            "participation.min_fraction: must be at most 1, not 1.5",
            "admission.collaborators: must be a list",
        ),
        strict=True,
    ):
        assert problem.startswith(f"  - {path}:{line}: ")
        assert words in problem
