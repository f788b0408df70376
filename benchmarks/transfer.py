"""W1: what moving a model costs: down to every collaborator, through its worker, up again, aggregated and published.

Bare TLS sockets and bare gRPC streams move the same bytes, in turn with the rounds; they do nothing else with them.

With ``--odd`` the tensors have all kinds of odd shapes, as those of a real network; they travel as bytes all the same.

With ``--trained 0.01`` the rest of the weights is frozen, as in a fine-tune; `moved_share` tells how much of the model
still travels.

Example: python benchmarks/transfer.py --megabytes 100 --collaborators 2 --rounds 5
"""

import argparse
import asyncio
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from apart import Apart
from figures import beside, emit, figure, say
from floor import grpc_streams, tls_sockets
from no_training import Job, make_workspace, run_experiment

from openfl_like.services.local_federation import LocalFederation


@dataclass(frozen=True, slots=True)
class Case:
    """What is moved.

    Attributes:
        megabytes: Size of the model, 10^6 bytes each.
        tensors: In so many tensors.
        odd: Whether those have odd shapes.
        trained: Share of it that changes.
        collaborators: To and from so many sites.
        rounds: So often.
    """

    megabytes: int
    tensors: int
    odd: bool
    trained: float
    collaborators: int
    rounds: int

    def __str__(self) -> str:
        frozen = f", {1 - self.trained:.0%} frozen" if self.trained < 1 else ""
        odd = " odd" if self.odd else ""
        return f"{self.megabytes}MB in {self.tensors}{odd} x {self.collaborators}{frozen}"


async def measure(case: Case) -> dict[str, object]:
    """Runs one experiment and gives its figure; the floors are measured in turn with its rounds."""
    size, collaborators = case.megabytes * 1_000_000, case.collaborators
    with tempfile.TemporaryDirectory(prefix="fx-bench-") as directory, ExitStack() as stack:
        place = Path(directory)
        sites = make_workspace(place / "workspace", collaborators)
        async with LocalFederation(place / "federation", sites, (1,), ()) as federation:
            keys = federation.user_certificates, federation.directory / "certs" / "director" / "director"
            tls = stack.enter_context(Apart(tls_sockets, *keys, size, collaborators))
            grpc = stack.enter_context(Apart(grpc_streams, *keys, size, collaborators))
            overrides = (
                f"task_runner.settings.parameters={size // 4 // case.tensors}",
                f"task_runner.settings.tensors={case.tensors}",
                f"task_runner.settings.odd={str(case.odd).lower()}",
                f"task_runner.settings.trained={case.trained}",
                f"admission.min_collaborators={collaborators}",
            )
            job = Job(case.rounds, overrides, {"tls": tls.seconds, "grpc": grpc.seconds}, period_s=0.25)
            found = await asyncio.to_thread(run_experiment, federation, place / "workspace" / "plan.yaml", job)
    return figure(
        "w1_transfer",
        str(case),
        "s/round",
        found.rounds_s,
        found.use,
        **beside(found.rounds_s, found.floors_s["tls"]),
        **beside(found.rounds_s, found.floors_s["grpc"], "grpc_"),
        moved_share=round(found.moved_mb * 1e6 / (2 * size * collaborators), 4),
    )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--tensors", type=int, default=10)
    parser.add_argument("--odd", action="store_true", help="tensors of all kinds of odd shapes")
    parser.add_argument("--trained", type=float, default=1.0)
    parser.add_argument("--collaborators", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="20 MB, 3 rounds")
    arguments = parser.parse_args()
    megabytes = 20 if arguments.quick else arguments.megabytes
    rounds = 3 if arguments.quick else arguments.rounds
    case = Case(megabytes, arguments.tensors, arguments.odd, arguments.trained, arguments.collaborators, rounds)
    result = asyncio.run(measure(case))
    emit(result)
    say(
        f"{result['case']}: {result['value']} s a round; TLS floor {result['floor']} s (x {result['ratio']}), "
        f"gRPC floor {result['grpc_floor']} s (x {result['grpc_ratio']}); {result['cpu_s']} CPU s a round; "
        f"moved {float(str(result['moved_share'])):.1%} of the model both ways"
    )


if __name__ == "__main__":
    main()
