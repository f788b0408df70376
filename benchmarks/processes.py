"""What processes used: CPU seconds by the kernel's own accounts, memory by looking, for whole trees of processes.

The kernel adds the CPU seconds of a process that has ended to the account of whoever waited for it, so a tree's account
loses nobody: sampling the living would. Memory has no such account; it is looked at often, and the most counts.
"""

import os
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
ROLES = ("collaborator", "aggregator", "envoy", "director")
WORKER = ".worker"
"""How the name of the module ends that a worker runs."""


@dataclass(frozen=True, slots=True)
class Use:
    """What was used.

    Attributes:
        cpu_s: CPU seconds, user and system.
        anonymous_mb: Role or case -> peak of the anonymous memory of its largest process, 10^6 bytes.
        rss_mb: Side -> peak of the resident memory of all its processes together; shared pages count in each.
        pss_mb: Side -> the same, but a page that several processes share counts once in all.
    """

    cpu_s: float
    anonymous_mb: Mapping[str, float]
    rss_mb: Mapping[str, float]
    pss_mb: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of one process or of several, in MB of 10^6 bytes."""

    anonymous: float = 0.0
    resident: float = 0.0
    proportional: float = 0.0

    def __add__(self, other: "Memory") -> "Memory":
        return Memory(
            self.anonymous + other.anonymous, self.resident + other.resident, self.proportional + other.proportional
        )

    def above(self, other: "Memory") -> "Memory":
        """Return how much more this is."""
        return self + Memory(-other.anonymous, -other.resident, -other.proportional)

    def most(self, other: "Memory") -> "Memory":
        """Return the larger of each."""
        return Memory(
            max(self.anonymous, other.anonymous),
            max(self.resident, other.resident),
            max(self.proportional, other.proportional),
        )


def memory_of(pid: int) -> Memory:
    """Read what a process holds; nothing when it has ended."""
    with suppress(OSError, KeyError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
        kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
        return Memory(*(round(kilobytes[name] * 1024 / 1e6, 3) for name in ("Anonymous", "Rss", "Pss")))
    return Memory()


def family(roots: Iterable[int]) -> dict[int, float]:
    """Return every process that descends from the roots, they included, with the CPU seconds of its account.

    In the account are its own seconds and those of its children that have ended and were waited for.
    """
    accounts: dict[int, float] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
                children[int(fields[1])].append(int(folder.name))
                accounts[int(folder.name)] = sum(map(int, fields[11:15])) / TICKS_PER_S
    found: dict[int, float] = {}
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid in accounts and pid not in found:
            found[pid] = accounts[pid]
            waiting += children[pid]
    return found


def cpu_s(roots: Iterable[int]) -> float:
    """Return the CPU seconds that all who descend from the roots have used so far, the ended ones included."""
    return sum(family(roots).values())


def role_of(pid: int) -> str:
    """Name the role of one of our processes; empty for others."""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
        if any(word.endswith(WORKER) for word in words):
            return "worker"
        return next((role for role in ROLES if role in words), "")
    return ""


class Watcher:
    """Looks at the memory of whole trees of processes while its block runs.

    Args:
        sides: First process of a tree -> ``server`` or ``client``; of several trees of a side the largest counts.
        period_s: Seconds between two looks; each costs a third of a millisecond for each process.
    """

    def __init__(self, sides: Mapping[int, str], period_s: float) -> None:
        self._sides = dict(sides)
        self._period_s = period_s
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch)
        self._roles: dict[int, str] = {}
        self._of_side: dict[str, Memory] = defaultdict(Memory)
        self._of_role: dict[str, float] = defaultdict(float)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def cpu_s(self) -> float:
        """Return the CPU seconds of all trees so far."""
        return cpu_s(self._sides)

    def look(self) -> None:
        """Look once."""
        with self._lock:
            for root, side in self._sides.items():
                total = Memory()
                for pid in family((root,)):
                    memory = memory_of(pid)
                    total += memory
                    role = self._roles[pid] = self._roles.get(pid) or role_of(pid)
                    if role:
                        self._of_role[role] = max(self._of_role[role], memory.anonymous)
                self._of_side[side] = self._of_side[side].most(total)

    def use(self, cpu_s: float) -> Use:
        """Return the peaks so far, beside these CPU seconds."""
        with self._lock:
            sides = dict(self._of_side)
            return Use(
                round(cpu_s, 4),
                {role: round(peak, 1) for role, peak in self._of_role.items()},
                {side: round(peak.resident, 1) for side, peak in sides.items()},
                {side: round(peak.proportional, 1) for side, peak in sides.items()},
            )

    def _watch(self) -> None:
        while not self._stop.wait(self._period_s):
            self.look()
