"""The device monitor ``nvidia``: GPUs, as NVIDIA's management library tells of them (the extra ``nvidia``)."""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from openfl_like.federation.parties import DeviceStatistics, GpuStatistics

Number = TypeVar("Number")


class NvidiaMonitor:
    """Reads NVIDIA GPUs; without the package ``nvidia-ml-py`` or without a driver there are none.

    Args:
        directory: Means nothing here.
    """

    def __init__(self, directory: Path) -> None:  # noqa: ARG002 - all monitors are built with it
        self._library = _library()

    def read(self) -> DeviceStatistics:
        """Return the GPUs."""
        library = self._library
        if library is None:
            return DeviceStatistics()
        found = (_gpu(library, index) for index in range(library.nvmlDeviceGetCount()))
        return DeviceStatistics(gpus=tuple(gpu for gpu in found if gpu is not None))


def _library() -> ModuleType | None:
    try:
        library = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        library.nvmlInit()
    except library.NVMLError:
        return None
    return library


def _gpu(library: ModuleType, index: int) -> GpuStatistics | None:
    """Return one GPU; None if it has fallen off its bus."""

    def told(ask: Callable[[], Number]) -> Number | None:
        try:
            return ask()
        except library.NVMLError:
            return None  # this card does not tell

    handle = told(lambda: library.nvmlDeviceGetHandleByIndex(index))
    name = told(lambda: library.nvmlDeviceGetName(handle)) if handle is not None else None
    if name is None:
        return None
    memory = told(lambda: library.nvmlDeviceGetMemoryInfo(handle))
    return GpuStatistics(
        index=index,
        name=name.decode(errors="replace") if isinstance(name, bytes) else str(name),
        memory_total_bytes=memory.total if memory else None,
        memory_used_bytes=memory.used if memory else None,
        utilisation_percent=told(lambda: float(library.nvmlDeviceGetUtilizationRates(handle).gpu)),
        temperature_c=told(lambda: float(library.nvmlDeviceGetTemperature(handle, library.NVML_TEMPERATURE_GPU))),
        power_w=told(lambda: library.nvmlDeviceGetPowerUsage(handle) / 1000),
    )
