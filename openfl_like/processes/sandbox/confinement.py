"""Puts up all walls that the kernel offers, and says which they are."""

import resource
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from openfl_like.processes.sandbox import landlock, seccomp
from openfl_like.processes.sandbox.kernel import LINUX, drop_capabilities, forbid_new_privileges
from openfl_like.processes.sandbox.landlock import SCOPE_ABI, TRUNCATE_ABI, Access

_THREADS = Path("/proc/self/task")


class Wall(StrEnum):
    """What a process is kept from.

    Attributes:
        FILES: Files that it was not given, whether to read, write, make or remove them.
        PROCESSES: Memory, environment and open files of other processes; to trace them.
        SIGNALS: Signals to other processes, and their sockets without a file.
        NETWORK: The network, also that of this machine.
        KERNEL: System calls that change the machine, or go round the other walls.
        PRIVILEGES: What root may do beyond others, and more rights by programs that give them (setuid).
    """

    FILES = "files"
    PROCESSES = "processes"
    SIGNALS = "signals"
    NETWORK = "network"
    KERNEL = "kernel"
    PRIVILEGES = "privileges"


@dataclass(frozen=True, slots=True)
class Confinement:
    """What was reached.

    Attributes:
        landlock: Version of the kernel's Landlock that holds; 0: none.
        seccomp: Whether the filter of system calls holds.
        no_new_privileges: Whether capabilities are given up, and programs can give no rights any more.
    """

    landlock: int = 0
    seccomp: bool = False
    no_new_privileges: bool = False

    @property
    def walls(self) -> frozenset[Wall]:
        """What is closed; the files are not where they can be emptied."""
        reached = {
            Wall.FILES: self.landlock >= TRUNCATE_ABI,
            Wall.PROCESSES: self.landlock > 0,
            Wall.SIGNALS: self.landlock >= SCOPE_ABI,
            Wall.NETWORK: self.seccomp,
            Wall.KERNEL: self.seccomp,
            Wall.PRIVILEGES: self.no_new_privileges,
        }
        return frozenset(wall for wall, closed in reached.items() if closed)

    @property
    def gaps(self) -> tuple[Wall, ...]:
        """What is open."""
        return tuple(wall for wall in Wall if wall not in self.walls)

    @property
    def sufficient(self) -> bool:
        """Whether it is what a site that requires a sandbox wants: all but perhaps signals, which tell no secret."""
        return set(self.gaps) <= {Wall.SIGNALS}

    def __str__(self) -> str:
        means = f"Landlock {self.landlock or 'none'}, seccomp {'on' if self.seccomp else 'none'}"
        if not self.walls:
            return f"not confined ({means})"
        closed = ", ".join(wall for wall in Wall if wall in self.walls)
        return f"confined: {closed}" + (f"; not: {', '.join(self.gaps)}" if self.gaps else "") + f" ({means})"


def available() -> Confinement:
    """Return what `confine` would reach here, by what the kernel says of itself."""
    return Confinement(landlock.abi(), seccomp.supported(), LINUX)


def alone() -> bool:
    """Whether this process has one thread: others would stay outside the walls."""
    try:
        return len(list(_THREADS.iterdir())) == 1
    except OSError:
        return not LINUX


def confine(rules: Sequence[tuple[Path, Access]]) -> Confinement:
    """Confine this process and all that it starts, for good, as far as the kernel can.

    Args:
        rules: What it may do with which files; nothing with any other.

    Returns:
        What was reached; walls of other processes around this one count for nothing.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not LINUX:
        return Confinement()
    try:
        forbid_new_privileges()
        drop_capabilities()
    except OSError:
        return Confinement()
    version = landlock.abi()
    try:
        if version:
            landlock.restrict(rules, version)
    except OSError:
        version = 0
    try:
        if filtered := seccomp.supported():
            seccomp.install()
    except OSError:
        filtered = False
    return Confinement(version, filtered, no_new_privileges=True)
