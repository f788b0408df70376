"""W4: how long one waits: from handing in an experiment until its first round of training is over; for `fx --help`.

The end of the round is the Aggregator's: what the sites have trained is combined and stored. Much of a framework is
imported in the first step only, so the first task's start, which is told beside it, says little. The floor, in turn
with each experiment, is one bare process that imports the framework and does a first step; a second one only imports.

Example: python benchmarks/startup.py --runs 5
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

from figures import beside, emit, figure, say, use_of
from no_training import WORKSPACE, sides_of
from processes import Memory, Watcher, cpu_s, memory_of

from openfl_like.api.federation import Federation
from openfl_like.federation.announcements import Announced, RoundFinished, UpdateReceived
from openfl_like.processes.child import clean_environment
from openfl_like.services.local_federation import LocalFederation

TEMPLATES = Path(__file__).parents[1] / "workspace_templates"
BARE = Path(__file__).parent / "bare"
LIMIT = 1.2  # times the floor of torch
NUMPY_LIMIT_S = 1.25  # NumPy alone is there in a fifth of a second: what is left is ours
HELP_LIMIT_S = 0.15
HELP_RUNS = 7
IDLE_CORE = 0.05
IDLE_S = 1.0
MOST_IDLE_S = 60.0
LOOK_S = 0.005


@dataclass(frozen=True, slots=True)
class Case:
    """A workspace, and the least that one process needs for a first step with its framework.

    Attributes:
        name: Of the framework.
        workspace: What is submitted.
        imports: Import that a worker cannot do without.
        shapes: Of the samples and targets.
    """

    name: str
    workspace: Path
    imports: str
    shapes: tuple[tuple[int, ...], tuple[int, ...]]

    @property
    def step(self) -> list[str]:
        """The command that imports the framework and does a first step."""
        return [sys.executable, str(BARE / f"{self.name}_step.py")]

    def limit(self, floor: float) -> float:
        """What we hold ourselves to."""
        return round(LIMIT * floor, 3) if self.name == "torch" else NUMPY_LIMIT_S


CASES = (
    Case("numpy", WORKSPACE, "import numpy", ((1,), ())),
    Case("torch", TEMPLATES / "torch_digits", "import numpy, torch", ((8, 8), ())),
)


def timed(command: Sequence[str]) -> tuple[float, float, Memory]:
    """Run a command and return its seconds, CPU seconds and most memory."""
    start = time.perf_counter()
    process = subprocess.Popen(command, env=clean_environment(), stdout=subprocess.DEVNULL)
    memory, status, used = Memory(), 0, None
    while used is None:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        seconds = time.perf_counter() - start
        if pid:
            used = usage
        else:
            memory = memory.most(memory_of(process.pid))
            time.sleep(LOOK_S)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"'{' '.join(command)}' ended with exit code {process.returncode}")
    return seconds, used.ru_utime + used.ru_stime, memory


def seconds_of(command: Sequence[str]) -> float:
    """Run a command and return its seconds."""
    start = time.perf_counter()
    subprocess.run(command, env=clean_environment(), stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def _sites(place: Path, workspace: Path) -> Mapping[str, Path]:
    """Copies a workspace and gives two of its sites."""
    shutil.copytree(workspace, place)
    first, second = (place / "shards" / f"site-{number}.yaml" for number in (1, 2))
    if not second.exists():
        shutil.copyfile(first, second)
    return {"site-1": first, "site-2": second}


def _stages(history: Sequence[Announced], submitted: float) -> dict[str, float]:
    """Seconds from submission to each first event of a kind, to the first task and to the end of the first training."""
    stages: dict[str, float] = {}
    for event in history:
        after = event.time - submitted
        stages.setdefault(event.kind, round(after, 3))
        match event.announcement:
            case UpdateReceived(duration_s=duration_s):
                stages.setdefault("first_task", round(after - duration_s, 3))
            case RoundFinished(round=1):
                stages["first_round"] = round(after, 3)
            case _:
                pass
    return stages


def submit(federation: LocalFederation, plan: Path) -> dict[str, float]:
    """Runs an experiment of one round and gives its stages."""
    settings = (
        "aggregator.settings.rounds_to_train=1",
        "admission.collaborators=[site-1, site-2]",
        "admission.min_collaborators=2",
    )
    with Federation(federation.director, federation.user_certificates) as client:
        client.envoys()
        submitted = time.time()
        experiment = client.submit(plan, settings)
        history = [item for item in client.watch(experiment.id) if isinstance(item, Announced)]
        summary = client.experiment(experiment.id).summary
    if summary.status != "FINISHED":
        raise SystemExit(f"the experiment is {summary.status}: {summary.reason}")
    return _stages(history, submitted)


async def until_idle(roots: Collection[int]) -> None:
    """Wait until the processes of a federation have nothing to do: a site has time between two experiments."""
    for _ in range(int(MOST_IDLE_S / IDLE_S)):
        before = cpu_s(roots)
        await asyncio.sleep(IDLE_S)
        if cpu_s(roots) - before < IDLE_CORE * IDLE_S:
            return
    raise SystemExit(f"the federation was not idle within {MOST_IDLE_S:g} s")


@dataclass(slots=True)
class Runs:
    """What was found, run by run.

    Attributes:
        stages: Of each experiment.
        steps: Seconds of a bare import and first step after each.
        imports: Seconds of a bare import after each.
        cpu_s: CPU seconds of the federation in each.
    """

    stages: list[dict[str, float]] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    imports: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)


async def first_round(case: Case, runs: int) -> dict[str, object]:
    """Gives the figure of one workspace; a first experiment, which fills the file cache, does not count."""
    found = Runs()
    with tempfile.TemporaryDirectory(prefix="fx-bench-") as directory:
        place = Path(directory)
        sites = _sites(place / "workspace", case.workspace)
        async with LocalFederation(place / "federation", sites, *case.shapes) as federation:
            sides = sides_of(federation)
            with Watcher(sides, period_s=0.5) as watcher:
                for _ in range(runs + 1):
                    await until_idle(sides)
                    watcher.look()
                    before = cpu_s(sides)
                    found.stages.append(await asyncio.to_thread(submit, federation, place / "workspace" / "plan.yaml"))
                    found.cpu_s.append(cpu_s(sides) - before)
                    await until_idle(sides)
                    found.imports.append(seconds_of([sys.executable, "-c", case.imports]))
                    found.steps.append(seconds_of(case.step))
            use = watcher.use(median(found.cpu_s[1:]))
    times = [stages["first_round"] for stages in found.stages[1:]]
    steps = found.steps[1:]
    return figure(
        "w4_first_round",
        case.name,
        "s",
        times,
        use,
        **beside(times, steps),
        **beside(times, found.imports[1:], "import_"),
        limit=case.limit(median(steps)),
        first_task_s=round(median(stages["first_task"] for stages in found.stages[1:]), 3),
        stages_s={name: round(median(one[name] for one in found.stages[1:]), 3) for name in found.stages[1]},
    )


def _run(case: Case, runs: int) -> dict[str, object]:
    return asyncio.run(first_round(case, runs))


def help_time() -> dict[str, object]:
    """Gives the figure of ``fx --help``."""
    command = [str(Path(sys.executable).with_name("fx")), "--help"]
    times, bare = [], []
    for _ in range(HELP_RUNS + 1):
        bare.append(seconds_of([sys.executable, "-c", "pass"]))
        times.append(seconds_of(command))
    _, used_s, memory = timed(command)
    use = use_of(used_s, memory)
    return figure("w4_help", "fx --help", "s", times[1:], use, **beside(times[1:], bare[1:]), limit=HELP_LIMIT_S)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="experiments for each workspace")
    parser.add_argument("--quick", action="store_true", help="2 experiments for each workspace")
    parser.add_argument("--only", choices=[case.name for case in CASES], help="one workspace only")
    arguments = parser.parse_args()
    runs = 2 if arguments.quick else arguments.runs
    cases = [case for case in CASES if arguments.only in {None, case.name}]
    measures: tuple[Callable[[], dict[str, object]], ...] = (
        help_time,
        *(partial(_run, case, runs) for case in cases),
    )
    for measure in measures:
        one = measure()
        emit(one)
        say(f"{one['bench']}, {one['case']}: {one['value']} s; floor {one['floor']} s, limit {one['limit']} s")


if __name__ == "__main__":
    main()
