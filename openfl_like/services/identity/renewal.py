"""A daemon's certificate while it runs: renewed half-way through its life, or taken from its folder if somebody did."""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from openfl_like.errors import FederationError, UnreachableError
from openfl_like.pki.files import Credentials, check_writable, load_credentials, save_credentials
from openfl_like.pki.lifetime import ValidityPeriod, warnings
from openfl_like.services.identity.enrolment_client import renew
from openfl_like.tasks import TaskOwner


class Connection(Protocol):
    """A client, as an async context manager.

    Attributes:
        credentials: What it shows.
    """

    credentials: Credentials

    async def ready(self) -> None:
        """Wait until it is connected; raises UnreachableError."""

    async def __aexit__(self, *exception: object) -> None:
        """Close it."""


ConnectionT = TypeVar("ConnectionT", bound=Connection)
log = logging.getLogger(__name__)
LOOK_S = 60.0
SHORTEST_PAUSE_S = 0.25
LONGEST_RETRY_S = 600.0


@dataclass(slots=True)
class CertificateRenewer:
    """Keeps one holder's credentials fresh.

    Args:
        current: Those of now.
        folder: Where they are; None: they are not on disk, and stay as they are.
        on_renewed: Called with new ones.
    """

    current: Credentials
    folder: Path | None = None
    on_renewed: Callable[[Credentials], None] = lambda _: None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _fraction: float = field(default_factory=random.random)
    _failing: bool = False
    _warned: dict[str, int] = field(default_factory=dict)

    async def renewed(self, known: Credentials) -> None:
        """Wait until there are others than the known ones."""
        while self.current is known:
            await self._changed.wait()

    async def until_renewed(
        self,
        line: ConnectionT,
        work: Coroutine[Any, Any, None],
        connect: Callable[[], ConnectionT],
        leave: Callable[[], None] | None = None,
    ) -> ConnectionT | None:
        """Run work on a line until it ends, or until there is a line with a renewed certificate to go on with.

        Args:
            line: The line of now.
            work: What is done on it.
            connect: Makes a line with the credentials of now.
            leave: Asks the work to end when there is another line; None: it is cancelled.

        Returns:
            The next line, connected; None: the work has ended.
        """
        tasks = TaskOwner()
        working, waiting = tasks.start(work), tasks.start(self._after(line, connect))
        try:
            await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                if waiting.done():
                    await waiting.result().__aexit__()
                working.result()
                return None
            if leave is not None:
                leave()
                await asyncio.wait({working})
            return waiting.result()
        finally:
            await tasks.close()

    async def _after(self, former: ConnectionT, connect: Callable[[], ConnectionT]) -> ConnectionT:
        await self.renewed(former.credentials)
        while True:
            line = connect()
            try:
                await line.ready()
            except BaseException as error:
                await line.__aexit__()
                if not isinstance(error, UnreachableError):
                    raise
                log.info("no line with the renewed certificate yet: %s", error)
            else:
                return line

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is about to end."""
        return tuple(text for _, _, text in warnings(self.current, datetime.now(UTC)))

    async def keep(self) -> None:
        """Look after them until cancelled."""
        while True:
            self._warn()
            await asyncio.sleep(self._pause_s())
            try:
                await self._look()
            except Exception:  # the next look comes; without any, the certificate would end
                log.exception("the certificate could not be looked after")

    async def _look(self) -> None:
        found = await asyncio.to_thread(self._found)
        if found is not None:
            self._take(found)
        life = ValidityPeriod.of(self.current.chain)
        if self.folder is not None and self.current.enrolment and datetime.now(UTC) >= life.renewal(self._fraction):
            await self._renew()

    def _pause_s(self) -> float:
        life = ValidityPeriod.of(self.current.chain)
        if self._failing:
            return min(max(life.length.total_seconds() / 40, SHORTEST_PAUSE_S), LONGEST_RETRY_S)
        due_s = (life.renewal(self._fraction) - datetime.now(UTC)).total_seconds()
        return min(max(due_s, SHORTEST_PAUSE_S), LOOK_S) if self.current.enrolment else LOOK_S

    def _found(self) -> Credentials | None:
        """Return what somebody else has put into the folder, if it can be used."""
        if self.folder is None:
            return None
        try:
            found = load_credentials(self.folder)
        except FederationError as error:
            log.debug("the certificate folder cannot be read now: %s", error)
            return None
        return found if found.identity == self.current.identity and found.chain != self.current.chain else None

    async def _renew(self) -> None:
        assert self.folder is not None  # noqa: S101 (looked at by the caller)
        try:
            await asyncio.to_thread(check_writable, self.folder)  # before a certificate is made that could not be kept
            fresh = await renew(self.current)
            await asyncio.to_thread(save_credentials, self.folder, fresh, replace=True)
        except (FederationError, OSError) as error:
            level = logging.DEBUG if self._failing else logging.WARNING
            log.log(level, "the certificate could not be renewed, this is tried again: %s", error)
            self._failing = True
            return
        self._take(fresh)

    def _take(self, fresh: Credentials) -> None:
        log.info("the certificate of %s was renewed, until %s", fresh.identity.uri, ValidityPeriod.of(fresh.chain).end)
        self.current = fresh
        self._fraction, self._failing = random.random(), False  # noqa: S311 (spreads renewals, protects nothing)
        self.on_renewed(fresh)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _warn(self) -> None:
        """Say in the log what is about to end, once at each step."""
        for what, step, text in warnings(self.current, datetime.now(UTC)):
            if self._warned.get(what) != step:
                self._warned[what] = step
                log.warning("%s", text)
