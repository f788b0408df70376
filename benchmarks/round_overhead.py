"""W2: what a round costs when nobody trains. Real processes over mTLS: a Director, an Envoy per collaborator.

With more than a few collaborators those are stubs, see `link_stubs`, with a real Aggregator.

Example: python benchmarks/round_overhead.py --collaborators 2 --rounds 20 --parameters 1000
"""

import argparse
import asyncio
import tempfile
from pathlib import Path

from apart import Apart
from figures import beside, emit, figure, say
from floor import messages
from link_stubs import run_stubs
from no_training import Job, Measured, make_workspace, run_experiment

from openfl_like.pki.roles import Role
from openfl_like.services.local_federation import LocalFederation
from openfl_like.testing.certificates import ThrowAwayFederation

MOST_PROCESSES = 10


def measure_stubs(collaborators: int, rounds: int, parameters: int) -> Measured:
    """Runs one experiment with stubs, in turn with the floor."""
    with tempfile.TemporaryDirectory(prefix="fx-bench-") as directory:
        federation = ThrowAwayFederation(Path(directory))
        user = federation.folder(federation.credentials(Role.USER, "user"))
        server = federation.folder(federation.credentials(Role.DIRECTOR, "director"))
        with Apart(messages, user, server, collaborators) as bare:
            return run_stubs(collaborators, (parameters, 1), Job(rounds, floors={"messages": bare.seconds}))


async def measure_processes(collaborators: int, rounds: int, parameters: int) -> Measured:
    """Runs one experiment with real collaborators and workers, in turn with the floor."""
    with tempfile.TemporaryDirectory(prefix="fx-bench-") as directory:
        place = Path(directory)
        sites = make_workspace(place / "workspace", collaborators)
        overrides = (f"task_runner.settings.parameters={parameters}", f"admission.min_collaborators={collaborators}")
        async with LocalFederation(place / "federation", sites, (1,), ()) as federation:
            keys = federation.user_certificates, federation.directory / "certs" / "director" / "director"
            with Apart(messages, *keys, collaborators) as bare:
                job = Job(rounds, overrides, {"messages": bare.seconds})
                return await asyncio.to_thread(run_experiment, federation, place / "workspace" / "plan.yaml", job)


def measure(collaborators: int, rounds: int, parameters: int) -> dict[str, object]:
    """Runs one experiment and gives its figure beside the floor."""
    stubs = collaborators > MOST_PROCESSES
    if stubs:
        found = measure_stubs(collaborators, rounds, parameters)
    else:
        found = asyncio.run(measure_processes(collaborators, rounds, parameters))
    return figure(
        "w2_round_overhead",
        f"{collaborators} x {parameters}{', stubs' if stubs else ''}",
        "s/round",
        found.rounds_s,
        found.use,
        **beside(found.rounds_s, found.floors_s["messages"]),
    )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collaborators", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--parameters", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="8 rounds")
    arguments = parser.parse_args()
    rounds = 8 if arguments.quick else arguments.rounds
    result = measure(arguments.collaborators, rounds, arguments.parameters)
    emit(result)
    milliseconds, floor = float(str(result["value"])) * 1000, float(str(result["floor"])) * 1000
    say(f"{result['case']} parameters: {milliseconds:.1f} ms a round; bare messages {floor:.1f} ms")


if __name__ == "__main__":
    main()
