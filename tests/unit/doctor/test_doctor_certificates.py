"""Folders of certificates with a mistake in each: it is found, with cause and cure, and nothing is changed."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from openfl_like.doctor import certificates as module
from openfl_like.doctor.certificates import Holder, holder_checks
from openfl_like.doctor.checks import run_checks
from openfl_like.doctor.finding import Finding, Verdict, failed
from openfl_like.errors import RevokedError, UnreachableError
from openfl_like.pki.files import save_credentials
from openfl_like.pki.roles import Role
from openfl_like.testing.certificates import DAY, ThrowAwayFederation

ENVOY = frozenset({Role.ENVOY})


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> ThrowAwayFederation:
    founded = datetime.now(UTC) - 90 * DAY
    return ThrowAwayFederation(tmp_path_factory.mktemp("federation"), "hospitals", founded)


@pytest.fixture
def folder(federation: ThrowAwayFederation, tmp_path: Path) -> Path:
    place = tmp_path / "cleveland"
    save_credentials(place, federation.credentials(Role.ENVOY, "cleveland", lifetime=300 * DAY))
    return place


async def look(folder: Path, name: str = "cleveland", roles: frozenset[Role] = ENVOY) -> dict[str, Finding]:
    holder = Holder(folder, roles, name, renews=True)
    return {one.name: one for one in await run_checks(holder_checks(holder, holder.credentials))}


def bad(found: dict[str, Finding]) -> dict[str, Finding]:
    return {name: one for name, one in found.items() if one.verdict in {Verdict.WARN, Verdict.FAIL}}


async def test_a_folder_in_order_gives_nothing_to_do(folder: Path) -> None:
    found = await look(folder)
    assert {one.verdict for one in found.values()} == {Verdict.OK}
    assert set(found) == {"key file", "key", "chain", "role", "validity", "folder", "authority"}
    assert found["chain"].seen == "fx://hospitals/envoy/cleveland, issued below the root of 'hospitals'"


def open_key(folder: Path, _: ThrowAwayFederation) -> None:
    (folder / "key.pem").chmod(0o644)


def expire(folder: Path, federation: ThrowAwayFederation) -> None:
    old = federation.credentials(Role.ENVOY, "cleveland", now=datetime.now(UTC) - 30 * DAY)
    save_credentials(folder, old, replace=True)


def come_early(folder: Path, federation: ThrowAwayFederation) -> None:
    early = federation.credentials(Role.ENVOY, "cleveland", now=datetime.now(UTC) + DAY)
    save_credentials(folder, early, replace=True)


def end_soon(folder: Path, federation: ThrowAwayFederation) -> None:
    begin = datetime.now(UTC) - 60 * DAY
    save_credentials(
        folder, federation.credentials(Role.ENVOY, "cleveland", lifetime=63 * DAY, now=begin), replace=True
    )


def be_somebody_else(folder: Path, federation: ThrowAwayFederation) -> None:
    save_credentials(folder, federation.credentials(Role.ENVOY, "hungary"), replace=True)


def have_another_role(folder: Path, federation: ThrowAwayFederation) -> None:
    save_credentials(folder, federation.credentials(Role.USER, "cleveland"), replace=True)


def have_another_key(folder: Path, federation: ThrowAwayFederation) -> None:
    (folder / "key.pem").write_bytes(federation.credentials(Role.ENVOY, "cleveland").key)


def be_below_another_root(folder: Path, _: ThrowAwayFederation) -> None:
    strangers = ThrowAwayFederation(folder.parent, "hospitals")
    for name in ("root.pem", "site-ca.pem", "experiment-ca.pem"):
        other = strangers.folder(strangers.credentials(Role.USER, "eve"))
        shutil.copy(other / name, folder / name)


def lack_a_file(folder: Path, _: ThrowAwayFederation) -> None:
    (folder / "site-ca.pem").unlink()


def be_open_to_all(folder: Path, _: ThrowAwayFederation) -> None:
    folder.chmod(0o777)


@pytest.mark.parametrize(
    ("spoil", "name", "words"),
    [
        (open_key, "key file", ("mode 0644: others may read it", "copied without its mode", "chmod 600")),
        (expire, "validity", ("expired on", "its time is over, or this machine's clock", "fx pki renew")),
        (come_early, "validity", ("is not valid before", "clock is wrong", "set this machine's clock; it says")),
        (end_soon, "validity", ("ends on", "nobody has renewed it", "fx pki renew")),
        (be_somebody_else, "role", ("is for 'hungary', not for 'cleveland'", "another holder's folder", "-n hungary")),
        (have_another_role, "role", ("is for the role user, not envoy", "another holder's folder", "--certificates")),
        (
            have_another_key,
            "key",
            ("does not belong to the certificate", "different issues", "both files of one issue"),
        ),
        (be_below_another_root, "chain", ("has not issued", "different federations", "fx pki inspect")),
        (lack_a_file, "chain", ("site-ca.pem: the file is missing", "different federations", "make it with fx pki")),
        (be_open_to_all, "folder", ("has mode 0777", "may replace what is in it", "chmod 700")),
    ],
)
async def test_each_mistake_is_found_with_cause_and_cure(
    folder: Path,
    federation: ThrowAwayFederation,
    spoil: Callable[[Path, ThrowAwayFederation], None],
    name: str,
    words: tuple[str, str, str],
) -> None:
    spoil(folder, federation)
    found = bad(await look(folder))
    assert name in found
    seen, cause, cure = words
    assert seen in found[name].seen
    assert cause in found[name].cause
    assert cure in found[name].cure


async def test_one_mistake_does_not_hide_another(folder: Path, federation: ThrowAwayFederation) -> None:
    have_another_role(folder, federation)
    have_another_key(folder, federation)
    open_key(folder, federation)
    assert set(bad(await look(folder))) == {"role", "key", "key file"}


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    found = await look(tmp_path / "nowhere")
    assert failed(found.values())
    assert "there is no such folder" in found["certificates"].seen
    assert "fx pki enroll" in found["certificates"].cure
    assert found["authority"].verdict is Verdict.SKIP


async def test_what_the_steps_miss_is_told_by_what_a_daemon_says(folder: Path) -> None:
    with (folder / "enrolment").open("wb") as file:
        file.truncate(1 << 20)
    found = await look(folder)
    assert "larger than" in found["certificates"].seen


async def test_a_renewal_that_was_broken_off_is_used_and_not_completed(
    folder: Path, federation: ThrowAwayFederation
) -> None:
    fresh = federation.credentials(Role.ENVOY, "cleveland", lifetime=300 * DAY)
    (folder / "key.pem").write_bytes(fresh.key)
    (folder / ".cert.pem.new").write_bytes(fresh.chain)
    before = sorted((path.name, path.read_bytes()) for path in folder.iterdir())
    assert bad(await look(folder)) == {}
    assert sorted((path.name, path.read_bytes()) for path in folder.iterdir()) == before


async def test_who_renews_must_be_able_to_write(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "enrolment").write_text("ca.example.org:50049\n")
    monkeypatch.setattr(os, "access", lambda *_: False)
    holder = Holder(folder, ENVOY, "cleveland", renews=True)
    (check, _) = holder_checks(holder, holder.credentials)
    found = {one.name: one for one in await run_checks([check])}
    assert "cannot be written to" in found["folder"].seen
    assert "half-way through its life" in found["folder"].cause


def as_kubelet(folder: Path, mode: int) -> Path:
    """Lays a folder out as the kubelet mounts a secret: names are links into a hidden folder that a link names."""
    mounted = folder.parent / "mounted"
    hidden = mounted / "..2026_11_22_13_00_00.123456789"
    hidden.mkdir(parents=True)
    (mounted / "..data").symlink_to(hidden.name)
    for path in folder.iterdir():
        copy = hidden / path.name
        copy.write_bytes(path.read_bytes())
        copy.chmod(mode)
        (mounted / path.name).symlink_to(Path("..data", path.name))
    return mounted


async def test_a_mounted_secret_of_our_own_can_be_used(folder: Path) -> None:
    assert bad(await look(as_kubelet(folder, 0o400))) == {}


async def test_a_mounted_secret_that_a_group_may_read_cannot_and_the_cure_is_kubernetes_own(folder: Path) -> None:
    found = bad(await look(as_kubelet(folder, 0o440)))
    assert set(found) == {"key file"}
    assert "mode 0440" in found["key file"].seen
    assert "init container" in found["key file"].cure


async def test_nobody_is_asked_who_was_not_enrolled_and_who_was_may_be_out_of_reach(
    folder: Path, federation: ThrowAwayFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrolled = replace(
        federation.credentials(Role.ENVOY, "cleveland", lifetime=timedelta(days=300)), enrolment="ca.example.org:50049"
    )
    save_credentials(folder, enrolled, replace=True)
    for error, verdict in ((UnreachableError("it is away"), Verdict.WARN), (RevokedError("out"), Verdict.FAIL)):

        async def ask(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(module, "fetch_revocations", ask)
        assert (await look(folder))["authority"].verdict is verdict
