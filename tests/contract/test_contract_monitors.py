"""What every device monitor that has a short name must do."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from openfl_like import registry
from openfl_like.data.policy import MonitorChoice
from openfl_like.federation.devices.bounds import check_devices
from openfl_like.federation.parties import DeviceStatistics
from openfl_like.services.devices.monitors import DeviceMonitor, Monitors

NAMES = sorted(registry.BUILTIN["device_monitor"])


def build(name: str, directory: Path) -> DeviceMonitor:
    return cast("Callable[[Path], DeviceMonitor]", registry.resolve("device_monitor", name))(directory)


@pytest.mark.parametrize("name", NAMES)
def test_a_monitor_reads_again_and_again_what_can_be(name: str, tmp_path: Path) -> None:
    monitor = build(name, tmp_path)
    for _ in range(3):
        found = monitor.read()
        assert isinstance(found, DeviceStatistics)
        check_devices(found)


async def test_together_they_tell_of_this_machine(tmp_path: Path) -> None:
    found = await Monitors([MonitorChoice(template=name) for name in NAMES], tmp_path, read_s=30.0).read()
    check_devices(found)
    assert (found.cpu_count or 0) > 0
    assert 0 < (found.memory_used_bytes or 0) < (found.memory_total_bytes or 0)
    assert 0 < (found.disk_used_bytes or 0) < (found.disk_total_bytes or 0)
