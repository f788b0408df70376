"""A Director's settings, authority, addresses and revocation lists, each with a mistake."""

import shutil
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from openfl_like.doctor import director, host
from openfl_like.doctor.checks import run_checks
from openfl_like.doctor.finding import Finding, Verdict, fine
from openfl_like.pki.authority import Authority
from openfl_like.pki.certificate import parse_certificate
from openfl_like.pki.files import Credentials
from openfl_like.pki.revocation import Entry, Facts, RevocationList
from openfl_like.pki.roles import Role
from openfl_like.services.director.settings import DirectorFile, load_director_file, read_director_file
from openfl_like.testing.certificates import DAY, ThrowAwayFederation

TEXT = """listen: localhost:50950
aggregator_ports: 50951-50959
sample_shape: [3]
target_shape: []
"""


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> ThrowAwayFederation:
    return ThrowAwayFederation(tmp_path_factory.mktemp("federation"), "hospitals", datetime.now(UTC) - 30 * DAY)


@pytest.fixture(scope="module")
def credentials(federation: ThrowAwayFederation) -> Credentials:
    return federation.credentials(Role.DIRECTOR, "director", lifetime=300 * DAY)


@pytest.fixture
def config(
    federation: ThrowAwayFederation, credentials: Credentials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    federation.folder(credentials)
    certs = shutil.copytree(federation.certs, tmp_path / "certs")
    for kind in ("root", "site-ca"):
        (certs / kind / "ca.key").unlink()  # a Director needs neither
    path = tmp_path / "director.yaml"
    path.write_text(TEXT)
    monkeypatch.setattr(host, "port", lambda *_: fine("listen", "free"))
    monkeypatch.setattr(director, "free_port", lambda _, ports: ports[0] if ports else 0)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("192.0.2.7", 0))])
    monkeypatch.setattr(director, "own_addresses", lambda: frozenset({"192.0.2.7", "::1"}))
    return path


async def look(config: Path) -> dict[str, Finding]:
    return {one.name: one for one in await run_checks(director.Central(config).checks())}


async def test_a_director_in_order_gives_nothing_to_do(config: Path) -> None:
    found = await look(config)
    assert {one.verdict for one in found.values()} == {Verdict.OK}
    assert set(found) >= {"director.yaml", "experiment CA", "revocation", "state", "state disk", "open files", "listen"}
    assert {path.name for path in config.parent.iterdir()} == {"director.yaml", "certs"}, "nothing is made"


async def test_all_mistakes_of_the_settings_are_told_with_lines_and_the_rest_is_looked_at(
    config: Path, federation: ThrowAwayFederation
) -> None:
    shutil.copy2(federation.certs / "site-ca" / "ca.key", config.parent / "certs" / "site-ca")
    config.write_text("listen: nowhere\nsample_shape: [x]\nheartbeats_s: 3\nexperiment_ca: certs/site-ca\n")
    found = await look(config)
    assert [problem.split(": ")[0].rpartition("/")[2] for problem in found["director.yaml"].problems] == [
        "director.yaml:1", "director.yaml:1", "director.yaml:2", "director.yaml:3",
    ]  # fmt: skip
    assert "did you mean 'heartbeat_s'?" in found["director.yaml"].problems[3]
    assert "this is the site-ca, not the experiment CA" in found["experiment CA"].seen
    assert found["key file"].verdict is Verdict.OK


async def test_a_file_that_is_missing_or_no_yaml_ends_it(config: Path) -> None:
    config.write_text("listen: [")
    assert list(await look(config)) == ["director.yaml"]
    config.unlink()
    assert "there is no such file" in (await look(config))["director.yaml"].seen


def test_what_can_be_used_of_a_file_is_what_a_daemon_would_use(config: Path) -> None:
    assert read_director_file(config) == load_director_file(config)


async def test_an_authority_of_another_federation_is_told(config: Path, tmp_path: Path) -> None:
    ThrowAwayFederation(tmp_path / "strangers", "hospitals")
    config.write_text(TEXT + "experiment_ca: strangers/certs/experiment-ca\n")
    found = (await look(config))["experiment CA"]
    assert "sites would refuse what it issues" in found.seen
    assert "one federation" in found.cure


def revoke(federation: ThrowAwayFederation, credentials: Credentials, path: Path) -> None:
    facts = Facts.of(parse_certificate(credentials.chain, "leaf"), credentials.identity)
    entry = Entry(1, facts.identity.uri, (facts.serial,), (facts.key,), "2026-11-22", "lost")
    path.write_bytes(RevocationList().plus(entry).signed(Authority.load(federation.certs / "site-ca")))


async def test_a_revoked_director_is_told_by_the_list_that_it_has(
    config: Path, federation: ThrowAwayFederation, credentials: Credentials
) -> None:
    revoke(federation, credentials, config.parent / "list.json")
    config.write_text(TEXT + "revocations: list.json\n")
    found = (await look(config))["revocation"]
    assert found.seen.startswith("E205 the certificate of fx://hospitals/director/director was revoked")
    assert "administrator" in found.cure
    (config.parent / "list.json").write_text("{}")
    assert "not a revocation list signed by the site CA" in (await look(config))["revocation"].seen
    (config.parent / "list.json").unlink()
    assert (await look(config))["revocation"].verdict is Verdict.WARN


def settings(**keys: object) -> DirectorFile:
    return DirectorFile.model_validate({"sample_shape": [3], "target_shape": [], **keys})


@pytest.mark.usefixtures("config")
def test_sites_cannot_dial_all_addresses() -> None:
    found = director.aggregator_host(settings(listen="0.0.0.0:50050"))
    assert found.verdict is Verdict.FAIL
    assert "set aggregator_host" in found.cure
    assert director.aggregator_host(settings(listen="[::]:50050")).verdict is Verdict.FAIL
    named = settings(listen="0.0.0.0:50050", aggregator_host="director.example.org")
    assert director.aggregator_host(named).verdict is Verdict.OK


def test_a_host_that_is_another_machine_is_told(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(director, "own_addresses", lambda: frozenset({"192.0.2.8", "127.0.0.1"}))
    found = director.aggregator_host(settings(aggregator_host="director.example.org"))
    assert (found.verdict, found.seen) == (
        Verdict.WARN,
        "director.example.org (192.0.2.7) is not an address of this machine",
    )
    assert "load balancer" in found.cure
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("127.0.1.1", 0))])
    assert director.aggregator_host(settings(aggregator_host="director.example.org")).verdict is Verdict.OK
    assert config.exists()


def test_this_machine_knows_its_own_addresses() -> None:
    assert "127.0.0.1" in host.own_addresses()


@pytest.mark.parametrize("names", [["root"], ["site-ca"], ["root", "site-ca"]])
async def test_keys_of_authorities_that_no_director_needs_are_told(config: Path, names: list[str]) -> None:
    keys = [config.parent / "certs" / name / "ca.key" for name in names]
    for key in keys:
        key.write_text("a key")
    found = (await look(config))["authority keys"]
    assert (found.verdict, found.seen) == (Verdict.WARN, f"this user can read {' and '.join(map(str, keys))}")
    assert "take the root's key offline" in found.cure
    for key in keys:
        key.unlink()
    assert (await look(config))["authority keys"].verdict is Verdict.OK


def test_a_name_that_only_others_know_is_no_mistake_for_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert director.aggregator_host(settings(aggregator_host="director.example.org")).verdict is Verdict.WARN


def test_an_aggregator_needs_two_ports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wanted = settings(aggregator_ports="50951-50952", state=tmp_path)
    for free, verdict in (([50951, 50952], Verdict.OK), ([50952], Verdict.WARN), ([], Verdict.FAIL)):

        def first(_: str, ports: list[int], free: list[int] = free) -> int:
            return next((port for port in ports if port in free), 0)

        monkeypatch.setattr(director, "free_port", first)
        assert director.aggregator_ports(wanted).verdict is verdict
    assert director.aggregator_ports(settings(aggregator_ports="0")).verdict is Verdict.OK


@pytest.mark.parametrize(("taken", "verdict"), [(0, Verdict.OK), (1, Verdict.FAIL)])
def test_two_aggregators_at_once_need_four_ports(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, taken: int, verdict: Verdict
) -> None:
    free = range(50951 + taken, 50955)
    monkeypatch.setattr(director, "free_port", lambda _, ports: next((port for port in ports if port in free), 0))
    found = director.aggregator_ports(settings(aggregator_ports="50951-50954", parallel=2, state=tmp_path))
    assert found.verdict is verdict
    assert ("2 Aggregators take 4" in found.seen) is bool(taken)
