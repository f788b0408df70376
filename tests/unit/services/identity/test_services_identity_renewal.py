"""Certificates that are renewed while somebody uses them, without a network and without waiting."""

import asyncio
import errno
import logging
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from openfl_like.errors import UnreachableError
from openfl_like.pki.files import Credentials, load_credentials, save_credentials
from openfl_like.pki.roles import Role
from openfl_like.services.identity import renewal
from openfl_like.services.identity.renewal import CertificateRenewer
from openfl_like.testing.certificates import ThrowAwayFederation

DAY = timedelta(days=1)
Renewing = Callable[[Credentials], Awaitable[Credentials]]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> ThrowAwayFederation:
    return ThrowAwayFederation(tmp_path_factory.mktemp("pki"), now=datetime.now(UTC) - 400 * DAY)


def aged(federation: ThrowAwayFederation, days: float, age: float) -> Credentials:
    """A certificate of so many days that was issued so many days ago, by an authority that can be asked."""
    issued = federation.credentials(Role.ENVOY, "one", lifetime=days * DAY, now=datetime.now(UTC) - age * DAY)
    return replace(issued, enrolment="ca.example.org:50049")


def saved(credentials: Credentials, directory: Path) -> CertificateRenewer:
    save_credentials(directory / "one", credentials)
    return CertificateRenewer(load_credentials(directory / "one"), directory / "one")


def answering(fresh: Credentials) -> Renewing:
    async def renew(_: Credentials) -> Credentials:
        return fresh

    return renew


async def test_it_is_renewed_when_its_time_has_come_on_disk_and_for_all_who_use_it(
    federation: ThrowAwayFederation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewer, fresh = saved(aged(federation, 30, 19), tmp_path), aged(federation, 30, 0)
    monkeypatch.setattr(renewal, "renew", answering(fresh))
    told: list[Credentials] = []
    renewer.on_renewed = told.append
    waiting = asyncio.create_task(renewer.renewed(renewer.current))
    await asyncio.sleep(0)
    await renewer._look()
    await waiting
    assert (renewer.current, told) == (fresh, [fresh])
    assert load_credentials(tmp_path / "one") == fresh


async def test_before_its_time_nobody_is_asked(
    federation: ThrowAwayFederation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewer = saved(aged(federation, 30, 11), tmp_path)
    monkeypatch.setattr(renewal, "renew", answering(aged(federation, 30, 0)))
    known = renewer.current
    await renewer._look()
    assert renewer.current is known


async def test_what_somebody_else_put_into_the_folder_is_taken(federation: ThrowAwayFederation, tmp_path: Path) -> None:
    renewer, fresh = saved(replace(aged(federation, 30, 19), enrolment=""), tmp_path), aged(federation, 30, 0)
    save_credentials(tmp_path / "one", fresh, replace=True)
    await renewer._look()
    assert renewer.current == fresh


async def test_but_not_that_of_another_holder_or_half_of_one(federation: ThrowAwayFederation, tmp_path: Path) -> None:
    renewer = saved(aged(federation, 30, 1), tmp_path)
    known = renewer.current
    save_credentials(tmp_path / "one", federation.credentials(Role.ENVOY, "two"), replace=True)
    await renewer._look()
    (tmp_path / "one" / "cert.pem").write_bytes(b"")
    await renewer._look()
    assert renewer.current is known


async def test_an_authority_that_is_away_is_asked_again_and_told_of_once(
    federation: ThrowAwayFederation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def away(_: Credentials) -> Credentials:
        raise UnreachableError("nobody is there")

    renewer, fresh = saved(aged(federation, 30, 19), tmp_path), aged(federation, 30, 0)
    monkeypatch.setattr(renewal, "renew", away)
    for _ in range(3):
        await renewer._look()
    assert [record.levelno for record in caplog.records].count(logging.WARNING) == 1
    assert renewer._pause_s() == 600.0
    monkeypatch.setattr(renewal, "renew", answering(fresh))
    await renewer._look()
    assert (renewer.current, renewer._pause_s()) == (fresh, 60.0)


def test_each_step_is_warned_of_once(federation: ThrowAwayFederation, caplog: pytest.LogCaptureFixture) -> None:
    renewer = CertificateRenewer(aged(federation, 365, 340))
    for _ in range(3):
        renewer._warn()
    assert [record.message for record in caplog.records] == list(renewer.warnings)
    assert len(renewer.warnings) == 1
    renewer.current = aged(federation, 365, 360)
    renewer._warn()
    assert len(caplog.records) == 2


@dataclass
class Line:
    """A connection that somebody watches."""

    events: list[str]
    name: str
    credentials: Credentials
    fails: int = 0
    closed: bool = field(default=False, init=False)

    async def ready(self) -> None:
        self.events.append(f"{self.name} ready")
        if self.fails:
            raise UnreachableError("not yet")

    async def __aexit__(self, *_: object) -> None:
        self.closed = True


async def test_the_next_line_is_there_before_the_work_leaves_the_former_one(federation: ThrowAwayFederation) -> None:
    renewer, fresh, events = CertificateRenewer(aged(federation, 30, 19)), aged(federation, 30, 0), list[str]()
    leaving, old = asyncio.Event(), Line(events, "old", renewer.current)

    async def work() -> None:
        await leaving.wait()
        events.append("left")

    staying = asyncio.create_task(renewer.until_renewed(old, work(), lambda: Line(events, "new", fresh), leaving.set))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    renewer._take(fresh)
    line = await staying
    assert line is not None
    assert (events, line.closed) == (["new ready", "left"], False)


async def test_work_that_cannot_be_asked_is_cancelled(federation: ThrowAwayFederation) -> None:
    """Also if the certificate was renewed after the line was made, and before anybody waited for that."""
    renewer = CertificateRenewer(aged(federation, 30, 19))
    old = Line([], "old", renewer.current)
    renewer._take(aged(federation, 30, 0))

    async def work() -> None:
        await asyncio.get_running_loop().create_future()

    assert await renewer.until_renewed(old, work(), lambda: Line([], "new", renewer.current)) is not None


async def test_the_end_of_the_work_and_its_errors_are_passed_on(federation: ThrowAwayFederation) -> None:
    renewer = CertificateRenewer(aged(federation, 30, 1))
    old = Line([], "old", renewer.current)

    async def work(error: Exception | None) -> None:
        if error is not None:
            raise error

    assert await renewer.until_renewed(old, work(None), lambda: Line([], "new", renewer.current)) is None
    with pytest.raises(UnreachableError):
        await renewer.until_renewed(old, work(UnreachableError("gone")), lambda: Line([], "new", renewer.current))


async def test_a_line_that_does_not_come_is_closed_and_the_work_stays(federation: ThrowAwayFederation) -> None:
    renewer, lines, events = CertificateRenewer(aged(federation, 30, 19)), list[Line](), list[str]()
    old = Line(events, "old", renewer.current)

    def connect() -> Line:
        lines.append(Line(events, f"line {len(lines)}", renewer.current, fails=len(lines) < 2))
        return lines[-1]

    async def work() -> None:
        renewer._take(aged(federation, 30, 0))
        await asyncio.get_running_loop().create_future()

    assert await renewer.until_renewed(old, work(), connect) is lines[2]
    assert [line.closed for line in lines] == [True, True, False]


async def test_nobody_is_asked_for_a_certificate_that_could_not_be_kept(
    federation: ThrowAwayFederation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    renewer = saved(aged(federation, 30, 19), tmp_path)
    asked: list[Credentials] = []

    async def renew(holder: Credentials) -> Credentials:
        asked.append(holder)
        return aged(federation, 30, 0)

    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(renewal, "renew", renew)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(tempfile, "TemporaryFile", full)
        await renewer._look()
    assert asked == []
    assert "the folder cannot be written: No space left on device" in caplog.text
    await renewer._look()
    assert len(asked) == 1
