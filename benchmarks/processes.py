"""What the processes of a role used: CPU seconds, and peak memory, anonymous and file-backed apart."""

import threading
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import psutil

ROLES = {
    "openfl_like.processes.worker": "worker",
    "collaborator": "collaborator",
    "aggregator": "aggregator",
    "envoy": "envoy",
    "director": "director",
}
PERIOD_S = 0.2


def role_of(process: psutil.Process) -> str:
    """Gives the role of one of our processes, or nothing."""
    with suppress(psutil.Error):
        words = process.cmdline()
        return next((role for word, role in ROLES.items() if word in words), "")
    return ""


def memory_kb(pid: int) -> tuple[int, int]:
    """Gives anonymous and file-backed resident kB of a process."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return tuple(int(fields[name].split()[0]) for name in ("RssAnon", "RssFile"))  # type: ignore[return-value] # two


class Watcher:
    """Samples the descendants of a process while its block runs; the largest process of a role counts.

    Args:
        parent: Whose descendants.
    """

    def __init__(self, parent: int) -> None:
        self._parent = psutil.Process(parent)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._roles: dict[int, str] = {}
        self._processes: dict[int, psutil.Process] = {}
        self._due = 0.0
        self._pause = 0.5
        self.anonymous_mb: dict[str, float] = defaultdict(float)
        self.file_mb: dict[str, float] = defaultdict(float)

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def cpu_s(self, *, look: bool) -> float:
        """CPU seconds of all living descendants so far.

        Args:
            look: Whether to look for new ones first; that takes milliseconds which the measured processes would want.
        """
        if look:
            self._find()
        total = 0.0
        for process in list(self._processes.values()):
            with suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def _sample(self) -> None:
        while not self._stop.wait(PERIOD_S):
            if time.monotonic() > self._due:
                self._find()
            for pid, role in list(self._roles.items()):
                with suppress(OSError, KeyError):
                    anonymous, file = memory_kb(pid)
                    self.anonymous_mb[role] = max(self.anonymous_mb[role], round(anonymous / 1024, 1))
                    self.file_mb[role] = max(self.file_mb[role], round(file / 1024, 1))

    def _find(self) -> None:
        """Looks for new processes, more and more seldom: it costs CPU time that the measured processes want."""
        self._due = time.monotonic() + self._pause
        self._pause *= 1.5
        for process in self._parent.children(recursive=True):
            self._processes.setdefault(process.pid, process)
            if process.pid not in self._roles and (role := role_of(process)):
                self._roles[process.pid] = role
