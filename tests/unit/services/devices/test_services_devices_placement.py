"""A worker's device at a site: shard.yaml, what the monitors find, and the Envoy's own environment."""

import sys
import threading
from pathlib import Path

import pytest

from openfl_like.data.policy import MonitorChoice
from openfl_like.data.shard_file import load_shard_config
from openfl_like.errors import DeviceError, SettingsError
from openfl_like.federation.parties import DeviceStatistics, GpuStatistics
from openfl_like.services.devices import placement as placing
from openfl_like.services.devices.monitors import Monitors
from openfl_like.services.devices.placement import place_alone, place_here, place_worker


class TwoGpus:
    """A monitor that finds two GPUs."""

    reads = 0

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def read(self) -> DeviceStatistics:
        TwoGpus.reads += 1
        return DeviceStatistics(gpus=(GpuStatistics(0, "A100"), GpuStatistics(1, "A100")))


class Drowsy(TwoGpus):
    """The same, with a driver that must wake up first."""

    gate = threading.Event()

    def read(self) -> DeviceStatistics:
        Drowsy.gate.wait(30)
        return super().read()


@pytest.fixture(autouse=True)
def unrestricted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(placing.RESTRICTION, raising=False)
    monkeypatch.setattr(TwoGpus, "reads", 0)


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    file = tmp_path / "shard.yaml"
    file.write_text(f"template: digits\ndevice_monitors: ['{__name__}:TwoGpus']\n")
    return file


def gpus(tmp_path: Path, kind: str = "TwoGpus") -> Monitors:
    """A busy machine makes no monitor late."""
    return Monitors([MonitorChoice(template=f"{__name__}:{kind}")], tmp_path, read_s=30.0, gpus_s=30.0)


async def test_auto_is_what_the_monitors_find(shard: Path, tmp_path: Path) -> None:
    found, placed = gpus(tmp_path), list[str]()
    for _ in range(3):
        placed.append(await place_worker("bern", shard, found, "auto", placed))
    assert placed == ["cuda:0", "cuda:1", "cuda:0"]
    assert await place_worker("bern", shard, Monitors([], tmp_path), "auto") == "cpu"


async def test_the_site_has_the_last_word_and_may_change_its_mind(shard: Path, tmp_path: Path) -> None:
    found = gpus(tmp_path)
    shard.write_text("template: digits\ndevices: [cuda:1, cpu]\n")
    assert await place_worker("bern", shard, found, "auto") == "cuda:1"
    words = r"site 'bern': the plan wants cuda:0, this site gives cpu, cuda:1 \("
    with pytest.raises(DeviceError, match=words):
        await place_worker("bern", shard, found, "cuda:0")
    shard.write_text("template: digits\ndevices: [cpu]\n")
    assert await place_worker("bern", shard, found, "auto") == "cpu"
    with pytest.raises(DeviceError, match="wants cuda, this site gives cpu"):
        await place_worker("bern", shard, found, "cuda")


async def test_nobody_looks_for_gpus_when_the_cpu_is_wanted(shard: Path, tmp_path: Path) -> None:
    assert await place_worker("bern", shard, gpus(tmp_path), "cpu") == "cpu"
    assert TwoGpus.reads == 0
    shard.write_text("template: digits\ndevices: [cuda]\n")
    with pytest.raises(DeviceError, match="wants cpu"):
        await place_worker("bern", shard, gpus(tmp_path), "cpu")


async def test_what_the_envoy_does_not_see_it_does_not_give(
    shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(placing.RESTRICTION, "1")
    assert await place_worker("bern", shard, gpus(tmp_path), "auto") == "cuda:1"
    monkeypatch.setenv(placing.RESTRICTION, "")
    assert await place_worker("bern", shard, gpus(tmp_path), "auto") == "cpu"


async def test_a_driver_that_needs_seconds_is_waited_for(
    shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Drowsy, "gate", threading.Event())
    found = gpus(tmp_path, "Drowsy")
    found.read_s, found.gpus_s = 0.02, 0.1
    assert await place_worker("bern", shard, found, "auto") == "cpu"  # it has not woken up in time
    found.gpus_s = 10.0
    threading.Timer(0.1, Drowsy.gate.set).start()
    assert await place_worker("bern", shard, found, "auto") == "cuda:0"
    monkeypatch.setattr(Drowsy, "gate", threading.Event())
    assert await place_worker("bern", shard, found, "auto") == "cuda:0"  # what was found is there still
    Drowsy.gate.set()


async def test_a_collaborator_by_hand_finds_its_device_itself(shard: Path, tmp_path: Path) -> None:
    assert await place_alone("bern", shard, tmp_path, ["cuda:1", "cpu"]) == "cuda:1"


@pytest.mark.parametrize(
    ("text", "devices"),
    [("auto", "auto"), ("[cpu]", ("cpu",)), ("[cuda:0, cuda]", ("cuda:0", "cuda"))],
)
def test_what_shard_yaml_may_say(tmp_path: Path, text: str, devices: object) -> None:
    file = tmp_path / "shard.yaml"
    file.write_text(f"template: digits\ndevices: {text}\n")
    assert load_shard_config(file).devices == devices


@pytest.mark.parametrize("text", ["[]", "cpu", "[auto]", "[gpu]", "['cuda:']", "3", "{cpu: 1}"])
def test_what_shard_yaml_may_not_say(tmp_path: Path, text: str) -> None:
    file = tmp_path / "shard.yaml"
    file.write_text(f"template: digits\ndevices: {text}\n")
    with pytest.raises(SettingsError, match=r"1 mistake[\s\S]*devices: must be auto, or a list of cpu, cuda"):
        load_shard_config(file)


# ---- in this very process


class Two:
    """NVIDIA's monitor on a machine with two GPUs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def read(self) -> DeviceStatistics:
        return DeviceStatistics(gpus=(GpuStatistics(4, "A100"), GpuStatistics(5, "A100")))


@pytest.mark.parametrize(
    ("wish", "restriction", "device"),
    [
        ("cpu", None, "cpu"),
        ("auto", None, "auto"),
        ("cuda", None, "cuda:0"),
        ("cuda:1", None, "cuda:1"),
        ("cuda", "5", "cuda:0"),  # it is the only one that this process counts
        ("auto", "", "cpu"),
        (("cuda:1", "cpu"), "4", "cpu"),
    ],
)
def test_in_one_process_gpus_are_counted_as_it_sees_them(
    monkeypatch: pytest.MonkeyPatch, wish: str, restriction: str | None, device: str
) -> None:
    monkeypatch.setattr(placing, "NvidiaMonitor", Two)
    if restriction is not None:
        monkeypatch.setenv(placing.RESTRICTION, restriction)
    assert place_here(wish) == device


def test_a_simulation_is_refused_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(DeviceError, match="wants cuda:0"):
        place_here("cuda:0")
    assert place_here("auto") == "cpu"
