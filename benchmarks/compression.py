"""W7: what compressing updates costs and saves: bytes, seconds, memory of each pipeline, and what is learned with it.

An update is ten float32 tensors; the trained model differs from the global one by normal noise of 1 % of the weights'
standard deviation. Everything is in the page cache, in one thread. The floors, in turn with each run: writing the
trained model as a plain file without waiting for the disk, copying one block by block into float64. Error feedback is
carried along, and differences are sent, as the plan's defaults say. The model that learns is the workspace template
torch_digits, three sites with very different digits, simulated with its own seed.

Example: python benchmarks/compression.py --megabytes 100
"""

import argparse
import asyncio
import itertools
import logging
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from apart import Apart, Spent, Work
from figures import beside, emit, figure, say, use_of
from processes import Memory

from openfl_like.aggregation.combining import BLOCK_ELEMENTS
from openfl_like.data.shard import build_shard
from openfl_like.data.shard_file import load_shard_config
from openfl_like.federation.components import build_encoding
from openfl_like.plan.load import load_plan
from openfl_like.plan.schema import CompressionPipeline, Plan
from openfl_like.plan.section import Component
from openfl_like.plan.workspace import template_path
from openfl_like.services.simulation import Simulation, SimulationSettings
from openfl_like.store.sqlite.stores import SQLITE
from openfl_like.tensors.container import TensorFile, TensorWriter, write_tensors
from openfl_like.tensors.encoded import Encoding, ErrorFeedback, ModelReader, Sent, open_update, write_encoded
from openfl_like.tensors.named import TensorSpec

BENCH = "w7_compression"
TENSORS = 10
BLOCK = 1 << 18
WORKS = {"write": "encode", "read": "decode"}
NOISE = 0.01
ZSTD = Component(template="zstd")
LOSSY = {
    "none": Component(template="none"),
    "float16": Component(template="float16"),
    "bfloat16": Component(template="bfloat16"),
    "quantise 8": Component(template="quantise", settings={"bits": 8}),
    "quantise 4": Component(template="quantise", settings={"bits": 4}),
    "top_k 10 %": Component(template="top_k", settings={"fraction": 0.1}),
    "top_k 1 %": Component(template="top_k", settings={"fraction": 0.01}),
    "random_k 10 %": Component(template="random_k", settings={"fraction": 0.1}),
}
PIPELINES = {
    f"{name}{' + zstd' if packing.template == 'zstd' else ''}": CompressionPipeline(
        template=lossy.template, settings=lossy.settings, lossless=packing
    )
    for packing in (Component(template="none"), ZSTD)
    for name, lossy in LOSSY.items()
}
_PROCESSES = multiprocessing.get_context("forkserver")  # imports are done once


def plan_with(pipeline: CompressionPipeline, rounds: int) -> Plan:
    """The plan of the template with another pipeline."""
    plan = load_plan(template_path("torch_digits") / "plan.yaml")
    settings = {**plan.aggregator.settings.model_dump(), "rounds_to_train": rounds}
    changed = {"aggregator": {"settings": settings}, "compression_pipeline": pipeline.model_dump()}
    return Plan.model_validate({**plan.model_dump(), **changed})


def make_models(place: Path, megabytes: int) -> None:
    """Writes a global model and one that was trained from it."""
    size = megabytes * 1_000_000 // 4 // TENSORS
    schema = tuple(TensorSpec(f"w{number}", "F32", (size,)) for number in range(TENSORS))
    random = np.random.default_rng(0)
    with TensorWriter(place / "base", schema) as base, TensorWriter(place / "trained", schema) as trained:
        for spec in schema:
            for start in range(0, size, BLOCK):
                block = random.standard_normal(min(BLOCK, size - start), np.float32) * np.float32(0.05)
                noise = random.standard_normal(block.size, np.float32) * np.float32(0.05 * NOISE)
                base.write(spec.name, start, block)
                trained.write(spec.name, start, block + noise)


def read(update: ModelReader) -> None:
    """Reads every block once, as an Aggregator does that looks at float64."""
    buffer = np.empty(BLOCK_ELEMENTS)
    for spec in update.schema:
        flat = update.flat(spec.name)
        for start in range(0, spec.size, BLOCK_ELEMENTS):
            block = flat[start : start + BLOCK_ELEMENTS]
            np.copyto(buffer[: block.size], block)


def writer(place: Path, encoding: Encoding | None) -> Callable[[], object]:
    """Writes an update; without an encoding a plain file."""
    trained, out = TensorFile(place / "trained"), place / "update"
    tensors = {name: trained.tensor(name) for name in trained.names}
    if encoding is None:
        return lambda: write_tensors(out, tensors, sync=False, recyclable=out)
    sent, left, updates = Sent(encoding, 7, place / "base"), ErrorFeedback(), itertools.count()

    def encode() -> None:
        left.keep(write_encoded(out, tensors, sent, left.carried(next(updates)), recyclable=out))

    return encode


def reader(place: Path, encoding: Encoding | None) -> Callable[[], object]:
    """Reads that update."""
    sent = None if encoding is None else Sent(encoding, 7, place / "base")

    def decode() -> None:
        update = open_update(place / "update", sent)
        read(update)
        update.close()

    return decode


def _work(place: Path, name: str, work: str) -> AbstractContextManager[Work]:
    """Prepares a pipeline's ``write`` or ``read`` for a process of its own, which has done it once before it counts."""
    encoding = build_encoding(plan_with(PIPELINES[name], 1))
    ready = {"write": writer, "read": reader}[work](place, encoding)
    ready()
    return nullcontext(ready)


@dataclass(frozen=True, slots=True)
class Compared:
    """What a pipeline took, and what the same took uncompressed, in turn.

    Attributes:
        spent: Run by run.
        floor: The same.
        grown: By how much the memory of the pipeline's process grew at most.
    """

    spent: Sequence[Spent]
    floor: Sequence[Spent]
    grown: Memory


def compare(place: Path, runs: int, name: str, work: str) -> Compared:
    """Does a pipeline's ``write`` or ``read`` and the floor in turn, in a process each."""
    floor_place = place / "floor"
    with (
        Apart(_work, floor_place, "none", work, context=_PROCESSES) as bare,
        Apart(_work, place, name, work, context=_PROCESSES) as ours,
    ):
        turns = [(bare.once(), ours.once()) for _ in range(runs)]
        return Compared([spent for _, spent in turns], [floor for floor, _ in turns], ours.grown())


def learn(name: str, rounds: int) -> float:
    """Gives the accuracy of a model that was trained with a pipeline."""
    logging.disable(logging.WARNING)
    workspace = template_path("torch_digits")
    paths = sorted((workspace / "shards").glob("*.yaml"))
    shards = {path.stem: build_shard(load_shard_config(path), path.parent) for path in paths}
    place = Path(tempfile.mkdtemp(prefix="fx-bench-"))
    settings = SimulationSettings(plan_with(PIPELINES[name], rounds), workspace, shards, place)
    try:
        with Simulation(settings, SQLITE) as simulation:
            versions = asyncio.run(simulation.run()).versions
    finally:
        shutil.rmtree(place)
    return versions[-1].version.metrics["accuracy"]


def report(name: str, found: Mapping[str, Compared], megabytes: int) -> list[float]:
    """Prints the figures of a pipeline; gives seconds and MB for the table."""
    row = []
    scale = 100 / megabytes
    for work, verb in WORKS.items():
        compared = found[work]
        seconds, floor = ([spent.seconds * scale for spent in each] for each in (compared.spent, compared.floor))
        use = use_of(median(spent.cpu_s for spent in compared.spent) * scale, compared.grown)
        emit(figure(BENCH, f"{verb} {name}", "s/100MB", seconds, use, **beside(seconds, floor)))
        row += [median(seconds), compared.grown.anonymous]
    return row


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=100, help="size of an update")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=20, help="of the model that learns")
    parser.add_argument("--only", action="append", choices=PIPELINES, help="a pipeline; may be given several times")
    parser.add_argument("--quick", action="store_true", help="less of everything: below a minute")
    options = parser.parse_args()
    if options.quick:
        options.megabytes, options.runs, options.rounds = 20, 2, 3
    return options


def main() -> None:
    """Prints a figure for each pipeline's bytes, encoding, decoding and accuracy, and a table for people."""
    options = parse()
    names = options.only or list(PIPELINES)
    _PROCESSES.set_forkserver_preload(["__main__"])
    learner = _PROCESSES.Pool(1)
    place = Path(tempfile.mkdtemp(prefix="fx-bench-"))
    say(f"{'pipeline':22} {'bytes':>7} {'encode s/100MB':>15} {'MB':>6} {'decode':>7} {'MB':>6} {'accuracy':>9}")
    try:
        for folder in (place, place / "floor"):
            folder.mkdir(exist_ok=True)
            make_models(folder, options.megabytes)
        for name in names:
            found = {work: compare(place, options.runs, name, work) for work in WORKS}
            row = report(name, found, options.megabytes)
            size = (place / "update").stat().st_size / (place / "trained").stat().st_size
            emit(figure(BENCH, f"size {name}", "of the model", [size], None, synthetic=f"normal, {NOISE:.0%}"))
            learned = "as before"
            if not (options.quick and "zstd" in name):
                accuracy = learner.apply(learn, (name, options.rounds))
                emit(figure(BENCH, f"accuracy {name}", "", [accuracy], None, rounds=options.rounds))
                learned = f"{accuracy:.4f}"
            say(f"{name:22} {size:7.1%} {row[0]:15.3f} {row[1]:6.1f} {row[2]:7.3f} {row[3]:6.1f} {learned:>9}")
    finally:
        learner.terminate()
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
