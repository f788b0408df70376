"""W1: what moving a model costs: down to every collaborator, through its worker, up again, aggregated and published.

Bare TLS sockets and bare gRPC streams move the same bytes in the same run; they do nothing else with them.

Example: python benchmarks/transfer.py --megabytes 100 --collaborators 2 --rounds 5
"""

import argparse
import asyncio
import tempfile
from pathlib import Path
from statistics import median

from figures import emit, figure, say
from floor import grpc_floor, tls_floor
from no_training import make_workspace, run_experiment

from openfl_like.services.local_federation import LocalFederation


async def measure(megabytes: int, tensors: int, collaborators: int, rounds: int) -> dict[str, object]:
    """Runs one experiment and gives its figure beside the floors of the same run."""
    size = megabytes * 1_000_000
    with tempfile.TemporaryDirectory(prefix="fx-bench-") as directory:
        place = Path(directory)
        sites = make_workspace(place / "workspace", collaborators)
        overrides = (
            f"task_runner.settings.parameters={size // 4 // tensors}",
            f"task_runner.settings.tensors={tensors}",
            f"admission.min_collaborators={collaborators}",
        )
        async with LocalFederation(place / "federation", sites, (1,), ()) as federation:
            plan = place / "workspace" / "plan.yaml"
            found = await asyncio.to_thread(run_experiment, federation, plan, rounds, overrides)
            keys = federation.user_certificates, federation.directory / "certs" / "director" / "director"
        tls = median(await asyncio.to_thread(tls_floor, *keys, size, collaborators, rounds + 1))
        bare = median(await asyncio.to_thread(grpc_floor, *keys, size, collaborators, rounds + 1))
    value = median(found.rounds_s)
    return figure(
        "w1_transfer",
        f"{megabytes}MB in {tensors} x {collaborators}",
        "s/round",
        found.rounds_s,
        floor=round(tls, 4),
        ratio=round(value / tls, 2),
        grpc_floor=round(bare, 4),
        grpc_ratio=round(value / bare, 2),
        cpu_s=found.cpu_s,
        rss_mb=found.anonymous_mb,
        file_mb=found.file_mb,
    )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--tensors", type=int, default=10)
    parser.add_argument("--collaborators", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="20 MB")
    arguments = parser.parse_args()
    megabytes = 20 if arguments.quick else arguments.megabytes
    result = asyncio.run(measure(megabytes, arguments.tensors, arguments.collaborators, arguments.rounds))
    emit(result)
    say(
        f"{result['case']}: {result['value']} s a round; TLS floor {result['floor']} s (x {result['ratio']}), "
        f"gRPC floor {result['grpc_floor']} s (x {result['grpc_ratio']}); {result['cpu_s']} CPU s a round"
    )


if __name__ == "__main__":
    main()
