"""A process that does one thing whenever it is told to: floors, and work whose memory is looked at.

What is compared is done in turn, one of each, and then again: a machine that slows down slows all of them.
"""

import multiprocessing
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import Any, Self

from processes import Memory, memory_of

Work = Callable[[], object]
SPAWN = multiprocessing.get_context("spawn")
PERIOD_S = 0.005


@dataclass(frozen=True, slots=True)
class Spent:
    """What doing it once took.

    Attributes:
        seconds: Of the wall clock.
        cpu_s: Of the process that did it, all its threads.
    """

    seconds: float
    cpu_s: float


class Apart:
    """The process; a context manager.

    Args:
        prepare: A function of a module: gives what is to be done, in a context that lasts as long as the process.
        arguments: Its arguments.
        context: How processes are started.
    """

    def __init__(
        self,
        prepare: Callable[..., AbstractContextManager[Work]],
        *arguments: object,
        context: SpawnContext | ForkServerContext = SPAWN,
    ) -> None:
        self._pipe, theirs = context.Pipe()
        self._theirs: Connection[Any, Any] | None = theirs
        self._process = context.Process(target=_serve, args=(theirs, prepare, arguments))
        self._name = prepare.__name__
        self._before = Memory()

    def __enter__(self) -> Self:
        self._process.start()
        if self._theirs is not None:
            self._theirs.close()
        self._receive()
        self._before = memory_of(self._process.pid or 0)  # with its imports, but before anything was prepared
        self._pipe.send("prepare")
        self._receive()
        return self

    def __exit__(self, *_: object) -> None:
        with self._pipe:
            if self._process.is_alive():
                self._pipe.send("")
        self._process.join()

    def once(self) -> Spent:
        """Have it done once; nobody looks at it meanwhile."""
        self._pipe.send("go")
        return Spent(*self._receive())

    def seconds(self) -> float:
        """Have it done once and return the seconds."""
        return self.once().seconds

    def grown(self) -> Memory:
        """Have it done once more and return by how much its memory grew at most since it was born."""
        peak = memory_of(self._process.pid or 0)
        self._pipe.send("go")
        while not self._pipe.poll(PERIOD_S):
            peak = peak.most(memory_of(self._process.pid or 0))
        self._receive()
        return peak.above(self._before)

    def _receive(self) -> Any:  # noqa: ANN401 - whatever the other end sends
        try:
            return self._pipe.recv()
        except EOFError:
            raise SystemExit(f"the process of '{self._name}' has ended") from None


def _serve(
    pipe: "Connection[Any, Any]", prepare: Callable[..., AbstractContextManager[Work]], arguments: tuple[object, ...]
) -> None:
    pipe.send("born")
    pipe.recv()
    with prepare(*arguments) as work:
        pipe.send("ready")
        while pipe.recv():
            start, cpu = time.perf_counter(), time.process_time()
            work()
            pipe.send((time.perf_counter() - start, time.process_time() - cpu))
