"""Device monitors: what reads the state of a site's machine for its heartbeats, and how they are kept from hurting it.

Each monitor works in a thread of its own. One that raises or does not come back costs its own numbers and nothing else.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from openfl_like import registry
from openfl_like.data.policy import MonitorChoice
from openfl_like.errors import NotFoundError, SettingsError
from openfl_like.federation.devices.bounds import believable, merged
from openfl_like.federation.parties import DeviceStatistics
from openfl_like.services.daemon.thread import in_thread
from openfl_like.tasks import TaskOwner

log = logging.getLogger(__name__)
READ_S = 1.0
GPUS_S = 5.0
LONGEST_REASON = 500
KIND = "device_monitor"


class DeviceMonitor(Protocol):
    """Reads some numbers of this machine; built as ``Monitor(directory, **settings)`` with the Envoy's folder.

    It is built and read in a thread of its own, one reading after the other.
    """

    def read(self) -> DeviceStatistics:
        """Return what it knows; whatever it does not know stays None."""
        ...


@dataclass(frozen=True, slots=True)
class _Found:
    """What came of a reading."""

    state: DeviceStatistics = field(default_factory=DeviceStatistics)
    faults: tuple[str, ...] = ()
    failure: str = ""


@dataclass(slots=True)
class _Seat:
    """A monitor and what it is doing."""

    name: str
    build: Callable[[], DeviceMonitor]
    monitor: DeviceMonitor | None = None
    reading: "asyncio.Task[_Found] | None" = None
    tasks: TaskOwner = field(default_factory=TaskOwner)
    told: set[str] = field(default_factory=set)

    def begin(self) -> "asyncio.Task[_Found]":
        """Start a reading in a thread; or, while there is one, go on waiting for that."""
        if self.reading is None:
            self.reading = self.tasks.start(self._read())
        return self.reading

    async def _read(self) -> _Found:
        try:
            return await in_thread(self._work, f"monitor-{self.name}")
        except RuntimeError as error:  # too many threads for the system
            return _Found(failure=_words(error))

    def _work(self) -> _Found:
        try:
            self.monitor = self.monitor or self.build()
            return _sifted(self.monitor.read())
        except BaseException as error:  # noqa: BLE001 (the site's code may raise anything, and it is told)
            return _Found(failure=_words(error))

    def take(self, read_s: float) -> DeviceStatistics:
        """Return what was read; nothing if that failed or is not there yet, after so many seconds."""
        if self.reading is None or not self.reading.done():
            self._tell("late", f"has not answered within {read_s:g} s; the heartbeat goes without its numbers")
            return DeviceStatistics()
        found, self.reading = self.reading.result(), None
        if found.failure:
            self._tell("failed", found.failure)
        if found.faults:
            self._tell("odd", f"gave what cannot be, which is left out: {'; '.join(found.faults[:5])}")
        return found.state

    def _tell(self, what: str, text: str) -> None:
        if what not in self.told:
            self.told.add(what)
            log.warning("device monitor '%s' (told once): %s", self.name, text)


def _sifted(given: object) -> _Found:
    if not isinstance(given, DeviceStatistics):
        return _Found(failure=f"gave a {type(given).__name__}")
    return _Found(*believable(given))


def _words(error: BaseException) -> str:
    kind = type(error).__name__
    try:
        return f"{kind}: {' '.join(str(error).split())}"[:LONGEST_REASON]
    except Exception:  # noqa: BLE001 (it may not even have words)
        return kind


class Monitors:
    """The device monitors of a site.

    Args:
        chosen: Which ones, in order; where two tell the same number, the later one counts.
        directory: The Envoy's folder, whose disk is looked at.
        search: Directories in which ``module:attr`` templates are looked for first.
        read_s: Seconds that a reading may take before the others go without it.
        gpus_s: Seconds that are waited for GPUs as long as none was found: some drivers take seconds to wake up.

    Raises:
        SettingsError: If there is no monitor of a name; one that cannot be built is only logged.
    """

    def __init__(
        self,
        chosen: Sequence[MonitorChoice],
        directory: Path,
        search: Sequence[Path] = (),
        *,
        read_s: float = READ_S,
        gpus_s: float = GPUS_S,
    ) -> None:
        self.read_s, self.gpus_s = read_s, gpus_s
        for choice in chosen:
            _check_name(choice.template)
        self._seats = [_Seat(one.template, _builder(one, directory, search)) for one in chosen]
        self._one_at_a_time = asyncio.Lock()
        self._gpus: tuple[int, ...] = ()

    async def read(self) -> DeviceStatistics:
        """Read all of them at once, and wait for none of them longer than ``read_s``.

        What a late one reads comes with the next reading.
        """
        async with self._one_at_a_time:
            if self._seats:
                await asyncio.wait([seat.begin() for seat in self._seats], timeout=self.read_s)
            found = merged([seat.take(self.read_s) for seat in self._seats])
        if found.gpus:
            self._gpus = tuple(gpu.index for gpu in found.gpus)
        return found

    async def gpus(self) -> tuple[int, ...]:
        """Return the numbers of the GPUs that were found last; one whose monitor is late this time is there still.

        As long as none was found, a late monitor is waited for ``gpus_s``.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.gpus_s):
                await self.read()
                while not self._gpus and any(seat.reading is not None for seat in self._seats):
                    await self.read()
        return self._gpus


def _check_name(template: str) -> None:
    known = registry.names(KIND)
    if template not in known and ":" not in template:
        raise SettingsError(
            f"there is no device monitor named '{template}'",
            place="device_monitors in shard.yaml",
            cure=f"known: {', '.join(known)}; or write module:attr",
        )


def _builder(choice: MonitorChoice, directory: Path, search: Sequence[Path]) -> Callable[[], DeviceMonitor]:
    def build() -> DeviceMonitor:
        with registry.first_on_path(search):
            try:
                factory = cast("Callable[..., DeviceMonitor]", registry.resolve(KIND, choice.template))
            except NotFoundError as error:
                raise SettingsError(error.message, cure=error.cure) from error
        return factory(directory, **choice.settings)

    return build
