"""What a federation that is broken works at: a plan, and a shard for each site."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from openfl_like.data.shard import build_shard
from openfl_like.data.shard_file import load_shard_config
from openfl_like.plan.load import load_plan, workspace_of
from openfl_like.plan.workspace import shards_in
from openfl_like.testing.faults.toy_workload import SAMPLE_SHAPE, TARGET_SHAPE, write_workspace
from openfl_like.testing.gated import gated

SITES = {"site-1": 1.0, "site-2": -2.0, "site-3": 5.0}


@dataclass(frozen=True, slots=True)
class Workload:
    """A plan whose task runner has the setting ``gate``, and the sites' data.

    Attributes:
        plan: The plan.
        shards: Site -> shard.yaml.
        sample_shape: What director.yaml asks of every shard.
        target_shape: As above.
        overrides: What the plan is changed by.
    """

    plan: Path
    shards: Mapping[str, Path]
    sample_shape: Sequence[int] = SAMPLE_SHAPE
    target_shape: Sequence[int] = TARGET_SHAPE
    overrides: tuple[str, ...] = ()


def toy_workload(place: Path, sites: int = 3) -> Workload:
    """Write the toy workload for up to three sites into a directory."""
    plan, shards = write_workspace(place, dict(list(SITES.items())[:sites]))
    return Workload(plan, shards)


def workload_of(path: Path) -> Workload:
    """Return the workload of a plan whose workspace has shards.

    Raises:
        PlanError: If the plan has mistakes.
        NotFoundError: If its workspace has no shards.
    """
    plan = load_plan(path)
    shards = shards_in(workspace_of(path, plan))
    file = next(iter(shards.values()))
    shard = build_shard(load_shard_config(file), file.parent)
    return Workload(path, shards, tuple(shard.sample_shape), tuple(shard.target_shape), gated(plan))
