"""How the state of a site and its machine is shown to people."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from openfl_like.cli.output.colours import ODD
from openfl_like.cli.output.console import put, shown
from openfl_like.cli.output.table import GAP
from openfl_like.federation.parties import (
    DeviceStatistics,
    EnvoyDetail,
    EnvoyRecord,
    GpuStatistics,
    Series,
    ShardFacts,
)
from openfl_like.printable import printable_line

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 40
UNITS = ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (0.0, "B/s"))
SPANS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (0.0, "s"))
TITLES = {
    "cpu_percent": "processors %",
    "load_1m": "load",
    "memory_percent": "memory %",
    "disk_percent": "disk %",
    "network_in_bytes_per_s": "in",
    "network_out_bytes_per_s": "out",
    "temperature_c": "°C",
    "gpu_percent": "GPUs %",
    "gpu_memory_percent": "GPU memory %",
    "gpu_power_w": "GPUs W",
}


def percent(value: float | None) -> str:
    """Return a share: ``12%``; nothing for what is not known."""
    return "" if value is None else f"{value:.0f}%"


def gibibytes(used: int | None, total: int | None) -> str:
    """Return how much is taken: ``1.0 of 4.0 GiB``; nothing for what is not known."""
    return f"{used / 2**30:.1f} of {total / 2**30:.1f} GiB" if used is not None and total else ""


def filled(used: int | None, total: int | None) -> str:
    """Return which share is taken: ``25%``; nothing for what is not known."""
    return percent(100 * used / total) if used is not None and total else ""


def online(record: EnvoyRecord, now: float) -> str:
    """Return whether a site is there, and if not, for how long: ``no, 4 min``."""
    return "yes" if record.online else f"no, {span(now - record.last_seen)}"


def problem(record: EnvoyRecord) -> str:
    """Return why nothing can run at a site, or nothing if it can."""
    revoked = "its certificate was revoked" if record.revoked else ""
    refuses = f"refuses orders: {record.problem}" if record.problem is not None else ""
    return "; ".join(filter(None, (revoked, refuses)))


def tell_problems(records: Iterable[EnvoyRecord]) -> None:
    """Print a line for each site at which nothing can run."""
    for record in records:
        if problem(record):
            put(printable_line(f"{record.name}: {problem(record)}"), style=ODD, hang=len(record.name) + GAP)


def gpus(record: EnvoyRecord) -> str:
    """Return the busy share of each GPU, or that there is none; nothing for a site that is not there."""
    busy = ", ".join(percent(gpu.utilisation_percent) or "?" for gpu in record.devices.gpus)
    return busy or ("none" if record.online else "")


def running(record: EnvoyRecord) -> str:
    """Return what a site works for, and on which device where that is known: ``digits-1 on cuda:1``."""
    places = {name: f" on {device}" for name, device in record.placed.items()}
    return ", ".join(name + places.get(name, "") for name in record.running)


def shape(shard: ShardFacts) -> str:
    """Return the shape of one sample, after its interface if that has a name: ``tables: samples of shape [13]``."""
    named = f"{shard.interface}: " if shard.interface else ""
    return f"{named}samples of shape {list(shard.sample_shape)}"


def samples(record: EnvoyRecord) -> object:
    """Return how many samples a site has, of each of its shards where these have names."""
    counts = {one.interface: one.schema.get("counts", "") for one in record.shards}
    return "; ".join(f"{name}: {shown(count)}" for name, count in counts.items()) if any(counts) else counts[""]


def speed(value: float | None) -> str:
    """Return bytes per second: ``1.2 MB/s``; nothing for what is not known."""
    if value is None:
        return ""
    scale, unit = _unit_of_speed(value)
    return f"{value / scale:.3g} {unit}"


def _unit_of_speed(most: float) -> tuple[float, str]:
    scale, unit = next((scale, unit) for scale, unit in UNITS if most >= scale)
    return scale or 1.0, unit


def span(seconds: float) -> str:
    """Return a length of time in its largest unit: ``4 min``."""
    size = max(0.0, seconds)
    scale, unit = next((scale, unit) for scale, unit in SPANS if size >= scale)
    return f"{size / (scale or 1.0):.0f} {unit}"


def moment(time: float) -> str:
    """Return a point in time, in UTC to the second."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S")


def summary(detail: EnvoyDetail, now: float) -> dict[str, str]:
    """Return what is known of an envoy, a line each; what is not known has none.

    Args:
        detail: What the Director tells.
        now: Seconds since the epoch.
    """
    record = detail.record
    lines = {"envoy": record.name, **_standing(record, now), "problem": problem(record)}
    lines["shard"] = _shard(record.shard)
    lines |= {f"shard {one.interface}": _shard(one) for one in record.more_shards}
    lines["at once"] = _at_once(record.experiments_at_once)
    lines["running"] = running(record) or "nothing"
    lines |= _machine(record.devices)
    lines |= {f"gpu {gpu.index}": _gpu(gpu) for gpu in record.devices.gpus}
    lines |= {name: f"{value:.6g}" for name, value in record.devices.extra.items()}
    return {name: text for name, text in lines.items() if text}


def _standing(record: EnvoyRecord, now: float) -> dict[str, str]:
    lines = {"online": "no", "version": record.version}
    if record.online and record.online_since is not None:
        lines["online"] = f"since {moment(record.online_since)} UTC ({span(now - record.online_since)})"
    lines["last heard"] = f"{moment(record.last_seen)} UTC ({span(now - record.last_seen)} ago)"
    if record.certificate_ends is not None:
        left = record.certificate_ends - now
        lines["certificate"] = f"ends {moment(record.certificate_ends)} UTC (in {span(left)})"
    return lines


def _shard(shard: ShardFacts) -> str:
    counts = shard.schema.get("counts")
    told = shown(counts) if isinstance(counts, Mapping) else ""
    return "; ".join(filter(None, (shape(shard), told, shard.description)))


def _at_once(count: int) -> str:
    return "" if count == 1 else f"{count} experiments"


def _machine(state: DeviceStatistics) -> dict[str, str]:
    count = f"of {state.cpu_count}" if state.cpu_count is not None else ""
    load = f"load {state.load_1m:.2f}" if state.load_1m is not None else ""
    busy = " ".join(filter(None, (percent(state.cpu_percent), count)))
    rates = {"in": speed(state.network_in_bytes_per_s), "out": speed(state.network_out_bytes_per_s)}
    return {
        "processors": _listed(busy, load, _celsius(state.temperature_c)),
        "memory": gibibytes(state.memory_used_bytes, state.memory_total_bytes),
        "disk": gibibytes(state.disk_used_bytes, state.disk_total_bytes),
        "network": _listed(*(f"{rate} {way}" for way, rate in rates.items() if rate)),
    }


def _gpu(gpu: GpuStatistics) -> str:
    watts = f"{gpu.power_w:.0f} W" if gpu.power_w is not None else ""
    memory = gibibytes(gpu.memory_used_bytes, gpu.memory_total_bytes)
    return _listed(gpu.name, percent(gpu.utilisation_percent), memory, _celsius(gpu.temperature_c), watts)


def _celsius(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} °C"


def _listed(*texts: str) -> str:
    return ", ".join(filter(None, texts))


def course(series: Series) -> list[dict[str, str]]:
    """Return a row for each number that was told: what it was over time as bars, its least, mean and most."""
    rows = []
    for name, numbers in series.values.items():
        known = [number for number in numbers if number is not None]
        if not known:
            continue
        scale, unit = _unit_of_speed(max(known)) if name.endswith("_bytes_per_s") else (1.0, "")
        told = [number / scale for number in known]
        most = 100.0 if name.endswith("_percent") else max(known)
        rows.append(
            {
                "number": f"{TITLES.get(name, name)} {unit}".rstrip(),
                "course": bars(numbers, most),
                "least": f"{min(told):.3g}",
                "mean": f"{sum(told) / len(told):.3g}",
                "most": f"{max(told):.3g}",
                "last": f"{told[-1]:.3g}",
            }
        )
    return rows


def bars(numbers: Sequence[float | None], most: float) -> str:
    """Return numbers as bars of eight heights, several of them as the mean of one bar when there are too many."""
    width = min(WIDTH, len(numbers))
    groups = [numbers[place * len(numbers) // width : (place + 1) * len(numbers) // width] for place in range(width)]
    return "".join(_bar([number for number in group if number is not None], most) for group in groups)


def _bar(told: Sequence[float], most: float) -> str:
    if not told:
        return " "
    share = sum(told) / len(told) / most if most > 0 else 0.0
    return BARS[max(0, min(len(BARS) - 1, int(share * len(BARS))))]
