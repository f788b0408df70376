"""W6: what combining updates costs: gigabytes of updates a second, for each rule, beside plain NumPy on the same bytes.

The updates are in the page cache. Two floors of the same run, on one thread: `read` adds up each memory map block by
block, `copy` copies it into a buffer. Neither weighs, casts, compares, writes or digests anything.

Example: python benchmarks/aggregation.py --megabytes 1000 --updates 8
"""

import argparse
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import numpy as np
from figures import emit, figure, say
from processes import memory_kb

from openfl_like.aggregation.engine import UpdateFile, aggregate_files
from openfl_like.aggregation.rules import AggregationRule, Median, TrimmedMean, WeightedAverage
from openfl_like.aggregation.validators import Finite, validate_update
from openfl_like.federation.task import Phase, Update
from openfl_like.runtimes.models import in_threads
from openfl_like.tensors.container import TensorFile, TensorWriter
from openfl_like.tensors.named import TensorSpec

RULES: dict[str, AggregationRule] = {
    "weighted average": WeightedAverage(),
    "median": Median(),
    "trimmed mean": TrimmedMean(fraction=0.25),
}
TENSORS = 10
BLOCK = 1 << 18
PERIOD_S = 0.01
_SPAWN = multiprocessing.get_context("spawn")


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
    aggregate_files(RULES[rule], contributions, out, sync=sync, recyclable=recyclable, executor=in_threads)


def check(paths: list[Path]) -> None:
    """Looks for what is not finite, in one update after the other."""
    for path in paths:
        complaint = validate_update([Finite()], path, None, Update(1, Phase.TRAIN, path.name, "d", 1))
        assert not complaint, complaint  # noqa: S101 - what is measured must have worked


def _child(pipe: Connection, work: Callable[..., None], runs: int, arguments: tuple[object, ...]) -> None:
    pipe.send(memory_kb(os.getpid()))
    found = []
    for _ in range(runs):
        start, cpu = time.perf_counter(), time.process_time()
        work(*arguments)
        found.append((time.perf_counter() - start, time.process_time() - cpu))
    pipe.send(found)


def measure(work: Callable[..., None], runs: int, *arguments: object) -> tuple[list[float], float, float, float]:
    """Runs something in a process of its own, which has read everything before.

    Returns:
        Seconds of each run, median CPU seconds, and by how many MB anonymous and file-backed memory grew.
    """
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_child, args=(theirs, work, runs, arguments))
    process.start()
    theirs.close()
    before = ours.recv()
    samples = [before]
    while not ours.poll(PERIOD_S):
        samples.append(memory_kb(process.pid or 0))
    found = ours.recv()
    process.join()
    peaks = (max(sample) for sample in zip(*samples, strict=True))
    anonymous, file = (round((high - low) / 1024, 1) for high, low in zip(peaks, before, strict=True))
    return [seconds for seconds, _ in found], median(cpu for _, cpu in found), anonymous, file


def run(place: Path, options: argparse.Namespace) -> None:
    """Measures the floors and everything else, and prints."""
    megabytes = 32 if options.quick else options.megabytes
    total = megabytes * 1_000_000 * options.updates
    say(f"writing {options.updates} updates of {megabytes} MB to {place}")
    paths = make_updates(place, options.updates, megabytes)
    floors = {work.__name__: median(measure(work, options.runs + 1, paths)[0][1:]) for work in (read, copy)}
    say(", ".join(f"{name} {total / seconds / 1e9:.2f} GB/s" for name, seconds in floors.items()))
    cases = {rule: (combine, rule, options.sync) for rule in options.rules} | {"finite": (check,)}
    for case, (work, *arguments) in cases.items():
        seconds, cpu_s, anonymous, file = measure(work, options.runs, paths, *arguments)
        speeds = [total / each / 1e9 for each in seconds]
        ratios = {name: round(floor / median(seconds), 2) for name, floor in floors.items()}
        result = figure(
            "w6_aggregation",
            f"{case}, {options.updates} x {megabytes}MB",
            "GB/s",
            speeds,
            floor=round(total / floors["read"] / 1e9, 2),
            ratio=ratios["read"],
            copy_floor=round(total / floors["copy"] / 1e9, 2),
            copy_ratio=ratios["copy"],
            cpu_s=round(cpu_s, 2),
            rss_mb=anonymous,
            file_mb=file,
        )
        emit(result)
        say(
            f"{result['case']}: {median(speeds):.2f} GB/s, {100 * ratios['read']:.0f} % of read, "
            f"{100 * ratios['copy']:.0f} % of copy; {cpu_s:.1f} CPU s; {anonymous} MB anonymous, {file} MB of files"
        )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000, help="of one update")
    parser.add_argument("--updates", type=int, default=8)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rules", nargs="*", choices=RULES, default=list(RULES))
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
