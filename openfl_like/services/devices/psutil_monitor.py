"""The device monitor ``psutil``: processors, memory, disk, network and temperature."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import psutil

from openfl_like.federation.parties import DeviceStatistics

SHORTEST_S = 0.05
"""Over less time than this no rate is told."""
LOOPBACK = ("lo", "Loopback")
PROCESSOR_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal", "acpitz")


class PsutilMonitor:
    """Reads what `psutil` tells of this machine; rates and processor time are those since the reading before.

    Args:
        directory: The folder whose disk is looked at.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._at = monotonic()
        self._busy, self._ticks = _processor()
        self._in, self._out = _network()

    def read(self) -> DeviceStatistics:
        """Return the state of the machine."""
        memory = psutil.virtual_memory()
        disk = psutil.disk_usage(str(self._directory))
        received, sent, busy = self._since()
        return DeviceStatistics(
            cpu_percent=busy,
            cpu_count=psutil.cpu_count(),
            load_1m=psutil.getloadavg()[0],
            memory_total_bytes=memory.total,
            memory_used_bytes=memory.total - memory.available,
            disk_total_bytes=disk.total,
            disk_used_bytes=disk.used,
            network_in_bytes_per_s=received,
            network_out_bytes_per_s=sent,
            temperature_c=_temperature(),
        )

    def _since(self) -> tuple[float | None, float | None, float | None]:
        """Bytes per second in and out and the processors' busy share, since the last time; None where too short ago."""
        now = monotonic()
        passed = now - self._at
        if passed < SHORTEST_S:
            return None, None, None
        busy, ticks = _processor()
        received, sent = _network()
        # a counter that went back was set anew: a device has gone, or the machine slept
        rates = max(0.0, (received - self._in) / passed), max(0.0, (sent - self._out) / passed)
        share = max(0.0, min(1.0, (busy - self._busy) / (ticks - self._ticks))) if ticks > self._ticks else None
        self._at, self._busy, self._ticks, self._in, self._out = now, busy, ticks, received, sent
        return *rates, None if share is None else 100.0 * share


def _processor() -> tuple[float, float]:
    """Seconds that all processors together were busy, and seconds in all, since the machine was started."""
    times = psutil.cpu_times()._asdict()
    guests = times.get("guest", 0.0) + times.get("guest_nice", 0.0)  # are in user and nice already
    total = sum(times.values()) - guests
    return total - times["idle"] - times.get("iowait", 0.0), total


def _network() -> tuple[int, int]:
    """Bytes that came in and went out since the machine was started."""
    cards = psutil.net_io_counters(pernic=True)
    outward = [card for name, card in cards.items() if not name.startswith(LOOPBACK)]
    return sum(card.bytes_recv for card in outward), sum(card.bytes_sent for card in outward)


def _temperature() -> float | None:
    """The hottest sensor of the processor, where the system has one."""
    read: Callable[[], Mapping[str, Sequence[Any]]] = getattr(psutil, "sensors_temperatures", dict)
    sensors = read()
    for chip in PROCESSOR_SENSORS:
        if readings := [sensor.current for sensor in sensors.get(chip, ()) if sensor.current]:
            return float(max(readings))
    return None
