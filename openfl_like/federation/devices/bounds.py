"""Numbers about a site's machine: what of them may be believed, and how those of several monitors become one."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from numbers import Real
from types import MappingProxyType
from typing import Any, TypeVar

from openfl_like.errors import UsageError
from openfl_like.federation.parties import DeviceStatistics, GpuStatistics

MOST_GPUS = 64
MOST_EXTRA = 32
LONGEST_NAME = 100
EXTRA_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")

_PERCENT = (0.0, 100.0)
_AMOUNT = (0.0, 1e18)
_BYTES = (0, 2**62)
_CELSIUS = (-300.0, 10_000.0)
BOUNDS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "cpu_percent": _PERCENT,
        "cpu_count": (1, 2**20),
        "load_1m": _AMOUNT,
        "memory_total_bytes": _BYTES,
        "memory_used_bytes": _BYTES,
        "disk_total_bytes": _BYTES,
        "disk_used_bytes": _BYTES,
        "network_in_bytes_per_s": _AMOUNT,
        "network_out_bytes_per_s": _AMOUNT,
        "temperature_c": _CELSIUS,
        "utilisation_percent": _PERCENT,
        "power_w": _AMOUNT,
    }
)
"""Smallest and largest value of each number; whole numbers where the bounds are."""

State = TypeVar("State", DeviceStatistics, GpuStatistics)


@dataclass(slots=True)
class _Sieve:
    """Lets through what may be believed, and notes what not."""

    faults: list[str] = field(default_factory=list)

    def number(self, name: str, value: object, bounds: tuple[float, float]) -> float | int | None:
        """Return a number within its bounds; None for anything else."""
        if value is None:
            return None
        plain = (
            float(value) if isinstance(value, Real) and not isinstance(value, int | float) else value
        )  # numpy's, too
        if isinstance(plain, int | float) and not isinstance(plain, bool) and bounds[0] <= plain <= bounds[1]:
            return type(bounds[0])(plain)
        self.faults.append(f"{name} is {str(value)[:40]}, not a number from {bounds[0]:g} to {bounds[1]:g}")
        return None

    def numbers(self, state: State, prefix: str = "") -> State:
        """Return a value with those of its numbers that are within their bounds."""
        names = [item.name for item in fields(state) if item.name in BOUNDS]
        found: dict[str, Any] = {name: self.number(prefix + name, getattr(state, name), BOUNDS[name]) for name in names}
        return replace(state, **found)

    def gpus(self, given: Iterable[object]) -> tuple[GpuStatistics, ...]:
        """Return the GPUs that have a name and an index of their own, as many as there may be."""
        kept: dict[int, GpuStatistics] = {}
        for gpu in given:
            if (
                isinstance(gpu, GpuStatistics)
                and _is_index(gpu.index)
                and gpu.index not in kept
                and len(kept) < MOST_GPUS
            ):
                name = self._name(gpu.index, gpu.name)
                kept[gpu.index] = self.numbers(replace(gpu, name=name), f"gpu {gpu.index} ")
            else:
                self.faults.append(f"a GPU has no index of its own, or there are more than {MOST_GPUS}")
        return tuple(kept[index] for index in sorted(kept))

    def _name(self, index: int, name: object) -> str:
        text = str(name)
        if len(text) > LONGEST_NAME or not text.isprintable():
            self.faults.append(f"the name of GPU {index} is longer than {LONGEST_NAME} characters, or none to print")
        return "".join(letter for letter in text[:LONGEST_NAME] if letter.isprintable())

    def named(self, given: Mapping[Any, object]) -> dict[str, float]:
        """Return the numbers that have a proper name, as many as there may be."""
        kept: dict[str, float] = {}
        for name in sorted(given, key=str):
            if not isinstance(name, str) or not EXTRA_NAME.fullmatch(name):
                self.faults.append(
                    f"'{str(name)[:40]}' is not a valid name of a number; use at most 64 of a-z, 0-9 and '_'"
                )
            elif len(kept) >= MOST_EXTRA:
                self.faults.append(f"there are more than {MOST_EXTRA} extra numbers")
                break
            elif (found := self.number(name, given[name], (-1e300, 1e300))) is not None:
                kept[name] = found
        return kept


def _is_index(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < 2**16


def believable(value: DeviceStatistics) -> tuple[DeviceStatistics, tuple[str, ...]]:
    """Return what of the numbers may be believed, and what was wrong with the others."""
    sieve = _Sieve()
    sound = replace(sieve.numbers(value), gpus=sieve.gpus(value.gpus), extra=sieve.named(value.extra))
    return sound, tuple(sieve.faults)


def check_devices(value: DeviceStatistics) -> None:
    """Check numbers that a peer sent.

    Raises:
        UsageError: Naming the first that is not finite, out of bounds, or one too many.
    """
    _, faults = believable(value)
    if faults:
        raise UsageError(f"the state of a machine cannot be: {faults[0]}")


def merged(parts: Sequence[DeviceStatistics]) -> DeviceStatistics:
    """Lay the numbers of several monitors over one another; where two tell the same, the later one counts."""
    found: dict[str, Any] = {}
    gpus: dict[int, GpuStatistics] = {}
    extra: dict[str, float] = {}
    for part in parts:
        for item in fields(part):
            if item.name in BOUNDS and getattr(part, item.name) is not None:
                found[item.name] = getattr(part, item.name)
        gpus |= {gpu.index: gpu for gpu in part.gpus}
        extra |= part.extra
    ordered = tuple(gpus[index] for index in sorted(gpus)[:MOST_GPUS])
    few = {name: extra[name] for name in sorted(extra)[:MOST_EXTRA]}
    return replace(DeviceStatistics(gpus=ordered, extra=few), **found)
