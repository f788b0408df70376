"""Checks run all, side by side, within their time; nothing that one does keeps another from being told."""

import asyncio
import errno
import logging
import os
import threading

import pytest

from openfl_like.doctor.checks import BlockedError, Check, Deferred, run_checks, thread_check
from openfl_like.doctor.finding import Finding, Verdict, failed, fine, refusal
from openfl_like.errors import ShardError, UnreachableError
from openfl_like.services.daemon.thread import in_thread


def raising(error: Exception) -> Check:
    async def look() -> Finding:
        raise error

    return Check(type(error).__name__, look)


async def test_every_check_is_run_whatever_the_others_do(caplog: pytest.LogCaptureFixture) -> None:
    async def hang() -> Finding:
        await asyncio.Event().wait()
        return fine("hanging", "never")

    checks = [
        raising(ShardError("the shard is odd", place="shard.yaml", cure="mend it")),
        raising(OSError(errno.EACCES, "Permission denied", "/var/state")),
        raising(OSError(errno.ENOSPC, "No space left on device", "/var/state")),
        raising(BlockedError("see 'port'")),
        raising(KeyError("a defect")),
        Check("hanging", hang, 0.01),
        thread_check("good", lambda: fine("good", "all is well")),
    ]
    with caplog.at_level(logging.CRITICAL):
        shard, denied, full, blocked, defect, hanging, good = await run_checks(checks)
    assert (shard.verdict, shard.seen, shard.cure) == (Verdict.FAIL, "E504 shard.yaml: the shard is odd", "mend it")
    assert "template in shard.yaml is unknown" in shard.cause
    assert denied.seen == "/var/state: Permission denied"
    assert denied.cause
    assert full.seen.startswith("E307")
    assert (blocked.verdict, blocked.seen) == (Verdict.SKIP, "not looked at: see 'port'")
    assert defect.seen.startswith("E900 KeyError")
    assert hanging.seen == "there was no result within 0.01 s"
    assert good == fine("good", "all is well")


async def test_what_several_need_is_found_once_and_its_failure_told_once() -> None:
    asked = []

    async def work() -> int:
        asked.append(1)
        await asyncio.sleep(0)
        raise UnreachableError("it is away")

    shared = Deferred("port", work)
    with pytest.raises(UnreachableError):
        await shared.get()
    for _ in range(2):
        with pytest.raises(BlockedError, match="see 'port'"):
            await shared.given()
    assert asked == [1]


async def test_a_thread_that_hangs_is_left_alone() -> None:
    never = threading.Event()
    check = thread_check("hanging", lambda: fine("hanging", str(never.wait())), 0.01)
    (found,) = await run_checks([check])
    assert found.verdict is Verdict.FAIL
    (thread,) = [one for one in threading.enumerate() if one.name.startswith("Thread-") and one.daemon]
    never.set()
    thread.join(10)
    assert not thread.is_alive()


async def test_a_thread_gives_what_it_found_or_raised() -> None:
    assert await in_thread(os.getpid) == os.getpid()
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 / 0)


def test_what_an_error_class_knows_is_told_where_nothing_better_is() -> None:
    found = refusal("port", UnreachableError("it is away"))
    assert found.cause.startswith("The address is wrong")
    assert found.cure.startswith("Check the address")
    assert refusal("port", UnreachableError("it is away", cure="x"), "y").cause == "y"
    assert failed([found])
    assert not failed([fine("port", "open")])
