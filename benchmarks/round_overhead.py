"""W2: what a round costs when nobody trains. Real processes over mTLS: a Director, an Envoy per collaborator.

Example: python benchmarks/round_overhead.py --collaborators 2 --rounds 20 --parameters 1000
"""

import argparse
import asyncio
import shutil
import tempfile
from itertools import pairwise
from pathlib import Path

from figures import emit, figure, say
from floor import control_plane_floor

from openfl_like.api.federation import Federation
from openfl_like.federation.parties import EventRecord
from openfl_like.services.local_federation import LocalFederation

WORKSPACE = Path(__file__).parent / "workspaces" / "no_training"


def _workspace(place: Path, collaborators: int) -> dict[str, Path]:
    shutil.copytree(WORKSPACE, place)
    first = place / "shards" / "site-1.yaml"
    sites = {f"site-{number}": place / "shards" / f"site-{number}.yaml" for number in range(1, collaborators + 1)}
    for path in sites.values():
        if path != first:
            shutil.copyfile(first, path)
    return sites


def _rounds(federation: LocalFederation, plan: Path, overrides: tuple[str, ...]) -> list[float]:
    with Federation(federation.director, federation.user_certificates) as client:
        experiment = client.submit(plan, overrides)
        published = [
            item.time
            for item in client.watch(experiment.id)
            if isinstance(item, EventRecord) and item.kind == "round_finished"
        ]
        record = client.experiment(experiment.id)
    if record.summary.status != "FINISHED":
        raise SystemExit(f"the experiment is {record.summary.status}: {record.summary.reason}")
    # the first round is left out: the workers are still starting in it
    return [after - before for before, after in pairwise(published[1:])]


async def measure(collaborators: int, rounds: int, parameters: int) -> dict[str, object]:
    """Runs one experiment and gives its figure beside the floor of the same run."""
    with tempfile.TemporaryDirectory(prefix="fx-bench-") as directory:
        place = Path(directory)
        sites = _workspace(place / "workspace", collaborators)
        overrides = (
            f"aggregator.settings.rounds_to_train={rounds + 1}",
            f"task_runner.settings.parameters={parameters}",
            f"admission.min_collaborators={collaborators}",
        )
        async with LocalFederation(place / "federation", sites, (1,), ()) as federation:
            plan = place / "workspace" / "plan.yaml"
            values = await asyncio.to_thread(_rounds, federation, plan, overrides)
            server = federation.directory / "certs" / "director" / "director"
            floor = await asyncio.to_thread(
                control_plane_floor, federation.user_certificates, server, collaborators, rounds
            )
    base = sorted(floor)[len(floor) // 2]
    result = figure("w2_round_overhead", f"{collaborators} x {parameters}", "s/round", values, floor=round(base, 6))
    return {**result, "ratio": round(float(str(result["value"])) / base, 2)}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collaborators", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--parameters", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="8 rounds")
    arguments = parser.parse_args()
    rounds = 8 if arguments.quick else arguments.rounds
    result = asyncio.run(measure(arguments.collaborators, rounds, arguments.parameters))
    emit(result)
    milliseconds, floor = float(str(result["value"])) * 1000, float(str(result["floor"])) * 1000
    say(f"{result['case']} parameters: {milliseconds:.1f} ms a round; bare messages {floor:.1f} ms")


if __name__ == "__main__":
    main()
