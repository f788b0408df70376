"""A task that does, in rounds and at sites that the plan names, what no task should do."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import NoReturn

from openfl_like.frameworks.runner import RunnerContext, TaskResult
from openfl_like.testing.faults.toy_workload import DriftRunner, NumberLoader

LONG_S = 10_000.0
MANY = 2_000_000
DESCRIPTORS = range(3, 48)


class Harm(StrEnum):
    """What has to come of an act.

    Attributes:
        NONE: The update counts.
        FAILS: The task fails, with a reason.
        EITHER: One of them: what is broken may be something that nobody needs.
    """

    NONE = "none"
    FAILS = "fails"
    EITHER = "either"


class MuteError(Exception):
    """An exception that cannot say what happened."""

    def __str__(self) -> str:
        raise RuntimeError("not even this")


def _raises(error: type[BaseException], *arguments: object) -> Callable[[TaskResult], TaskResult]:
    def act(_: TaskResult) -> NoReturn:
        raise error(*arguments)

    return act


def _exits(code: int) -> Callable[[TaskResult], TaskResult]:
    def act(_: TaskResult) -> NoReturn:
        os._exit(code)

    return act


def _signals(number: signal.Signals) -> Callable[[TaskResult], TaskResult]:
    def act(result: TaskResult) -> TaskResult:
        os.kill(os.getpid(), number)
        time.sleep(LONG_S)
        return result

    return act


def _sleeps(result: TaskResult) -> TaskResult:
    time.sleep(LONG_S)
    return result


def _spins(result: TaskResult) -> TaskResult:
    end = time.monotonic() + LONG_S
    while time.monotonic() < end:
        pass
    return result


def _answers(**changes: object) -> Callable[[TaskResult], TaskResult]:
    def act(result: TaskResult) -> TaskResult:
        return replace(result, **changes)  # type: ignore[arg-type] # that they do not fit is the point

    return act


def _says(stream: str, text: str) -> Callable[[TaskResult], TaskResult]:
    def act(result: TaskResult) -> TaskResult:
        getattr(sys, stream).write(text)
        getattr(sys, stream).flush()
        return result

    return act


def _closes(*descriptors: int) -> Callable[[TaskResult], TaskResult]:
    def act(result: TaskResult) -> TaskResult:
        for descriptor in descriptors:
            try:
                os.close(descriptor)
            except OSError:
                continue
        return result

    return act


def _scribbles(result: TaskResult) -> TaskResult:
    """Write junk wherever something is open: to the answers, too."""
    for descriptor in DESCRIPTORS:
        try:
            os.write(descriptor, b'{"update": "junk"}\n\xff\xfe\n')
        except OSError:
            continue
    return result


def _reads(result: TaskResult) -> TaskResult:
    try:
        input("your password: ")
    except (EOFError, OSError):
        return result
    raise AssertionError("somebody has answered")


def _leaves_child(result: TaskResult) -> TaskResult:
    subprocess.Popen([sys.executable, "-c", f"import sys, time; sys.stdin.read(); time.sleep({LONG_S})"])
    return result


def _leaves_thread(result: TaskResult) -> TaskResult:
    threading.Thread(target=time.sleep, args=(LONG_S,)).start()
    return result


def _moves(result: TaskResult) -> TaskResult:
    os.chdir("/")
    os.environ.clear()
    return result


def _replaces_streams(result: TaskResult) -> TaskResult:
    sys.stdout = sys.stderr = sys.stdin = None  # as some programs do
    return result


def _is_nothing(_: TaskResult) -> TaskResult:
    return None  # type: ignore[return-value] # a task that forgets to return


ACTS: Mapping[str, tuple[Harm, Callable[[TaskResult], TaskResult]]] = {
    "raises": (Harm.FAILS, _raises(ValueError, "the scanner is on fire")),
    "raises what cannot speak": (Harm.FAILS, _raises(MuteError)),
    "raises half a character": (Harm.FAILS, _raises(ValueError, "file \udcfc.png")),
    "raises a very long text": (Harm.FAILS, _raises(KeyError, "x" * MANY)),
    "ends the program": (Harm.FAILS, _raises(SystemExit, 0)),
    "interrupts": (Harm.FAILS, _raises(KeyboardInterrupt)),
    "stops a generator": (Harm.FAILS, _raises(StopIteration, 1)),
    "exits with 0": (Harm.FAILS, _exits(0)),
    "exits with 3": (Harm.FAILS, _exits(3)),
    "is killed": (Harm.FAILS, _signals(signal.SIGKILL)),
    "is aborted": (Harm.FAILS, _signals(signal.SIGABRT)),
    "is stopped": (Harm.FAILS, _signals(signal.SIGSTOP)),
    "sleeps": (Harm.FAILS, _sleeps),
    "spins": (Harm.FAILS, _spins),
    "answers nothing": (Harm.FAILS, _is_nothing),
    "answers a negative count": (Harm.FAILS, _answers(num_samples=-1)),
    "answers a huge count": (Harm.FAILS, _answers(num_samples=10**30)),
    "answers a count in words": (Harm.FAILS, _answers(num_samples="many")),
    "answers words for numbers": (Harm.FAILS, _answers(metrics={"loss": "low"})),
    "answers no text for a name": (Harm.FAILS, _answers(metrics={"caf\udcfc": 1.0})),
    "answers very many metrics": (Harm.FAILS, _answers(metrics={f"metric {n:040}": 0.5 for n in range(40_000)})),
    "answers a list": (Harm.FAILS, _answers(metrics=[1.0])),
    "answers NaN": (Harm.NONE, _answers(metrics={"loss": float("nan")})),
    "answers no metrics": (Harm.NONE, _answers(metrics={})),
    "scribbles into all that is open": (Harm.EITHER, _scribbles),
    "closes all that is open": (Harm.EITHER, _closes(*DESCRIPTORS)),
    "closes its streams": (Harm.NONE, _closes(0, 1, 2)),
    "replaces its streams": (Harm.NONE, _replaces_streams),
    "floods its output": (Harm.NONE, _says("stdout", "x" * MANY)),
    "floods its errors": (Harm.NONE, _says("stderr", "no line ends " * (MANY // 13))),
    "prints what looks like an answer": (Harm.NONE, _says("stdout", '{"update": {"round": 1}}\n')),
    "reads its input": (Harm.NONE, _reads),
    "leaves a child": (Harm.NONE, _leaves_child),
    "leaves a thread": (Harm.NONE, _leaves_thread),
    "goes away and forgets where it was": (Harm.NONE, _moves),
}
"""Name -> what has to come of it, and what is done with the result of a training."""
WITHOUT_STREAMS = frozenset({"closes its streams", "replaces its streams", "closes all that is open"})
"""After these, what prints or reads may fail in the same worker: that is its own doing."""


class MisbehavingRunner(DriftRunner):
    """Trains like its base, then does what is written for its site and round.

    Args:
        loader: The site's number.
        context: Has the plan's algorithm.
        acts: Site's number -> round -> name of an act of `ACTS`; both as text.
    """

    def __init__(
        self, loader: NumberLoader, context: RunnerContext, *, acts: Mapping[str, Mapping[str, str]] | None = None
    ) -> None:
        super().__init__(loader, context, length=100)
        self._acts = (acts or {}).get(f"{loader.value:g}", {})

    def train(self, round: int = 0) -> TaskResult:  # noqa: A002 (the name by which a task asks for it)
        """Train, and misbehave."""
        result = super().train()
        name = self._acts.get(str(round))
        return ACTS[name][1](result) if name is not None else result
