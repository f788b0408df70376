"""The process of one callback: takes events from its parent, and has the callback write."""

import errno
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from openfl_like.errors import SandboxError
from openfl_like.events.callbacks.base import Callback, ResultsFolder, ResultsFullError
from openfl_like.events.callbacks.orders import (
    MOST_MESSAGE,
    CallbackAnswer,
    CallbackOrder,
    CodeOfCallbacks,
    answer_line,
    batches_from,
    order_from,
)
from openfl_like.federation.callback_end import CallbackEnd
from openfl_like.federation.parts.source import load_part
from openfl_like.plan.section import Component
from openfl_like.processes.referee.walls import confine_to
from openfl_like.processes.sandbox.seccomp import seal_off
from openfl_like.processes.worker import own_channel, start_as_child
from openfl_like.registry import resolve
from openfl_like.store.files import ExperimentFiles

MEMORY_BYTES = 4 << 30
"""Of address space, of a callback of the workspace that somebody else has brought."""
MOST_FILES = 64
"""Open at the same time, likewise."""
NICE = 19
"""Callbacks take the time that the experiment leaves."""
WRITE_AT_LEAST_S = 5.0
"""While more waits nothing is written, but for once in so long."""


def serve(order: CallbackOrder, orders: BinaryIO, answer: Callable[[CallbackAnswer], None]) -> None:
    """Have a callback take what comes, batch by batch, and write, until there is no more.

    Args:
        order: Which callback.
        orders: Gives batches.
        answer: Is told that a batch was taken, and at last that all was written, or why nothing more will be.
    """
    try:
        folder = ResultsFolder(Path(order.directory), ExperimentFiles(Path(order.experiment)), order.most_bytes)
        folder.directory.mkdir(parents=True, exist_ok=True)
        callback = _made(order)
        written = time.monotonic()
        for events, more in batches_from(orders):
            callback.take(events)
            if not more or time.monotonic() - written > WRITE_AT_LEAST_S:
                callback.write(folder)
                folder.check()
                written = time.monotonic()
            answer(CallbackAnswer())
        callback.write(folder)
        callback.finish(folder)
        folder.check()
    except ResultsFullError as error:
        answer(CallbackAnswer(CallbackEnd.FULL, str(error)))
    except Exception as error:  # noqa: BLE001 (whatever a callback raises is told, and it ends)
        full = isinstance(error, OSError) and error.errno == errno.EFBIG
        end = CallbackEnd.FULL if full else CallbackEnd.RAISED
        said = f"{type(error).__name__}: {error}".replace(order.directory, "its folder")
        answer(CallbackAnswer(end, said[:MOST_MESSAGE]))
    else:
        answer(CallbackAnswer())


def _made(order: CallbackOrder) -> Callback:
    """Build the callback; one of the workspace in its own walls, where whoever runs it has not brought it."""
    if order.code is None:
        return cast("Callable[..., Callback]", resolve("callback", order.template))(**order.settings)
    if order.code.confined:
        _confine(order, order.code)
    sys.path.insert(0, str(order.code.workspace.resolve()))
    component = Component(template=order.template, settings=order.settings)
    return cast("Callback", load_part("callback", component, "callbacks"))


def _confine(order: CallbackOrder, code: CodeOfCallbacks) -> None:
    """Leave it code, the models, and its own folder.

    Raises:
        SandboxError: If the kernel cannot do that.
    """
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_FILES, MOST_FILES))
    reads = [code.workspace, ExperimentFiles(Path(order.experiment)).model(0).parent]
    reached = confine_to(reads, [Path(order.directory)])
    if not reached.sufficient:
        raise SandboxError(f"it would be {reached}, and runs code of the workspace")
    seal_off()


def _limit(most_bytes: int) -> None:
    """Leave processors to the experiment, and let no file be larger than all of them may be."""
    os.nice(NICE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))


def main() -> int:
    """Do as the parent says, from standard input to standard output."""
    start_as_child()
    orders, answers = own_channel()

    def answer(value: CallbackAnswer) -> None:
        answers.write(answer_line(value))
        answers.flush()

    order = order_from(orders.readline())
    _limit(order.most_bytes)
    serve(order, orders, answer)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
