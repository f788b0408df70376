"""An experiment that moves models and trains nothing, run by a federation of real processes on this machine."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from processes import Watcher

from openfl_like.api.federation import Federation
from openfl_like.federation.parties import EventRecord
from openfl_like.services.local_federation import LocalFederation

WORKSPACE = Path(__file__).parent / "workspaces" / "no_training"


@dataclass(frozen=True, slots=True)
class Measured:
    """What one experiment took.

    Attributes:
        rounds_s: Seconds of each round, the first trained one left out: the workers start in it.
        cpu_s: CPU seconds a round, of all processes.
        anonymous_mb: Role -> peak anonymous memory of its largest process.
        file_mb: Role -> peak file-backed memory.
    """

    rounds_s: Sequence[float]
    cpu_s: float
    anonymous_mb: Mapping[str, float]
    file_mb: Mapping[str, float]


def make_workspace(place: Path, collaborators: int) -> dict[str, Path]:
    """Copies the workspace and gives its sites."""
    shutil.copytree(WORKSPACE, place)
    first = place / "shards" / "site-1.yaml"
    sites = {f"site-{number}": place / "shards" / f"site-{number}.yaml" for number in range(1, collaborators + 1)}
    for path in sites.values():
        if path != first:
            shutil.copyfile(first, path)
    return sites


def run_experiment(federation: LocalFederation, plan: Path, rounds: int, overrides: Sequence[str]) -> Measured:
    """Runs one experiment of so many measured rounds to its end."""
    settings = (*overrides, f"aggregator.settings.rounds_to_train={rounds + 1}")
    published: list[float] = []
    cpu: list[float] = []
    with Federation(federation.director, federation.user_certificates) as client, Watcher(os.getpid()) as watcher:
        experiment = client.submit(plan, settings)
        for item in client.watch(experiment.id):
            if isinstance(item, EventRecord) and item.kind == "round_finished":
                published.append(item.time)
                cpu.append(watcher.cpu_s())
        summary = client.experiment(experiment.id).summary
    if summary.status != "FINISHED":
        raise SystemExit(f"the experiment is {summary.status}: {summary.reason}")
    seconds = [after - before for before, after in pairwise(published[1:])]
    # not up to the last sample: by then the processes of the experiment may be gone, and their seconds with them
    per_round = (cpu[-2] - cpu[1]) / (len(cpu) - 3)
    return Measured(seconds, round(per_round, 3), dict(watcher.anonymous_mb), dict(watcher.file_mb))
