"""An experiment that moves models and trains nothing, run by a federation of real processes on this machine."""

import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from gate import Gate, Turns
from processes import Use, Watcher

from openfl_like.api.federation import Federation
from openfl_like.federation.announcements import Announced
from openfl_like.services.local_federation import LocalFederation

WORKSPACE = Path(__file__).parent / "workspaces" / "no_training"


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be run.

    Attributes:
        rounds: Rounds to measure; one more is run before them, in which the workers start.
        overrides: Settings of the plan.
        floors: Name -> does it once and gives the seconds; each is done while all sites wait at the gate.
        period_s: Seconds between two looks at the processes' memory, besides the one at the gate.
    """

    rounds: int
    overrides: Sequence[str] = ()
    floors: Mapping[str, Callable[[], float]] = field(default_factory=dict)
    period_s: float = 1.0

    def settings(self, gate: Path) -> tuple[str, ...]:
        """Return the settings of the plan, with as many rounds and the gate."""
        return (
            *self.overrides,
            f"aggregator.settings.rounds_to_train={self.rounds + 1}",
            f"task_runner.settings.gate={gate}",
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """What one experiment took.

    Attributes:
        rounds_s: Seconds of each round, the first trained one left out.
        floors_s: Name of a floor -> its seconds beside each of these rounds.
        moved_mb: Megabytes (10^6) a round over the loopback interface, the wire's own included.
        use: CPU seconds a round, and peaks of memory.
    """

    rounds_s: Sequence[float]
    floors_s: Mapping[str, Sequence[float]]
    moved_mb: float
    use: Use


class Measuring:
    """Measures an experiment while it runs.

    Args:
        gate: Path of the gate's socket.
        collaborators: How many wait at it.
        sides: First process of a tree -> ``server`` or ``client``.
        job: What is run.
    """

    def __init__(self, gate: Path, collaborators: int, sides: Mapping[int, str], job: Job) -> None:
        self._gate = Gate(gate, collaborators)
        self._watcher = Watcher(sides, job.period_s)
        self._turns = Turns(self._gate, job.floors, self._watcher)
        self._steering = threading.Thread(target=self._turns.take)
        self._published: list[float] = []

    def __enter__(self) -> "Measuring":
        self._watcher.__enter__()
        self._steering.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._gate.close()
        self._steering.join()
        self._watcher.__exit__()

    def published(self, seconds: float) -> None:
        """Note when a round had ended, from round 0 on."""
        self._published.append(seconds)

    def measured(self) -> Measured:
        """Return the figures, after the block."""
        turns = self._turns
        seconds = turns.rounds_s(self._published)
        if not seconds:
            raise SystemExit("the experiment had no round to measure")
        floors = {name: values[1:] for name, values in turns.floors_s.items()}
        return Measured(seconds, floors, round(fmean(turns.sent_mb), 1), self._watcher.use(turns.cpu_a_round_s()))


def make_workspace(place: Path, collaborators: int) -> dict[str, Path]:
    """Copies the workspace and gives its sites."""
    shutil.copytree(WORKSPACE, place)
    first = place / "shards" / "site-1.yaml"
    sites = {f"site-{number}": place / "shards" / f"site-{number}.yaml" for number in range(1, collaborators + 1)}
    for path in sites.values():
        if path != first:
            shutil.copyfile(first, path)
    return sites


def sides_of(federation: LocalFederation) -> dict[int, str]:
    """Return the side of each process that the federation was started with."""
    return {
        child.process.pid: "server" if name == "director" else "client" for name, child in federation.children.items()
    }


def run_experiment(federation: LocalFederation, plan: Path, job: Job) -> Measured:
    """Runs one experiment to its end."""
    gate = plan.parents[1] / "gate"  # not in the workspace, which is sent to the sites
    with (
        Federation(federation.director, federation.user_certificates) as client,
        Measuring(gate, len(federation.sites), sides_of(federation), job) as measuring,
    ):
        experiment = client.submit(plan, job.settings(gate))
        for item in client.watch(experiment.id):
            if isinstance(item, Announced) and item.kind == "round_finished":
                measuring.published(item.time)
        summary = client.experiment(experiment.id).summary
    if summary.status != "FINISHED":
        raise SystemExit(f"the experiment is {summary.status}: {summary.reason}")
    return measuring.measured()
