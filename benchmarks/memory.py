"""W1: how much memory an Aggregator needs for a large model, from few sites and from many, under each rule.

The collaborators are stubs, see `link_stubs`; what a real one needs is in the figures of `transfer.py`. The floor is
the same Aggregator with a model of 4 kB, before each case.

Example: python benchmarks/memory.py --megabytes 250 --sites 3 --sites 16
"""

import argparse

from figures import beside, emit, figure, say
from link_stubs import run_stubs
from no_training import Job

RULES: dict[str, tuple[str, ...]] = {
    "fedavg": (),
    "median": ("aggregation.template=median",),
    "trimmed_mean": ("aggregation.template=trimmed_mean", "aggregation.settings.fraction=0.34"),
}
TENSORS = 10
LIMIT_MB = 200


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=250)
    parser.add_argument("--sites", type=int, action="append", help="may be repeated  [default: 3 and 16]")
    parser.add_argument("--rule", choices=RULES, action="append", help="may be repeated  [default: all]")
    parser.add_argument("--quick", action="store_true", help="20 MB from 3 and 6 sites, averaged")
    arguments = parser.parse_args()
    megabytes = 20 if arguments.quick else arguments.megabytes
    for rule in ["fedavg"] if arguments.quick else arguments.rule or RULES:
        for sites in [3, 6] if arguments.quick else arguments.sites or [3, 16]:
            floor = run_stubs(3, (1000, 1), Job(1, period_s=0.1)).use.anonymous_mb["aggregator"]
            found = run_stubs(sites, (megabytes * 250_000 // TENSORS, TENSORS), Job(1, RULES[rule], period_s=0.1))
            peak, resident = found.use.anonymous_mb["aggregator"], found.use.rss_mb["server"]
            case = f"{rule}, {megabytes}MB x {sites}"
            emit(figure("w1_memory", case, "MB", [peak], found.use, **beside([peak], [floor]), limit=LIMIT_MB))
            say(f"{case}: {peak:g} MB anonymous ({resident:g} MB resident); with 4 kB models {floor:g} MB")


if __name__ == "__main__":
    main()
