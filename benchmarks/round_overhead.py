"""W2: what a round costs when nobody trains. Real processes over mTLS: a Director, an Envoy per collaborator.

With more than a few collaborators those are stubs, see `link_stubs`, with a real Aggregator; `--processes` has real
ones all the same. With `--trip-ms` the sites are far away, with `--sync-ms` the disk is slow, see `conditions`: then
no floor is measured meanwhile, because a round would be synced in that time.

Example: python benchmarks/round_overhead.py --collaborators 2 --rounds 20 --parameters 1000
"""

import argparse
import asyncio
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from apart import Apart
from conditions import USUAL, Conditions
from figures import beside, emit, figure, say
from floor import messages
from link_stubs import run_stubs
from no_training import Job, Measured, make_workspace, run_experiment

from openfl_like.pki.roles import Role
from openfl_like.services.local_federation import LocalFederation
from openfl_like.testing.certificates import ThrowAwayFederation

MOST_PROCESSES = 10


@dataclass(frozen=True, slots=True)
class Case:
    """What is run.

    Attributes:
        collaborators: How many sites.
        parameters: Length of the model.
        rounds: So often.
        processes: Whether the sites are real, however many they are.
        conditions: Under what.
    """

    collaborators: int
    parameters: int
    rounds: int
    processes: bool = False
    conditions: Conditions = USUAL

    @property
    def stubs(self) -> bool:
        """Whether the sites are stubs."""
        return self.collaborators > MOST_PROCESSES and not self.processes

    def __str__(self) -> str:
        return f"{self.collaborators} x {self.parameters}{', stubs' if self.stubs else ''}{self.conditions}"

    def floors(self, client: Path, server: Path, stack: ExitStack) -> Mapping[str, Callable[[], float]]:
        """Prepare what is measured in turn with the rounds, until the stack is closed."""
        if not self.conditions.usual:
            return {}
        return {"messages": stack.enter_context(Apart(messages, client, server, self.collaborators)).seconds}


def measure_stubs(case: Case) -> Measured:
    """Runs one experiment with stubs, in turn with the floor."""
    with tempfile.TemporaryDirectory(prefix="fx-bench-") as directory, ExitStack() as stack:
        federation = ThrowAwayFederation(Path(directory))
        user = federation.folder(federation.credentials(Role.USER, "user"))
        server = federation.folder(federation.credentials(Role.DIRECTOR, "director"))
        job = Job(case.rounds, floors=case.floors(user, server, stack))
        return run_stubs(case.collaborators, (case.parameters, 1), job, case.conditions.environment)


async def measure_processes(case: Case) -> Measured:
    """Runs one experiment with real collaborators and workers, in turn with the floor."""
    with tempfile.TemporaryDirectory(prefix="fx-bench-") as directory, ExitStack() as stack:
        place = Path(directory)
        sites = make_workspace(place / "workspace", case.collaborators)
        overrides = (
            f"task_runner.settings.parameters={case.parameters}",
            f"admission.min_collaborators={case.collaborators}",
        )
        bare = LocalFederation(place / "federation", sites, (1,), ())
        async with case.conditions.around(bare) as federation:
            keys = federation.user_certificates, federation.directory / "certs" / "director" / "director"
            job = Job(case.rounds, overrides, case.floors(*keys, stack))
            return await asyncio.to_thread(run_experiment, federation, place / "workspace" / "plan.yaml", job)


def measure(case: Case) -> dict[str, object]:
    """Runs one experiment and gives its figure, beside the floor if there is one."""
    found = measure_stubs(case) if case.stubs else asyncio.run(measure_processes(case))
    floors = found.floors_s.get("messages")
    floor = beside(found.rounds_s, floors) if floors else {}
    return figure("w2_round_overhead", str(case), "s/round", found.rounds_s, found.use, **floor)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collaborators", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--parameters", type=int, default=1000)
    parser.add_argument("--processes", action="store_true", help="no stubs, however many collaborators")
    parser.add_argument("--trip-ms", type=int, default=0, help="there and back between a site and its Aggregator")
    parser.add_argument(
        "--sync-ms", type=int, default=0, help="of every sync of the Aggregator, besides the disk's own"
    )
    parser.add_argument("--quick", action="store_true", help="8 rounds")
    arguments = parser.parse_args()
    rounds = 8 if arguments.quick else arguments.rounds
    conditions = Conditions(arguments.trip_ms, arguments.sync_ms)
    case = Case(arguments.collaborators, arguments.parameters, rounds, arguments.processes, conditions)
    if case.stubs and conditions.trip_ms:
        parser.error(f"stubs are not far away: up to {MOST_PROCESSES} collaborators, or --processes")
    result = measure(case)
    emit(result)
    floor = f"; bare messages {float(str(result['floor'])) * 1000:.1f} ms" if "floor" in result else ""
    say(f"{result['case']} parameters: {float(str(result['value'])) * 1000:.1f} ms a round{floor}")


if __name__ == "__main__":
    main()
