"""How a site and its machine are shown."""

from dataclasses import replace

from openfl_like.cli.output.machine import (
    bars,
    course,
    filled,
    gibibytes,
    gpus,
    online,
    percent,
    problem,
    span,
    speed,
    summary,
)
from openfl_like.federation.parties import (
    DataProblem,
    DeviceStatistics,
    EnvoyDetail,
    EnvoyRecord,
    GpuStatistics,
    Interface,
    Series,
    ShardFacts,
)

FACTS = ShardFacts((8, 8), (), "handwritten digits", {"counts": {"train": 100, "validate": 20}})
NOW = 1_800_000_000.0
STATE = DeviceStatistics(
    cpu_percent=12.3,
    cpu_count=8,
    load_1m=0.5,
    memory_total_bytes=4 << 30,
    memory_used_bytes=1 << 30,
    gpus=(GpuStatistics(0, "A100", 40 << 30, 10 << 30, 37.0, 61.0, 250.0), GpuStatistics(1, "T4")),
    network_in_bytes_per_s=1_234_567.0,
    network_out_bytes_per_s=0.0,
    temperature_c=55.0,
    extra={"energy_j": 12.5},
)


def test_a_site_that_is_there() -> None:
    record = EnvoyRecord(
        "bern",
        online=True,
        last_seen=NOW - 3,
        shard=FACTS,
        devices=STATE,
        running=("digits-1",),
        online_since=NOW - 250,
        certificate_ends=NOW + 90_000,
        placed={"digits-1": "cuda:1"},
    )
    assert summary(EnvoyDetail(record), NOW) == {
        "envoy": "bern",
        "online": "since 2027-01-15 07:55:50 UTC (4 min)",
        "last heard": "2027-01-15 07:59:57 UTC (3 s ago)",
        "certificate": "ends 2027-01-16 09:00:00 UTC (in 1 d)",
        "shard": "samples of shape [8, 8]; train 100, validate 20; handwritten digits",
        "running": "digits-1 on cuda:1",
        "processors": "12% of 8, load 0.50, 55 °C",
        "memory": "1.0 of 4.0 GiB",
        "network": "1.23 MB/s in, 0 B/s out",
        "gpu 0": "A100, 37%, 10.0 of 40.0 GiB, 61 °C, 250 W",
        "gpu 1": "T4",
        "energy_j": "12.5",
    }


def test_why_nothing_can_run_at_a_site_is_told() -> None:
    record = EnvoyRecord("bern", online=True, last_seen=NOW, shard=FACTS)
    other = DataProblem(Interface("", (8, 8), ()), Interface("tables", (13,), (2,)))
    assert problem(record) == ""
    assert problem(replace(record, revoked=True)) == "its certificate was revoked"
    told = (
        "refuses orders: the data of this site has samples of shape [13], targets of shape [2] and the interface "
        "'tables' now, not samples of shape [8, 8], targets of shape []"
    )
    assert problem(replace(record, problem=other)) == told
    assert summary(EnvoyDetail(replace(record, problem=other)), NOW)["problem"] == told
    assert "problem" not in summary(EnvoyDetail(record), NOW)


def test_a_site_that_is_not_there_has_no_state() -> None:
    record = EnvoyRecord("bern", online=False, last_seen=NOW - 7200, shard=ShardFacts((), ()))
    assert summary(EnvoyDetail(record), NOW) == {
        "envoy": "bern",
        "online": "no",
        "last heard": "2027-01-15 06:00:00 UTC (2 h ago)",
        "shard": "samples of shape []",
        "running": "nothing",
    }


def test_what_is_not_known_is_not_shown() -> None:
    assert (percent(None), speed(None), gibibytes(None, 5), gibibytes(0, None)) == ("", "", "", "")
    assert gibibytes(0, 1 << 30) == "0.0 of 1.0 GiB"


def test_gpus_in_one_word() -> None:
    record = EnvoyRecord("bern", online=True, last_seen=NOW, shard=FACTS, devices=STATE)
    assert gpus(record) == "37%, ?"
    assert gpus(replace(record, devices=DeviceStatistics())) == "none"
    assert gpus(replace(record, devices=DeviceStatistics(), online=False)) == ""


def test_whether_a_site_is_there_in_one_word() -> None:
    record = EnvoyRecord("bern", online=True, last_seen=NOW - 9999, shard=FACTS)
    assert online(record, NOW) == "yes"
    assert online(replace(record, online=False), NOW) == "no, 3 h"
    assert (filled(1 << 30, 4 << 30), filled(None, 4 << 30), filled(0, None)) == ("25%", "", "")


def test_lengths_and_speeds_have_a_unit() -> None:
    assert [span(seconds) for seconds in (-5, 0, 59, 60, 3600, 200_000)] == [
        "0 s",
        "0 s",
        "59 s",
        "1 min",
        "1 h",
        "2 d",
    ]
    assert [speed(value) for value in (0, 999, 1000, 2.5e6, 3e9)] == [
        "0 B/s",
        "999 B/s",
        "1 kB/s",
        "2.5 MB/s",
        "3 GB/s",
    ]


def test_numbers_become_bars() -> None:
    assert bars([0.0, 50.0, None, 100.0, 1000.0], 100.0) == "▁▅ ██"
    assert bars([0.0, 0.0], 0.0) == "▁▁"
    assert bars([], 1.0) == ""
    many = bars([float(place % 2) for place in range(80)], 1.0)
    assert many == "▅" * 40


def test_a_course_has_a_row_for_each_number_that_was_told() -> None:
    values = {
        "cpu_percent": (10.0, None, 50.0),
        "network_in_bytes_per_s": (0.0, 2e6, None),
        "network_out_bytes_per_s": (0.0, 40.0, 43.0),
        "silent": (None, None, None),
        "load_1m": (0.0, 0.0, 0.0),
    }
    assert course(Series(30.0, (0.0, 30.0, 60.0), values)) == [
        {"number": "processors %", "course": "▁ ▅", "least": "10", "mean": "30", "most": "50", "last": "50"},
        {"number": "in MB/s", "course": "▁█ ", "least": "0", "mean": "1", "most": "2", "last": "2"},
        {"number": "out B/s", "course": "▁██", "least": "0", "mean": "27.7", "most": "43", "last": "43"},
        {"number": "load", "course": "▁▁▁", "least": "0", "mean": "0", "most": "0", "last": "0"},
    ]
