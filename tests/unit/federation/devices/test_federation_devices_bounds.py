"""Which numbers of a machine are believed, and how several monitors' become one."""

import math
from dataclasses import replace
from typing import Any

import pytest

from openfl_like.errors import UsageError
from openfl_like.federation.devices.bounds import (
    LONGEST_NAME,
    MOST_EXTRA,
    MOST_GPUS,
    believable,
    check_devices,
    merged,
)
from openfl_like.federation.parties import DeviceStatistics, GpuStatistics

GOOD = DeviceStatistics(
    cpu_percent=12.5,
    cpu_count=8,
    load_1m=0.5,
    memory_total_bytes=2**34,
    memory_used_bytes=2**33,
    gpus=(GpuStatistics(0, "A100", 2**35, 0, 99.0, 60.0, 250.5),),
    temperature_c=-5.0,
    extra={"energy_j": 1.5, "fan_rpm": -0.0},
)
GPU = GOOD.gpus[0]


def test_what_can_be_is_believed_as_it_is() -> None:
    assert believable(GOOD) == (GOOD, ())
    assert believable(DeviceStatistics()) == (DeviceStatistics(), ())
    check_devices(GOOD)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"cpu_percent": math.nan}, "cpu_percent is nan, not a number from 0 to 100"),
        ({"cpu_percent": 100.1}, "cpu_percent is 100.1"),
        ({"load_1m": math.inf}, "load_1m is inf"),
        ({"network_in_bytes_per_s": -1.0}, "network_in_bytes_per_s is -1"),
        ({"memory_used_bytes": 2**63}, "memory_used_bytes is 9223372036854775808"),
        ({"temperature_c": 1e9}, "temperature_c is 1000000000"),
        ({"cpu_count": True}, "cpu_count is True"),
        ({"cpu_count": "8" * 9999}, "cpu_count is 8888888888888888888888888888888888888888, not"),
    ],
)
def test_a_number_that_cannot_be_is_left_out_and_named(change: dict[str, Any], fault: str) -> None:
    nothing: dict[str, Any] = dict.fromkeys(change)
    sound, faults = believable(replace(GOOD, **change))
    assert sound == replace(GOOD, **nothing)
    assert len(faults) == 1
    assert faults[0].startswith(fault)
    with pytest.raises(UsageError, match="the state of a machine cannot be"):
        check_devices(replace(GOOD, **change))


def test_whole_numbers_stay_whole_and_others_become_floats() -> None:
    sound, faults = believable(DeviceStatistics(cpu_percent=3, memory_total_bytes=2.0**34))  # type: ignore[arg-type]  # what a site's monitor may give
    assert faults == ()
    assert isinstance(sound.cpu_percent, float)
    assert isinstance(sound.memory_total_bytes, int)


@pytest.mark.parametrize(
    ("gpus", "kept"),
    [
        ((GPU, GPU), (GPU,)),
        ((replace(GPU, index=-1),), ()),
        ((replace(GPU, index=2**16),), ()),
        (("gpu",), ()),
        ((replace(GPU, power_w=math.nan),), (replace(GPU, power_w=None),)),
        ((replace(GPU, name="x" * (LONGEST_NAME + 1)),), (replace(GPU, name="x" * LONGEST_NAME),)),
        ((replace(GPU, name="A\x1b[31m100"),), (replace(GPU, name="A[31m100"),)),
        (
            tuple(replace(GPU, index=i) for i in range(MOST_GPUS + 1)),
            tuple(replace(GPU, index=i) for i in range(MOST_GPUS)),
        ),
    ],
    ids=["twice", "negative", "too large", "no GPU", "nan", "long name", "escape code", "too many"],
)
def test_a_gpu_that_cannot_be_is_left_out(gpus: tuple[Any, ...], kept: tuple[GpuStatistics, ...]) -> None:
    sound, faults = believable(replace(GOOD, gpus=gpus))
    assert sound.gpus == kept
    assert len(faults) == 1


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"Energy": 1.0, "ok": 1.0}, {"ok": 1.0}),
        ({"a" * 65: 1.0}, {}),
        ({"a": math.inf}, {}),
        ({"a": "1"}, {}),
        ({7: 1.0, "b": 2}, {"b": 2.0}),
        ({f"n{i:03}": 1.0 for i in range(MOST_EXTRA + 5)}, {f"n{i:03}": 1.0 for i in range(MOST_EXTRA)}),
    ],
    ids=["capital", "long", "infinite", "text", "no name", "too many"],
)
def test_extra_numbers_have_a_name_a_value_and_an_end(given: dict[Any, Any], kept: dict[str, float]) -> None:
    sound, faults = believable(DeviceStatistics(extra=given))
    assert sound.extra == kept
    assert len(faults) == 1


def test_several_monitors_become_one_and_the_later_one_counts() -> None:
    first = DeviceStatistics(cpu_percent=1.0, load_1m=2.0, gpus=(GPU,), extra={"a": 1.0, "b": 1.0})
    second = DeviceStatistics(
        cpu_percent=3.0, gpus=(replace(GPU, index=1), replace(GPU, power_w=1.0)), extra={"b": 2.0}
    )
    assert merged([first, second]) == DeviceStatistics(
        cpu_percent=3.0,
        load_1m=2.0,
        gpus=(replace(GPU, power_w=1.0), replace(GPU, index=1)),
        extra={"a": 1.0, "b": 2.0},
    )
    assert merged([]) == DeviceStatistics()


def test_together_they_stay_within_the_bounds() -> None:
    parts = [DeviceStatistics(extra={f"m{part}_{i}": 0.0 for i in range(MOST_EXTRA)}) for part in range(3)]
    check_devices(merged(parts))
