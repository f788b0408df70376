"""A process that performs runs: it does the imports once, and each run has a copy of it to itself.

A run is a process of its own, forked when the imports are done, so that what the code of one run does to its process is
nothing to the next one. The lines on standard input are orders, those on standard output what became of them. It dies
with its parent, whatever way that dies, and its run with it.
"""

import json
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn, TypeAlias

from pydantic import TypeAdapter, ValidationError

from openfl_like.errors import FederationError
from openfl_like.frameworks.named import PYTORCH, SKLEARN, TENSORFLOW, named_frameworks
from openfl_like.frameworks.warm_up import warm_up
from openfl_like.peer_json import read_peer_json
from openfl_like.plan.digest import thaw
from openfl_like.processes.parent_death import die_with_parent
from openfl_like.store.ports import Stores
from openfl_like.studies.folder import write_whole
from openfl_like.studies.perform import RunOrder, perform
from openfl_like.studies.results import result_json

_WARM = frozenset({PYTORCH, SKLEARN})
"""Frameworks that are imported before the forks; the others start threads when they are, which no fork has."""
_MOST_BYTES = 1 << 20


def order_line(order: RunOrder) -> bytes:
    """Write an order as a line of JSON."""
    return json.dumps({name: str(value) for name, value in asdict(order).items()}).encode() + b"\n"


_ORDER = TypeAdapter(RunOrder)
Told: TypeAlias = tuple[str, int]
_TOLD: TypeAdapter[Told] = TypeAdapter(Told)
ROUND, ENDED = "round", "ended"
"""What a line is about: a finished round, with its number; the end of the run's process, with its exit status."""


def told_from(line: str) -> Told | None:
    """Read a line of a worker; None: it is none of ours, such as what a library printed."""
    try:
        return _TOLD.validate_python(tuple(read_peer_json(line, _MOST_BYTES)))
    except (ValueError, ValidationError, TypeError):
        return None


def serve(stores: Stores) -> None:
    """Perform runs until standard input ends.

    Args:
        stores: Opens the records of the runs.
    """
    die_with_parent()
    warm = False
    for line in sys.stdin:
        order = _ORDER.validate_python(read_peer_json(line, _MOST_BYTES))
        if not warm:
            _warm_up(order)
            warm = True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # BLAS has threads, and looks after them itself
            process = os.fork()
        if process == 0:
            _run(order, stores)
        _, status = os.waitpid(process, 0)
        _tell(1, ENDED, os.waitstatus_to_exitcode(status))


def _warm_up(order: RunOrder) -> None:
    """Import what the run will; that something is not installed, or is damaged, is for the run to find."""
    try:
        named = named_frameworks(thaw(order.plan.read_bytes()), order.workspace)
        warm_up(named & _WARM if TENSORFLOW not in named else ())  # never PyTorch where it may not be wanted
    except (FederationError, OSError, ImportError):
        return


def _run(order: RunOrder, stores: Stores) -> NoReturn:
    """Perform a run in this process, which is its own, and end it."""
    code = 1
    try:
        die_with_parent()
        say = _lend_streams(order.log)
        result = perform(order, stores, say)
        write_whole(order.record.parent / "result.json", result_json(result))
        code = 0
    except BaseException as error:  # noqa: BLE001 (it must not come back into the worker)
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201 (standard error is the run's log)
    finally:
        _flush()
        os._exit(code)


def _lend_streams(log: Path) -> Callable[[int], None]:
    """Put the run's log in the place of the standard streams; return what tells of a finished round."""
    told = os.dup(1)
    os.set_inheritable(told, False)  # noqa: FBT003 (os has no name for it)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(file, 1)
    os.dup2(file, 2)
    return lambda number: _tell_or_end(told, number)


class _StudyEndedError(BaseException):
    """Nobody listens any more. No `Exception`: the run has not failed, it ends as by a kill and goes on later."""


def _tell_or_end(stream: int, number: int) -> None:
    try:
        _tell(stream, ROUND, number)
    except BrokenPipeError as error:
        raise _StudyEndedError("the study has ended; this run goes on when it is run again") from error


def _tell(stream: int, what: str, number: int) -> None:
    os.write(stream, json.dumps([what, number]).encode() + b"\n")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
