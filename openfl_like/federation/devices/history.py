"""What a machine's numbers were over the last hour and the last day, in memory that does not grow."""

import math
from array import array
from collections.abc import Callable, Mapping
from types import MappingProxyType

from openfl_like.federation.parties import DeviceStatistics, GpuStatistics, Series

RECENT = (30.0, 120)
DAY = (300.0, 288)
"""Seconds of one mean, and how many of them are kept: an hour, and a day."""
UNKNOWN = math.nan


def _share(used: int | None, total: int | None) -> float:
    return 100.0 * used / total if used is not None and total else UNKNOWN


def _mean(gpus: tuple[GpuStatistics, ...], pick: Callable[[GpuStatistics], float | None]) -> float:
    told = [number for gpu in gpus if (number := pick(gpu)) is not None]
    return sum(told) / len(told) if told else UNKNOWN


def _gpu_memory(gpus: tuple[GpuStatistics, ...]) -> float:
    return _share(sum(gpu.memory_used_bytes or 0 for gpu in gpus), sum(gpu.memory_total_bytes or 0 for gpu in gpus))


def _gpu_power(gpus: tuple[GpuStatistics, ...]) -> float:
    told = [gpu.power_w for gpu in gpus if gpu.power_w is not None]
    return sum(told) if told else UNKNOWN


def _plain(value: float | None) -> float:
    return UNKNOWN if value is None else value


GAUGES: Mapping[str, Callable[[DeviceStatistics], float]] = MappingProxyType(
    {
        "cpu_percent": lambda state: _plain(state.cpu_percent),
        "load_1m": lambda state: _plain(state.load_1m),
        "memory_percent": lambda state: _share(state.memory_used_bytes, state.memory_total_bytes),
        "disk_percent": lambda state: _share(state.disk_used_bytes, state.disk_total_bytes),
        "network_in_bytes_per_s": lambda state: _plain(state.network_in_bytes_per_s),
        "network_out_bytes_per_s": lambda state: _plain(state.network_out_bytes_per_s),
        "temperature_c": lambda state: _plain(state.temperature_c),
        "gpu_percent": lambda state: _mean(state.gpus, lambda gpu: gpu.utilisation_percent),
        "gpu_memory_percent": lambda state: _gpu_memory(state.gpus),
        "gpu_power_w": lambda state: _gpu_power(state.gpus),
    }
)
"""What is kept, by name; of all GPUs together, the mean share and the sum of the watts."""


class RingBuffer:
    """Means over slots of time, the oldest of which makes room for the newest."""

    __slots__ = ("_counts", "_first", "_most", "_rows", "_slot", "_slot_s", "_slots", "_sums")

    def __init__(self, slot_s: float, most: int) -> None:
        self._slot_s, self._most = slot_s, most
        self._slot = -1
        self._sums, self._counts = array("d", bytes(8 * len(GAUGES))), array("I", bytes(4 * len(GAUGES)))
        self._slots, self._rows, self._first = array("I"), array("f"), 0

    def add(self, now: float, values: "array[float]") -> None:
        """Take a reading; a clock that was set back begins another slot, like any."""
        slot = max(0, int(now // self._slot_s))
        if slot != self._slot:
            self._close()
            self._slot = slot
        for place, value in enumerate(values):
            if not math.isnan(value):
                self._sums[place] += value
                self._counts[place] += 1

    def _close(self) -> None:
        if self._slot < 0:
            return
        row = self._open_row()
        if len(self._slots) < self._most:
            self._slots.append(self._slot)
            self._rows.extend(row)
        else:
            self._slots[self._first] = self._slot
            start = self._first * len(GAUGES)
            self._rows[start : start + len(GAUGES)] = row
            self._first = (self._first + 1) % self._most
        for place in range(len(GAUGES)):
            self._sums[place], self._counts[place] = 0.0, 0

    def _open_row(self) -> "array[float]":
        pairs = zip(self._sums, self._counts, strict=True)
        return array("f", [total / count if count else UNKNOWN for total, count in pairs])

    def series(self) -> Series:
        """Return the means in the order in which they came, that of the slot that is still open last."""
        order = [(self._first + step) % len(self._slots) for step in range(len(self._slots))]
        slots = [self._slots[place] for place in order]
        rows = [self._rows[place * len(GAUGES) : (place + 1) * len(GAUGES)] for place in order]
        if self._slot >= 0:
            slots.append(self._slot)
            rows.append(self._open_row())
        columns = {name: tuple(_shown(row[place]) for row in rows) for place, name in enumerate(GAUGES)}
        told = {name: column for name, column in columns.items() if any(value is not None for value in column)}
        return Series(self._slot_s, tuple(slot * self._slot_s for slot in slots), told)


def _shown(value: float) -> float | None:
    """Return what is kept with six digits, which is what it is worth."""
    return None if math.isnan(value) else float(f"{value:.6g}")


class DeviceHistory:
    """What one machine told: an hour in means of 30 s and a day in means of 5 min; 19 KiB when all of it is full."""

    __slots__ = ("_day", "_recent")

    def __init__(self) -> None:
        self._recent, self._day = RingBuffer(*RECENT), RingBuffer(*DAY)

    def add(self, now: float, state: DeviceStatistics) -> None:
        """Take a reading.

        Args:
            now: Seconds since the epoch.
            state: What was told.
        """
        values = array("d", [gauge(state) for gauge in GAUGES.values()])
        self._recent.add(now, values)
        self._day.add(now, values)

    def series(self) -> tuple[Series, Series]:
        """Return the last hour and the last day in which it told anything."""
        return self._recent.series(), self._day.series()
