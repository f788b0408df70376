"""The same bytes whoever dies: ``python -m openfl_like.testing.faults.determinism --runs 50``.

One plan is run again and again: that of the toy workload, or another, as with ``--plan plans/digits_scaffold.yaml``. In
every run one process of a role that the seed names is killed in a phase of a round that the seed names, while a gate
holds the sites that take part in that phase. Each must end with the SHA-256 of the undisturbed run. Words go to stderr,
one JSON line to stdout. Exit code 1: one did not; 2: a kill disturbed nothing.
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
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from openfl_like.federation.announcements import RoundFinished, UpdateReceived
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase
from openfl_like.plan.load import load_plan
from openfl_like.store.director_files import DirectorFiles
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.sqlite.stores import SQLITE
from openfl_like.testing.faults.call_history import History
from openfl_like.testing.faults.chaos import say
from openfl_like.testing.faults.client import PatientClient
from openfl_like.testing.faults.faulty_federation import FaultyFederation, toy_workload, workload_of
from openfl_like.testing.faults.injector import FaultInjector
from openfl_like.testing.faults.schedule import ROLES, Fault, FaultKind
from openfl_like.testing.gate import Gate

ROUNDS = 6
Cohorts = Mapping[tuple[int, Phase], Sequence[str]]
"""Round and phase -> the sites that take part."""

MOMENT_S = 0.2
END_S = 90.0


@dataclass(frozen=True, slots=True)
class Kill:
    """Who is killed in a run, and when.

    Attributes:
        role: Who.
        round: In which round.
        phase: In which phase of it, when all sites have come so far.
        ahead: Which part of them then do their work, below 1, while the others wait until the kill is over.
        after_s: How long these have for it: the kill falls while they work, deliver, or have delivered.
        pick: Which one of the role.
    """

    role: str
    round: int
    phase: Phase
    ahead: float
    after_s: float
    pick: float


def kills(seed: int, runs: int, rounds: int) -> Iterator[Kill]:
    """Yield what a seed means: every role comes equally often, in an order, rounds and moments that are drawn."""
    draw = random.Random(seed)  # noqa: S311 (whoever has the seed must get the same)
    roles: list[str] = []
    for _ in range(runs):
        roles = roles or draw.sample(ROLES, len(ROLES))
        phase, ahead = draw.choice((Phase.TRAIN, Phase.EVALUATE)), draw.random()
        moment = draw.uniform(0.0, MOMENT_S), draw.random()
        yield Kill(roles.pop(), draw.randrange(1, rounds), phase, ahead, *moment)


@dataclass(slots=True)
class Repetition:
    """Runs one plan on one federation.

    Args:
        arena: The federation.
        client: Its user.
    """

    arena: FaultyFederation
    client: PatientClient
    reference: str = ""
    cohorts: Cohorts = field(default_factory=dict)
    landed: Counter[str] = field(default_factory=Counter)
    identical: int = 0
    others: list[str] = field(default_factory=list)
    _count: int = 0

    async def run(self, seed: int, runs: int, settings: Sequence[str]) -> None:
        """Run it undisturbed, and then as often as wanted, with changed settings."""
        undisturbed = await self._submit(*settings)
        self.reference = await self._ended(undisturbed)
        self.cohorts = await asyncio.to_thread(_cohorts, self._files(undisturbed))
        plan = load_plan(self.arena.plan, settings)
        for number, kill in enumerate(kills(seed, runs, plan.aggregator.settings.rounds or ROUNDS), 1):
            async with Gate(plan.seed, self.arena.names) as gate:
                experiment = await self._submit(*settings, gate.setting)
                killed_at = await self._disturb(gate, kill, number)
                gate.open_all()
                found = await self._ended(experiment)
            landed = killed_at < await asyncio.to_thread(_end_of, self._files(experiment))
            self.landed[kill.role] += landed
            self.identical += landed and found == self.reference
            if found != self.reference:
                self.others.append(f"run {number}, {kill}: {found}")
            when = f"in round {kill.round}, {kill.phase}{'' if landed else ' (missed)'}"
            say(f"[{number}/{runs}] {kill.role} {when}: {found[:16]}")

    async def _submit(self, *settings: str) -> str:
        self._count += 1
        return await self.client.submit(self.client.pack(self.arena.plan, settings), f"{self._count:016x}")

    async def _disturb(self, gate: Gate, kill: Kill, number: int) -> float:
        """Kill in mid-round; return when that was, infinity if nobody was there."""
        gate.open(kill.round - 1)
        if kill.phase is Phase.EVALUATE:
            gate.open(kill.round, phase=Phase.TRAIN)
        cohort = self.cohorts[kill.round, kill.phase]
        await asyncio.wait_for(gate.arrived(kill.round, *cohort, phase=kill.phase), END_S)
        if ahead := cohort[: int(kill.ahead * len(cohort))]:
            gate.open(kill.round, *ahead, phase=kill.phase)
        saboteur = FaultInjector(self.arena, lambda _: None)
        await saboteur.run(iter([Fault(number, kill.after_s, FaultKind.KILL, kill.role, kill.pick, 0.0)]), 1)
        return time.time() if saboteur.tally.landed.total() else math.inf

    def _files(self, experiment: str) -> ExperimentFiles:
        return DirectorFiles(self.arena.state).experiment(experiment)

    async def _ended(self, experiment: str) -> str:
        """Wait for the end; return the SHA-256 of the last model, or what became of the experiment instead."""
        summary = await self.client.ended(experiment, END_S)
        if summary is None:
            return f"it did not end within {END_S:g} s"
        if summary.status is not Status.FINISHED or summary.degraded:
            return f"{summary.standing}: {summary.reason}"
        return await asyncio.wait_for(self.client.model(experiment), END_S)


def _cohorts(files: ExperimentFiles) -> Cohorts:
    """Who took part in which phase of which round of an experiment that nothing has disturbed."""
    found = defaultdict[tuple[int, Phase], list[str]](list)
    with closing(SQLITE.experiment(files)) as store:
        for event in store.events():
            if isinstance(event.announcement, UpdateReceived):
                found[event.announcement.round, event.announcement.phase].append(event.announcement.collaborator)
    return {place: sorted(names) for place, names in found.items()}


def _end_of(files: ExperimentFiles) -> float:
    """When the last round of an experiment was published."""
    with closing(SQLITE.experiment(files)) as store:
        return max(
            (event.time for event in store.events() if isinstance(event.announcement, RoundFinished)), default=0.0
        )


async def repeat(place: Path, seed: int, runs: int, plan: Path | None = None) -> dict[str, object]:
    """Run one plan undisturbed and so many times disturbed; return what is printed.

    Args:
        place: An empty directory.
        seed: Decides who is killed and when.
        runs: How many disturbed runs.
        plan: The plan; None: that of the toy workload.
    """
    begin = time.monotonic()
    work = toy_workload(place / "workspace") if plan is None else workload_of(plan)
    rounds = () if plan else (f"aggregator.settings.rounds_to_train={ROUNDS}",)
    settings = *work.overrides, *rounds, f"admission.collaborators=[{', '.join(work.shards)}]"
    async with FaultyFederation(place, seed, work) as arena:
        user = arena.federation.user_certificates
        client = PatientClient(lambda: arena.director, user, History(place / "history.jsonl"), place / "client")
        repetition = Repetition(arena, client)
        await repetition.run(seed, runs, settings)
    for other in repetition.others:
        say(f"not the same: {other}")
    return {
        "determinism": seed,
        "runs": runs,
        "landed": repetition.landed.total(),
        "identical": repetition.identical,
        "others": len(repetition.others),
        "killed": dict(sorted(repetition.landed.items())),
        "sha256": repetition.reference,
        "own_ends": len(arena.own_ends),
        "seconds": round(time.monotonic() - begin),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m openfl_like.testing.faults.determinism",
        description="One plan, a kill in every run, the same bytes.",
    )
    parser.add_argument("--seed", type=int, default=1, help="decides who is killed and when")
    parser.add_argument("--runs", type=int, default=50, help="how many disturbed runs")
    parser.add_argument("--plan", type=Path, help="a plan whose workspace has shards; else that of a toy workload")
    parser.add_argument("--keep", type=Path, help="keep everything in this new directory")
    options = parser.parse_args(arguments)
    place = (options.keep or Path(tempfile.mkdtemp(prefix="fx-determinism-"))).resolve()
    place.mkdir(parents=True, exist_ok=True)
    line = asyncio.run(repeat(place, options.seed, options.runs, options.plan))
    code = 1 if line["others"] else 2 if line["landed"] != options.runs else 0
    if code:
        say(f"everything is kept in {place}")
    elif options.keep is None:
        shutil.rmtree(place, ignore_errors=True)
    sys.stdout.write(json.dumps(line) + "\n")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
