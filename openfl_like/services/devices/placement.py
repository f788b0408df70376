"""Placing a worker on a device of this machine: the plan's wish within the site's shard.yaml and what is there."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from openfl_like.data.shard_file import ShardConfig, load_shard_config
from openfl_like.errors import DeviceError
from openfl_like.federation.devices.placement import AUTO, CPU, offered, place, visible
from openfl_like.services.devices.monitors import Monitors
from openfl_like.services.devices.nvidia_monitor import NvidiaMonitor

RESTRICTION = "CUDA_VISIBLE_DEVICES"


async def place_worker(
    site: str, shard: Path, monitors: Monitors, wish: str | Sequence[str], in_use: Iterable[str] = ()
) -> str:
    """Return the device for one more worker of a site.

    Args:
        site: Its name, for the refusal.
        shard: Its shard.yaml, which is read anew.
        monitors: What finds its GPUs; they are not asked when nobody wants one.
        wish: The plan's ``collaborator.settings.device``.
        in_use: The device of every worker that is there.

    Raises:
        DeviceError: If the site does not give what the plan wants.
        SettingsError: If shard.yaml has mistakes.
    """
    allowed = load_shard_config(shard).devices
    found = () if wish == CPU else visible(await monitors.gpus(), os.environ.get(RESTRICTION))
    try:
        return place(wish, offered(allowed, found), in_use)
    except DeviceError as error:
        raise DeviceError(f"site '{site}': {error.message}", cure=error.cure) from None


def monitors_of(config: ShardConfig, shard: Path, directory: Path) -> Monitors:
    """Return the device monitors that a site's shard.yaml names; their modules are looked for beside it first."""
    return Monitors(config.device_monitors, directory, (shard.parent,))


async def place_alone(site: str, shard: Path, directory: Path, wish: str | Sequence[str]) -> str:
    """Return the device for the worker of a Collaborator that no Envoy has started; raises as `place_worker`."""
    monitors = monitors_of(load_shard_config(shard), shard, directory)
    return await place_worker(site, shard, monitors, wish)


def place_here(wish: str | Sequence[str]) -> str:
    """Return the device for work in this very process, named as it counts its GPUs; ``auto`` where there is a choice.

    Raises:
        DeviceError: If this machine does not have what the plan wants.
    """
    if wish == CPU:
        return CPU
    found = [gpu.index for gpu in NvidiaMonitor(Path()).read().gpus]
    seen = visible(found, os.environ.get(RESTRICTION))
    device = place(wish, offered(AUTO, range(len(seen))))  # what it does not see it does not count
    return AUTO if wish == AUTO and device != CPU else device
