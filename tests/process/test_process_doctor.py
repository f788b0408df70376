"""What ``fx doctor`` says of real machines, lines, processes and disks that have something wrong, and of sound ones."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from federations import OBEDIENT
from pace import limit

from openfl_like.doctor import connection as connection_module
from openfl_like.doctor import host
from openfl_like.doctor.finding import Finding, Verdict
from openfl_like.doctor.reports import Party, envoy_report, folder_reports
from openfl_like.pki.administration import issue_credentials
from openfl_like.pki.authority import CA_KEY_FILE, Authority, create_authorities
from openfl_like.pki.certificate import AuthorityKind, parse_certificate
from openfl_like.pki.files import credentials_dir, save_credentials
from openfl_like.pki.revocation import Entry, Facts, RevocationList
from openfl_like.pki.roles import SERVER_ROLES, Identity, Role
from openfl_like.processes.child import fx_command
from openfl_like.services.daemon.liveness import PULSE_FILE
from openfl_like.services.director.aggregator_process import free_port
from openfl_like.services.local_federation import LocalFederation
from openfl_like.store.site_files import PROCESS_NOTES
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.testing.faults.toy_workload import SAMPLE_SHAPE, TARGET_SHAPE, write_workspace
from openfl_like.testing.faults.wall_clock import WallClocks

pytestmark = pytest.mark.process
FOUNDED = timedelta(days=30)
LIMIT_S = limit(30.0)
BAD = {Verdict.WARN, Verdict.FAIL}


class Founded(LocalFederation):
    """A Director without sites, whose keys are a month old; the site 'gone' is on its revocation list."""

    def make_certificates(self) -> None:
        """Founds the federation, issues, and revokes."""
        certs, then = self.directory / "certs", datetime.now(UTC) - FOUNDED
        create_authorities(certs, self.name, then)
        for role, name in (
            (Role.DIRECTOR, "director"), (Role.USER, "user"), (Role.ENVOY, "bern"), (Role.ENVOY, "gone"),
        ):  # fmt: skip
            hosts = ("localhost",) if role in SERVER_ROLES else ()
            identity = Identity(self.name, role, name)
            found = issue_credentials(certs, identity, lifetime=10 * FOUNDED, hosts=hosts, now=then)
            save_credentials(credentials_dir(certs, identity), found)
        facts = Facts.of(parse_certificate(found.chain, "leaf"), found.identity)
        entry = Entry(1, facts.identity.uri, (facts.serial,), (facts.key,), "2026-11-22", "lost")
        self.state.mkdir(mode=0o700)
        listed = RevocationList().plus(entry).signed(Authority.load(certs / "site-ca"))
        (self.state / "revocations.json").write_bytes(listed)


@pytest.fixture(autouse=True)
def no_frameworks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "FRAMEWORKS", {})


@asynccontextmanager
async def running(place: Path, environment: dict[str, str] | None = None) -> AsyncIterator[Founded]:
    """A Director that listens."""
    found = Founded(place / "federation", {}, SAMPLE_SHAPE, TARGET_SHAPE, environment=environment or {})
    async with found:
        yield found


async def envoy(
    federation: Founded, shard: str | Path = "site-1", name: str = "bern", director: str = "", limit_s: float = LIMIT_S
) -> dict[str, Finding]:
    """What is said of a site."""
    path = OBEDIENT / "shards" / f"{shard}.yaml" if isinstance(shard, str) else shard
    party = Party(director or federation.director, federation.directory / "certs" / "envoy" / name)
    report = await envoy_report(name, party, (path,), federation.directory / f"envoy-{name}", limit_s)
    return {one.name: one for one in report.findings}


def bad(found: dict[str, Finding]) -> set[str]:
    """What is wrong."""
    return {name for name, one in found.items() if one.verdict in BAD}


def files(federation: Founded) -> set[Path]:
    """All that there is, but what the Director writes once it listens: its sign of life, and which processes it has."""
    own = {PULSE_FILE, PROCESS_NOTES}
    return {path for path in federation.directory.rglob("*") if path.name not in own}


async def fx(*words: str, cwd: Path) -> tuple[int, Any]:
    """Runs ``fx doctor … --json`` and gives its exit code and what it says."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *fx_command("doctor", *words, "--json"), stdout=pipe, stderr=pipe, cwd=cwd
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    assert out, err.decode()
    return process.returncode, json.loads(out)["data"]


def told(said: dict[str, Any]) -> dict[str, str]:
    """Check -> verdict, of what a command has printed."""
    return {one["name"]: one["verdict"] for report in said["reports"] for one in report["findings"]}


async def test_a_sound_federation_gives_nothing_to_do_and_is_left_as_it_was(tmp_path: Path) -> None:
    async with running(tmp_path) as federation:
        for kind in (AuthorityKind.ROOT, AuthorityKind.SITE):  # which are not on a Director's machine
            (federation.directory / "certs" / kind.value / CA_KEY_FILE).unlink()
        before = files(federation)
        found = await envoy(federation)
        assert {one.verdict for one in found.values()} == {Verdict.OK}
        assert found["interface"].seen == f"the shapes are those of the Director at {federation.director}"
        for words in (
            ("user", "-d", federation.director, "--certificates", str(federation.user_certificates)),
            ("director",),
        ):
            code, said = await fx(*words, cwd=federation.directory)
            assert (code, said["healthy"], set(told(said).values())) == (0, True, {"ok"})
        assert files(federation) == before
        assert federation.children["director"].process.returncode is None


async def test_a_site_that_the_director_would_not_take_is_told_why(tmp_path: Path) -> None:
    async with running(tmp_path) as federation:
        found = await envoy(federation, name="gone")
        assert bad(found) == {"admission"}
        assert found["admission"].seen.startswith("E205 the certificate of fx://local/envoy/gone was revoked")
        assert "new token" in found["admission"].cure

        shard = tmp_path / "shard.yaml"
        shard.write_text("template: heart_disease\nparams: {hospital: cleveland}\n")
        found = await envoy(federation, shard)
        assert bad(found) == {"interface"}
        assert "has the sample shape [34], this federation's is [1]" in found["interface"].seen
        assert "sample_shape in director.yaml" in found["interface"].cure

        strangers = ThrowAwayFederation(tmp_path / "strangers", "local")
        folder = federation.directory / "certs" / "envoy" / "eve"
        save_credentials(folder, strangers.credentials(Role.ENVOY, "eve"))
        found = await envoy(federation, name="eve")
        assert {"server", "admission"} <= bad(found)
        assert "another federation" in found["server"].cause
        assert found["clock"].verdict is Verdict.SKIP


@pytest.mark.parametrize(("off_s", "verdict"), [(3600, Verdict.WARN), (-100_000, Verdict.FAIL)])
async def test_clocks_that_are_apart_are_told(tmp_path: Path, off_s: int, verdict: Verdict) -> None:
    clocks = WallClocks(tmp_path / "clocks")
    clocks.set({"director start": off_s})
    async with running(tmp_path, clocks.environment) as federation:
        found = await envoy(federation)
        assert bad(found) == {"clock"}
        assert found["clock"].verdict is verdict
        side = "behind" if off_s > 0 else "ahead of"
        assert f"s {side} the Director's" in found["clock"].seen
        measured = float(found["clock"].seen.split()[3])
        assert abs(measured - abs(off_s)) < 5
        assert "timedatectl" in found["clock"].cure


@contextmanager
def listening(backlog: int = 5) -> Iterator[socket.socket]:
    """A port where somebody listens who says nothing."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=backlog)) as server:
        yield server


@pytest.fixture
def alone(tmp_path: Path) -> Founded:
    """A federation whose Director does not run."""
    found = Founded(tmp_path / "federation", {}, SAMPLE_SHAPE, TARGET_SHAPE)
    found.directory.mkdir()
    found.make_certificates()
    return found


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "STEP_S", 1.0)


async def test_a_name_that_is_none(alone: Founded) -> None:
    found = await envoy(alone, director="nowhere.invalid:50050")
    assert bad(found) == {"address"}
    assert "'nowhere.invalid' does not resolve" in found["address"].seen
    assert "misspelt" in found["address"].cause
    assert "/etc/hosts" in found["address"].cure
    assert {found[name].verdict for name in ("port", "server", "admission", "clock")} == {Verdict.SKIP}
    assert found["shard"].verdict is Verdict.OK, "the rest is looked at"


async def test_a_port_where_nobody_listens(alone: Founded) -> None:
    found = await envoy(alone, director=f"localhost:{free_port('127.0.0.1', [0])}")
    assert bad(found) == {"port"}
    assert "nobody listens" in found["port"].seen
    assert "fx director start" in found["port"].cure


@pytest.mark.usefixtures("impatient")
async def test_a_host_that_does_not_answer(alone: Founded) -> None:
    """A full queue of connections is what a firewall that drops packets looks like."""
    with listening(backlog=0) as server:
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.settimeout(0)
            one.connect_ex(server.getsockname())
        found = await envoy(alone, director=f"127.0.0.1:{server.getsockname()[1]}")
        for one in waiting:
            one.close()
    assert bad(found) == {"port"}
    assert "does not answer within" in found["port"].seen
    assert "firewall" in found["port"].cause


async def test_another_program_at_the_address(alone: Founded) -> None:
    async def page(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(page, "127.0.0.1", 0) as server:
        found = await envoy(alone, director=f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert "server" in bad(found)
    assert "is not a Director" in found["server"].seen
    assert "HTTP/1.1 400 Bad Request" in found["server"].seen
    assert "another program listens" in found["server"].cause


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_says_nothing(alone: Founded) -> None:
    with listening() as server:
        found = await envoy(alone, director=f"127.0.0.1:{server.getsockname()[1]}")
    assert "breaks off the TLS handshake" in found["server"].seen


async def test_a_port_that_is_taken_says_by_whom(alone: Founded) -> None:
    config = alone.directory / "director.yaml"
    with listening() as server:
        port = server.getsockname()[1]
        config.write_text(f"listen: 127.0.0.1:{port}\nsample_shape: [1]\ntarget_shape: []\n")
        code, said = await fx("director", cwd=alone.directory)
    (found,) = [one for one in said["reports"][0]["findings"] if one["verdict"] == "fail"]
    assert (code, said["healthy"], found["name"]) == (1, False, "listen")
    assert f"is taken by process {os.getpid()}" in found["seen"]
    assert "choose another port" in found["cure"]
    config.write_text("listen: 192.0.2.1:50050\naggregator_host: localhost\nsample_shape: [1]\ntarget_shape: []\n")
    code, said = await fx("director", cwd=alone.directory)
    wrong = {one["name"]: one for one in said["reports"][0]["findings"] if one["verdict"] == "fail"}
    assert "is not an address of this machine" in wrong["listen"]["seen"]
    assert "write 0.0.0.0" in wrong["listen"]["cure"]


@pytest.mark.parametrize(
    ("code", "seen"),
    [
        ("raise RuntimeError('no such table')", "RuntimeError: no such table (SHARD.py:1)"),
        ("import a_package_of_theirs", "needs the module 'a_package_of_theirs', which is not here"),
        ("def Data(table): return open(table)\n", "FileNotFoundError"),
        ("import os; os._exit(3)", "its worker was ended: exit code 3"),
        ("import time; time.sleep(600)", "it was not loaded within 2 s"),
    ],
)
async def test_a_shard_that_cannot_be_loaded(alone: Founded, code: str, seen: str) -> None:
    shard = alone.directory / "shard.yaml"
    shard.with_name("ours.py").write_text(code)
    shard.write_text("template: ours:Data\nparams: {table: /no/such/table}\n")
    found = await envoy(alone, shard, limit_s=2.0 if "sleep" in code else LIMIT_S)
    assert seen.replace("SHARD", str(shard.with_name("ours"))) in found["shard"].seen
    assert found["shard"].verdict is Verdict.FAIL
    assert found["shard"].cause
    assert found["shard"].cure
    assert found["interface"].verdict is Verdict.SKIP


async def test_a_shard_file_with_mistakes(alone: Founded) -> None:
    shard = alone.directory / "shard.yaml"
    shard.write_text("templates: x\nparams: 3\n")
    found = await envoy(alone, shard)
    assert len(found["shard.yaml"].problems) == 3
    assert found["shard"].verdict is Verdict.SKIP


async def test_a_framework_that_cannot_be_imported(tmp_path: Path) -> None:
    sound = await host.import_framework("json", "json", LIMIT_S)
    assert sound.verdict is Verdict.OK
    absent = await host.import_framework("torch", "no_such_module", LIMIT_S)
    assert "No module named 'no_such_module'" in absent.seen
    slow = await host.import_framework("torch", "torch", 0.001)
    assert "takes longer than 0.001 s" in slow.seen
    assert (slow.verdict, absent.verdict) == (Verdict.WARN, Verdict.FAIL)


async def test_a_plan_is_tried_with_a_shard(tmp_path: Path) -> None:
    plan, shards = write_workspace(tmp_path / "workspace", {"site-1": 1.0})
    code, said = await fx("plan", str(plan), cwd=tmp_path)
    assert (code, set(told(said).values())) == (0, {"ok"})

    runner = plan.parent / "ours.py"
    runner.write_text(
        "from openfl_like.testing.faults.toy_workload import DriftRunner\n"
        "class Runner(DriftRunner):\n"
        "    def validate(self):\n"
        "        assert self._value > 5, 'classes beyond 5'\n"
        "        return super().validate()\n"
    )
    text = plan.read_text().replace("openfl_like.testing.faults.toy_workload:DriftRunner", "ours:Runner")
    plan.write_text(text)
    code, said = await fx("plan", str(plan), "--shard", str(shards["site-1"]), cwd=tmp_path)
    (found,) = [one for one in said["reports"][0]["findings"] if one["verdict"] == "fail"]
    assert (code, found["name"]) == (1, "trial")
    assert "task 'validate' raised AssertionError: classes beyond 5 (ours.py:4)" in found["seen"]
    assert "shapes or classes" in found["cause"]

    plan.write_text(text + "rounds: 3\n")
    code, said = await fx("plan", str(plan), cwd=tmp_path)
    verdicts = told(said)
    assert (code, verdicts["plan"], verdicts["trial"]) == (1, "fail", "skip")


async def test_without_a_role_everything_in_the_folder_is_looked_at(alone: Founded) -> None:
    here = alone.directory
    (here / "director.yaml").write_text("listen: localhost:0\nsample_shape: [1]\ntarget_shape: []\n")
    for name in ("shard.yaml", "one_number.py"):
        source = OBEDIENT / "shards" / name.replace("shard.yaml", "site-1.yaml")
        (here / name).write_bytes(source.read_bytes())
    reports = await folder_reports(here, "localhost:1", named=False, limit_s=LIMIT_S)
    assert [report.subject.split()[0] for report in reports] == ["director", "envoy", "envoy", "user"]
    findings = [one for report in reports for one in report.findings]
    assert not [one for one in findings if one.verdict is Verdict.FAIL]
    warned = {one.name for one in findings if one.verdict is Verdict.WARN}
    assert warned == {"authority keys", "port"}, "all is on one machine, and a Director need not run yet"
    (interface, _) = [one for one in findings if one.name == "interface"]
    assert interface.seen == "the shapes are those of director.yaml"


def test_a_full_disk_and_one_that_is_read_only(alone: Founded) -> None:
    """On real disks, in namespaces of the test's own."""
    here = alone.directory
    (here / "director.yaml").write_text("listen: localhost:0\nsample_shape: [1]\ntarget_shape: []\n")
    doctor = f"{sys.executable} -m openfl_like.cli doctor director --json"
    script = (
        "set -e; mount -t tmpfs -o size=1m,mode=700 none director-state; touch director-state/x\n"
        f"head -c 2m /dev/zero > director-state/ballast 2>/dev/null || {doctor} || true\n"
        f"mount -o remount,ro none director-state; {doctor} || true"
    )
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    done = subprocess.run(words, cwd=here, capture_output=True, text=True, timeout=limit(120), check=False)
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip(f"user and mount namespaces are not allowed here: {done.stderr.strip()}")
    full, fixed = (json.loads(text)["data"] for text in done.stdout.splitlines())
    (found,) = [one for one in full["reports"][0]["findings"] if one["verdict"] == "fail"]
    assert found["name"] == "state disk"
    assert found["seen"].startswith("E307")
    assert "0.0 GiB of 0.0 GiB are free" in found["cause"]
    assert "make room" in found["cure"]
    (found,) = [one for one in fixed["reports"][0]["findings"] if one["verdict"] == "fail"]
    assert found["name"] == "state"
    assert "read-only" in found["cause"]


async def test_the_exit_code_and_the_words_are_for_people_too(alone: Founded) -> None:
    (alone.user_certificates / "key.pem").chmod(0o644)
    words = fx_command("doctor", "user", "-d", "nowhere.invalid:1", "--certificates", str(alone.user_certificates))
    done = await asyncio.to_thread(
        subprocess.run, words, capture_output=True, text=True, timeout=limit(60), check=False
    )
    assert done.returncode == 1
    assert "  fail  key file: E201" in done.stdout
    assert "        why: the file was copied without its mode or owner" in done.stdout
    assert "        do:  chmod 600" in done.stdout
    assert "2 wrong" in done.stdout.splitlines()[-1]
