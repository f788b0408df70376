import errno
import os
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from openfl_like.errors import CredentialError, NotAllowedError, UsageError
from openfl_like.pki.files import Credentials
from openfl_like.pki.ledger import Ledger, Offer, expiry
from openfl_like.pki.roles import Role

DIGEST = "ab" * 32
HOUR = timedelta(hours=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "site-ca")


def offer(now: datetime, digest: str = DIGEST) -> Offer:
    return Offer(digest, "fx://hospitals/envoy/one", (), 3600.0, expiry(now, HOUR))


def test_a_token_is_good_once_also_for_another_process(ledger: Ledger, tmp_path: Path, now: datetime) -> None:
    ledger.offer(offer(now))
    assert Ledger(tmp_path / "site-ca").burn(DIGEST, now) == offer(now)
    for again in (ledger, Ledger(tmp_path / "site-ca")):
        with pytest.raises(NotAllowedError, match="unknown, was used before, or is over"):
            again.burn(DIGEST, now)


def test_of_fifty_that_try_at_once_one_succeeds(tmp_path: Path, now: datetime) -> None:
    Ledger(tmp_path).offer(offer(now))
    start, won, lost = threading.Barrier(50), [], []

    def attempt() -> None:
        start.wait()
        try:
            won.append(Ledger(tmp_path).burn(DIGEST, now))
        except NotAllowedError as error:
            lost.append(error)

    threads = [threading.Thread(target=attempt) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 49)


def test_one_that_is_over_is_refused_and_stays(ledger: Ledger, now: datetime) -> None:
    ledger.offer(offer(now))
    with pytest.raises(NotAllowedError):
        ledger.burn(DIGEST, now + HOUR)
    assert ledger.offers() == [offer(now)]


def test_unknown_and_used_look_alike(ledger: Ledger, now: datetime) -> None:
    ledger.offer(offer(now))
    ledger.burn(DIGEST, now)
    answers = set()
    for digest in (DIGEST, "cd" * 32):
        with pytest.raises(NotAllowedError) as refused:
            ledger.burn(digest, now)
        answers.add(str(refused.value))
    assert len(answers) == 1


@pytest.mark.parametrize("hours", [0, -1, 24.01])
def test_a_token_lives_a_day_at_the_most(hours: float, now: datetime) -> None:
    with pytest.raises(UsageError, match="24 hours"):
        expiry(now, timedelta(hours=hours))


def test_no_secret_is_on_disk_and_nobody_else_may_read(ledger: Ledger, tmp_path: Path, now: datetime) -> None:
    ledger.offer(offer(now))
    for path in (tmp_path / "site-ca").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_what_was_issued_is_listed_and_found(ledger: Ledger, issued: Callable[..., Credentials], now: datetime) -> None:
    envoy, user = issued(Role.ENVOY), issued(Role.USER, at=now + HOUR)
    kept = [ledger.record(who.chain, by="token", lifetime=HOUR) for who in (envoy, user)]
    assert ledger.issued() == kept
    assert ledger.issued(kept[1].serial) == [kept[1]]
    assert ledger.find("one") == [envoy.identity, user.identity]
    assert ledger.find("one", "user") == [user.identity]
    assert ledger.find("two") == []


def test_a_damaged_record_is_told_by_name(ledger: Ledger, tmp_path: Path, now: datetime) -> None:
    ledger.offer(offer(now))
    path = tmp_path / "site-ca" / "ledger" / "open" / f"{DIGEST}.json"
    for text in ("", "[]", "{}", '{"hosts": []}', '{"hosts": 3}'):
        path.write_text(text)
        with pytest.raises(CredentialError, match="damaged"):
            ledger.offers()
        with pytest.raises(NotAllowedError):
            ledger.burn(DIGEST, now)


def test_a_record_that_has_no_room_leaves_nothing_behind(
    ledger: Ledger, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.offer(offer(now))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CredentialError, match="No space left on device"):
            ledger.offer(offer(now, "cd" * 32))
    assert ledger.offers() == [offer(now)]
