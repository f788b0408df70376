"""Every failpoint once: ``python -m openfl_like.testing.faults.failpoint_suite``.

For each point a federation has it armed while an experiment runs; what was killed is started again, by the platform or,
if it is a daemon, as systemd would. The experiment must end like an undisturbed one, with the same bytes, and the
evidence must be sound. A point that nobody ran into proves nothing. Words go to stderr, one JSON line to stdout; exit
codes as in `testing.chaos`.
"""

import argparse
import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from openfl_like.failpoints import POINTS, Action
from openfl_like.federation.status import Status
from openfl_like.plan.load import load_plan
from openfl_like.tasks import background
from openfl_like.testing.faults import checkpoint_moves as moving
from openfl_like.testing.faults import migration
from openfl_like.testing.faults.call_history import History
from openfl_like.testing.faults.chaos import references_of, say
from openfl_like.testing.faults.client import Parcel, PatientClient
from openfl_like.testing.faults.evidence import gather
from openfl_like.testing.faults.faulty_federation import FaultyFederation, toy_workload
from openfl_like.testing.faults.invariants import Breach, Expected, Reference, check, remains
from openfl_like.testing.gate import Gate

ROUNDS = 2
KEEPING = "server_optimizer.template=fedavgm"
"""Something is kept from the first round to the second one: that has points of its own."""
SCORED = "cross_evaluation={metric: loss, threshold: 1000000}"
"""Sites score each other's updates, and find none that is to be dropped."""
END_S = 45.0
LAND_S = 8.0
FROZEN_S = 2.0
SIDE_BY_SIDE = 2
SURVIVED = frozenset({Action.KILL, Action.FREEZE, Action.DELAY, Action.SHORT_WRITE})
"""Actions that must not end an experiment; after the others it may be FAILED, with a reason."""
ARGUMENTS = {Action.DELAY: ":300"}
WITH_FILE = (
    "aggregator.update.spooled",
    "aggregator.publish.before",
    "aggregator.version.after",
    "tensors.rename.before",
)
AT_START = {"director.opened": "director"}
AT_RETURN = ("director.roster.joined", "director.roster.left", "envoy.hello.sent", "envoy.welcomed")
AT_CANCEL = ("director.cancel.asked",)
WITHOUT_EVALUATION = ("aggregator.updates.recorded.before", "aggregator.updates.recorded.after")
"""A round that nobody evaluates is published in the very step in which its last update comes."""
TRAIN_ONLY = ('tasks={"train": {"function": "train"}}', "model_store.best.metric=train.loss")
ALONE = {
    "store.migrate": migration.attempt,
    "director.import": moving.attempt,
    "director.export": moving.attempt,
    "director.remove": moving.attempt_removal,
}
"""Points that no running federation comes to: what their prefix is -> what comes to them in a process of its own."""


def points_of(action: Action) -> list[str]:
    """Return the points at which an action has a meaning."""
    if action is Action.SHORT_WRITE:
        return list(WITH_FILE)
    if action is Action.ERROR:
        return [name for name in POINTS if name.endswith(".before")]
    if action is Action.EXECUTED_THEN_ERROR:
        return [name for name in POINTS if not name.endswith(".before")]
    return list(POINTS)


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one point.

    Attributes:
        point: Which one.
        landed: Whether a process ran into it.
        breaches: What does not hold since then.
        seconds: How long it took.
    """

    point: str
    landed: bool
    breaches: tuple[Breach, ...]
    seconds: float

    def __str__(self) -> str:
        verdict = "; ".join(map(str, self.breaches)) or ("ok" if self.landed else "nobody ran into it")
        return f"{self.point} ({self.seconds:.1f} s): {verdict}"


@dataclass(slots=True)
class Bench:
    """One federation on which points are tried one after the other, until one of them breaks it.

    Args:
        arena: The federation.
        client: Its user.
        action: What happens at the points.
        gate: Is shut; an experiment that is to be cancelled waits there.
        end_s: Seconds within which an experiment has to end.
    """

    arena: FaultyFederation
    client: PatientClient
    action: Action
    gate: Gate
    end_s: float
    _short: Parcel = field(init=False)
    _held: Parcel = field(init=False)
    _unevaluated: Parcel = field(init=False)
    _references: dict[str, Reference] = field(default_factory=dict)
    _cancelled: set[str] = field(default_factory=set)
    _known: set[Breach] = field(default_factory=set)
    _count: int = 0

    async def prepare(self) -> None:
        """Run the plan undisturbed."""
        rounds = f"aggregator.settings.rounds_to_train={ROUNDS}"
        self._short = self.client.pack(self.arena.plan, (rounds, KEEPING, SCORED))
        self._held = self.client.pack(self.arena.plan, (rounds, KEEPING, SCORED, self.gate.setting))
        self._unevaluated = self.client.pack(self.arena.plan, (rounds, KEEPING, *TRAIN_ONLY))
        await self._run_undisturbed(self._short)

    async def _run_undisturbed(self, parcel: Parcel) -> None:
        """Run a plan once to know its bytes."""
        if parcel.plan_digest in self._references:
            return
        experiment = await self._submit(parcel)
        await self.client.ended(experiment, self.end_s)
        evidence = gather(self.arena.state, self.client.history.path)
        self._references |= references_of(evidence, {parcel.plan_digest: experiment})

    async def _submit(self, parcel: Parcel) -> str:
        self._count += 1
        return await self.client.submit(parcel, f"{self._count:016x}")

    async def attempt(self, point: str) -> Tried:
        """Have one point act while an experiment runs, and looks at what is left."""
        if point in WITHOUT_EVALUATION:
            await self._run_undisturbed(self._unevaluated)
        begin = time.monotonic()
        clause = f"{point}={self.action}{ARGUMENTS.get(self.action, '')}#n{self._count}"
        self.arena.switch.write_text(clause, encoding="utf-8")
        breaches = []
        try:
            async with background(self._thaw(clause)):
                await self._provoke(point)
                landed = await self._landed(clause, LAND_S)
        except TimeoutError:
            landed = clause in self.arena.landings()
            breaches.append(Breach("A2", point, f"the experiment did not end within {self.end_s:g} s"))
        finally:
            self.arena.switch.unlink(missing_ok=True)
        breaches += self._look()
        return Tried(point, landed, tuple(breaches), time.monotonic() - begin)

    async def _provoke(self, point: str) -> None:
        if point in AT_START:
            self._kill(AT_START[point])
        elif point in AT_RETURN:
            self._kill("site-2")
        experiment = await asyncio.wait_for(self._submit(self._parcel_for(point)), self.end_s)
        if point in AT_CANCEL:
            self._cancelled.add(experiment)
            await self._until_running(experiment)
            await asyncio.wait_for(self.client.cancel(experiment), self.end_s)
        if await self.client.ended(experiment, self.end_s) is None:
            raise TimeoutError

    def _parcel_for(self, point: str) -> Parcel:
        if point in AT_CANCEL:
            return self._held
        return self._unevaluated if point in WITHOUT_EVALUATION else self._short

    def _kill(self, daemon: str) -> None:
        child = self.arena.federation.children[daemon]
        with contextlib.suppress(ProcessLookupError):
            child.process.kill()

    async def _until_running(self, experiment: str) -> None:
        async with asyncio.timeout(self.end_s):
            while True:
                for summary in await self.client.experiments() or []:
                    if summary.id == experiment and summary.status is not Status.QUEUED:
                        return
                await asyncio.sleep(0.2)

    async def _landed(self, clause: str, timeout_s: float) -> bool:
        end = time.monotonic() + timeout_s
        while clause not in self.arena.landings():
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.1)
        return True

    async def _thaw(self, clause: str) -> None:
        """Let a process that froze itself go on after a while."""
        if self.action is Action.FREEZE and await self._landed(clause, self.end_s):
            await asyncio.sleep(FROZEN_S)
            self.arena.thaw_all()

    def _look(self) -> list[Breach]:
        evidence = gather(self.arena.state, self.client.history.path)
        expected = Expected(self._references, self.action in SURVIVED, frozenset(self._cancelled))
        found = [breach for breach in check(evidence, expected) if breach not in self._known]
        self._known.update(found)
        return found


@dataclass(slots=True)
class Suite:
    """Tries points on a few federations side by side.

    Args:
        place: Where they are.
        action: What happens at the points.
        points: Which ones.
        end_s: Seconds within which an experiment has to end.
    """

    place: Path
    action: Action
    points: Sequence[str]
    end_s: float = END_S
    tried: list[Tried] = field(default_factory=list)
    own_ends: list[str] = field(default_factory=list)
    _waiting: list[str] = field(default_factory=list)
    _arenas: int = 0

    async def run(self) -> None:
        """Try them all."""
        alone = [point for point in self.points if point.startswith(tuple(ALONE))]
        self._waiting = [point for point in reversed(self.points) if point not in alone]
        for point in alone:
            await self._alone(point)
        await asyncio.gather(*(self._work() for _ in range(SIDE_BY_SIDE)))

    async def _alone(self, point: str) -> None:
        begin = time.monotonic()
        attempt = next(attempt for prefix, attempt in ALONE.items() if point.startswith(prefix))
        clause = f"{point}={self.action}{ARGUMENTS.get(self.action, '')}"
        landed, problems = await asyncio.to_thread(attempt, self.place / point, clause)
        breaches = tuple(Breach("A3", point, problem) for problem in problems)
        self._note(Tried(point, landed, breaches, time.monotonic() - begin))

    async def _work(self) -> None:
        while self._waiting:
            self._arenas += 1
            place = self.place / f"arena-{self._arenas}"
            arena = FaultyFederation(place, self._arenas, toy_workload(place / "workspace", sites=2))
            async with arena, Gate(load_plan(arena.plan).seed, arena.names) as gate:
                await self._try_on(arena, gate, History(place / "history.jsonl"))
            self.own_ends += arena.own_ends
            left = remains(*await arena.remains())
            if left:
                self._note(Tried(place.name, landed=True, breaches=tuple(left), seconds=0.0))

    async def _try_on(self, arena: FaultyFederation, gate: Gate, history: History) -> None:
        """Try points until there is none left, or the federation is stuck."""
        user = arena.federation.user_certificates
        client = PatientClient(lambda: arena.director, user, history, arena.directory / "client")
        bench = Bench(arena, client, self.action, gate, self.end_s)
        await bench.prepare()
        while self._waiting:
            result = self._note(await bench.attempt(self._waiting.pop()))
            if any(breach.letter == "A2" for breach in result.breaches):
                return

    def _note(self, result: Tried) -> Tried:
        self.tried.append(result)
        say(f"[{len(self.tried)}/{len(self.points)}] {result}")
        return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m openfl_like.testing.faults.failpoint_suite", description="Every failpoint once."
    )
    parser.add_argument("points", nargs="*", help="which ones; by default all of them")
    parser.add_argument("--action", choices=[action.value for action in Action], default="kill", help="what happens")
    parser.add_argument("--keep", type=Path, help="keep everything in this new directory")
    parser.add_argument("--end-s", type=float, default=END_S, help="seconds within which an experiment has to end")
    options = parser.parse_args(arguments)
    action = Action(options.action)
    known = points_of(action)
    unknown = [point for point in options.points if point not in known]
    if unknown:
        parser.error(f"{', '.join(unknown)}: no failpoint at which '{action}' has a meaning")
    place = (options.keep or Path(tempfile.mkdtemp(prefix="fx-failpoints-"))).resolve()
    suite = Suite(place, action, options.points or known, options.end_s)
    begin = time.monotonic()
    asyncio.run(suite.run())
    return _report(suite, time.monotonic() - begin, keep=options.keep is not None)


def _report(suite: Suite, seconds: float, *, keep: bool) -> int:
    broken = [result for result in suite.tried if result.breaches]
    missed = [result.point for result in suite.tried if not result.landed]
    for end in suite.own_ends:
        say(f"a daemon ended and was started again: {end}")
    if broken or missed:
        again = " ".join([*(result.point for result in broken), *missed])
        say(f"everything is kept in {suite.place}; repeat it with:")
        say(f"python -m openfl_like.testing.faults.failpoint_suite --action {suite.action} {again}")
    elif not keep:
        shutil.rmtree(suite.place, ignore_errors=True)
    line = {
        "failpoints": suite.action.value,
        "points": len(suite.points),
        "landed": len(suite.tried) - len(missed),
        "broken": sorted({result.point for result in broken}),
        "missed": missed,
        "invariant_breaks": sum(len(result.breaches) for result in broken),
        "own_ends": len(suite.own_ends),
        "seconds": round(seconds),
    }
    sys.stdout.write(json.dumps(line) + "\n")
    return 1 if broken else 2 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
