"""A federation each of whose directories is a small disk of its own; run within namespaces by the test of the disks.

``unshare -rm python disk_scenario.py DIRECTORY`` prints one JSON line. What it says is judged by the test.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import psutil
from pace import limit

from openfl_like import failpoints
from openfl_like.errors import FederationError, UnreachableError
from openfl_like.federation.announcements import Announced, CollaboratorAdmitted, RoundFinished
from openfl_like.federation.parties import ExperimentSummary
from openfl_like.federation.status import Status
from openfl_like.plan.load import load_plan
from openfl_like.services.local_federation import LocalFederation
from openfl_like.testing.faults.call_history import History, read_history
from openfl_like.testing.faults.client import Parcel, PatientClient
from openfl_like.testing.faults.toy_workload import SAMPLE_SHAPE, TARGET_SHAPE, write_workspace
from openfl_like.testing.gate import Gate
from openfl_like.wire.channel import backoff
from openfl_like.wire.client import director_peer
from openfl_like.wire.director import DirectorClient
from openfl_like.wire.experiments import ExperimentsClient

SITES = {"site-1": 1.0, "site-2": -2.0}
ROUNDS = 12
LENGTH = f"aggregator.settings.rounds_to_train={ROUNDS}"
FULL_S = 8.0
END_S = limit(60.0)


def mount(place: Path, size: str) -> None:
    """Puts a disk of its own there."""
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "none", str(place)], check=True)  # noqa: S607 (the test's own words)


def fill(place: Path) -> Path:
    """Takes the last byte of a disk."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass
    return ballast


class Scenario:
    """Fills one disk after the other under running experiments.

    Args:
        place: An empty directory.
    """

    def __init__(self, place: Path) -> None:
        plan, shards = write_workspace(place / "workspace", SITES)
        self.plan = plan
        self.switch = place / "failpoints"
        switches = {failpoints.SWITCH: f"@{self.switch}", failpoints.LANDED: str(place / "landed")}
        self.federation = LocalFederation(
            place / "federation", shards, SAMPLE_SHAPE, TARGET_SHAPE, environment=switches
        )
        self.state = self.federation.state
        self.history = History(place / "history.jsonl")
        self.scratch = place / "client"
        self.seen: dict[str, dict[str, object]] = {}
        self.requests = 0
        self.gates = {name: Gate(load_plan(plan).seed, SITES) for name in ("state", "logs")}

    def mount(self) -> None:
        """Gives every part its own disk."""
        mount(self.state, "16m")  # a record has the small models of its last rounds, too
        mount(self.federation.directory / "envoy-site-1", "8m")

    async def run(self) -> None:
        """Plays it all."""
        certificates = self.federation.user_certificates
        self.patient = PatientClient(lambda: self.federation.director, certificates, self.history, self.scratch)
        self.parcel: Parcel = self.patient.pack(self.plan, (LENGTH,))
        before = self.pids()
        undisturbed = await self.submit()
        await self.patient.ended(undisturbed, END_S)
        self.seen["undisturbed"] = {"sha256": await self.patient.model(undisturbed)}
        await self.part("state", self.state)
        await self.part("envoy", self.federation.directory / "envoy-site-1")
        await self.logs()
        self.seen["same processes"] = {"same": before == self.pids()}

    def pids(self) -> dict[str, tuple[int, bool]]:
        """Who is there."""
        return {
            name: (one.process.pid, one.process.returncode is None) for name, one in self.federation.children.items()
        }

    async def submit(self, gate: Gate | None = None) -> str:
        """Submits the plan."""
        self.requests += 1
        parcel = self.parcel if gate is None else self.patient.pack(self.plan, (LENGTH, gate.setting))
        return await self.patient.submit(parcel, f"{self.requests:016x}")

    async def part(self, name: str, disk: Path) -> None:
        """Fills a disk in the middle of an experiment, and makes room again."""
        if name == "envoy":  # later, files are written over former ones and need no room
            self.switch.write_text("worker.loaded=freeze@1+")
            experiment = await self.submit()
            workers = await self.frozen_workers()
            await self.joined(experiment, "site-1")
            ballast = fill(disk)
            self.switch.unlink()
            for worker in workers:
                worker.resume()
            seen = self.seen[name] = {}
        else:
            gate = self.gates[name]
            gate.open(3)
            experiment = await self.submit(gate)
            await gate.arrived(4)
            ballast = fill(disk)
            request, answer = await self.refusal()
            gate.open_all()
            seen = self.seen[name] = {"refusal": answer}
        await asyncio.sleep(FULL_S)
        health = await self.health()
        summary = await self.summary(experiment)
        seen |= {"problems": list(health), "while full": summary.status.value if summary is not None else "no answer"}
        ballast.unlink()
        begin = time.monotonic()
        last = await self.last_round(experiment)
        if last < ROUNDS:
            await self.until(experiment, last + 1)
        seen["rounds while full"] = last
        async for _ in backoff():
            if not await self.health():
                break
        seen["recovered_s"] = round(time.monotonic() - begin, 1)
        if name == "state":
            await self.patient.cancel(await self.patient.submit(self.parcel, request))
        ended = await self.patient.ended(experiment, END_S)
        seen["end"] = f"{ended.standing}: {ended.reason}" if ended is not None else "none"
        if ended is not None and ended.status is Status.FINISHED:
            seen["sha256"] = await self.patient.model(experiment)

    async def frozen_workers(self) -> list[psutil.Process]:
        """Waits until the workers of all sites have come to the failpoint that freezes them."""
        while True:
            workers = self.federation.processes("worker")
            if len(workers) == len(SITES) and {one.status() for one in workers} == {psutil.STATUS_STOPPED}:
                return workers
            await asyncio.sleep(0.02)

    async def logs(self) -> None:
        """Runs an experiment whose logs have no room at all, and then some."""
        gate = self.gates["logs"]
        running, experiment = await self.submit(gate), await self.submit()
        await gate.arrived(1)
        logs = self.state / "experiments" / experiment / "logs"
        mount(logs, "64k")
        fill(logs)
        gate.open_all()
        await self.patient.ended(running, END_S)
        ended = await self.patient.ended(experiment, END_S)
        sha256 = await self.patient.model(experiment)
        self.seen["logs"] = {"end": ended.standing if ended is not None else "none", "sha256": sha256}

    async def refusal(self) -> tuple[str, str]:
        """Submits for a while although there is no room; gives the request and what was answered."""
        self.requests += 1
        request = f"{self.requests:016x}"
        with suppress(TimeoutError):
            await asyncio.wait_for(self.patient.submit(self.parcel, request), limit(3.0))
        answers = [call.error for call in read_history(self.history.path) if call.request_id == request]
        return request, answers[0] if answers else "taken"

    async def health(self) -> tuple[str, ...]:
        """What the Director says that it lacks."""
        async with director_peer(self.federation.director, self.patient._credentials) as peer:
            return (await DirectorClient(peer).status()).problems

    async def summary(self, experiment: str) -> ExperimentSummary | None:
        """Where an experiment stands."""
        return next((one for one in await self.patient.experiments() or [] if one.id == experiment), None)

    async def last_round(self, experiment: str) -> int:
        """The newest round that is finished."""
        async with self.client() as client:
            found = await client.experiment(experiment)
            return max((version.version.round for version in found.versions), default=-1)

    async def until(self, experiment: str, number: int) -> None:
        """Waits until a round has finished."""
        async with asyncio.timeout(END_S):
            async for item in self.events(experiment):
                if isinstance(item.announcement, RoundFinished) and item.announcement.round >= number:
                    return

    async def joined(self, experiment: str, site: str) -> None:
        """Waits until a site has joined."""
        async with asyncio.timeout(END_S):
            async for item in self.events(experiment):
                if isinstance(item.announcement, CollaboratorAdmitted) and item.announcement.collaborator == site:
                    return

    async def events(self, experiment: str) -> AsyncIterator[Announced]:
        """Follows an experiment."""
        after = 0
        async for _ in backoff():
            with suppress(UnreachableError):
                async with self.client() as client:
                    async for item in client.watch(experiment, after):
                        if isinstance(item, Announced):
                            after = item.sequence
                            yield item
                    return

    def client(self) -> ExperimentsClient:
        """A line to the Director."""
        return ExperimentsClient(director_peer(self.federation.director, self.patient._credentials))


async def main(place: Path) -> None:
    """Plays the scenario and prints what was seen."""
    scenario = Scenario(place)
    scenario.mount()
    async with scenario.gates["state"], scenario.gates["logs"], scenario.federation:
        try:
            await scenario.run()
        except (FederationError, TimeoutError) as error:
            scenario.seen["error"] = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(scenario.seen) + "\n")
    for name in ("director", *SITES):
        (place / f"{name}.log").write_bytes(scenario.federation.log(name).read_bytes())


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).resolve()))
