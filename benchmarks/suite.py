"""Runs every benchmark one after the other and keeps the figures in one file.

With ``--only`` the figures of the others stay as they are in the file.

Example: python benchmarks/suite.py --out docs/benchmarks/results.jsonl --only transfer.py --only memory.py
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
from figures import say

HERE = Path(__file__).parent
RUNS = (
    "transfer.py --megabytes 100",
    "transfer.py --megabytes 100 --tensors 400",
    "transfer.py --megabytes 100 --tensors 137 --odd",
    "transfer.py --megabytes 1000 --rounds 6",
    "transfer.py --megabytes 100 --trained 0.01",
    "memory.py",
    "round_overhead.py --collaborators 2",
    "round_overhead.py --collaborators 10",
    "round_overhead.py --collaborators 50",
    "round_overhead.py --collaborators 50 --processes",
    "round_overhead.py --sync-ms 4 --rounds 100",
    "round_overhead.py --trip-ms 50",
    "simulation.py",
    "simulation.py --sites 10000",
    "simulation.py --runtime batched",
    "simulation.py --runtime process",
    "simulation.py --workload cnn",
    "startup.py",
    "idle_envoys.py",
    "restart.py",
    "aggregation.py",
    "compression.py",
    "callbacks.py",
)
QUICK_RUNS = (
    "transfer.py --quick",
    "transfer.py --quick --tensors 137 --odd",
    "memory.py --quick",
    "round_overhead.py --quick",
    "round_overhead.py --quick --collaborators 12",
    "round_overhead.py --quick --sync-ms 4",
    "round_overhead.py --quick --trip-ms 50",
    "simulation.py --quick",
    "simulation.py --quick --runtime batched",
    "simulation.py --quick --runtime process",
    "simulation.py --quick --workload cnn",
    "startup.py --quick",
    "idle_envoys.py --quick",
    "restart.py --quick",
    "aggregation.py --quick",
    "compression.py --quick --only none --only float16 --only bfloat16",
    "callbacks.py --quick --cases hangs",
)


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    fields = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    found = {name.strip(): value.strip() for name, _, value in fields}
    return {
        "machine": {
            "cores": os.cpu_count(),
            "cpu": found.get("model name", "unknown"),
            "family": f"family {found.get('cpu family', '?')}, model {found.get('model', '?')}",
            "memory_gb": round(psutil.virtual_memory().total / 1e9),
        }
    }


def others(former: list[str], measured: list[str]) -> list[str]:
    """Gives the former figures that were not measured again."""

    def case(line: str) -> tuple[object, object]:
        found = json.loads(line)
        return found.get("bench"), found.get("case")

    new = {case(line) for line in measured}
    return [line for line in former if case(line) not in new]


def main() -> int:
    """Runs all; 1 when one of them could not measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the file for the figures")
    parser.add_argument("--quick", action="store_true", help="small sizes: whether all work, not how fast they are")
    parser.add_argument("--only", action="append", metavar="SCRIPT", help="may be repeated  [default: all]")
    arguments = parser.parse_args()
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it tells of every connection that ends
    lines, failed = [json.dumps(machine())], []
    for run in QUICK_RUNS if arguments.quick else RUNS:
        script, *options = run.split()
        if arguments.only and script not in arguments.only:
            continue
        say(f"--- {run}")
        done = subprocess.run([sys.executable, HERE / script, *options], stdout=subprocess.PIPE, text=True, check=False)
        lines += done.stdout.splitlines()
        if done.returncode or not done.stdout:
            failed.append(run)
    if arguments.only and arguments.out.exists():
        lines += others(arguments.out.read_text().splitlines()[1:], lines)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text("\n".join(lines) + "\n")
    for run in failed:
        say(f"could not measure: {run}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
