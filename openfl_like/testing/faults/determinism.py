"""The same bytes whoever dies: ``python -m openfl_like.testing.faults.determinism --runs 50``.

One plan is run again and again; in every run one process of a role that the seed names is killed in a round that the
seed names. Each must end with the SHA-256 of the undisturbed run. Words go to stderr, one JSON line to stdout. Exit
code 1: one did not; 2: a kill came too late to disturb anything.
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
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from pathlib import Path

from openfl_like.api.reconnect import watch
from openfl_like.federation.events import Notice, Status
from openfl_like.federation.parties import EventRecord
from openfl_like.pki.files import load_credentials
from openfl_like.store.experiment import ExperimentStore
from openfl_like.testing.faults.call_history import History
from openfl_like.testing.faults.chaos import say
from openfl_like.testing.faults.client import PatientClient
from openfl_like.testing.faults.faulty_federation import FaultyFederation
from openfl_like.testing.faults.injector import FaultInjector
from openfl_like.testing.faults.schedule import ROLES, Fault, FaultKind
from openfl_like.wire.client import director_peer
from openfl_like.wire.experiments import ExperimentsClient

ROUNDS = 6
DELAY_S = 0.2
END_S = 90.0


@dataclass(frozen=True, slots=True)
class Kill:
    """Who is killed in a run, and when."""

    role: str
    round: int
    after_s: float
    pick: float


def kills(seed: int, runs: int) -> Iterator[Kill]:
    """Gives what a seed means: every role comes equally often, in an order, rounds and moments that are drawn."""
    draw = random.Random(seed)  # noqa: S311 (whoever has the seed must get the same)
    roles: list[str] = []
    for _ in range(runs):
        roles = roles or draw.sample(ROLES, len(ROLES))
        yield Kill(roles.pop(), draw.randrange(1, ROUNDS), draw.uniform(0.0, DELAY_S), draw.random())


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
    landed: Counter[str] = field(default_factory=Counter)
    identical: int = 0
    others: list[str] = field(default_factory=list)
    _count: int = 0

    async def run(self, seed: int, runs: int) -> None:
        """Runs it undisturbed, and then as often as wanted."""
        settings = (
            f"aggregator.settings.rounds_to_train={ROUNDS}",
            f"task_runner.settings.delay_s={DELAY_S}",
            f"admission.collaborators=[{', '.join(self.arena.names)}]",
        )
        parcel = self.client.pack(self.arena.plan, settings)
        self.reference = await self._ended(await self.client.submit(parcel, f"{self._next():016x}"))
        for number, kill in enumerate(kills(seed, runs), 1):
            experiment = await self.client.submit(parcel, f"{self._next():016x}")
            killed_at = await self._disturb(experiment, kill, number)
            found = await self._ended(experiment)
            landed = killed_at < await asyncio.to_thread(_end_of, self.arena.state / "experiments" / experiment)
            self.landed[kill.role] += landed
            self.identical += landed and found == self.reference
            if found != self.reference:
                self.others.append(f"run {number}, {kill}: {found}")
            say(f"[{number}/{runs}] {kill.role} in round {kill.round}{'' if landed else ' (missed)'}: {found[:16]}")

    def _next(self) -> int:
        self._count += 1
        return self._count

    async def _disturb(self, experiment: str, kill: Kill, number: int) -> float:
        """Kills when the round has begun; gives when that was, infinity if nobody was there."""
        await asyncio.wait_for(self._until(experiment, kill.round), END_S)
        saboteur = FaultInjector(self.arena, lambda _: None)
        await saboteur.run(iter([Fault(number, kill.after_s, FaultKind.KILL, kill.role, kill.pick, 0.0)]), 1)
        return time.time() if saboteur.tally.landed.total() else math.inf

    async def _until(self, experiment: str, number: int) -> None:
        """Waits until a round has begun."""
        credentials = load_credentials(self.arena.federation.user_certificates)
        async with (
            ExperimentsClient(director_peer(self.arena.director, credentials)) as client,
            aclosing(watch(client.watch, experiment)) as items,
        ):
            async for item in items:
                if not isinstance(item, EventRecord) or item.kind != Notice.ROUND_STARTED:
                    continue
                if int(str(item.fields["round"])) >= number:
                    return

    async def _ended(self, experiment: str) -> str:
        """Waits for the end; gives the SHA-256 of the last model, or what became of the experiment instead."""
        summary = await self.client.ended(experiment, END_S)
        if summary is None:
            return f"it did not end within {END_S:g} s"
        if summary.status is not Status.FINISHED or summary.degraded:
            return f"{summary.standing}: {summary.reason}"
        return await asyncio.wait_for(self.client.model(experiment), END_S)


def _end_of(directory: Path) -> float:
    """When the last round of an experiment was published."""
    with closing(ExperimentStore(directory)) as store:
        return max((event.time for event in store.events() if event.kind == Notice.ROUND_FINISHED), default=0.0)


async def repeat(place: Path, seed: int, runs: int) -> dict[str, object]:
    """Runs one plan undisturbed and so many times disturbed; gives what is printed.

    Args:
        place: An empty directory.
        seed: Decides who is killed and when.
        runs: How many disturbed runs.
    """
    begin = time.monotonic()
    async with FaultyFederation(place, seed) as arena:
        user = arena.federation.user_certificates
        client = PatientClient(lambda: arena.director, user, History(place / "history.jsonl"), place / "client")
        repetition = Repetition(arena, client)
        await repetition.run(seed, runs)
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
    """Runs the command line; gives the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m openfl_like.testing.faults.determinism",
        description="One plan, a kill in every run, the same bytes.",
    )
    parser.add_argument("--seed", type=int, default=1, help="decides who is killed and when")
    parser.add_argument("--runs", type=int, default=50, help="how many disturbed runs")
    parser.add_argument("--keep", type=Path, help="keep everything in this new directory")
    options = parser.parse_args(arguments)
    place = (options.keep or Path(tempfile.mkdtemp(prefix="fx-determinism-"))).resolve()
    place.mkdir(parents=True, exist_ok=True)
    line = asyncio.run(repeat(place, options.seed, options.runs))
    code = 1 if line["others"] else 2 if line["landed"] != options.runs else 0
    if code:
        say(f"everything is kept in {place}")
    elif options.keep is None:
        shutil.rmtree(place, ignore_errors=True)
    sys.stdout.write(json.dumps(line) + "\n")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
