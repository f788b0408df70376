"""An experiment that moves models and trains nothing, run by a federation of real processes on this machine."""

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import psutil
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
        moved_mb: Megabytes (10^6) a round over the loopback interface, the wire's own included.
        anonymous_mb: Role -> peak anonymous memory of its largest process.
        file_mb: Role -> peak file-backed memory.
    """

    rounds_s: Sequence[float]
    cpu_s: float
    moved_mb: float
    anonymous_mb: Mapping[str, float]
    file_mb: Mapping[str, float]


SETTLED = 2  # rounds after which no process is started any more


class Rounds:
    """What was used by the end of each round.

    Args:
        watcher: Watches the processes.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._published: list[float] = []
        self._told: list[float] = []
        self._cpu: list[float] = []
        self._moved: list[float] = []

    def add(self, published: float) -> None:
        """A round has ended, at this time in seconds."""
        self._published.append(published)
        self._told.append(time.time())
        self._cpu.append(self._watcher.cpu_s(look=len(self._cpu) < SETTLED))
        self._moved.append(psutil.net_io_counters(pernic=True)["lo"].bytes_sent / 1e6)

    def measured(self) -> Measured:
        """Gives the figures; round 0 made the model, and the workers started in round 1."""
        seconds = [after - before for before, after in pairwise(self._published[1:])]
        # Not up to the last sample: by then the processes of the experiment may be gone, and their seconds with them.
        last = max(range(1, len(self._cpu)), key=lambda index: self._cpu[index])
        # Events of short rounds come several at a time: a sample is of when it was taken, not of when its round ended.
        rounds = max(1.0, (self._told[last] - self._told[1]) / fmean(seconds))
        cpu, moved = ((used[last] - used[1]) / rounds for used in (self._cpu, self._moved))
        anonymous, file = dict(self._watcher.anonymous_mb), dict(self._watcher.file_mb)
        return Measured(seconds, round(cpu, 3), round(moved, 1), anonymous, file)


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
    with Federation(federation.director, federation.user_certificates) as client, Watcher(os.getpid()) as watcher:
        experiment = client.submit(plan, settings)
        seen = Rounds(watcher)
        for item in client.watch(experiment.id):
            if isinstance(item, EventRecord) and item.kind == "round_finished":
                seen.add(item.time)
        summary = client.experiment(experiment.id).summary
    if summary.status != "FINISHED":
        raise SystemExit(f"the experiment is {summary.status}: {summary.reason}")
    return seen.measured()
