"""An Aggregator as its Director sees it: a child process with one life, and the address that outlives it."""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openfl_like.errors import ConflictError, WorkspacePartError
from openfl_like.failpoints import failpoint
from openfl_like.federation.failure import MAX_MESSAGE, MAX_NAME, Failure, FailureKind, bounded
from openfl_like.processes.child import Child, describe_exit
from openfl_like.processes.standby import Standby
from openfl_like.tasks import TaskOwner

log = logging.getLogger(__name__)
START_TIMEOUT_S = 30.0
END_GRACE_S = 8.0
LOSS_GRACE_S = 1.0


class AggregatorLostError(Exception):
    """The Aggregator died, or answers no more; ``failure`` says how."""

    def __init__(self, message: str, failure: Failure) -> None:
        super().__init__(message)
        self.failure = failure


@dataclass(slots=True)
class AggregatorProcess:
    """One life of an Aggregator.

    Attributes:
        child: The process.
        address: Where it listens.
        silent: Whether it had to be ended since it did not answer any more.
        error: Class of the error that it told of before it ended.
        part: What a part of the workspace did that it told of; None: nothing.
    """

    child: Child
    address: str = ""
    silent: bool = False
    error: str = ""
    part: Failure | None = None

    @classmethod
    async def start(
        cls, standby: Standby, arguments: Sequence[str], on_line: Callable[[str], None]
    ) -> "AggregatorProcess":
        """Start an Aggregator and wait until it listens.

        Raises:
            AggregatorLostError: If it died, or was not ready in time.
        """
        found = cls(await standby.start(arguments, on_line))
        failpoint("director.dispatch.started")
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                address = await found._told_address()
        except TimeoutError:
            await found.end()
            text = f"the aggregator was not ready within {START_TIMEOUT_S:g} s"
            raise AggregatorLostError(text, Failure(FailureKind.AGGREGATOR, text)) from None
        except asyncio.CancelledError:
            await found.end()
            raise
        if not address:
            failure = await found.post_mortem()
            raise AggregatorLostError(str(failure), failure)
        found.address = address
        return found

    async def live(self, following: Coroutine[Any, Any, bool]) -> None:
        """Wait until it has ended, or is found to be lost; then it is not running any more.

        A process that dies is noticed at once; one that is frozen when the line to it does not answer.

        Args:
            following: Reads its events to their end, and says whether the experiment ended with them.
        """
        tasks = TaskOwner()
        relay, exit_ = tasks.start(following), tasks.start(self.child.wait())
        tasks.start(self._read_out())
        try:
            await asyncio.wait({relay, exit_}, return_when=asyncio.FIRST_COMPLETED)
            if relay.done():
                ended = not relay.cancelled() and relay.exception() is None and relay.result()
                await asyncio.wait({exit_}, timeout=END_GRACE_S if ended else LOSS_GRACE_S)
                self.silent = not exit_.done()
                if self.silent:
                    log.warning("the aggregator (pid %d) did not end by itself", self.child.process.pid)
            else:
                await asyncio.wait({relay}, timeout=END_GRACE_S)  # what it had told before it ended
        finally:
            await tasks.close()
            await self.end(grace_s=0.0)

    async def post_mortem(self) -> Failure:
        """End it if it has not ended, and say how it ended."""
        code = await self.end(grace_s=0.0)
        if self.part is not None:  # that is the cause, and not that the Aggregator has ended over it
            return replace(self.part, exit_code=code)
        last = self.child.last_line()
        how = "it did not answer any more" if self.silent else describe_exit(code)
        text = how + (f"; last line: {last}" if last else "")
        return Failure(FailureKind.AGGREGATOR, text[:MAX_MESSAGE], self.error, exit_code=code)

    async def end(self, grace_s: float = 3.0) -> int:
        """End it with everything it started and return the exit code."""
        return await self.child.stop(grace_s)

    async def _told_address(self) -> str:
        """Where it says that it listens; empty when it has ended, which it does after it has told of an error."""
        while line := await self.child.line():
            if "address" in (told := json.loads(line)):
                return str(told["address"])
            self._note_error(told)
        return ""

    def _note_error(self, told: Mapping[str, Any]) -> None:
        error = told.get("error")
        if isinstance(error, dict):
            self.error = str(error.get("name", ""))[:MAX_NAME]
            if self.error == WorkspacePartError.__name__:
                file, _, line = str(error.get("place", "")).rpartition(":")
                number = int(line) if line.isdecimal() and len(line) < 10 else 0
                message = bounded(str(error.get("message", "")))
                self.part = Failure(FailureKind.PART, message, file=bounded(file, MAX_NAME), line=number)

    async def _read_out(self) -> None:
        """Take what it may write, so that it can go on writing."""
        while line := await self.child.line():
            with contextlib.suppress(ValueError):
                self._note_error(json.loads(line))


class Address:
    """Where an experiment's Aggregators listen, one after the other: on the same port if it is free.

    Attributes:
        port: For calls.
        data_port: For data connections; 0: any, None: there is none to spare.

    Args:
        note: File in which the address is kept for the next Director.
        host: Host to listen on.
        ports: The ports for Aggregators; 0 stands for any.
        taken: The ports of all Aggregators that there are, or will be in a moment; shared by their addresses.
    """

    def __init__(self, note: Path, host: str, ports: range, taken: set[int] | None = None) -> None:
        self._note, self._host, self._ports = note, host, ports
        self._taken = set[int]() if taken is None else taken
        self._ours: set[int] = set()
        self.port = 0
        self.data_port: int | None = None
        with contextlib.suppress(OSError, ValueError):
            self.port = int(note.read_text(encoding="ascii"))
        if self.port not in self._taken:
            self._take(self.port)  # so that no other Aggregator gets it before ours is there again

    def claim(self) -> bool:
        """Choose a port that nobody listens on now; tell whether it is another one than before.

        Raises:
            ConflictError: If all are taken.
        """
        former = self.port
        self.release()
        known = [former] if former and (former in self._ports or 0 in self._ports) else []
        self.port = self._free([*known, *self._ports])
        if not self.port:
            ports = f"{self._ports.start}-{self._ports.stop - 1}"
            raise ConflictError(
                f"all aggregator ports {ports} are taken", cure="widen aggregator_ports in director.yaml"
            )
        self._take(self.port)
        self.data_port = 0 if 0 in self._ports else self._free(self._ports) or None
        self._take(self.data_port or 0)
        if self.port != former:
            self._note.write_text(str(self.port), encoding="ascii")
        return self.port != former

    def release(self) -> None:
        """Let others have the ports."""
        self._taken -= self._ours
        self._ours.clear()

    def _take(self, port: int) -> None:
        if port:
            self._taken.add(port)
            self._ours.add(port)

    def _free(self, ports: Sequence[int]) -> int:
        """Find a port that nobody has; 0 if there is none."""
        while (port := free_port(self._host, [port for port in ports if port not in self._taken])) in self._taken:
            pass  # any free one was asked for, and the system gave one that another Aggregator will listen on
        return port

    @property
    def text(self) -> str:
        """``host:port`` to listen on."""
        return f"{self._host}:{self.port}"


def free_port(host: str, ports: Sequence[int]) -> int:
    """Find the first of these ports that nobody listens on, where 0 stands for any; 0 if there is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in ports:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host.strip("[]"), port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    return 0
