"""W8: how soon a Director that was killed is back, with a thousand experiments stored and its envoys looking for it.

The state is filled through the stores: rows, histories, directories with bundle, plan and model. The Director is a
real `fx director` process; it is killed with SIGKILL and started again on the same state, as a supervisor would do it,
and the time is taken until it says that it listens. The floor is the same with an empty state, in turn. An envoy is a
light stub that connects as a real one does, with the same backoff. All are in one process, which gives way to the
Director's: each stands for a machine of its own.

Example: python benchmarks/restart.py --experiments 1000 --envoys 200
"""

import argparse
import asyncio
import multiprocessing
import os
import shutil
import tempfile
import time
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from figures import beside, emit, figure, say, use_of
from idle_envoys import HELLO, issue_envoys
from processes import Memory, cpu_s, memory_of

from openfl_like.errors import FederationError
from openfl_like.federation.announcements import UpdateReceived
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.parties import DeviceStatistics, ExperimentSummary
from openfl_like.federation.ports import Heartbeat, Welcome
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase
from openfl_like.pki.files import Credentials
from openfl_like.services.envoy.service import RETRY_S
from openfl_like.services.local_federation import LocalFederation
from openfl_like.store.director_files import DirectorFiles
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import Commit, StoredExperiment, TimedAnnouncement
from openfl_like.store.sqlite.stores import SQLITE
from openfl_like.wire.attendance import EnvoyClient
from openfl_like.wire.channel import backoff, spread

SPAWN = multiprocessing.get_context("spawn")
NICE = 5
READY_LIMIT_S = 3.0
BACK_LIMIT_S = 10.0
PATIENCE_S = 120.0
DOWN_S = 2.0  # how long a supervisor takes to notice and to start again
WINDOW_S = 0.5
HEARTBEAT_S = 60.0  # so seldom that the stubs need send none
EVENTS = 40
"""An experiment of a few rounds with three sites tells about as many."""
ENDED = (Status.FINISHED, Status.FINISHED, Status.FAILED, Status.CANCELLED)


# ---- the state ----------------------------------------------------------------------------------------------------


def fill(state: Path, experiments: int) -> None:
    """Puts ended experiments into a Director's state."""
    with (
        closing(SQLITE.director(DirectorFiles(state))) as store,
        tempfile.TemporaryDirectory(prefix="fx-bench-") as folder,
    ):
        pattern = Path(folder) / "pattern"
        furnish(pattern)
        for number in range(experiments):
            summary = ExperimentSummary(
                f"stored-{number:05d}", "stored", ENDED[number % len(ENDED)], "all rounds are done", "user",
                1e9 + number, 1e9 + number + 1, 1e9 + number + 60, "ab" * 32,
            )  # fmt: skip
            store.add(f"{number:016x}", StoredExperiment(summary, "cd" * 32, bytes(64), b"PEM" * 500))
            shutil.copytree(pattern, state / "experiments" / summary.id)


def furnish(directory: Path) -> None:
    """Makes the directory of an experiment as one that has ended leaves it."""
    files = ExperimentFiles(directory)
    files.prepare()
    sizes = {files.bundle: 20_000, files.plan: 2_000, files.model(5): 40_000, files.log("site-1"): 4_000}
    for path, size in sizes.items():
        path.write_bytes(bytes(size))
    with closing(SQLITE.experiment(files)) as store:
        store.take_epoch()
        update = UpdateReceived(1, Phase.TRAIN, "site", metrics={"train": {"loss": 0.5}})
        told = [TimedAnnouncement(1e9, update)] * EVENTS
        versions = [ModelVersion(number, "ef" * 32, {"loss": 0.5}) for number in range(6)]
        store.commit(Commit(1e9, {"status": "FINISHED"}, told, versions))


# ---- the stubs ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Crowd:
    """Envoys that come back whenever they lose their Director.

    Attributes:
        address: Of the Director.
        count: How many they are.
        attempts: When each attempt to connect began.
        welcomed: Envoy -> when it was welcomed last.
        complete: Set when all were welcomed.
    """

    address: str
    count: int
    attempts: list[float] = field(default_factory=list)
    welcomed: dict[str, float] = field(default_factory=dict)
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    def forget(self) -> None:
        """Begins to note anew."""
        self.attempts.clear()
        self.welcomed.clear()
        self.complete.clear()

    async def live(self, credentials: Credentials) -> None:
        """Attends for ever, as `services.envoy` does."""
        while True:
            async for _ in backoff(RETRY_S):
                welcomed = False
                self.attempts.append(time.monotonic())
                with suppress(FederationError):
                    welcomed = await self._attend(credentials)
                if welcomed:
                    await spread()
                    break

    async def _attend(self, credentials: Credentials) -> bool:
        """Holds one session; tells whether it was welcomed before it lost it."""
        name, welcomed = credentials.identity.name, False
        async with EnvoyClient(self.address, credentials) as client, client.attend() as session:
            await session.report(HELLO)
            with suppress(FederationError):
                while (instruction := await session.instruction()) is not None:
                    if isinstance(instruction, Welcome):
                        welcomed = True
                        self._note(name)
                        await session.report(Heartbeat(DeviceStatistics()))
        return welcomed

    def _note(self, name: str) -> None:
        self.welcomed[name] = time.monotonic()
        if len(self.welcomed) == self.count:
            self.complete.set()

    async def all_welcomed(self) -> None:
        """Waits until all are there."""
        if self.count:
            async with asyncio.timeout(PATIENCE_S):
                await self.complete.wait()


async def _attend_all(address: str, everybody: Sequence[Credentials], pipe: Connection) -> None:
    crowd = Crowd(address, len(everybody))
    tasks = [asyncio.create_task(crowd.live(one)) for one in everybody]
    try:
        while True:
            await crowd.all_welcomed()
            pipe.send((tuple(crowd.attempts), tuple(crowd.welcomed.values())))
            await asyncio.to_thread(pipe.recv)
            crowd.forget()
            pipe.send("begin")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def stubs(address: str, certs: Path, count: int, pipe: Connection) -> None:
    """A process of stubs: tells when all were welcomed, waits to be asked again, until the pipe is closed."""
    os.nice(NICE)
    everybody = issue_envoys(certs, range(count))
    with suppress(EOFError):
        asyncio.run(_attend_all(address, everybody, pipe))


def most_within(moments: Sequence[float], window_s: float) -> int:
    """Gives the largest number of moments in any window."""
    ordered = sorted(moments)
    return max((bisect_left(ordered, start + window_s) - index for index, start in enumerate(ordered)), default=0)


# ---- measuring ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Found:
    """What the restarts were like.

    Attributes:
        ready_s: Until the Director listened.
        cpu_s: Of the Director until then.
        back_s: Then until the last envoy was welcomed.
        median_s: Then until half of the envoys were.
        herd: Most welcomes within half a second.
        dials: Most attempts to connect within half a second, those while nobody listened, too.
        connects: Attempts in the ten seconds since the Director listened.
        memory: Most memory of the Director when it listened.
        memory_after: Most memory of it when its envoys were back.
        back_cpu_s: CPU seconds of it until then.
    """

    ready_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    back_s: list[float] = field(default_factory=list)
    median_s: list[float] = field(default_factory=list)
    herd: list[int] = field(default_factory=list)
    dials: list[int] = field(default_factory=list)
    connects: list[int] = field(default_factory=list)
    memory: Memory = Memory()  # noqa: RUF009 - it is frozen
    memory_after: Memory = Memory()  # noqa: RUF009 - it is frozen
    back_cpu_s: list[float] = field(default_factory=list)

    def note(self, listening: float, attempts: Sequence[float], welcomed: Sequence[float]) -> None:
        """Notes when envoys tried to connect, and when they were welcomed."""
        took = [moment - listening for moment in welcomed]
        self.back_s.append(max(took, default=0.0))
        self.median_s.append(median(took) if took else 0.0)
        self.herd.append(most_within(welcomed, WINDOW_S))
        self.dials.append(most_within(attempts, WINDOW_S))
        self.connects.append(sum(0 <= moment - listening < BACK_LIMIT_S for moment in attempts))


async def restart(federation: LocalFederation) -> float:
    """Kills the Director, starts it again and gives the seconds that took."""
    child = federation.children["director"]
    child.process.kill()
    await child.wait()
    await asyncio.sleep(DOWN_S)
    begin = time.monotonic()
    await federation.start_director()
    return time.monotonic() - begin


@dataclass(slots=True)
class Restarted:
    """A federation whose Director is killed and started again, and what was found.

    Attributes:
        federation: The federation.
        pipe: To the process of its envoys.
        found: What its restarts were like.
    """

    federation: LocalFederation
    pipe: "Connection[Any, Any]"
    found: Found = field(default_factory=Found)

    async def once(self) -> None:
        """Kills the Director, starts it again, and waits until its envoys are back."""
        self.pipe.send("again")
        await asyncio.to_thread(self.pipe.recv)
        found = self.found
        found.ready_s.append(await restart(self.federation))
        listening = time.monotonic()
        pid = self.federation.children["director"].process.pid
        found.cpu_s.append(cpu_s((pid,)))
        found.memory = found.memory.most(memory_of(pid))
        found.note(listening, *await asyncio.to_thread(self.pipe.recv))
        found.back_cpu_s.append(cpu_s((pid,)))
        found.memory_after = found.memory_after.most(memory_of(pid))


async def start(stack: AsyncExitStack, experiments: int, envoys: int) -> Restarted:
    """Starts a federation with so many stored experiments and connected envoys, for as long as the stack lasts."""
    place = Path(tempfile.mkdtemp(prefix="fx-bench-"))
    stack.callback(shutil.rmtree, place, ignore_errors=True)
    federation = LocalFederation(place / "federation", {}, (1,), (), heartbeat_s=HEARTBEAT_S)
    await stack.enter_async_context(federation)
    say(f"filling the state with {experiments} experiments")
    await asyncio.to_thread(fill, federation.directory / "director-state", experiments)
    pipe, theirs = SPAWN.Pipe()
    crowd = SPAWN.Process(target=stubs, args=(federation.director, federation.directory / "certs", envoys, theirs))
    crowd.start()
    stack.callback(crowd.kill)
    theirs.close()
    await asyncio.to_thread(pipe.recv)
    return Restarted(federation, pipe)


async def measure(experiments: int, envoys: int, runs: int) -> tuple[Found, Found]:
    """Restarts a Director with experiments and an empty one in turn, several times, and returns the figures of both."""
    async with AsyncExitStack() as stack:
        empty = await start(stack, 0, 0)
        ours = await start(stack, experiments, envoys)
        for _ in range(runs):
            await empty.once()
            await ours.once()
        return ours.found, empty.found


def figures(experiments: int, envoys: int, ours: Found, empty: Found) -> list[dict[str, object]]:
    """Gives the figures: until it listens, until all envoys are back, and how they spread."""
    case = f"{envoys} envoys"
    listening = use_of(median(ours.cpu_s), ours.memory)
    back = use_of(median(ours.back_cpu_s), ours.memory_after)
    return [
        figure(
            "w8_director_ready", f"{experiments} experiments", "s", ours.ready_s, listening,
            **beside(ours.ready_s, empty.ready_s), limit=READY_LIMIT_S, floor_cpu_s=round(median(empty.cpu_s), 3),
        ),
        figure(
            "w8_envoys_back", case, "s", ours.back_s, back, limit=BACK_LIMIT_S, half_s=round(median(ours.median_s), 3)
        ),
        figure(
            "w8_herd", case, "connects in 10 s", ours.connects, back, limit=2 * envoys,
            dials_in_half_a_second=ours.dials, welcomes_in_half_a_second=ours.herd,
        ),
    ]  # fmt: skip


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=1000)
    parser.add_argument("--envoys", type=int, default=200)
    parser.add_argument("--runs", type=int, default=5, help="restarts")
    parser.add_argument("--quick", action="store_true", help="100 experiments, 50 envoys, 2 restarts")
    arguments = parser.parse_args()
    experiments, envoys, runs = arguments.experiments, arguments.envoys, arguments.runs
    if arguments.quick:
        experiments, envoys, runs = 100, 50, 2
    ours, empty = asyncio.run(measure(experiments, envoys, runs))
    for one in figures(experiments, envoys, ours, empty):
        emit(one)
        say(f"{one['bench']}, {one['case']}: {one['value']} {one['unit']}; limit {one.get('limit', 'none')}")


if __name__ == "__main__":
    main()
