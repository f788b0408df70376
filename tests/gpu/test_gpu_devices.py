"""What a GPU does for the platform: the monitor reads it, workers are given it, and it gives the same bytes twice."""

import csv
import shutil
import subprocess
from pathlib import Path

import pytest

from openfl_like.errors import DeviceError
from openfl_like.federation.devices.placement import CPU
from openfl_like.services.devices.nvidia_monitor import NvidiaMonitor
from openfl_like.services.devices.placement import place_alone, place_here
from tests.gpu.conftest import DEVICE, Simulate

pytestmark = [pytest.mark.gpu, pytest.mark.torch]
FIELDS = "index,name,memory.total,memory.used,utilization.gpu,temperature.gpu,power.draw"
PLAN = "digits_fedavg"
SHORT = ("-s", "aggregator.settings.rounds_to_train=3")


def told_by_driver() -> list[list[str]]:
    tool = shutil.which("nvidia-smi")
    assert tool is not None
    command = [tool, f"--query-gpu={FIELDS}", "--format=csv,noheader,nounits"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [[word.strip() for word in row] for row in csv.reader(told.splitlines())]


def number(word: str) -> float | None:
    """What the tool writes where a card does not tell is no number."""
    try:
        return float(word)
    except ValueError:
        return None


def near(own: float | None, told: str, within: float) -> bool:
    other = number(told)
    return own is None or other is None or abs(own - other) <= within


def test_the_monitor_tells_what_the_drivers_own_tool_tells() -> None:
    found, told = NvidiaMonitor(Path()).read().gpus, told_by_driver()
    assert [(gpu.index, gpu.name) for gpu in found] == [(int(row[0]), row[1]) for row in told]
    for gpu, (_, _, total, used, busy, temperature, power) in zip(found, told, strict=True):
        assert gpu.memory_total_bytes is not None
        assert near(gpu.memory_total_bytes / 2**20, total, 2)
        assert gpu.memory_used_bytes is not None
        assert near(gpu.memory_used_bytes / 2**20, used, 2048)  # others work on it meanwhile
        assert near(gpu.temperature_c, temperature, 10)
        assert near(gpu.power_w, power, 200)
        assert gpu.utilisation_percent is None or 0 <= gpu.utilisation_percent <= 100
        assert number(busy) is None or gpu.utilisation_percent is not None


def test_work_in_this_process_gets_the_gpu() -> None:
    assert place_here("cuda").startswith("cuda:")
    assert place_here("cuda:0") == "cuda:0"
    assert place_here(CPU) == CPU
    with pytest.raises(DeviceError):
        place_here("cuda:63")


async def test_a_site_gives_its_gpu_as_its_shard_says(tmp_path: Path) -> None:
    shard = tmp_path / "shard.yaml"
    shard.write_text("template: digits\n")
    assert (await place_alone("bern", shard, tmp_path, "cuda")).startswith("cuda:")
    shard.write_text("template: digits\ndevices: [cpu]\n")
    assert await place_alone("bern", shard, tmp_path, "auto") == CPU
    with pytest.raises(DeviceError, match="bern"):
        await place_alone("bern", shard, tmp_path, "cuda")


@pytest.mark.parametrize("runtime", ["local", "batched"])
def test_a_plan_gives_the_same_bytes_twice(runtime: str, simulate: Simulate) -> None:
    assert simulate(PLAN, *SHORT, "--runtime", runtime) == simulate(PLAN, *SHORT, "--runtime", runtime)


def test_the_gpu_is_really_used(simulate: Simulate) -> None:
    """A GPU rounds otherwise than the processor; that it does is how its use shows from outside."""
    assert simulate(PLAN, *SHORT) != simulate(PLAN, *SHORT, device=CPU) or DEVICE == CPU


def test_workers_and_confined_workers_give_the_bytes_of_one_process(simulate: Simulate) -> None:
    alone = simulate(PLAN, *SHORT)
    assert simulate(PLAN, *SHORT, "--runtime", "process") == alone
    assert simulate(PLAN, *SHORT, "--runtime", "process", "--sandbox") == alone
