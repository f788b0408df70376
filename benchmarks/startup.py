"""W4: how long one waits: from handing in an experiment to the first task at a site, and for `fx --help`.

The first task's start is taken from the history of the experiment: when the first update was there, less the time its
task took; so the way back of that update counts against us. The floor is what the imports of the numeric library take
in a bare interpreter: no worker can begin earlier.

Example: python benchmarks/startup.py --runs 5
"""

import argparse
import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from figures import emit, figure, say
from no_training import WORKSPACE

from openfl_like.api.federation import Federation
from openfl_like.federation.parties import EventRecord
from openfl_like.processes.child import clean_environment
from openfl_like.services.local_federation import LocalFederation

TEMPLATES = Path(__file__).parents[1] / "workspace_templates"
LIMIT_S = 1.0
HELP_LIMIT_S = 0.15
HELP_RUNS = 7
IDLE_S = 3.0  # between two experiments, so that the second one is not slowed down by the end of the first


@dataclass(frozen=True, slots=True)
class Case:
    """A workspace, and the import that its worker cannot do without."""

    name: str
    workspace: Path
    imports: str
    shapes: tuple[tuple[int, ...], tuple[int, ...]]


CASES = (
    Case("numpy", WORKSPACE, "import numpy", ((1,), ())),
    Case("torch", TEMPLATES / "torch_digits", "import numpy, torch", ((8, 8), ())),
)


def seconds(command: Sequence[str], runs: int) -> list[float]:
    """Times a command; the first run, which fills the file cache, does not count."""
    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, env=clean_environment(), stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - start)
    return times[1:]


def _sites(place: Path, workspace: Path) -> Mapping[str, Path]:
    """Copies a workspace and gives two of its sites."""
    shutil.copytree(workspace, place)
    first, second = (place / "shards" / f"site-{number}.yaml" for number in (1, 2))
    if not second.exists():
        shutil.copyfile(first, second)
    return {"site-1": first, "site-2": second}


def _stages(history: Sequence[EventRecord], submitted: float) -> dict[str, float]:
    """Seconds from submission to each first event of a kind, and to the first task."""
    stages: dict[str, float] = {}
    for event in history:
        stages.setdefault(event.kind, round(event.time - submitted, 3))
        if event.kind == "update_received" and "first_task" not in stages:
            stages["first_task"] = round(event.time - submitted - float(str(event.fields["duration_s"])), 3)
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
        history = [item for item in client.watch(experiment.id) if isinstance(item, EventRecord)]
        summary = client.experiment(experiment.id).summary
    if summary.status != "FINISHED":
        raise SystemExit(f"the experiment is {summary.status}: {summary.reason}")
    return _stages(history, submitted)


def first_task(case: Case, runs: int) -> dict[str, object]:
    """Gives the figure of one workspace."""
    return asyncio.run(_first_task(case, runs))


async def _first_task(case: Case, runs: int) -> dict[str, object]:
    """A first experiment, which fills the file cache, does not count."""
    with tempfile.TemporaryDirectory(prefix="fx-bench-") as directory:
        place = Path(directory)
        sites = _sites(place / "workspace", case.workspace)
        found = []
        async with LocalFederation(place / "federation", sites, *case.shapes) as federation:
            for _ in range(runs + 1):
                await asyncio.sleep(IDLE_S)
                found.append(await asyncio.to_thread(submit, federation, place / "workspace" / "plan.yaml"))
    imports = median(seconds([sys.executable, "-c", case.imports], runs))
    times = [one["first_task"] for one in found[1:]]
    stages = {name: round(median(one[name] for one in found[1:]), 3) for name in found[1]}
    return figure(
        "w4_first_task",
        case.name,
        "s",
        times,
        floor=round(imports, 3),
        ratio=round(median(times) / imports, 2),
        limit=round(LIMIT_S + imports, 3),
        stages_s=stages,
    )


def help_time() -> dict[str, object]:
    """Gives the figure of ``fx --help``."""
    bare = median(seconds([sys.executable, "-c", "pass"], HELP_RUNS))
    found = seconds([str(Path(sys.executable).with_name("fx")), "--help"], HELP_RUNS)
    ratio = round(median(found) / bare, 2)
    return figure("w4_help", "fx --help", "s", found, floor=round(bare, 4), ratio=ratio, limit=HELP_LIMIT_S)


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
        *(partial(first_task, case, runs) for case in cases),
    )
    for measure in measures:
        one = measure()
        emit(one)
        say(f"{one['bench']}, {one['case']}: {one['value']} s; floor {one['floor']} s, limit {one['limit']} s")


if __name__ == "__main__":
    main()
