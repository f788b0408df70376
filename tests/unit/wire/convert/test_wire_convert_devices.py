"""A heartbeat is from a peer: what cannot be is refused before anybody sees it."""

import math

import pytest

from openfl_like.errors import UsageError
from openfl_like.federation.devices.bounds import MOST_EXTRA, MOST_GPUS
from openfl_like.federation.parties import DeviceStatistics
from openfl_like.wire.convert.devices import devices_from
from openfl_like.wire.convert.envoys import envoy_report_from
from openfl_like.wire.protos import federation_pb2 as pb

GPU = pb.GpuStatistics(name="A100", index=0)


@pytest.mark.parametrize(
    "devices",
    [
        pb.DeviceStatistics(cpu_percent=math.nan),
        pb.DeviceStatistics(load_1m=math.inf),
        pb.DeviceStatistics(memory_used_bytes=-1),
        pb.DeviceStatistics(extra={"energy_j": -math.inf}),
        pb.DeviceStatistics(extra={"x" * 1000: 1.0}),
        pb.DeviceStatistics(extra={f"n{i}": 1.0 for i in range(MOST_EXTRA + 1)}),
        pb.DeviceStatistics(gpus=[pb.GpuStatistics(name="x" * 1000)]),
        pb.DeviceStatistics(gpus=[pb.GpuStatistics(power_w=math.nan)]),
        pb.DeviceStatistics(gpus=[pb.GpuStatistics(index=i) for i in range(MOST_GPUS + 1)]),
        pb.DeviceStatistics(gpus=[GPU, GPU]),
    ],
)
def test_numbers_that_cannot_be_are_refused(devices: pb.DeviceStatistics) -> None:
    message = pb.EnvoyMessage(heartbeat=pb.Heartbeat(devices=devices))
    again = pb.EnvoyMessage.FromString(message.SerializeToString())
    with pytest.raises(UsageError, match="the state of a machine cannot be"):
        envoy_report_from(again)


@pytest.mark.parametrize("running", [["e"] * 257, ["e" * 129]], ids=["too many", "too long"])
def test_a_site_cannot_work_for_everybody(running: list[str]) -> None:
    with pytest.raises(UsageError, match="experiments"):
        envoy_report_from(pb.EnvoyMessage(heartbeat=pb.Heartbeat(running=running)))


@pytest.mark.parametrize("placed", [{"e2": "cpu"}, {"e1": "cuda"[:3]}, {"e1": "x" * 1000}, {"e1": ""}])
def test_a_site_places_only_what_runs_on_what_there_is(placed: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="is placed"):
        envoy_report_from(pb.EnvoyMessage(heartbeat=pb.Heartbeat(running=["e1"], placed=placed)))


def test_what_is_not_told_stays_unknown() -> None:
    assert devices_from(pb.DeviceStatistics()) == DeviceStatistics()
