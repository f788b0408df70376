"""W9: what a round costs beside a callback that raises, hangs or fills its disk; and beside one that does its work.

Nobody trains, as in W2, so that a round is as short as it can be. Experiments with and without the callback run in
turn, in one federation of real processes over mTLS.

Example: python benchmarks/callbacks.py --rounds 200 --pairs 3
"""

import argparse
import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path

from figures import beside, emit, figure, say
from no_training import Job, make_workspace, run_experiment

from openfl_like.services.local_federation import LocalFederation

SITES = 2
CASES: Mapping[str, str] = {
    "raises": "{template: 'src.misbehaving:Raises'}",
    "hangs": "{template: 'src.misbehaving:Hangs'}",
    "fills its disk": "{template: 'src.misbehaving:Fills'}",
    "saves": "{template: save, settings: {formats: [csv, jsonl]}}",
}


def measure(federation: LocalFederation, plan: Path, case: str, rounds: int, pairs: int) -> dict[str, object]:
    """Runs experiments without and with a callback, in turn, and gives the figure: seconds of a round."""
    usual = (f"admission.min_collaborators={SITES}",)
    job = Job(rounds, usual)
    other = Job(rounds, (*usual, f"callbacks=[{CASES[case]}]"))
    without: list[float] = []
    beside_it: list[float] = []
    use = None
    for _ in range(pairs):
        without += run_experiment(federation, plan, job).rounds_s
        found = run_experiment(federation, plan, other)
        beside_it += found.rounds_s
        use = found.use
    both = min(len(without), len(beside_it))
    floor = beside(sorted(beside_it)[:both], sorted(without)[:both])
    return figure("w9_callbacks", f"one that {case}", "s/round", beside_it, use, **floor)


async def run(options: argparse.Namespace) -> None:
    """Measures everything and prints."""
    rounds, pairs = (8, 1) if options.quick else (options.rounds, options.pairs)
    with tempfile.TemporaryDirectory(prefix="fx-bench-") as directory:
        place = Path(directory)
        sites = make_workspace(place / "workspace", SITES)
        settings = {"referee": "process"}
        async with LocalFederation(place / "federation", sites, (1,), (), settings=settings) as federation:
            plan = place / "workspace" / "plan.yaml"
            await asyncio.to_thread(run_experiment, federation, plan, Job(2, (f"admission.min_collaborators={SITES}",)))
            for case in options.cases:
                result = await asyncio.to_thread(measure, federation, plan, case, rounds, pairs)
                emit(result)
                milliseconds = float(str(result["value"])) * 1000
                say(f"{result['case']}: {milliseconds:.2f} ms a round, {result['ratio']} of without")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--quick", action="store_true", help="8 rounds")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
