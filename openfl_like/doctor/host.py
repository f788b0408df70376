"""This machine: Python and its packages, room and rights in directories, open files, ports."""

import asyncio
import errno
import importlib.util
import os
import platform
import resource
import shutil
import socket
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import psutil

from openfl_like import __version__
from openfl_like.doctor.checks import Check, thread_check
from openfl_like.doctor.finding import Finding, Verdict, failure, fine, refusal, warning
from openfl_like.errors import no_room
from openfl_like.processes.child import clean_environment, describe_exit, spawn
from openfl_like.services.daemon.lock import holder
from openfl_like.services.daemon.run import OPEN_FILES
from openfl_like.services.director.disk_space import CURE, take_room
from openfl_like.store.logs import crowded

OLDEST_PYTHON = (3, 11)
FRAMEWORKS = {"torch": "torch", "tensorflow": "tensorflow", "scikit-learn": "sklearn"}
"""Distribution -> module."""
FEW_FILES, TOO_FEW_FILES = 4096, 256
_BUSY = errno.EADDRINUSE
_NOT_HERE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


def python(oldest: tuple[int, int] = OLDEST_PYTHON) -> Finding:
    """Look at interpreter and platform; an older one than this will not do."""
    seen = f"{platform.python_version()} ({sys.executable}), openfl_like {__version__}"
    if sys.version_info < oldest:
        wanted = ".".join(map(str, oldest))
        return failure("python", seen, f"Python {wanted} is the oldest that can be used", "install a newer one")
    return fine("python", seen)


def framework_checks(limit_s: float) -> list[Check]:
    """Return a check for each installed framework: whether it can be imported, in a process of its own."""
    present = [name for name, module in FRAMEWORKS.items() if importlib.util.find_spec(module) is not None]
    if not present:
        return [thread_check("framework", lambda: fine("framework", "numpy only; install torch, tensorflow or sklearn "
                                                       "if workspaces need them"))]  # fmt: skip
    return [_framework(name, limit_s) for name in present]


def _framework(name: str, limit_s: float) -> Check:
    async def look() -> Finding:
        return await import_framework(name, FRAMEWORKS[name], limit_s)

    return Check(f"framework {name}", look, limit_s + 5)


async def import_framework(name: str, module: str, limit_s: float) -> Finding:
    """Import a module in a child process with the environment that workers get."""
    check = f"framework {name}"
    words = f"import {module}; print({module}.__version__, flush=True)"
    child = await spawn([sys.executable, "-c", words], environment=clean_environment())
    try:
        async with asyncio.timeout(limit_s):
            version = await child.line()
            code = await child.wait()
    except TimeoutError:
        cause = "the disk is slow, the machine is busy, or a driver does not answer"
        cure = f"try 'python -c \"import {module}\"'; give --limit if it only takes long"
        return warning(check, f"'import {module}' takes longer than {limit_s:g} s", cause, cure)
    finally:
        await child.stop(grace_s=0.0)
    if code:
        last = child.last_line() or describe_exit(code)
        cause = "the package or a library that it needs is damaged, or made for another processor or system"
        return failure(check, f"'import {module}' fails: {last}", cause, f"install it again: pip install {name}")
    return fine(check, f"{version} can be imported")


def directory_checks(name: str, directory: Path, what: str) -> list[Check]:
    """Return the checks of a daemon's directory.

    Args:
        name: Begin of the checks' names.
        directory: Where it writes; it need not be there yet.
        what: What the daemon is called.
    """
    return [
        thread_check(name, lambda: writable(name, directory, what)),
        thread_check(f"{name} disk", lambda: room(f"{name} disk", directory)),
    ]


def _existing(directory: Path) -> Path:
    return next(path for path in (directory.absolute(), *directory.absolute().parents) if path.exists())


def writable(name: str, directory: Path, what: str) -> Finding:
    """Look whether a daemon can work in a directory, and whether one does already."""
    place = _existing(directory)
    if not place.is_dir():
        cure = "name another one"
        return failure(name, f"{place} is not a directory", "a file has its name", cure)
    status = place.stat()
    if not os.access(place, os.W_OK | os.X_OK):
        seen = f"{place} cannot be written to by this user ({os.geteuid()}); it belongs to {status.st_uid}"
        cause = "it was made by another user, or the disk is mounted read-only"
        return failure(name, seen, cause, f"chown -R {os.geteuid()} {place}, run as its owner, or name another one")
    running = holder(directory)
    if running is not None:
        return fine(name, f"{directory}: {what} runs here already (process {running or 'unknown'})")
    return fine(name, f"{directory}: {'is there' if place == directory.absolute() else 'will be made'}")


def room(name: str, directory: Path) -> Finding:
    """Look whether there is room on the disk of a directory."""
    place = _existing(directory)
    usage = shutil.disk_usage(place)
    seen = f"{usage.free / 2**30:.1f} GiB of {usage.total / 2**30:.1f} GiB are free for {place}"
    if not os.access(place, os.W_OK):
        return Finding(name, Verdict.SKIP, f"{seen}; whether they can be used cannot be tried")
    try:
        take_room(place)
    except OSError as error:
        full = no_room(error, str(place))
        if full is None:
            raise
        return refusal(name, full, f"the disk or a quota is used up: {seen}", CURE)
    if crowded(place) or usage.free * 50 < usage.total:
        return warning(name, seen, "the disk is nearly full: first logs are cut, then work waits", CURE)
    return fine(name, seen)


def open_files() -> Finding:
    """Look how many connections a Director may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= FEW_FILES:
        reached = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
        return fine("open files", f"up to {reached:,} (now {soft:,}; the Director raises it itself)")
    seen = f"this process may have {hard:,} files open at most; each envoy and user is one"
    cure = f"raise the hard limit: LimitNOFILE={OPEN_FILES} in the systemd unit, 'ulimits' in compose, or ulimit -Hn"
    cause = "the limit of the service, the container or the login session is low"
    return (failure if hard < TOO_FEW_FILES else warning)("open files", seen, cause, cure)


def own_addresses() -> frozenset[str]:
    """Return the addresses of this machine's interfaces."""
    families = {socket.AF_INET, socket.AF_INET6}
    found = (one for interface in psutil.net_if_addrs().values() for one in interface if one.family in families)
    return frozenset(one.address.partition("%")[0] for one in found)


def port(name: str, address: str, state: Path) -> Finding:
    """Look whether a daemon can listen on an address.

    Args:
        name: Of the check.
        address: ``host:port``.
        state: The daemon's directory: one that runs there has the port rightly.
    """
    host, _, number = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(number), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        cause = "the name is misspelt, or the name server of this machine does not know it"
        return failure(name, f"'{host}' does not resolve: {error.strerror}", cause, "correct it, or write 0.0.0.0")
    problems = {str(place[0]): _bind(family, place) for family, _, _, _, place in found}
    taken = [where for where, problem in problems.items() if problem == _BUSY]
    if taken:
        return _taken(name, address, int(number), holder(state))
    if any(problem is None for problem in problems.values()):
        return fine(name, f"{address} is free")
    problem = next(problem for problem in problems.values() if problem is not None)
    if problem in _NOT_HERE:
        cause = "'listen' says where on this machine it listens, not how others reach it"
        cure = "write 0.0.0.0 (or an address of this machine), and the name that sites use as aggregator_host"
        return failure(name, f"{host} is not an address of this machine", cause, cure)
    cause = "ports below 1024 are the system's"
    return failure(name, f"{address}: {os.strerror(problem)}", cause, "choose a port above 1023")


def _bind(family: int, place: Sequence[object]) -> int | None:
    """Return what is against listening there, as a number of the system's; None: nothing."""
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind(tuple(place))
        except OSError as error:
            return error.errno or 0
    return None


def _taken(name: str, address: str, number: int, ours: int | None) -> Finding:
    who = listener(number)
    if ours is not None and (who is None or who.pid == ours):
        return fine(name, f"{address}: the daemon that runs here has it (process {ours})")
    if who is None:
        by = "a process of another user"
        cure = f"see which: sudo ss -ltnp 'sport = :{number}'; end it, or choose another port"
    else:
        by = f"process {who.pid} ({' '.join(who.cmdline()[:6]) or who.name()})"
        cure = "end it, or choose another port"
    return failure(name, f"{address} is taken by {by}", "a port has one listener", cure)


def listener(number: int) -> psutil.Process | None:
    """Find who listens on a port, as far as this user may know."""
    try:
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and found.laddr and found.laddr.port == number and found.pid:
                return psutil.Process(found.pid)
    except psutil.Error:
        return None
    return None
