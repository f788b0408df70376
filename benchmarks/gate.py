"""A gate in the rounds of an experiment: all sites wait at it until it is opened, and meanwhile a floor is measured.

The other side is `NoTraining` in its workspace, or a stub of `link_stubs`: it connects, sends a byte when it has
arrived, and goes on when it gets one.
"""

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil
from processes import Watcher

PATIENCE_S = 600.0
ARRIVED, GO = b"a", b"g"
LOOK_S = 0.5
"""So often CPU seconds and memory are looked at while nobody waits: it takes milliseconds. The first round is looked at
always, so that an experiment that is over sooner has figures, too."""


class GateClosedError(Exception):
    """The experiment has ended."""


class Gate:
    """The side of who opens it.

    Args:
        path: Of its socket.
        sites: How many wait at it.
    """

    def __init__(self, path: Path, sites: int) -> None:
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.settimeout(PATIENCE_S)
        self._listener.bind(str(path))
        self._listener.listen(sites)
        self._count = sites
        self._sites: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def arrived(self) -> float:
        """Wait until all sites stand at it, and return the time.

        Raises:
            GateClosedError: If it was closed, or a site has gone.
        """
        try:
            while len(self._sites) < self._count:
                connection = self._listener.accept()[0]
                connection.settimeout(PATIENCE_S)
                self._sites.append(connection)
            if all(connection.recv(1) == ARRIVED for connection in self._sites):
                return time.time()
        except OSError as error:
            raise GateClosedError from error
        raise GateClosedError

    def open(self) -> float:
        """Let all go on, and return the time."""
        now = time.time()
        for connection in self._sites:
            with suppress(OSError):
                connection.sendall(GO)
        return now

    def close(self) -> None:
        """Have nobody wait any more."""
        for connection in (self._listener, *self._sites):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._path.unlink(missing_ok=True)


@dataclass(slots=True)
class Turns:
    """A round, the floors, a round, the floors, and so on; without floors, the rounds follow each other at once.

    Attributes:
        gate: At which all sites stop once in every round.
        floors: Name -> does it once and gives the seconds.
        watcher: Watches the processes of the experiment, of which no floor is one.
        arrived: When all sites had come, for every trained round.
        opened: When they went on.
        floors_s: Name -> seconds, for every trained round.
        cpu_s: How many trained rounds had begun when it was looked, and the CPU seconds used until then.
        sent_mb: Megabytes through the loopback interface between each opening and the next arrival.
    """

    gate: Gate
    floors: Mapping[str, Callable[[], float]]
    watcher: Watcher
    arrived: list[float] = field(default_factory=list)
    opened: list[float] = field(default_factory=list)
    floors_s: dict[str, list[float]] = field(default_factory=dict)
    cpu_s: list[tuple[int, float]] = field(default_factory=list)
    sent_mb: list[float] = field(default_factory=list)

    def take(self) -> None:
        """Take turns until the gate is closed."""
        before, looked = 0.0, 0.0
        with suppress(GateClosedError):
            while True:
                self.arrived.append(self.gate.arrived())
                if self.opened:
                    self.sent_mb.append(_sent_mb() - before)
                if self.floors:
                    self._look()
                for name, floor in self.floors.items():
                    self.floors_s.setdefault(name, []).append(floor())
                before = _sent_mb()
                self.opened.append(self.gate.open())
                if not self.floors and self.opened[-1] - looked > LOOK_S:
                    self._look()
                    looked = self.opened[-1]

    def _look(self) -> None:
        self.cpu_s.append((len(self.arrived), self.watcher.cpu_s()))
        self.watcher.look()

    def cpu_a_round_s(self) -> float:
        """Return the CPU seconds of one round, between the first look and the last."""
        (first, before), (last, after) = self.cpu_s[0], self.cpu_s[-1]
        return (after - before) / max(1, last - first)

    def rounds_s(self, published: Sequence[float]) -> list[float]:
        """Return the seconds of each trained round after the first one, in which workers start.

        Args:
            published: When each round had ended, from round 0 on.
        """
        return [
            (self.arrived[number - 1] - published[number - 1]) + (published[number] - self.opened[number - 1])
            for number in range(2, len(published))
        ]


def _sent_mb() -> float:
    return float(psutil.net_io_counters(pernic=True)["lo"].bytes_sent) / 1e6
