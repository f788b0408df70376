"""The Aggregator's side of a referee: starts it, asks it, looks at what it answers, and ends it."""

import logging
import math
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from openfl_like.errors import FederationError, PlanError, SandboxError, UpdateRefusedError
from openfl_like.federation.failure import FailedPartError, bounded, part_failed
from openfl_like.processes.child import describe_exit
from openfl_like.processes.ownership import MARK
from openfl_like.processes.referee.channel import LEAST_MEMORY, Channel, ClosedError, Memory, aligned
from openfl_like.processes.referee.child import COMMAND
from openfl_like.processes.referee.limits import START_S, RefereeLimits
from openfl_like.processes.referee.row import TimeInARow
from openfl_like.processes.referee.values import MOST_TEXT
from openfl_like.processes.sandbox.confinement import Confinement
from openfl_like.processes.usage import MOST_THREADS, thread_count
from openfl_like.tensors.named import Array

log = logging.getLogger(__name__)
MOST_LINES, LONGEST_LINE = 1000, 500
"""So much of what a referee prints goes into the log."""
MOST_DROPPED = 10_000
"""One that prints so many lines more is ended: to read them takes time as well."""
WATCH_S = 0.5
"""So often it is looked how many threads it has."""
POST_MORTEM_S = 2.0
ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent", "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1",
    "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
}  # fmt: skip
PASSED_ON = ("LD_LIBRARY_PATH", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", MARK)
"""Of our environment: what the interpreter may need to start, what the bits of BLAS depend on, and whose it is."""
Pull = Callable[[Sequence[Any]], Array]
"""Gives what a part asks back for; raises ValueError if there is no such thing."""


def nothing(what: Sequence[Any]) -> Array:
    """Refuse to be asked back."""
    raise ValueError(f"it asks for {what}, and there is nothing to ask for")


@dataclass(frozen=True, slots=True)
class PartCall:
    """What a part is asked.

    Attributes:
        name: The part's, in messages.
        to: ``part`` or ``step``, and its number.
        method: What it is asked.
        value: What it is shown, as JSON values.
        arrays: And as arrays.
        room: Bytes that its answer may have.
        pull: Gives what it asks back for.
    """

    name: str
    to: tuple[str, int]
    method: str
    value: object = None
    arrays: Sequence[Array] = ()
    room: int = 0
    pull: Pull = nothing


@dataclass(frozen=True, slots=True)
class Given:
    """What was answered; the arrays are copies, of any dtype and shape that there is room for."""

    value: Any
    arrays: tuple[Array, ...] = ()


class Referee:
    """A referee process, started when the first part is built; threads wait for each other.

    One that has died, was late or has given an answer that is not one is ended, and whatever it is asked later fails
    for the same reason.

    Args:
        workspace: Where the code is.
        limits: What it may take.
        call_s: Seconds for an answer.
        row_s: Seconds for all answers that follow each other with next to no time between them.
    """

    def __init__(self, workspace: Path, limits: RefereeLimits, call_s: float, row_s: float = math.inf) -> None:
        self._workspace, self._limits, self._call_s = workspace.resolve(), limits, call_s
        self._row = TimeInARow(row_s)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._memory: Memory | None = None
        self._built = 0
        self._last_line = self._excess = ""
        self._over = threading.Event()
        self._broken: FailedPartError | None = None

    @property
    def pid(self) -> int:
        """Of its process; 0: there is none yet."""
        return 0 if self._process is None else self._process.pid

    def build(self, name: str, kind: str, template: str, settings: Mapping[str, Any], place: str) -> tuple[int, Any]:
        """Have a part built.

        Args:
            name: The part's, in messages.
            kind: As in the registry.
            template: Its ``module:attr``.
            settings: Its settings.
            place: Where it stands in the plan.

        Returns:
            Its number, and what it is like.

        Raises:
            FailedPartError: If it fails, refuses its settings, or is no such part.
            SandboxError: If the kernel cannot confine a referee.
        """
        with self._lock:
            self._start(name)
            self._built += 1
            order = {"build": [kind, template, dict(settings), place], "part": self._built}
            return self._built, self._asked(name, order, START_S, nothing)["value"]

    def ask(self, call: PartCall) -> Given:
        """Ask a part.

        Raises:
            FailedPartError: If it fails, or answers what is no answer.
            UpdateRefusedError: If it refuses the updates.
        """
        with self._lock:
            memory = self._room_for(call)
            told = memory.put(call.arrays)
            place = memory.end
            kind, number = call.to
            order = {kind: number, "method": call.method, "value": call.value, "arrays": told}
            with self._row.spending() as left_s:
                if left_s <= 0:
                    self._fail(
                        call.name, f"was not asked any more: decisions took more than {self._row.most_s:g} s in a row"
                    )
                answer = self._asked(call.name, order, self._call_s, call.pull)
            try:
                found = tuple(np.array(view) for view in memory.views(answer.get("arrays", ()), place))
            except (ValueError, TypeError) as mistake:
                self._fail(call.name, f"gave an answer that is not one: {mistake}")
            return Given(answer.get("value"), found)

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _start(self, name: str) -> None:
        if self._process is not None:
            return
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [*COMMAND, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs.fileno(),),
                cwd=self._workspace,
                env={**ENVIRONMENT, **{name: os.environ[name] for name in PASSED_ON if name in os.environ}},
            )
        self._channel = Channel(ours)
        threading.Thread(target=self._read_lines, args=(self._process,), name="referee output", daemon=True).start()
        threading.Thread(target=self._watch, args=(self._process,), name="referee watch", daemon=True).start()
        order = {"workspace": str(self._workspace), "memory_mb": self._limits.memory_mb}
        answer = self._asked(name, order, START_S, nothing)
        try:
            confinement = Confinement(**answer["ready"])
        except (LookupError, TypeError) as mistake:
            self._fail(name, f"could not be begun with: {mistake!r}")
        if not confinement.sufficient:
            self._end()
            cure = "use a kernel with Landlock (Linux 6.2 or later) and seccomp, or write 'referee: off'"
            raise SandboxError(f"a referee is {confinement}, and would run code of the workspace", cure=cure)
        log.info("a referee (process %d) runs parts of the workspace, %s", self._process.pid, confinement)

    def _watch(self, process: "subprocess.Popen[bytes]") -> None:
        """Look again and again how many threads it has."""
        while not self._over.wait(WATCH_S):
            count = thread_count(process.pid)
            if count > MOST_THREADS:
                self._put_down(process, f"it had {count} threads, {MOST_THREADS} are the most")
            if not count or self._excess:
                return

    def _put_down(self, process: "subprocess.Popen[bytes]", excess: str) -> None:
        """End one that takes too much; whoever asks it is told then."""
        self._excess = excess
        process.kill()

    def _read_lines(self, process: "subprocess.Popen[bytes]") -> None:
        """Hand on what it prints, as far as that is bearable."""
        assert process.stdout is not None  # noqa: S101 (piped)
        count = 0
        while line := process.stdout.readline(LONGEST_LINE):
            count += 1
            text = bounded(line.decode(errors="replace").rstrip("\n"))
            self._last_line = text if text.strip() else self._last_line
            if count <= MOST_LINES:
                log.info("referee: %s", text)
            if count == MOST_LINES:
                log.warning("the referee prints more than %d lines; the others are dropped", MOST_LINES)
            if count == MOST_LINES + MOST_DROPPED:
                self._put_down(process, f"it printed more than {MOST_LINES + MOST_DROPPED:,} lines")
        process.stdout.close()

    def _room_for(self, call: PartCall) -> Memory:
        if self._broken is not None:
            raise self._broken
        assert self._channel is not None  # noqa: S101 (the part was built)
        size = sum(aligned(array.nbytes) for array in call.arrays) + max(LEAST_MEMORY, aligned(call.room))
        if self._memory is None or self._memory.size < size:
            self._memory, descriptor = Memory.made(size)
            try:
                self._sent(call.name, {"memory": size}, descriptor)
            finally:
                os.close(descriptor)
        return self._memory

    def _sent(self, name: str, message: object, descriptor: int) -> None:
        assert self._channel is not None  # noqa: S101 (as above)
        try:
            self._channel.send(message, time.monotonic() + self._call_s)
            self._channel.send_memory(descriptor)
        except (ClosedError, TimeoutError):
            self._fail(name, self._how_it_ended())

    def _asked(self, name: str, order: object, limit_s: float, pull: Pull) -> dict[str, Any]:
        if self._broken is not None:
            raise self._broken
        assert self._channel is not None  # noqa: S101 (started)
        until = time.monotonic() + limit_s
        try:
            self._channel.send(order, until)
            answer = self._channel.receive(until)
            while isinstance(answer, dict) and "pull" in answer:
                self._channel.send(self._pulled(answer["pull"], pull), until)
                answer = self._channel.receive(until)
            return self._read(name, answer)
        except TimeoutError:
            self._fail(name, f"did not answer within {limit_s:g} s")
        except ClosedError:
            self._fail(name, self._how_it_ended())
        except (ValueError, TypeError, LookupError) as mistake:
            self._fail(name, f"gave an answer that is not one: {mistake}")

    def _pulled(self, what: Sequence[Any], pull: Pull) -> dict[str, object]:
        assert self._memory is not None  # noqa: S101 (whoever may be asked back has been shown something)
        try:
            found = pull(what)
        except UpdateRefusedError as error:
            return {"refused": [error.message, error.cure]}
        except (FederationError, OSError):  # it waits for what will not come, and would take the next order for it
            self._end()
            self._broken = part_failed("the referee", "was ended, since an update that it asked for cannot be read")
            raise
        place = self._memory.end
        told = self._memory.put([found], place)
        self._memory.end = place
        return {"arrays": told}

    def _read(self, name: str, answer: object) -> dict[str, Any]:
        if not isinstance(answer, dict):
            raise TypeError(f"it is a {type(answer).__name__}")
        if "refused" in answer:
            message, cure = answer["refused"]
            raise UpdateRefusedError(bounded(str(message), MOST_TEXT), cure=bounded(str(cure), MOST_TEXT))
        if "plan" in answer:
            message, place, cure, problems = answer["plan"]
            texts = [bounded(str(text)) for text in (message, place, cure)]
            raise PlanError(
                texts[0], place=texts[1], cure=texts[2], problems=tuple(bounded(str(p)) for p in problems[:20])
            )
        if "failed" in answer:
            what, file, line = answer["failed"]
            number = line if type(line) is int and 0 <= line < 1 << 31 else 0
            raise part_failed(name, str(what)[:MOST_TEXT].removeprefix(name), str(file), number)
        return answer

    def _how_it_ended(self) -> str:
        assert self._process is not None  # noqa: S101 (started)
        try:
            how = describe_exit(self._process.wait(POST_MORTEM_S))
        except subprocess.TimeoutExpired:
            how = "it closed its line"
        if self._excess:
            return f"was ended: {self._excess}"
        last = f"; last line: {self._last_line}" if self._last_line else ""
        return f"ended the referee: {how}{last}"

    def _fail(self, name: str, what: str) -> NoReturn:
        """End it for good."""
        self._end()
        self._broken = part_failed(name, what)
        raise self._broken

    def _end(self) -> None:
        self._over.set()
        if self._channel is not None:
            self._channel.close()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
