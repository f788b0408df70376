"""Tries whether the walls hold: what submitted code could want beyond its own, each attempt once, harming nothing.

As a program it is given a `Trial` as a line of JSON, confines itself as a worker would, and prints its `TrialOutcome`.
"""

import ctypes
import json
import os
import resource
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from openfl_like.data.shard_file import load_shard_config
from openfl_like.processes.sandbox.confinement import Confinement, confine
from openfl_like.processes.sandbox.reach import WorkerPlaces, rules_of

MODULE = "openfl_like.processes.sandbox.trial"
_IN_CREATE = 0x100
_PTRACE_SEIZE = 0x4206
_CANARY = "fx-doctor-was-here"


@dataclass(frozen=True, slots=True)
class Targets:
    """What is tried to reach.

    Attributes:
        secret: A file that is not a worker's, such as the site's key.
        other: A folder that is not a worker's, such as that of another experiment.
        outside: A folder of whoever asks for the trial, where a file may be left.
        parent: Number of a process outside.
        port: Where somebody listens on this machine.
        abstract: Name of a socket without a file, where somebody listens as well; empty: none.
    """

    secret: str
    other: str
    outside: str
    parent: int
    port: int
    abstract: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt.

    Attributes:
        what: Was tried.
        reached: Whether it succeeded.
        answer: What the kernel said to it.
    """

    what: str
    reached: bool
    answer: str


@dataclass(frozen=True, slots=True)
class Trial:
    """What is to be tried, and by whom.

    Attributes:
        shard: The site's shard.yaml.
        directory: The own folder of the worker that it stands for.
        targets: What is tried to reach.
        confined: Whether it confines itself before.
    """

    shard: str
    directory: str
    targets: Targets
    confined: bool = True

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """Make it of JSON values."""
        return cls(**{**values, "targets": Targets(**values["targets"])})


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """How a trial ended.

    Attributes:
        confinement: What was reached.
        rules: What a worker keeps of its rights.
        attempts: All attempts.
    """

    confinement: Confinement
    rules: tuple[tuple[str, str], ...]
    attempts: tuple[Attempt, ...]

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """Make it of JSON values."""
        attempts = tuple(Attempt(**attempt) for attempt in values["attempts"])
        rules = tuple((str(path), str(access)) for path, access in values["rules"])
        return cls(Confinement(**values["confinement"]), rules, attempts)


def perform(trial: Trial) -> TrialOutcome:
    """Confine this process, for good, if that is wanted, and try everything."""
    shard = Path(trial.shard)
    rules = rules_of(WorkerPlaces(shard, Path(trial.directory)), load_shard_config(shard))
    confinement = confine(rules) if trial.confined else Confinement()
    told = tuple((str(path), access.value) for path, access in rules)
    return TrialOutcome(confinement, told, attempts(trial.targets))


def attempts(targets: Targets) -> tuple[Attempt, ...]:
    """Try everything, and say what succeeded."""
    parent, outside = Path("/proc", str(targets.parent)), Path(targets.outside)
    tries: dict[str, Callable[[], object]] = {
        "read the key": lambda: Path(targets.secret).read_bytes(),
        "read another experiment": lambda: _reads_below(Path(targets.other)),
        "write elsewhere": lambda: (outside / _CANARY).write_text(""),
        "change the mode of a folder": lambda: _changes_mode(outside),
        "watch a folder": lambda: _watches(outside),
        "make a device": _makes_device,
        "read the parent's environment": (parent / "environ").read_bytes,
        "open the parent's memory": lambda: (parent / "mem").open("rb").close(),
        "see the parent's open files": (parent / "fd" / "0").readlink,
        "trace the parent": lambda: _traces(targets.parent),
        "become another user": _becomes_another,
        "signal the parent": lambda: os.kill(targets.parent, 0),
        "change the parent's limits": lambda: _changes_limits(targets.parent),
        "change the parent's priority": lambda: _changes_priority(targets.parent),
        "choose the parent's processors": lambda: _chooses_processors(targets.parent),
        "connect by TCP": lambda: socket.create_connection(("127.0.0.1", targets.port), 5).close(),
        "listen on a port": _listens,
        "send by UDP": lambda: _sends(targets.port),
    }
    if targets.abstract:
        tries["connect to a socket without a file"] = lambda: _connects(targets.abstract)
    return tuple(_tried(what, attempt) for what, attempt in tries.items())


def _tried(what: str, attempt: Callable[[], object]) -> Attempt:
    try:
        attempt()
    except OSError as error:
        return Attempt(what, reached=False, answer=error.strerror or str(error))
    return Attempt(what, reached=True, answer="done")


def _reads_below(folder: Path) -> None:
    """Read the first file below a folder."""
    for path in sorted(folder.iterdir()):
        if path.is_file():
            path.read_bytes()
            return
    raise FileNotFoundError(2, "there is nothing to read")


def _changes_mode(path: Path) -> None:
    """Set a mode with one bit changed, and put that back."""
    before = path.stat().st_mode & 0o7777
    path.chmod(before ^ 0o100)
    if path.stat().st_mode & 0o7777 == before:
        raise PermissionError(1, "it had no effect")
    path.chmod(before)


def _makes_device() -> None:
    """Make a device node, which would give the disk to whoever may open it, in our own folder."""
    path = Path("device")
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))  # character device: /dev/null again
    path.unlink()


def _becomes_another() -> None:
    """Be another user, and oneself again."""
    before = os.geteuid()
    os.seteuid(before + 1)
    os.seteuid(before)


def _watches(folder: Path) -> None:
    """Have the kernel tell what is made and opened in a folder, which names what may not be listed."""
    libc = ctypes.CDLL(None, use_errno=True)
    with os.fdopen(_done(libc.inotify_init1(0)), "rb") as told:
        _done(libc.inotify_add_watch(told.fileno(), os.fsencode(folder), _IN_CREATE))


def _traces(pid: int) -> None:
    """Attach to a process without stopping it; the kernel detaches when we end."""
    _done(ctypes.CDLL(None, use_errno=True).ptrace(_PTRACE_SEIZE, pid, None, None))


def _done(result: int) -> int:
    """Return what a function of the C library has returned; raises OSError if that is a failure."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _changes_limits(pid: int) -> None:
    """Set a limit of a process to what it is."""
    number = resource.RLIMIT_CPU
    resource.prlimit(pid, number, resource.prlimit(pid, number))


def _changes_priority(pid: int) -> None:
    """Set a priority to what it is."""
    os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid))


def _chooses_processors(pid: int) -> None:
    """Let a process run where it runs."""
    os.sched_setaffinity(pid, os.sched_getaffinity(pid))


def _listens() -> None:
    with socket.create_server(("127.0.0.1", 0)):
        pass


def _sends(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.sendto(b"", ("127.0.0.1", port))


def _connects(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as line:
        line.connect("\0" + name)


if __name__ == "__main__":
    os.chdir((_trial := Trial.of(json.loads(sys.stdin.readline()))).directory)
    sys.stdout.write(json.dumps(asdict(perform(_trial))) + "\n")
