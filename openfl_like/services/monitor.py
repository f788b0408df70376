"""Device statistics of this machine, for heartbeats."""

import shutil
import subprocess
from pathlib import Path

import psutil

from openfl_like.federation.parties import DeviceStatistics, GpuStatistics

_QUERY = "name,utilization.gpu,memory.total,memory.used"


def read_devices(disk: Path) -> DeviceStatistics:
    """Reads CPU, load, memory, the disk that holds ``disk``, and NVIDIA GPUs where their driver is installed."""
    memory = psutil.virtual_memory()
    usage = psutil.disk_usage(str(disk))
    return DeviceStatistics(
        cpu_percent=psutil.cpu_percent(interval=None),
        cpu_count=psutil.cpu_count() or 0,
        load_1m=psutil.getloadavg()[0],
        memory_total_bytes=memory.total,
        memory_used_bytes=memory.total - memory.available,
        disk_total_bytes=usage.total,
        disk_used_bytes=usage.used,
        gpus=_gpus(),
    )


def _gpus() -> tuple[GpuStatistics, ...]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    command = [program, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()  # no driver behind the program: no GPU
    return parse_gpus(done.stdout)


def parse_gpus(text: str) -> tuple[GpuStatistics, ...]:
    """Reads ``nvidia-smi``'s CSV: name, utilisation in percent, total and used memory in MiB."""
    gpus = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != 4:
            continue
        try:
            numbers = [float(field) for field in fields[1:]]
        except ValueError:
            continue  # "[N/A]" where a card does not tell
        utilisation, total, used = numbers
        gpus.append(GpuStatistics(fields[0], utilisation, int(total) << 20, int(used) << 20))
    return tuple(gpus)
