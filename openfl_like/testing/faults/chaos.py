"""A federation under random faults: ``python -m openfl_like.testing.faults.chaos --seed 1 --faults 200``.

One seed decides who is hit, with what, when and for how long. At the end the faults are taken away, every experiment
has to end, and the evidence is checked. Words go to stderr, one JSON line to stdout. Exit code 1: an invariant was
broken; 2: the run proves nothing, because faults did not land or hardly anything was done.
"""

import argparse
import asyncio
import json
import math
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from openfl_like.federation.status import Status
from openfl_like.tasks import TaskOwner, background, first_of
from openfl_like.testing.faults.call_history import History
from openfl_like.testing.faults.client import Parcel, PatientClient
from openfl_like.testing.faults.evidence import RunEvidence, gather
from openfl_like.testing.faults.faulty_federation import FaultyFederation
from openfl_like.testing.faults.injector import FaultInjector, Tally
from openfl_like.testing.faults.invariants import (
    Breach,
    Expected,
    Reference,
    acknowledged,
    check,
    comparable,
    contributions,
    lost_and_doubled,
)
from openfl_like.testing.faults.schedule import MIXES, schedule

BACKLOG = 2
CANCELLED_SHARE = 0.08
FEWEST_OPERATIONS = 5
REFERENCE_S = 60.0
SETTLE_S = 180.0
ROUNDS = 6
DELAY_S = 0.25
SEEDS = (11, 12)  # of the plans, which are submitted in turns


@dataclass(slots=True)
class Workload:
    """Submits one experiment after the other and cancels a few.

    Args:
        client: Asks the Director.
        parcels: What is submitted, in turns.
        seed: Decides request ids and cancellations.
        rate: Submissions a second beyond what is run; they are cancelled at the end.
    """

    client: PatientClient
    parcels: Sequence[Parcel]
    seed: int
    rate: float = 0.0
    submitted: list[str] = field(default_factory=list)
    flooded: list[str] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)
    _cancelling: TaskOwner = field(default_factory=TaskOwner)

    async def references(self) -> dict[str, str]:
        """Run every plan once, undisturbed; return plan digest -> experiment, without those that have not finished."""
        draw = random.Random(-self.seed)  # noqa: S311 (request ids that can be repeated)
        found = {}
        for parcel in self.parcels:
            experiment = await self.client.submit(parcel, f"{draw.getrandbits(64):016x}")
            self.submitted.append(experiment)
            summary = await self.client.ended(experiment, REFERENCE_S)
            if summary is not None and summary.status is Status.FINISHED:
                found[parcel.plan_digest] = experiment
        return found

    async def run(self) -> None:
        """Keep the queue filled until cancelled."""
        draw = random.Random(self.seed)  # noqa: S311 (as above)
        while True:
            listed = await self.client.experiments()
            ours = set(self.submitted)
            waiting = sum(one.id in ours and not one.status.ended for one in listed) if listed is not None else BACKLOG
            if waiting < BACKLOG:
                parcel = self.parcels[len(self.submitted) % len(self.parcels)]
                experiment = await self.client.submit(parcel, f"{draw.getrandbits(64):016x}")
                self.submitted.append(experiment)
                cancels, after_s = draw.random() < CANCELLED_SHARE, draw.uniform(0.0, 4.0)
                if cancels:
                    self.cancelled.add(experiment)
                    self._cancelling.start(self._cancel(experiment, after_s))
            else:
                await asyncio.sleep(0.3)

    async def flood(self) -> None:
        """Submit what there is no time to run, from several submitters at once, until cancelled."""
        await asyncio.gather(*(self._flood(number) for number in range(math.ceil(self.rate))))

    async def _flood(self, number: int) -> None:
        draw = random.Random(f"flood {self.seed} {number}")  # noqa: S311 (as above)
        while True:
            self.flooded.append(await self.client.submit(self.parcels[0], f"{draw.getrandbits(64):016x}"))
            await asyncio.sleep(math.ceil(self.rate) / self.rate)

    async def drain(self) -> None:
        """Cancel what was submitted in excess."""
        self.cancelled.update(self.flooded)
        for experiment in reversed(self.flooded):
            await self.client.cancel(experiment)

    async def settle(self) -> None:
        """Wait until every experiment has ended, for `SETTLE_S` seconds at most, and fetch the models."""
        await self.drain()
        ended = asyncio.gather(self._cancelling.wait(), self._ended())
        await first_of(SETTLE_S, ended=ended)
        for summary in await self.client.experiments() or []:
            if summary.status is Status.FINISHED:
                await asyncio.wait_for(self.client.model(summary.id), REFERENCE_S)

    async def _ended(self) -> None:
        while True:
            listed = await self.client.experiments()
            if listed is not None and all(summary.status.ended for summary in listed):
                return
            await asyncio.sleep(0.5)

    async def _cancel(self, experiment: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        await self.client.cancel(experiment)


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run went.

    Attributes:
        line: What is printed.
        breaches: What does not hold.
        invalid: Why the run proves nothing; empty if it does.
    """

    line: dict[str, object]
    breaches: Sequence[Breach]
    invalid: str

    @property
    def code(self) -> int:
        """The exit code."""
        return 1 if self.breaches else 2 if self.invalid else 0


def references_of(evidence: RunEvidence, undisturbed: dict[str, str]) -> dict[str, Reference]:
    """Return what the undisturbed runs made."""
    items = {item.id: item for item in evidence.experiments}
    return {
        digest: Reference(items[name].versions[-1].sha256, contributions(items[name]))
        for digest, name in undisturbed.items()
        if name in items and items[name].versions
    }


def judge(evidence: RunEvidence, expected: Expected, tally: Tally, wanted: int) -> RunResult:
    """Decide about a run."""
    breaches = check(evidence, expected)
    landed = tally.landed.total()
    operations = sum(call.told is not None for call in evidence.calls)
    finished = sum(item.status == Status.FINISHED for item in evidence.experiments)
    compared = comparable(evidence, expected)
    lost, doubled = lost_and_doubled(breaches)
    invalid = ""
    if landed < wanted:
        invalid = f"only {landed} of {wanted} faults have landed"
    elif operations < FEWEST_OPERATIONS or not expected.references:
        invalid = f"only {operations} calls were answered, and {len(expected.references)} undisturbed runs are known"
    line: dict[str, object] = {
        "faults_landed": landed,
        "experiments": len(evidence.experiments),
        "finished": finished,
        "invariant_breaks": len(breaches),
        "digests_equal": compared == finished and not any(breach.letter == "A5" for breach in breaches),
        "acknowledged": len(acknowledged(evidence)),
        "lost": lost,
        "doubled": doubled,
        "operations": operations,
        "faults": dict(sorted(tally.landed.items())),
        "missed": tally.missed,
    }
    return RunResult(line, breaches, invalid)


async def disturb(place: Path, seed: int, faults: int, mix: str, rate: float = 0.0) -> RunResult:
    """Run a federation under faults and judges it.

    Args:
        place: An empty directory.
        seed: Decides everything that is drawn.
        faults: How many have to land.
        mix: A key of `testing.schedule.MIXES`.
        rate: Submissions a second beyond what is run.
    """
    begin = time.monotonic()
    history = History(place / "history.jsonl")
    async with FaultyFederation(place, seed) as arena:
        client = PatientClient(lambda: arena.director, arena.federation.user_certificates, history, place / "client")
        rounds = f"aggregator.settings.rounds_to_train={ROUNDS}"
        delay = f"task_runner.settings.delay_s={DELAY_S}"
        parcels = [client.pack(arena.plan, (rounds, delay, f"seed={number}")) for number in SEEDS]
        workload = Workload(client, parcels, seed, rate)
        say("running the plans undisturbed")
        undisturbed = await workload.references()
        saboteur = FaultInjector(arena, say)
        async with background(workload.run(), workload.flood()):
            await saboteur.run(schedule(seed, mix, sorted(arena.lines)), faults)
        seconds = time.monotonic() - begin
        say("no more faults; waiting for the experiments to end")
        await workload.settle()
    strays, held = await arena.remains()
    evidence = gather(arena.state, history.path, strays, held)
    expected = Expected(references_of(evidence, undisturbed), cancelled=frozenset(workload.cancelled))
    verdict = judge(evidence, expected, saboteur.tally, faults)
    for end in arena.own_ends:
        say(f"a daemon ended and was started again: {end}")
    extra = {
        "restarts": sum(arena.restarts.values()),
        "own_ends": len(arena.own_ends),
        "director_ready_s": round(max(arena.ready_s, default=0.0), 1),
        "seconds": round(seconds),
    }
    line = {"chaos": mix, "seed": seed, **verdict.line, **extra}
    return RunResult(line, verdict.breaches, verdict.invalid)


def say(text: str) -> None:
    """Write words for people."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def report(verdict: RunResult, place: Path, repeat: str, *, keep: bool) -> None:
    """Print the verdict; what a failed run left behind is kept."""
    for breach in verdict.breaches:
        say(str(breach))
    if verdict.invalid:
        say(f"the run proves nothing: {verdict.invalid}")
    if verdict.code:
        say(f"state, history and logs are kept in {place}")
        say(f"repeat it with: {repeat}")
    elif not keep:
        shutil.rmtree(place, ignore_errors=True)
    sys.stdout.write(json.dumps(verdict.line) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m openfl_like.testing.faults.chaos", description="Faults, many of them."
    )
    parser.add_argument("--seed", type=int, help="decides everything that is drawn; by default a new one")
    parser.add_argument("--faults", type=int, default=25, help="how many have to land")
    parser.add_argument("--mix", choices=sorted(MIXES), default="mixed", help="what is drawn from")
    parser.add_argument("--rate", type=float, default=0.0, help="submissions a second beyond what can be run")
    parser.add_argument("--keep", type=Path, help="keep everything in this new directory")
    options = parser.parse_args(arguments)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    place = options.keep or Path(tempfile.mkdtemp(prefix="fx-chaos-"))
    place.mkdir(parents=True, exist_ok=True)
    mix = "" if options.mix == "mixed" else f" --mix {options.mix}"
    mix += f" --rate {options.rate:g}" if options.rate else ""
    repeat = f"python -m openfl_like.testing.faults.chaos --seed {seed} --faults {options.faults}{mix}"
    say(f"{options.faults} faults, mix {options.mix}, seed {seed}; in {place}")
    verdict = asyncio.run(disturb(place.resolve(), seed, options.faults, options.mix, options.rate))
    report(verdict, place, repeat, keep=options.keep is not None)
    return verdict.code


if __name__ == "__main__":
    raise SystemExit(main())
