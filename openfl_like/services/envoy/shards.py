"""The shards of a site: one, or one for each of the federation's data interfaces."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from openfl_like.data.shard_file import ShardConfig, load_shard_config, published
from openfl_like.errors import SettingsError, ShardMismatchError
from openfl_like.federation.parties import ShardFacts
from openfl_like.processes.worker_client import describe_shard


def load_shards(paths: Sequence[Path]) -> dict[Path, ShardConfig]:
    """Read the shard files of a site.

    Raises:
        SettingsError: If one has mistakes, or two are of the same interface.
    """
    configs: dict[Path, ShardConfig] = {}
    first: dict[str | None, Path] = {}
    for path in paths:
        config = configs[path] = load_shard_config(path)
        if config.interface in first:
            same = f"the interface '{config.interface}'" if config.interface else "no interface"
            cure = "give each file an interface of its own"
            raise SettingsError(f"{first[config.interface]} has {same}, too", place=str(path), cure=cure)
        first[config.interface] = path
    return configs


async def describe_shards(configs: Mapping[Path, ShardConfig], directory: Path) -> tuple[ShardFacts, ...]:
    """Load the shards, one after the other, and return what the Director is told of them.

    Args:
        configs: The files, read.
        directory: Where the process works that loads one.

    Raises:
        ShardError: If one cannot be used.
    """
    found = []
    for path, config in configs.items():
        facts = published(await describe_shard(path, directory), config)
        found.append(replace(facts, interface=config.interface or "", experiments_at_once=config.experiments_at_once))
    return tuple(found)


def shard_of(interface: str, shards: Mapping[str, Path]) -> Path:
    """Return the shard file for an interface.

    Args:
        interface: What the plan names; empty: nothing.
        shards: Interface -> the file.

    Raises:
        ShardMismatchError: If this site has none.
    """
    if interface not in shards:
        wanted = f"for the interface '{interface}'" if interface else "without an interface"
        raise ShardMismatchError(f"this site has no shard {wanted}", cure="start the Envoy with a --shard-config of it")
    return shards[interface]
