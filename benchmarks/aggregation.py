"""W6: what combining updates costs: gigabytes of updates a second, for each rule, beside plain NumPy on the same bytes.

The updates are in the page cache. Two floors, in turn with each run, on one thread: `read` adds up each memory map
block by block, `copy` copies it into a buffer. Neither weighs, casts, compares, writes or digests anything. Beside each
rule, it is done as one would write it in NumPy at first, on a gigabyte at most (`bare/naive_rules.py`); nothing is
written or digested there, either. Rules of a workspace run in a referee: ``--rules "median, referee"`` is what that
costs.

Example: python benchmarks/aggregation.py --megabytes 1000 --updates 8
"""

import argparse
import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, fields
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np
from apart import Apart, Spent, Work
from bare import naive_rules
from figures import beside, emit, figure, say, use_of

from openfl_like.aggregation.adaptive import FedAdam
from openfl_like.aggregation.clipping import CenteredClipping, NormBoundedMean
from openfl_like.aggregation.engine import Output, Recipe, Start, UpdateFile, aggregate_files
from openfl_like.aggregation.geometric_median import GeometricMedian
from openfl_like.aggregation.krum import Bulyan, Krum, MultiKrum
from openfl_like.aggregation.rules import AggregationRule, Median, TrimmedMean, WeightedAverage
from openfl_like.aggregation.server_optimizers import FedAvgM
from openfl_like.aggregation.trust import FLTrust
from openfl_like.aggregation.validators import Finite, validate_update
from openfl_like.federation.task import Phase, Update
from openfl_like.plan.section import Component
from openfl_like.processes.referee.parts import RefereeParts
from openfl_like.runtimes.models import in_threads
from openfl_like.tensors.container import TensorFile, TensorWriter
from openfl_like.tensors.named import TensorSpec

RULES: dict[str, Recipe] = {
    "weighted average": Recipe(WeightedAverage()),
    "median": Recipe(Median()),
    "trimmed mean": Recipe(TrimmedMean(fraction=0.25)),
    "geometric median": Recipe(GeometricMedian()),
    "krum": Recipe(Krum(fraction=0.2)),
    "multi-krum": Recipe(MultiKrum(fraction=0.2)),
    "bulyan": Recipe(Bulyan(fraction=0.15)),
    "norm-bounded mean": Recipe(NormBoundedMean()),
    "centred clipping": Recipe(CenteredClipping(radius=1e4)),
    "fltrust": Recipe(FLTrust(trusted="update-0")),
    "weighted average, fedavgm": Recipe(WeightedAverage(), FedAvgM()),
    "weighted average, fedadam": Recipe(WeightedAverage(), FedAdam()),
}
REFEREED = ", referee"
"""Ends the name of a case in which a referee runs the rule, as if a workspace had brought it."""
IN_REFEREE = [f"{name}{REFEREED}" for name in ("weighted average", "median", "krum")]
TENSORS = 10
BLOCK = 1 << 18


def make_updates(place: Path, updates: int, megabytes: int) -> list[Path]:
    """Writes model files of random numbers, and waits until the disk has them."""
    size = megabytes * 1_000_000 // 4 // TENSORS
    schema = tuple(TensorSpec(f"w{number}", "F32", (size,)) for number in range(TENSORS))
    paths = [place / f"update-{number}" for number in range(updates)]
    for seed, path in enumerate(paths):
        random = np.random.default_rng(seed)
        with TensorWriter(path, schema) as writer:
            for spec in schema:
                for start in range(0, size, BLOCK):
                    block = random.standard_normal(min(BLOCK, size - start), np.float32)
                    writer.write(spec.name, start, block)
    return paths


def read(paths: list[Path]) -> None:
    """The floor: every element is added up."""
    _each_block(paths, lambda block: block.sum())


def copy(paths: list[Path]) -> None:
    """The other floor: every byte is copied."""
    buffer = np.empty(BLOCK, np.float32)
    _each_block(paths, lambda block: np.copyto(buffer[: block.size], block))


def _each_block(paths: list[Path], work: Callable[[np.ndarray], object]) -> None:
    for path in paths:
        with TensorFile(path) as file:
            for name in file.names:
                flat = file.flat(name)
                for start in range(0, flat.size, BLOCK):
                    work(flat[start : start + BLOCK])


def combine(paths: list[Path], rule: str, sync: bool) -> None:  # noqa: FBT001 - it is given to another process
    """Combines all updates as an Aggregator does; from the second time on it overwrites the file before."""
    out, recyclable = paths[0].with_name("out"), paths[0].with_name("spare")
    if out.exists():
        out.replace(recyclable)
    contributions = [UpdateFile(path.name, path, 1.0 + number) for number, path in enumerate(paths)]
    output = Output(out, out.with_name("state"), sync=sync, recyclable=recyclable)
    aggregate_files(_recipe(rule), contributions, output, start=Start(1, paths[0]), executor=in_threads)


@cache  # one referee for all rounds of the process, as an Aggregator has one
def _recipe(rule: str) -> Recipe:
    recipe = RULES[rule.removesuffix(REFEREED)]
    if not rule.endswith(REFEREED):
        return recipe
    given = type(recipe.rule)
    settings = {each.name: getattr(recipe.rule, each.name) for each in fields(cast("Any", recipe.rule))}
    component = Component(template=f"{given.__module__}:{given.__name__}", settings=settings)
    parts = RefereeParts(Path(__file__).parent)
    atexit.register(parts.close)
    return Recipe(cast("AggregationRule", parts.build("aggregation", component, "aggregation")))


def check(paths: list[Path]) -> None:
    """Looks for what is not finite, in one update after the other."""
    for path in paths:
        complaint = validate_update([Finite()], path, None, Update(1, Phase.TRAIN, path.name, "d", 1))
        assert not complaint, complaint  # noqa: S101 - what is measured must have worked


def combine_naively(paths: list[Path], rule: str) -> None:
    """Combines a gigabyte of the updates in memory, whole arrays at once."""
    naive_rules.combine(paths, rule)


def _work(name: str, *arguments: object) -> AbstractContextManager[Work]:
    """Prepares one of the functions above for a process of its own, which has done it once before it counts."""
    works: Mapping[str, Callable[..., None]] = {
        "read": read,
        "copy": copy,
        "combine": combine,
        "naive": combine_naively,
        "check": check,
    }
    work = partial(works[name], *arguments)
    work()
    return nullcontext(work)


@dataclass(frozen=True, slots=True)
class Floor:
    """What is done in turn with the work, and how many bytes it goes through."""

    place: Apart
    total: int


def measure(case: str, place: Apart, floors: Mapping[str, Floor], total: int, runs: int) -> dict[str, object]:
    """Does the floors and the work in turn, so many times, and gives the figure."""
    spent: list[Spent] = []
    bare: dict[str, list[float]] = {name: [] for name in floors}
    for _ in range(runs):
        for name, floor in floors.items():
            bare[name].append(floor.total / floor.place.seconds() / 1e9)
        spent.append(place.once())
    speeds = [total / each.seconds / 1e9 for each in spent]
    return figure(
        "w6_aggregation",
        case,
        "GB/s",
        speeds,
        use_of(median(each.cpu_s for each in spent), place.grown()),
        **beside(speeds, bare["read"]),
        **beside(speeds, bare["copy"], "copy_"),
        **(beside(speeds, bare["naive"], "naive_") if "naive" in bare else {}),
    )


def run(place: Path, options: argparse.Namespace) -> None:
    """Measures everything, in turn with the floors, and prints."""
    megabytes = 32 if options.quick else options.megabytes
    total = megabytes * 1_000_000 * options.updates
    say(f"writing {options.updates} updates of {megabytes} MB to {place}")
    paths = make_updates(place, options.updates, megabytes)
    cases: dict[str, tuple[object, ...]] = {
        **{rule: ("combine", paths, rule, options.sync) for rule in options.rules},
        "finite": ("check", paths),
    }
    with Apart(_work, "read", paths) as reader, Apart(_work, "copy", paths) as copier:
        always = {"read": Floor(reader, total), "copy": Floor(copier, total)}
        for case, arguments in cases.items():
            with ExitStack() as stack:
                worker, floors = stack.enter_context(Apart(_work, *arguments)), dict(always)
                if case in naive_rules.RULES:
                    naive = stack.enter_context(Apart(_work, "naive", paths, case))
                    floors["naive"] = Floor(naive, 4 * naive_rules.elements(paths) * len(paths))
                name = f"{case}, {options.updates} x {megabytes}MB"
                result = measure(name, worker, floors, total, options.runs)
            emit(result)
            naively = f"{result['naive_ratio']} of NumPy at first; " if "naive_ratio" in result else ""
            say(
                f"{name}: {result['value']:.2f} GB/s; {result['ratio']} of reading, {result['copy_ratio']} of copying; "
                f"{naively}{result['cpu_s']} CPU s; {result['anonymous_mb']} MB anonymous"
            )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000, help="of one update")
    parser.add_argument("--updates", type=int, default=8)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rules", nargs="*", choices=[*RULES, *IN_REFEREE], default=[*RULES, *IN_REFEREE])
    parser.add_argument("--sync", action="store_true", help="wait for the disk, as an Aggregator does")
    parser.add_argument("--directory", type=Path, help="where there is space for one file more than updates")
    parser.add_argument("--quick", action="store_true", help="32 MB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fx-bench-", dir=options.directory) as directory:
        place = Path(directory)
        needed = (32 if options.quick else options.megabytes) * 1_000_000 * (options.updates + 2)
        if shutil.disk_usage(place).free < needed:
            parser.error(f"{place} has less than {needed / 1e9:.1f} GB left; name another --directory")
        run(place, options)


if __name__ == "__main__":
    main()
