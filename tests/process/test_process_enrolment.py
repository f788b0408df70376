"""A federation with an authority's server: sites join, renew and are thrown out while it runs."""

import asyncio
import json
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from federations import PLAN, THREE, User, fx_fine, gate_of, run_fx, shards
from pace import limit

from openfl_like.errors import NotAllowedError, NotFoundError, RevokedError, UnreachableError
from openfl_like.federation.announcements import CollaboratorAbsent, RoundFinished, only
from openfl_like.federation.task import Phase
from openfl_like.pki.administration import make_token
from openfl_like.pki.files import load_credentials, save_credentials
from openfl_like.pki.ledger import Ledger
from openfl_like.pki.roles import Identity, Role
from openfl_like.pki.token import Token
from openfl_like.processes.child import Child, clean_environment, fx_command, spawn
from openfl_like.services.director.aggregator_process import free_port
from openfl_like.services.identity.enrolment_client import enrol
from openfl_like.services.local_federation import LocalFederation
from openfl_like.tensors.manifest import manifest_of
from openfl_like.wire.aggregator import AggregatorClient
from openfl_like.wire.attendance import EnvoyClient

pytestmark = pytest.mark.process
QUORUM = ("participation={policy: quorum, min_updates: 2}", "deadline.rejoin_s=3600")
LONG = "aggregator.settings.rounds_to_train=100000"


class Enrolled(LocalFederation):
    """A federation whose certificates are made before it starts, with the authority's server running."""

    def make_certificates(self) -> None:
        """They are there already."""


class Issued(LocalFederation):
    """A federation whose certificates are made by the commands of the quickstart."""

    def make_certificates(self) -> None:
        """Founds it and issues what its processes and one user need."""
        issued = (
            ("init", "--federation", self.name),
            ("issue", "director", "director", "--host", "localhost"),
            *(("issue", "envoy", site) for site in self.sites),
            ("issue", "user", "user"),
        )
        for words in issued:
            subprocess.run(fx_command("pki", *words), cwd=self.directory, env=clean_environment({}), check=True)


@asynccontextmanager
async def office(certs: Path, address: str) -> AsyncIterator[Child]:
    """Runs the authority's server."""
    command = fx_command("pki", "serve", "--listen", address, "--dir", str(certs), "--json", "--with-parent")
    child = await spawn(command, on_line=print, cwd=certs.parent, environment=clean_environment({}))
    try:
        async with asyncio.timeout(limit(60)):
            assert json.loads(await child.line()) == {"kind": "listening", "address": address}
        yield child
    finally:
        await child.stop()


def offered(certs: Path, address: str, role: Role, name: str, lifetime: timedelta = timedelta(days=1)) -> Token:
    """Makes a token as `fx pki token` does, with a lifetime as short as is wanted."""
    hosts = ("localhost",) if role is Role.DIRECTOR else ()
    return make_token(certs, Identity("local", role, name), address, hosts=hosts, lifetime=lifetime)


@asynccontextmanager
async def enrolled_federation(
    directory: Path, lifetime: timedelta = timedelta(days=1)
) -> AsyncIterator[tuple[Enrolled, User, str, Child]]:
    """Starts the authority's server and a federation whose Director and sites have enrolled with it."""
    local = Enrolled(directory / "federation", THREE, (1,), ())
    local.directory.mkdir()
    certs, address = local.directory / "certs", f"localhost:{free_port('localhost', [0])}"
    LocalFederation.make_certificates(local)
    async with office(certs, address) as authority:
        for role, name in ((Role.DIRECTOR, "director"), *((Role.ENVOY, site) for site in THREE)):
            credentials = await enrol(offered(certs, address, role, name, lifetime))
            save_credentials(certs / role.value / name, credentials, replace=True)
        async with local:
            user = User(local, directory)
            async with user.client:
                yield local, user, address, authority


async def test_a_fourth_site_joins_with_two_commands_and_takes_part_in_the_next_experiment(tmp_path: Path) -> None:
    async with enrolled_federation(tmp_path) as (federation, user, address, _):
        first = await user.submit(PLAN, "admission.min_collaborators=3")
        assert (await user.ended(first)).status == "FINISHED"
        site = tmp_path / "fourth"
        site.mkdir()
        code, token, _ = await run_fx("pki", "token", "site-4", "--server", address, cwd=federation.directory)
        assert code == 0
        code, _, said = await run_fx("pki", "enroll", "-", cwd=site, line=token)
        assert (code, "enrolled as fx://local/envoy/site-4" in said) == (0, True)
        own = site / "certs" / "envoy" / "site-4"
        assert own.stat().st_mode & 0o777 == 0o700
        assert (own / "key.pem").stat().st_mode & 0o777 == 0o600
        assert list(federation.directory.glob("certs/envoy/site-4*")) == []
        own.rename(federation.directory / "certs" / "envoy" / "site-4")
        federation.sites = {**federation.sites, **shards(site_4="site-1")}
        await federation.start_envoy("site-4")
        second = await user.submit(PLAN, "admission.min_collaborators=4")
        assert (await user.ended(second)).status == "FINISHED"
        rounds = [told.contributors for told in only(await user.events(second), RoundFinished) if told.round]
        assert [sorted(found) for found in rounds] == [["site-1", "site-2", "site-3", "site-4"]] * 3
        code, _, said = await run_fx("pki", "enroll", token.strip(), "--out", "again", cwd=site)
        assert (code, "E203" in said) == (3, True)


async def test_a_token_makes_one_certificate_whoever_races_for_it_and_none_after_a_restart(tmp_path: Path) -> None:
    federation = Enrolled(tmp_path / "federation", {}, (1,), ())
    federation.directory.mkdir()
    LocalFederation.make_certificates(federation)
    certs, address = federation.directory / "certs", f"localhost:{free_port('localhost', [0])}"
    token = offered(certs, address, Role.ENVOY, "wanted")
    async with office(certs, address):
        tries = await asyncio.gather(*(enrol(token) for _ in range(50)), return_exceptions=True)
    refused = [one for one in tries if isinstance(one, NotAllowedError | UnreachableError)]
    assert len(refused) == 49
    ledger = Ledger(certs / "site-ca")
    assert [issued.uri for issued in ledger.issued()] == ["fx://local/envoy/wanted"]
    async with office(certs, address):
        with pytest.raises(NotAllowedError, match="unknown, was used before, or is over"):
            await enrol(token)
    assert len(ledger.issued()) == 1


async def test_two_servers_on_one_ledger_make_one_certificate(tmp_path: Path) -> None:
    federation = Enrolled(tmp_path / "federation", {}, (1,), ())
    federation.directory.mkdir()
    LocalFederation.make_certificates(federation)
    certs = federation.directory / "certs"
    one, two = (f"localhost:{free_port('localhost', [0])}" for _ in range(2))
    async with office(certs, one), office(certs, two):
        for number in range(5):
            token = offered(certs, one, Role.ENVOY, f"site-{number}")
            other = Token(token.identity, two, token.pin, token.secret)
            tries = await asyncio.gather(*(enrol(item) for item in (token, other)), return_exceptions=True)
            assert sorted(type(item).__name__ for item in tries) == ["Credentials", "NotAllowedError"]
    assert len(Ledger(certs / "site-ca").issued()) == 5


async def accepted_until_revoked(
    client: EnvoyClient | AggregatorClient, names: Sequence[str], path: Path, heard: asyncio.Event
) -> float:
    """Calls over one live channel, again and again, and gives when the last call was answered."""
    last = 0.0
    async with asyncio.timeout(limit(60)):
        while True:
            try:
                if isinstance(client, AggregatorClient):
                    await client.download(names[0], path, path.with_suffix(".spare"), lambda _: None)
                else:
                    await client.fetch_bundle(names[0], names[1], path)
                last = time.monotonic()
                heard.set()
            except NotFoundError:  # that model is not kept any more; the call was let in
                last = time.monotonic()
                heard.set()
            except RevokedError:
                return last
            await asyncio.sleep(0.2)


@pytest.mark.long
async def test_a_revoked_site_is_out_within_ten_seconds_and_the_round_goes_on(tmp_path: Path) -> None:
    async with enrolled_federation(tmp_path) as (federation, user, address, authority), gate_of() as gate:
        gate.open(1)
        experiment = await user.submit(PLAN, "admission.min_collaborators=3", *QUORUM, gate.setting)
        await gate.arrived(2)
        envoy = load_credentials(federation.directory / "certs" / "envoy" / "site-3")
        worker = load_credentials(federation.directory / "envoy-site-3" / experiment / "certificate")
        place = federation.state / "experiments" / experiment
        digest = (await user.client.experiment(experiment)).versions[0].version.digest
        aggregator = f"localhost:{(place / 'port').read_text()}"
        async with (
            EnvoyClient(federation.director, envoy) as one,
            AggregatorClient(aggregator, experiment, worker) as two,
        ):
            bundle = federation.directory / "envoy-site-3" / experiment / "bundle.tar"
            names = (experiment, manifest_of(bundle).digest)
            heard = asyncio.Event(), asyncio.Event()
            calling = asyncio.gather(
                accepted_until_revoked(one, names, tmp_path / "bundle", heard[0]),
                accepted_until_revoked(two, (digest,), tmp_path / "model", heard[1]),
            )
            await asyncio.gather(*(event.wait() for event in heard))
            code, _, said = await run_fx("pki", "revoke", "site-3", cwd=federation.directory)
            revoked = time.monotonic()
            assert (code, "list number 1" in said) == (0, True)
            last = await calling
            assert min(last) > 0
            assert max(last) - revoked <= limit(10)
        gate.open_all()
        async with asyncio.timeout(limit(20)):
            assert await federation.children["site-3"].wait() == 3
        await user.until(experiment, "round_finished", contributors=("site-1", "site-2"))
        assert (await user.ended(experiment)).status == "FINISHED"
        await authority.stop()
        await federation.kill("director")
        await federation.start_director()
        with pytest.raises(UnreachableError, match="E205"):
            await federation.start_envoy("site-3")
        assert await revoked_sites(user) == ["site-3"]  # the Director that was started again has not seen it
        async with office(federation.directory / "certs", address):
            await back_with_a_new_token(federation, user, address)


async def revoked_sites(user: User) -> list[str]:
    return [envoy.name for envoy in await user.envoys.envoys() if envoy.revoked]


async def back_with_a_new_token(federation: Enrolled, user: User, address: str) -> None:
    """A new key of the same name is welcome."""
    folder = federation.directory / "certs" / "envoy" / "site-3"
    fresh = await enrol(offered(federation.directory / "certs", address, Role.ENVOY, "site-3"))
    save_credentials(folder, fresh, replace=True)
    await federation.start_envoy("site-3")
    assert await revoked_sites(user) == []
    again = await user.submit(PLAN, "admission.min_collaborators=3")
    assert (await user.ended(again)).status == "FINISHED"


def shorten(certs: Path, lifetime_s: float) -> None:
    """Has what renews these certificates live for so long only; those of now must last until everything has started."""
    for path in (certs / "site-ca" / "ledger" / "issued").glob("*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "lifetime_s": lifetime_s}))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.long
async def test_ten_renewals_in_one_experiment_fail_no_round(tmp_path: Path) -> None:
    async with enrolled_federation(tmp_path, timedelta(seconds=60)) as (federation, user, _, _):
        experiment = await user.submit(PLAN, LONG, "admission.min_collaborators=3")
        certs = federation.directory / "certs"
        shorten(certs, 16.0)
        wanted = {"fx://local/director/director", *(f"fx://local/envoy/{site}" for site in THREE)}
        async with asyncio.timeout(limit(200)):
            while True:
                renewed = Counter(item.uri for item in Ledger(certs / "site-ca").issued() if item.by == "renewal")
                if min(renewed[uri] for uri in wanted) >= 10:
                    break
                await asyncio.sleep(1)
        assert all(child.process.returncode is None for child in federation.children.values())
        await user.client.cancel(experiment)
        events = await user.events(experiment)
        rounds = only(events, RoundFinished)
        assert len(rounds) > 10
        assert [told for told in rounds if told.absent] == []
        assert "aggregator_lost" not in {event.kind for event in events}


async def test_a_federation_of_certificates_that_were_issued_hears_of_a_revocation_by_itself(tmp_path: Path) -> None:
    sites = shards(site_1="site-1", site_2="site-2")
    quorum = ("participation={policy: quorum, min_updates: 1}", "deadline.rejoin_s=3600")
    federation = Issued(tmp_path / "federation", sites, (1,), ())
    async with federation, gate_of(sites) as gate:
        user = User(federation, tmp_path)
        async with user.client:
            gate.open(1)
            experiment = await user.submit(PLAN, "admission.min_collaborators=2", *quorum, gate.setting)
            await gate.arrived(2)
            code, _, said = await run_fx("pki", "revoke", "site-2", cwd=federation.directory)
            assert (code, "list number 1" in said) == (0, True)
            assert "NOTE: fx://local/director/director was not enrolled by token" in " ".join(said.split())
            async with asyncio.timeout(limit(10)):
                assert await federation.children["site-2"].wait() == 3
            assert "left behind" not in federation.log("site-2").read_text()
            gate.open_all()
            gone = (await user.until(experiment, "collaborator_absent", collaborator="site-2")).announcement
            assert isinstance(gone, CollaboratorAbsent)
            assert (gone.round, gone.phase, gone.reason) == (2, Phase.TRAIN, "was put out: its certificate was revoked")
            await user.until(experiment, "round_finished", contributors=("site-1",))
            assert (await user.ended(experiment)).status == "FINISHED"
            why = " ".join((await fx_fine("experiment", "why", experiment, federation=federation)).split())
            assert "cause: its certificate was revoked do: " in why
            assert "where: site 'site-2', train, round 2 " in why
            assert (await user.director.status()).warnings == ()
            assert await revoked_sites(user) == ["site-2"]
            for words in (("status",), ("envoy", "list")):
                assert "site-2: its certificate was revoked" in await fx_fine(*words, federation=federation)
            said = federation.log("director").read_text()
            assert "envoy 'site-2' is here" in said
            assert "/openfl_like.v1.Attendance/Attend refused to fx://local/envoy/site-2: E205" in said
            assert "envoy 'site-2' has gone" in said


async def test_a_site_that_is_revoked_while_no_aggregator_runs_is_not_waited_for(tmp_path: Path) -> None:
    sites = shards(site_1="site-1", site_2="site-2")
    quorum = ("participation={policy: quorum, min_updates: 1}", "deadline.rejoin_s=3600")
    federation = Issued(tmp_path / "federation", sites, (1,), ())
    async with federation, gate_of(sites) as gate:
        user = User(federation, tmp_path)
        async with user.client:
            gate.open(1)
            experiment = await user.submit(PLAN, "admission.min_collaborators=2", *quorum, gate.setting)
            await gate.arrived(2)
            await user.until(experiment, "round_started", round=2)  # its tasks are sent ahead of the commit
            await federation.kill("director")  # and its Aggregator with it
            await federation.kill("site-2")
            await fx_fine("pki", "revoke", "site-2", cwd=federation.directory)
            await federation.start_director()
            gone = (await user.until(experiment, "collaborator_absent", collaborator="site-2")).announcement
            assert isinstance(gone, CollaboratorAbsent)
            assert (gone.round, gone.phase, gone.reason) == (2, Phase.TRAIN, "was put out: its certificate was revoked")
            gate.open_all()
            assert (await user.ended(experiment)).status == "FINISHED"
            why = " ".join((await fx_fine("experiment", "why", experiment, federation=federation)).split())
            assert "cause: its certificate was revoked do: " in why
            assert "where: site 'site-2', train, round 2 " in why


async def test_a_director_that_nothing_tells_what_was_revoked_says_so(tmp_path: Path) -> None:
    federation = Enrolled(tmp_path / "federation", {}, (1,), ())
    federation.directory.mkdir()
    LocalFederation.make_certificates(federation)
    (federation.directory / "certs" / "site-ca").rename(tmp_path / "elsewhere")
    async with federation:
        user = User(federation, tmp_path)
        async with user.client:
            [warned] = (await user.director.status()).warnings
        assert warned.startswith("nothing tells this Director what was revoked: a revoked site would go on")
        assert "nothing tells this Director" in federation.log("director").read_text()
        _, out, _ = await run_fx("doctor", "director", "-c", "director.yaml", cwd=federation.directory)
        assert "a revoked site would go on" in " ".join(out.split())
