"""Numbers over time: means of slots, the newest of them, in memory that does not grow."""

import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfl_like.federation.devices.history import DAY, GAUGES, RECENT, DeviceHistory
from openfl_like.federation.parties import DeviceStatistics, GpuStatistics

START = 1_800_000_000.0  # the beginning of a slot of both kinds
STATE = DeviceStatistics(
    cpu_percent=50.0,
    cpu_count=8,
    load_1m=1.0,
    memory_total_bytes=400,
    memory_used_bytes=100,
    disk_total_bytes=10,
    disk_used_bytes=9,
    gpus=(GpuStatistics(0, "a", 100, 50, 10.0, 50.0, 200.0), GpuStatistics(1, "b", 100, 0, 30.0, 40.0, 100.0)),
    network_in_bytes_per_s=5.0,
    network_out_bytes_per_s=6.0,
    temperature_c=55.0,
)


def test_all_that_is_kept_of_a_state() -> None:
    trend = DeviceHistory()
    trend.add(START, STATE)
    hour, day = trend.series()
    assert (hour.slot_s, day.slot_s) == (30.0, 300.0)
    assert hour.times == day.times == (START,)
    assert hour.values == {
        "cpu_percent": (50.0,),
        "load_1m": (1.0,),
        "memory_percent": (25.0,),
        "disk_percent": (90.0,),
        "network_in_bytes_per_s": (5.0,),
        "network_out_bytes_per_s": (6.0,),
        "temperature_c": (55.0,),
        "gpu_percent": (20.0,),
        "gpu_memory_percent": (25.0,),
        "gpu_power_w": (300.0,),
    }


def test_a_slot_is_the_mean_of_what_was_told_in_it() -> None:
    trend = DeviceHistory()
    for second, percent in enumerate((10.0, None, 30.0)):
        trend.add(START + second, DeviceStatistics(cpu_percent=percent))
    trend.add(START + 30, DeviceStatistics(load_1m=0.3))
    trend.add(START + 95, DeviceStatistics(cpu_percent=1.0))
    hour, day = trend.series()
    assert hour.times == (START, START + 30, START + 90)
    assert hour.values == {"cpu_percent": (20.0, None, 1.0), "load_1m": (None, 0.3, None)}
    assert day.times == (START,)
    assert list(day.values["cpu_percent"]) == pytest.approx([41 / 3], rel=1e-5)


def test_what_nobody_tells_is_left_out() -> None:
    trend = DeviceHistory()
    assert [series.times for series in trend.series()] == [(), ()]
    trend.add(START, DeviceStatistics(gpus=(GpuStatistics(0, "silent"),)))
    assert [series.values for series in trend.series()] == [{}, {}]


@given(st.lists(st.tuples(st.integers(1, 400), st.floats(0, 100)), max_size=400))
def test_the_newest_slots_are_kept_in_order(steps: list[tuple[int, float]]) -> None:
    trend, now, expected = DeviceHistory(), START, dict[float, list[float]]()
    for seconds, percent in steps:
        now += seconds
        trend.add(now, DeviceStatistics(cpu_percent=percent))
        expected.setdefault(now // 30 * 30, []).append(percent)
    hour, _ = trend.series()
    newest = sorted(expected)[-(RECENT[1] + 1) :]
    assert list(hour.times) == newest
    if newest:
        means = [sum(expected[slot]) / len(expected[slot]) for slot in newest]
        assert hour.values["cpu_percent"] == pytest.approx(means, rel=1e-5, abs=1e-30)


def test_a_clock_that_is_set_back_loses_nothing() -> None:
    trend = DeviceHistory()
    for at in (START, START - 7200, START - 7170, -5.0):
        trend.add(at, DeviceStatistics(cpu_percent=1.0))
    assert trend.series()[0].times == (START, START - 7200, START - 7170, 0.0)


def test_it_is_full_one_day_and_then_grows_no_more() -> None:
    def fill(trend: DeviceHistory, start: float) -> None:
        for step in range(2 * DAY[1]):
            trend.add(start + step * 300, STATE)

    warm = DeviceHistory()
    fill(warm, START)
    tracemalloc.start()
    try:
        trend = DeviceHistory()
        fill(trend, START)
        once = tracemalloc.get_traced_memory()[0]
        fill(trend, START + 1e6)
        twice = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert once < 22_000
    assert twice - once < 500
    hour, day = trend.series()
    assert (len(hour.times), len(day.times)) == (RECENT[1] + 1, DAY[1] + 1)


def test_every_number_has_a_name_and_a_meaning() -> None:
    assert all(math.isnan(gauge(DeviceStatistics())) for gauge in GAUGES.values())
    assert not any(math.isnan(gauge(STATE)) for gauge in GAUGES.values())
