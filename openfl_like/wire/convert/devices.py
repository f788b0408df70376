"""The state of a machine: values to messages and back. What a peer sends is checked before anybody sees it."""

from dataclasses import fields
from typing import Any, TypeVar

from openfl_like.errors import UsageError
from openfl_like.federation.devices.bounds import BOUNDS, check_devices
from openfl_like.federation.parties import DeviceStatistics, GpuStatistics, Series
from openfl_like.federation.ports import Heartbeat
from openfl_like.plan.schema import DEVICE
from openfl_like.wire.protos import federation_pb2 as pb

MOST_RUNNING = 256
LONGEST_ID = 128

Kind = TypeVar("Kind", DeviceStatistics, GpuStatistics)


def devices_to(value: DeviceStatistics) -> pb.DeviceStatistics:
    """Return the message of device statistics."""
    gpus = [pb.GpuStatistics(index=gpu.index, name=gpu.name, **_told(gpu)) for gpu in value.gpus]
    return pb.DeviceStatistics(gpus=gpus, extra=dict(value.extra), **_told(value))


def devices_from(message: pb.DeviceStatistics) -> DeviceStatistics:
    """Return device statistics.

    Raises:
        UsageError: If they are not finite, out of bounds or too many.
    """
    gpus = tuple(GpuStatistics(index=gpu.index, name=gpu.name, **_numbers(gpu, GpuStatistics)) for gpu in message.gpus)
    extra = dict(sorted(message.extra.items()))
    value = DeviceStatistics(gpus=gpus, extra=extra, **_numbers(message, DeviceStatistics))
    check_devices(value)
    return value


def heartbeat_to(value: Heartbeat) -> pb.Heartbeat:
    """Return the message of a heartbeat."""
    return pb.Heartbeat(devices=devices_to(value.devices), running=value.running, placed=dict(value.placed))


def heartbeat_from(message: pb.Heartbeat) -> Heartbeat:
    """Return a heartbeat.

    Raises:
        UsageError: If anything in it cannot be.
    """
    running = tuple(message.running)
    if len(running) > MOST_RUNNING or any(len(name) > LONGEST_ID for name in running):
        raise UsageError(f"no site works for more than {MOST_RUNNING} experiments, or for one with such a name")
    placed = dict(sorted(message.placed.items()))
    if not placed.keys() <= set(running) or not all(DEVICE.fullmatch(device) for device in placed.values()):
        raise UsageError("an experiment is placed that is not running, or on something that is not a device")
    return Heartbeat(devices_from(message.devices), running, placed)


def _told(value: DeviceStatistics | GpuStatistics) -> dict[str, Any]:
    """The numbers that are there, by name: the fields of the messages are called as those of the values."""
    found = {item.name: getattr(value, item.name) for item in fields(value) if item.name in BOUNDS}
    return {name: number for name, number in found.items() if number is not None}


def _numbers(message: Any, kind: type[Kind]) -> dict[str, Any]:
    names = [item.name for item in fields(kind) if item.name in BOUNDS]
    return {name: getattr(message, name) for name in names if message.HasField(name)}


def series_to(value: Series) -> pb.Series:
    """Return the message of numbers over time."""
    gauges = []
    for name, numbers in value.values.items():
        known = [number if number is not None else 0.0 for number in numbers]
        gauges.append(pb.Gauge(name=name, numbers=known, known=[number is not None for number in numbers]))
    return pb.Series(slot_s=value.slot_s, times=value.times, gauges=gauges)


def series_from(message: pb.Series) -> Series:
    """Return numbers over time."""
    values = {
        gauge.name: tuple(number if known else None for number, known in zip(gauge.numbers, gauge.known, strict=True))
        for gauge in message.gauges
    }
    return Series(message.slot_s, tuple(message.times), values)
