"""Sites that each have a shard of their own kind: the same template, given the number of the site."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3
from pydantic import JsonValue

from openfl_like.data.distribution import Distribution, distribution_of_sites
from openfl_like.data.part import DataSetSource, read_choice
from openfl_like.data.parts import MadeShards, PlaceOfName, shard_text
from openfl_like.data.shard import ShardDescriptor, build_shard
from openfl_like.data.shard_file import ShardConfig
from openfl_like.errors import UsageError
from openfl_like.module_scope import innermost_directory

MOST_COUNTED = 1000
"""The data of so many sites is made to be counted; of more nobody reads a table."""


def shard_of(source: DataSetSource, site: int) -> ShardDescriptor:
    """Make the shard of a site, which is counted from 1; raises ShardError."""
    config = ShardConfig(template=source.choice.template, params={**source.choice.params, "site": site})
    return build_shard(config, source.folder)


def each_shard(site: int, shard: JsonValue, modules: str | None = None) -> ShardDescriptor:
    """The shard of one of many sites that are alike but for their number, as a simulation makes them.

    Args:
        site: Which site, from 1.
        shard: The shard: ``template`` and ``params`` as in a shard.yaml, or the template alone. It is given ``site``.
        modules: Folder with modules that ``shard`` names; default: that of shard.yaml.

    Raises:
        ShardError: If the shard cannot be made.
    """
    folder = Path(modules) if modules is not None else innermost_directory()
    return shard_of(DataSetSource(read_choice(shard, "shard"), folder), site)


class EachShards(MadeShards):
    """Site name -> its shard, made when it is asked for.

    Args:
        source: What all of them are.
        numbers: Site name -> its number, from 0.
    """

    def __init__(self, source: DataSetSource, numbers: Mapping[str, int]) -> None:
        super().__init__(numbers)
        self._source = source

    def made(self, number: int) -> ShardDescriptor:
        """Make the shard of a site."""
        return shard_of(self._source, number + 1)

    def digest(self) -> str:
        """BLAKE3 of what says how all sites are made, hex: nobody makes a million of them to compare."""
        numbers = self._numbers
        named = str(numbers.names) if isinstance(numbers, PlaceOfName) else json.dumps(dict(numbers), sort_keys=True)
        return str(blake3(f"{self._source.key} {named}".encode()).hexdigest())

    def distribution(self) -> Distribution:
        """Count what each site has.

        Raises:
            UsageError: If there are too many to be made for that.
            ShardError: If one cannot be made.
        """
        if len(self) > MOST_COUNTED:
            told = f"to count what {len(self):,} sites have, the data of all would have to be made"
            raise UsageError(told, cure=f"look at {MOST_COUNTED:,} of them: -s simulation.sites.count={MOST_COUNTED}")
        return distribution_of_sites([self[name] for name in self])


@dataclass(frozen=True, slots=True)
class EachFile:
    """What the shard.yaml of such a site says.

    Attributes:
        source: What all of them are.
        reads: What workers may read besides what the params name.
    """

    source: DataSetSource
    reads: tuple[Path, ...] = ()

    def text(self, number: int) -> str:
        """Return the file of a site, which is counted from 1 here."""
        shard = self.source.choice.model_dump(mode="json")
        return shard_text("each", {"site": number, "shard": shard}, self.source.folder, self.reads)
