"""Whether a daemon is alive, told by a small file in its directory: for supervisors that can only run a command.

The daemon's own loop writes it, so one that hangs does not. The time in it is the machine's monotonic clock, which all
processes of the machine share and nobody sets. It is written in place, so that it needs no room on a full disk.
"""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

PULSE_FILE = "pulse"
BEAT_S = 5.0
STALE_S = 30.0
_BYTES = 256


@dataclass(frozen=True, slots=True)
class Liveness:
    """What a daemon has said of itself.

    Attributes:
        directory: Where it works.
        role: What it is.
        pid: Its process, as it sees it itself.
        ready: Whether it can do its work: a Director listens, an Envoy is attended to.
        age_s: How long ago it said so; infinite if that was before the machine's last start.
    """

    directory: Path
    role: str
    pid: int
    ready: bool
    age_s: float

    @property
    def alive(self) -> bool:
        """Whether it said so lately."""
        return self.age_s <= STALE_S


@dataclass(slots=True)
class LivenessFile:
    """Says again and again that a daemon is alive.

    Args:
        directory: The daemon's.
        role: What it is.
        ready: Whether it can do its work now.
        beat_s: Seconds between two times.
    """

    directory: Path
    role: str
    ready: Callable[[], bool] = lambda: True
    beat_s: float = BEAT_S

    async def beat(self) -> None:
        """Write until cancelled; then the file is removed."""
        path = self.directory / PULSE_FILE
        try:
            while True:
                with contextlib.suppress(OSError):  # no room for the first one: the next may find some
                    _write(path, {"role": self.role, "pid": os.getpid(), "ready": self.ready()})
                await asyncio.sleep(self.beat_s)
        finally:
            path.unlink(missing_ok=True)


def _write(path: Path, facts: dict[str, object]) -> None:
    text = json.dumps({**facts, "at": time.monotonic()}).ljust(_BYTES - 1) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(descriptor, text.encode("ascii"), 0)
    finally:
        os.close(descriptor)


def beats(folder: Path) -> Sequence[Liveness]:
    """Read what the daemons in a folder and directly below it have said last."""
    found = [_read(path) for path in sorted([folder / PULSE_FILE, *folder.glob(f"*/{PULSE_FILE}")])]
    return [beat for beat in found if beat is not None]


def _read(path: Path) -> Liveness | None:
    try:
        facts = json.loads(path.read_text(encoding="ascii"))
        age_s = time.monotonic() - float(facts["at"])
        age_s = age_s if age_s >= 0 else float("inf")
        return Liveness(path.parent, str(facts["role"]), int(facts["pid"]), bool(facts["ready"]), age_s)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # none yet, or one that is being written: the next look finds it
