"""Device monitors: what the built-in ones tell, and that none of them can hurt the Envoy."""

import asyncio
import sys
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest
from pydantic import JsonValue

from openfl_like.data.policy import MonitorChoice
from openfl_like.data.shard_file import load_shard_config
from openfl_like.errors import PlanError, SettingsError
from openfl_like.federation.parties import DeviceStatistics, GpuStatistics
from openfl_like.plan.load import load_plan
from openfl_like.services.devices import psutil_monitor
from openfl_like.services.devices.monitors import DeviceMonitor, Monitors
from openfl_like.services.devices.nvidia_monitor import NvidiaMonitor
from openfl_like.services.devices.psutil_monitor import PsutilMonitor

PATIENCE_S = 30.0  # a busy machine makes no monitor late
SITE = """
from openfl_like.federation.parties import DeviceStatistics


class Meter:
    def __init__(self, directory, scale=1.0):
        self.scale, self.count = scale, 0

    def read(self):
        self.count += 1
        return DeviceStatistics(extra={"energy_j": self.scale * self.count})


class Broken:
    def __init__(self, directory):
        raise OSError("no such meter")


class Rude(Meter):
    def read(self):
        raise SystemExit("bye")


class Odd(Meter):
    def read(self):
        return DeviceStatistics(cpu_percent=float("nan"), cpu_count=3, extra={"Bad Name": 1.0})


class Foreign(Meter):
    def read(self):
        return {"cpu_percent": 1.0}


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError


class Wordless(Meter):
    def read(self):
        raise Unspeakable


class Hollow(Meter):
    def read(self):
        return DeviceStatistics(gpus=None, extra=None)
"""


def choices(*names: str, **settings: JsonValue) -> list[MonitorChoice]:
    return [MonitorChoice(template=name, settings=settings) for name in names]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "site_meters.py").write_text(SITE)
    yield tmp_path
    sys.modules.pop("site_meters", None)


async def test_a_monitor_of_the_site_is_found_beside_its_shard_yaml(site: Path) -> None:
    found = Monitors(choices("site_meters:Meter", scale=2.5), site, (site,), read_s=PATIENCE_S)
    assert await found.read() == DeviceStatistics(extra={"energy_j": 2.5})
    assert await found.read() == DeviceStatistics(extra={"energy_j": 5.0})
    assert str(site) not in sys.path


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Broken", "OSError: no such meter"),
        ("Missing", "SettingsError: the module 'site_meters' has no 'Missing'"),
        ("Rude", "SystemExit: bye"),
        ("Foreign", "gave a dict"),
        ("Odd", "gave what cannot be, which is left out: cpu_percent is nan"),
        ("Hollow", "TypeError: "),
        ("Wordless", "Unspeakable"),
    ],
)
async def test_what_goes_wrong_in_one_monitor_is_told_once_and_the_others_are_heard(
    site: Path, caplog: pytest.LogCaptureFixture, name: str, told: str
) -> None:
    found = Monitors(choices(f"site_meters:{name}", "site_meters:Meter"), site, (site,), read_s=PATIENCE_S)
    for count in (1.0, 2.0, 3.0):
        state = await found.read()
        assert state.extra == {"energy_j": count}
        assert state.cpu_percent is None
        assert state.cpu_count == (3 if name == "Odd" else None)
    (message,) = caplog.messages
    assert message.startswith(f"device monitor 'site_meters:{name}' (told once): {told}")


class Stuck:
    """A monitor that answers when it is let go."""

    gate = threading.Event()
    begun = 0

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def read(self) -> DeviceStatistics:
        Stuck.begun += 1
        Stuck.gate.wait(30)
        return DeviceStatistics(load_1m=9.0)


async def test_a_monitor_that_hangs_costs_only_its_own_numbers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(Stuck, "begun", 0)
    monkeypatch.setattr(Stuck, "gate", threading.Event())
    found = Monitors(choices(f"{__name__}:Stuck", "psutil"), tmp_path, read_s=0.05)
    # the other one is quick, but may need longer than this for its imports on a busy machine
    state = await until(found, lambda state: state.cpu_count is not None)
    assert state.load_1m != 9.0
    await found.read()
    assert Stuck.begun == 1  # no second thread hangs beside the first
    assert [message for message in caplog.messages if "Stuck" in message] == [
        f"device monitor '{__name__}:Stuck' (told once): has not answered within 0.05 s; the heartbeat goes without "
        "its numbers"
    ]
    Stuck.gate.set()
    found = Monitors(choices(f"{__name__}:Stuck"), tmp_path, read_s=0.05)
    assert (await until(found, lambda state: state.load_1m is not None)).load_1m == 9.0


async def until(found: Monitors, settled: Callable[[DeviceStatistics], bool]) -> DeviceStatistics:
    async with asyncio.timeout(10):
        while not settled(state := await found.read()):
            pass
    return state


async def test_a_system_without_room_for_threads_costs_the_numbers_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    def full(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    found = Monitors(choices("psutil"), tmp_path, read_s=PATIENCE_S)
    with monkeypatch.context() as scarce:
        scarce.setattr(threading.Thread, "start", full)
        assert await found.read() == DeviceStatistics()
    assert caplog.messages == ["device monitor 'psutil' (told once): RuntimeError: can't start new thread"]
    assert (await until(found, lambda state: state.cpu_count is not None)).memory_total_bytes


async def test_two_who_ask_at_once_both_get_an_answer(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = Monitors(choices("site_meters:Meter"), site, (site,), read_s=PATIENCE_S)
    both = await asyncio.gather(found.read(), found.read())
    assert [state.extra["energy_j"] for state in both] == [1.0, 2.0]
    assert caplog.messages == []


async def test_without_monitors_nothing_is_told(tmp_path: Path) -> None:
    assert await Monitors([], tmp_path).read() == DeviceStatistics()


def test_a_name_that_nothing_has_is_a_mistake_in_shard_yaml(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no device monitor named 'psutils'.*known: nvidia, psutil; or write"):
        Monitors(choices("psutils"), tmp_path)


def test_the_site_chooses_its_monitors(tmp_path: Path) -> None:
    file = tmp_path / "shard.yaml"
    file.write_text("template: digits\n")
    assert [one.template for one in load_shard_config(file).device_monitors] == ["psutil", "nvidia"]
    file.write_text("template: digits\ndevice_monitors: [psutil, {template: 'meters:Energy', settings: {port: 3}}]\n")
    assert load_shard_config(file).device_monitors == (
        MonitorChoice(template="psutil"),
        MonitorChoice(template="meters:Energy", settings={"port": 3}),
    )
    file.write_text("template: digits\ndevice_monitors: [{settings: {}}]\n")
    with pytest.raises(SettingsError, match="template"):
        load_shard_config(file)


def test_a_plan_cannot_choose_them(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("name: mine\ndevice_monitors: [psutil]\n")
    with pytest.raises(PlanError, match="device_monitors"):
        load_plan(plan)


# ---- psutil


Times = namedtuple("Times", "user nice system idle iowait guest guest_nice")


class Machine:
    """What psutil says of a machine that a test makes up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.times = Times(10.0, 0.0, 10.0, 100.0, 0.0, 5.0, 0.0)
        self.cards = {"lo": (10**9, 10**9), "eth0": (1000, 500)}
        self.sensors: dict[str, list[float]] = {}
        monkeypatch.setattr(psutil_monitor, "monotonic", lambda: self.now)
        monkeypatch.setattr(psutil, "cpu_times", lambda: self.times)
        monkeypatch.setattr(psutil, "net_io_counters", self._cards)
        monkeypatch.setattr(psutil, "sensors_temperatures", self._sensors)

    def _cards(self, *, pernic: bool) -> dict[str, SimpleNamespace]:
        assert pernic
        return {name: SimpleNamespace(bytes_recv=card[0], bytes_sent=card[1]) for name, card in self.cards.items()}

    def _sensors(self) -> dict[str, list[SimpleNamespace]]:
        return {chip: [SimpleNamespace(current=one) for one in found] for chip, found in self.sensors.items()}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_rates_are_those_since_the_reading_before(machine: Machine, tmp_path: Path) -> None:
    monitor = PsutilMonitor(tmp_path)
    first = monitor.read()
    assert (first.cpu_percent, first.network_in_bytes_per_s) == (None, None)  # nothing has passed
    machine.now += 2.0
    machine.times = Times(13.0, 0.0, 10.0, 100.5, 0.5, 8.0, 0.0)  # 3 of 4 seconds busy; guests count as user already
    machine.cards = {"lo": (0, 0), "eth0": (5000, 700), "wlan0": (0, 0)}
    second = monitor.read()
    assert second.cpu_percent == pytest.approx(75.0)
    assert (second.network_in_bytes_per_s, second.network_out_bytes_per_s) == (2000.0, 100.0)
    machine.now += 1.0
    machine.cards = {}
    third = monitor.read()
    assert third.network_in_bytes_per_s == 0.0  # the card has gone
    assert third.cpu_percent is None  # the clock of the processors stood still


def test_the_temperature_is_that_of_the_processor(machine: Machine, tmp_path: Path) -> None:
    monitor = PsutilMonitor(tmp_path)
    assert monitor.read().temperature_c is None
    machine.sensors = {"nvme": [90.0], "acpitz": [20.0], "coretemp": [41.0, 55.0, 0.0]}
    assert monitor.read().temperature_c == 55.0
    machine.sensors = {"nvme": [90.0]}
    assert monitor.read().temperature_c is None


def test_a_system_without_sensors_has_no_temperature(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(psutil, "sensors_temperatures", raising=False)
    assert PsutilMonitor(tmp_path).read().temperature_c is None


# ---- nvidia


class NVMLError(Exception):
    """As the library raises it."""


def library(cards: list[dict[str, Any]], *, driver: bool = True) -> ModuleType:
    """A fake of NVIDIA's library: a card tells what is in its dict."""

    def told(index: int, what: str) -> Any:  # noqa: ANN401 - as untyped as the real one
        if what not in cards[index]:
            raise NVMLError("Not Supported")
        return cards[index][what]

    def init() -> None:
        if not driver:
            raise NVMLError("Driver Not Loaded")

    def handle(index: int) -> int:
        if cards[index].get("lost"):
            raise NVMLError("GPU is lost")
        return index

    functions = {
        "NVMLError": NVMLError,
        "NVML_TEMPERATURE_GPU": 0,
        "nvmlInit": init,
        "nvmlDeviceGetCount": lambda: len(cards),
        "nvmlDeviceGetHandleByIndex": handle,
        "nvmlDeviceGetName": lambda card: told(card, "name"),
        "nvmlDeviceGetMemoryInfo": lambda card: SimpleNamespace(**told(card, "memory")),
        "nvmlDeviceGetUtilizationRates": lambda card: SimpleNamespace(gpu=told(card, "busy")),
        "nvmlDeviceGetTemperature": lambda card, _: told(card, "celsius"),
        "nvmlDeviceGetPowerUsage": lambda card: told(card, "milliwatts"),
    }
    module = ModuleType("pynvml")
    vars(module).update(functions)
    return module


CARDS: list[dict[str, Any]] = [
    {"name": "A100", "memory": {"total": 40, "used": 10}, "busy": 37, "celsius": 61, "milliwatts": 250_500},
    {"name": "lost one", "lost": True},
    {"name": b"Old T4", "memory": {"total": 16, "used": 0}},
]


def test_a_gpu_tells_what_it_can(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library(CARDS))
    assert NvidiaMonitor(tmp_path).read().gpus == (
        GpuStatistics(0, "A100", 40, 10, 37.0, 61.0, 250.5),
        GpuStatistics(2, "Old T4", 16, 0),
    )


@pytest.mark.parametrize("module", [None, library([], driver=False), library([])], ids=["package", "driver", "cards"])
async def test_without_package_driver_or_card_there_is_quietly_no_gpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path, module: ModuleType | None
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", module)
    assert await Monitors(choices("nvidia"), tmp_path, read_s=PATIENCE_S).read() == DeviceStatistics()
    assert caplog.messages == []


def test_the_fake_library_has_what_the_real_one_has() -> None:
    real = pytest.importorskip("pynvml", reason="pip install nvidia-ml-py")
    assert [name for name in vars(library([])) if not name.startswith("__") and not hasattr(real, name)] == []


def test_the_built_in_monitors_are_monitors(tmp_path: Path) -> None:
    built: list[DeviceMonitor] = [PsutilMonitor(tmp_path), NvidiaMonitor(tmp_path)]
    assert all(isinstance(one.read(), DeviceStatistics) for one in built)
