"""What a simulation's record was made with besides its plan: the workspace's code and the sites' data, by digests."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3
from pydantic import TypeAdapter, ValidationError

from openfl_like.data.parts import MadeShards, digest_of
from openfl_like.data.shard import ShardDescriptor
from openfl_like.errors import ConflictError, DamagedError
from openfl_like.plan.bundles.packing import workspace_files

log = logging.getLogger(__name__)
NAME = "inputs.json"


@dataclass(frozen=True, slots=True)
class SimulationInputs:
    """What went into a simulation.

    Attributes:
        files: Path in the workspace -> BLAKE3 of the file, hex.
        data: Site -> BLAKE3 of its samples and targets, hex; empty where sites are made.
        data_set: What sites that are made have for that, see `MadeShards.digest`; empty where there are none.
    """

    files: Mapping[str, str]
    data: Mapping[str, str]
    data_set: str = ""

    @classmethod
    def of(cls, workspace: Path, shards: Mapping[str, ShardDescriptor], record: Path) -> "SimulationInputs":
        """Look at a workspace, but for a record within it, and at all data."""
        paths = {path: workspace / path for path in workspace_files(workspace)}
        outside = {path: file for path, file in paths.items() if not file.resolve().is_relative_to(record.resolve())}
        files = {path: str(blake3(file.read_bytes()).hexdigest()) for path, file in sorted(outside.items())}
        if isinstance(shards, MadeShards):
            return cls(files, {}, shards.digest())
        return cls(files, {site: digest_of(shard) for site, shard in sorted(shards.items())})

    def changed(self, now: "SimulationInputs") -> list[str]:
        """Say what is not as it was; files that came since count if Python could import them."""
        code = [f"'{path}' of the workspace" for path in self.files if now.files.get(path) != self.files[path]]
        code += [f"'{path}' of the workspace" for path in now.files if path.endswith(".py") and path not in self.files]
        made = ["the data set of the sites, or how it is dealt out,"] if now.data_set != self.data_set else []
        return [
            *code,
            *made,
            *(f"the data of site '{site}'" for site in self.data if now.data.get(site) != self.data[site]),
        ]


_INPUTS = TypeAdapter(SimulationInputs)


def check_inputs(record: Path, now: SimulationInputs, *, begun: bool = False) -> None:
    """Compare with what a record was made with; a new record remembers it.

    Args:
        record: The directory; one of 0.1.0, which did not remember, does from now on.
        now: What the simulation would go on with.
        begun: Whether there is something in the record already.

    Raises:
        ConflictError: If a file or the data of a site has changed.
        DamagedError: If what the record remembers cannot be read.
    """
    path = record / NAME
    if not path.exists():
        if begun:
            log.warning(
                "the record in %s was begun by a version that did not remember code and data: whether they are as "
                "they were cannot be compared this time (name another --directory to begin anew)",
                record,
            )
        partial = path.with_suffix(".partial")
        partial.write_bytes(_INPUTS.dump_json(now))
        partial.replace(path)
        return
    try:
        made_with = _INPUTS.validate_json(path.read_bytes())
    except ValidationError as error:
        raise DamagedError("this is not what a simulation was made with", place=str(path)) from error
    changed = made_with.changed(now)
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        message = f"since this record was made, {', '.join(changed[:3])}{more} changed"
        raise ConflictError(message, place=str(record), cure="name another --directory")
