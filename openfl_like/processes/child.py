"""Child processes: started apart, watched by events, ended with everything they started."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from openfl_like import failpoints
from openfl_like.processes.ownership import MARK
from openfl_like.processes.subreaper import SUBREAPER
from openfl_like.tasks import TaskOwner

TERM_GRACE_S = 3.0
LINE_LIMIT = 1 << 20
TAIL_LINES = 20
LAST_LINE_S = 0.5
"""How long what a process wrote to its stdout last is waited for after its end."""

FURTHER_NAMES = "OPENFL_LIKE_FURTHER_ENVIRONMENT"
"""Environment variable with the names of others, separated by commas, that children get besides those below."""
# What a child may see of our environment: where programs, libraries and temporary files are, never a secret.
PASSED_ON = (
    "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TERM", "LD_LIBRARY_PATH", "PYTHONHASHSEED", "COVERAGE_PROCESS_START",
    "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "CUDA_VISIBLE_DEVICES", MARK, failpoints.SWITCH, failpoints.LANDED,
)  # fmt: skip


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for a child: what the lists above and `FURTHER_NAMES` name, and nothing else of ours."""
    further = os.environ.get(FURTHER_NAMES, "")
    names = (*PASSED_ON, FURTHER_NAMES, *further.split(",")) if further else PASSED_ON
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return {**kept, "PYTHONUNBUFFERED": "1", **(extra or {})}


def fx_command(*arguments: str) -> list[str]:
    """Return the command line of an ``fx`` command run by this very interpreter.

    Nothing is imported from the folder that it is started in, which may have a ``csv.py``.
    """
    return [sys.executable, "-P", "-m", "openfl_like.cli", *arguments]


class _Protocol(asyncio.subprocess.SubprocessStreamProtocol):
    """Tells of the end of a process at once; asyncio's own ``wait`` waits for its pipes, too, which others may hold.

    Its stdout ends soon after it, whoever holds that pipe open.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=LINE_LIMIT, loop=loop)
        self._clock = loop
        self.exited = asyncio.Event()
        self._output_ended = False

    def process_exited(self) -> None:
        super().process_exited()
        self.exited.set()
        self._clock.call_later(LAST_LINE_S, self._end_output)

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        if fd != 1 or not self._output_ended:
            super().pipe_data_received(fd, data)

    def _end_output(self) -> None:
        self._output_ended = True
        if self.stdout is not None:
            self.stdout.feed_eof()


@dataclass(slots=True)
class Child:
    """A running child process in a session of its own.

    Attributes:
        process: The process; its stdin closes when we die, which our children take as the order to end.
        transport: Its pipes.
        exited: Set as soon as it has ended.
        on_line: Gets every line of its stderr.
        tail: The last lines it wrote to stderr.
        frozen: Whether it was killed because it was frozen.
        orphans: Level of the line in the log that tells what it left behind.
    """

    process: asyncio.subprocess.Process
    transport: asyncio.SubprocessTransport
    exited: asyncio.Event
    on_line: Callable[[str], None] = lambda _: None
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))
    frozen: bool = False
    orphans: int = logging.WARNING
    _tasks: TaskOwner = field(default_factory=TaskOwner)

    async def line(self) -> str:
        """Return the next line of its stdout; empty when it has closed it, or has ended."""
        assert self.process.stdout is not None  # noqa: S101 (always piped)
        return (await self.process.stdout.readline()).decode(errors="replace").rstrip("\n")

    async def content(self, size: int) -> bytes:
        """Return so many bytes of its stdout; raises IncompleteReadError when it closes that before."""
        assert self.process.stdout is not None  # noqa: S101 (always piped)
        return await self.process.stdout.readexactly(size)

    def last_line(self) -> str:
        """Return the last line it wrote to stderr that is not blank; empty if there is none."""
        return next((line for line in reversed(self.tail) if line.strip()), "")

    async def wait(self) -> int:
        """Wait for its end and return the exit code; minus the signal's number when one killed it."""
        await self.exited.wait()
        await SUBREAPER.reap(self.process.pid, self.orphans)
        await self._tasks.wait(1.0)  # a grandchild may hold the pipe open
        self.transport.close()
        assert self.process.returncode is not None  # noqa: S101 (it has ended)
        return self.process.returncode

    async def exits_within(self, seconds: float) -> bool:
        """Whether it has ended, or does so within this time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.exited.wait()
        return self.exited.is_set()

    def kill(self) -> None:
        """Kill it and its process group."""
        self._signal(signal.SIGKILL)

    async def stop(self, grace_s: float = TERM_GRACE_S) -> int:
        """End it and its whole process group: SIGTERM, then SIGKILL."""
        if self.process.returncode is None:
            self._signal(signal.SIGTERM)
            await self.exits_within(grace_s)
        self.kill()
        return await self.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def start_reading(self) -> None:
        """Begin to hand on what it writes to stderr."""
        self._tasks.start(self._read_errors())

    async def _read_errors(self) -> None:
        assert self.process.stderr is not None  # noqa: S101 (always piped)
        while True:
            try:
                raw = await self.process.stderr.readline()
            except ValueError:
                continue  # a line beyond the limit: its pieces were dropped
            if not raw:
                return
            text = raw.decode(errors="replace").rstrip("\n")
            self.tail.append(text)
            self.on_line(text)


async def spawn(
    command: Sequence[str],
    *,
    on_line: Callable[[str], None] = lambda _: None,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Child:
    """Start a child in its own session, stdin and stdout piped, stderr read line by line.

    Args:
        command: Program and arguments.
        on_line: Gets every line of its stderr.
        cwd: Working directory.
        environment: Its whole environment; by default the clean one.
    """
    loop = asyncio.get_running_loop()
    async with SUBREAPER.spawning() as ours:
        transport, protocol = await loop.subprocess_exec(
            lambda: _Protocol(loop),
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            cwd=cwd,
            env=dict(environment) if environment is not None else clean_environment(),
        )
        ours.add(transport.get_pid())
    child = Child(asyncio.subprocess.Process(transport, protocol, loop), transport, protocol.exited, on_line)
    child.start_reading()
    return child


def describe_exit(code: int) -> str:
    """Say how a process ended: ``exit code 3`` or ``killed by SIGKILL``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
