"""Running checks: all of them, side by side, each within its time; one that fails never hides another."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from openfl_like.doctor.finding import Finding, Verdict, failure, refusal
from openfl_like.errors import FederationError, InternalError, no_room
from openfl_like.services.daemon.thread import in_thread
from openfl_like.tasks import TaskOwner

log = logging.getLogger(__name__)
Value = TypeVar("Value")
LIMIT_S = 10.0

Look = Callable[[], Awaitable[Finding | Sequence[Finding]]]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at.

    Attributes:
        name: Stable, for programs.
        look: Looks; it changes nothing. An error of the platform that it raises becomes a finding.
        limit_s: After so long it is given up.
    """

    name: str
    look: Look
    limit_s: float = LIMIT_S


class BlockedError(Exception):
    """There is nothing to look at, since another check failed; that one says why."""


class Deferred(Generic[Value]):
    """What several checks need is found once; those that do not report its failure themselves are skipped by it.

    Args:
        name: The check that reports a failure.
        work: Finds it.
    """

    def __init__(self, name: str, work: Callable[[], Coroutine[Any, Any, Value]]) -> None:
        self._name, self._work = name, work
        self._tasks = TaskOwner()
        self._task: asyncio.Task[Value] | None = None

    async def get(self) -> Value:
        """Return it, or raise what was raised over it."""
        if self._task is None:
            self._task = self._tasks.start(self._work())
        return await asyncio.shield(self._task)

    async def given(self) -> Value:
        """Return it.

        Raises:
            BlockedError: If there is none.
        """
        try:
            return await self.get()
        except BlockedError:
            raise
        except Exception as error:
            raise BlockedError(f"see '{self._name}'") from error


def thread_check(name: str, look: Callable[[], Finding | Sequence[Finding]], limit_s: float = LIMIT_S) -> Check:
    """Make a check of a function that may block."""
    return Check(name, lambda: in_thread(look), limit_s)


async def run_checks(checks: Sequence[Check]) -> list[Finding]:
    """Run all checks and return their findings, in the order of the checks."""
    found = await asyncio.gather(*(_run(check) for check in checks))
    return [finding for findings in found for finding in findings]


async def _run(check: Check) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(check.limit_s):
            found = await check.look()
    except BlockedError as error:
        return [Finding(check.name, Verdict.SKIP, f"not looked at: {error}")]
    except TimeoutError:
        return [
            failure(
                check.name,
                f"there was no result within {check.limit_s:g} s",
                "what is asked (a name server, a disk, a process) does not answer, or the machine is overloaded",
                "run it again when the machine is idle; if it stays, look at what the check asks",
            )
        ]
    except FederationError as error:
        return [refusal(check.name, error)]
    except OSError as error:
        return [_of_system(check.name, error)]
    except Exception as error:
        log.exception("the check '%s' failed", check.name)
        return [refusal(check.name, InternalError(f"{type(error).__name__}: {error}"))]
    return [found] if isinstance(found, Finding) else found


def _of_system(name: str, error: OSError) -> Finding:
    full = no_room(error)
    if full is not None:
        return refusal(name, full)
    place = f"{error.filename}: " if error.filename else ""
    cause = "this user may not do it, or the file, the disk or the network is not in order"
    return failure(name, f"{place}{error.strerror or error}", cause, "the message is the system's; see to it there")
