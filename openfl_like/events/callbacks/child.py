"""The process of one callback: takes events from its parent, and has the callback write."""

import errno
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from openfl_like.events.callbacks.base import Callback, ResultsFolder, ResultsFullError
from openfl_like.events.callbacks.orders import (
    MOST_MESSAGE,
    CallbackAnswer,
    CallbackOrder,
    answer_line,
    batches_from,
    order_from,
)
from openfl_like.federation.callback_end import CallbackEnd
from openfl_like.processes.worker import own_channel, start_as_child
from openfl_like.registry import resolve
from openfl_like.store.files import ExperimentFiles

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
        make = cast("Callable[..., Callback]", resolve("callback", order.template))
        callback = make(**order.settings)
        folder = ResultsFolder(Path(order.directory), ExperimentFiles(Path(order.experiment)), order.most_bytes)
        folder.directory.mkdir(parents=True, exist_ok=True)
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
