"""An Aggregator with collaborators that do not work: each a connection and a session, all of them in one process.

They answer every assignment at once with the model that they were given, a little changed, so what a round takes is the
Aggregator's own time and the wire's. Real ones would each need two processes; a hundred of those on a few processors
measure the processors.
"""

import asyncio
import json
import multiprocessing
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import numpy as np
from gate import ARRIVED
from no_training import Job, Measured, Measuring, make_workspace

from openfl_like.errors import UnreachableError
from openfl_like.federation.ports import Dismissal, Ready
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.pki.authority import Authority, load_trust, new_key_and_csr
from openfl_like.pki.certificate import AuthorityKind
from openfl_like.pki.files import Credentials
from openfl_like.pki.roles import Identity, Role
from openfl_like.plan.digest import plan_digest
from openfl_like.plan.load import load_plan
from openfl_like.processes.child import fx_command
from openfl_like.tensors.container import TensorFile, write_tensors
from openfl_like.tensors.manifest import Manifest, keep_manifest, manifest_of, recyclable_path
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.wire.aggregator import AggregatorClient, CollaboratorSession
from openfl_like.wire.channel import backoff

EXPERIMENT = "stubs"
Shape: TypeAlias = tuple[int, int]
"""Elements of a tensor, and how many tensors."""
NOTHING: Mapping[str, str] = {}
TOUCHED = 1 << 12  # one element in so many is changed: a few in every chunk


class Stub:
    """One collaborator: it gives back what it gets.

    Args:
        name: Its name.
        place: Folder of all, with the gate's socket.
        shape: Of the initial model, should it be asked for one.
    """

    def __init__(self, name: str, place: Path, shape: Shape) -> None:
        self._name = name
        self._place = place
        self._directory = place / "stubs" / name
        self._directory.mkdir(parents=True)
        self._shape = shape
        self._gate: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def attend(self, address: str, credentials: Credentials, plan: str) -> None:
        """Takes part until it is dismissed."""
        async for _ in backoff():
            try:
                await self._attend(address, credentials, plan)
            except UnreachableError:  # the Aggregator is still starting
                continue
            else:
                break

    async def _attend(self, address: str, credentials: Credentials, plan: str) -> None:
        async with AggregatorClient(address, EXPERIMENT, credentials) as client, client.participate() as session:
            session.report(Ready(plan))
            await self._work(session)

    async def _work(self, session: CollaboratorSession) -> None:
        jobs: set[asyncio.Task[None]] = set()
        while not isinstance(instruction := await session.instruction(), Dismissal | None):
            if isinstance(instruction, Assignment):
                job = asyncio.create_task(self._answer(session, instruction))
                jobs.add(job)
                job.add_done_callback(jobs.discard)

    async def _answer(self, session: CollaboratorSession, assignment: Assignment) -> None:
        path = self._directory / "model"
        if assignment.phase is Phase.INITIALISE:
            elements, count = self._shape
            values = np.random.default_rng(assignment.seed).standard_normal(elements, np.float32)
            manifest = write_tensors(path, {f"w{number:04d}": values for number in range(count)}, sync=False)
        else:
            await self._wait_at_gate()
            if path.exists():
                path.replace(recyclable_path(path))
            await session.model(assignment.model, path, recyclable_path(path), lambda _: None)
            manifest = _change(path, assignment.seed)
        keep_manifest(path, manifest)
        await session.deliver(Update(assignment.round, assignment.phase, self._name, manifest.digest, 1), path)

    async def _wait_at_gate(self) -> None:
        if self._gate is None:
            self._gate = await asyncio.open_unix_connection(self._place / "gate")
        reader, writer = self._gate
        writer.write(ARRIVED)
        await reader.readexactly(1)


def _change(path: Path, seed: int) -> Manifest:
    """Changes a few elements in every chunk of a model file, and describes it."""
    with TensorFile(path) as file:
        places = {name: file.tensor(name) for name in file.names}
        start = path.stat().st_size - sum(tensor.nbytes for tensor in places.values())
    values = np.memmap(path, np.float32, "r+", offset=start - start % 4)
    values[::TOUCHED] += np.float32(seed % 97 / 97)
    del values
    return manifest_of(path)


def _issue(certs: Path, names: Sequence[str]) -> list[Credentials]:
    authority, trust = Authority.load(certs / AuthorityKind.EXPERIMENT.value), load_trust(certs)
    made = []
    for name in names:
        identity = Identity(authority.federation, Role.COLLABORATOR, name, EXPERIMENT)
        key, request = new_key_and_csr()
        chain = authority.issue(identity, request, lifetime=timedelta(days=1), now=datetime.now(UTC))
        made.append(Credentials(identity, chain, key, trust))
    return made


async def _attend(place: Path, address: str, names: Sequence[str], shape: Shape, plan: str) -> None:
    everybody = await asyncio.to_thread(_issue, place / "certs", names)
    async with asyncio.TaskGroup() as group:
        for name, credentials in zip(names, everybody, strict=True):
            group.create_task(Stub(name, place, shape).attend(address, credentials, plan))


def _stubs(place: Path, address: str, names: Sequence[str], shape: Shape, plan: str) -> None:
    asyncio.run(_attend(place, address, names, shape, plan))


def run_stubs(collaborators: int, shape: Shape, job: Job, environment: Mapping[str, str] = NOTHING) -> Measured:
    """Runs one experiment with stubs.

    Args:
        collaborators: How many.
        shape: Of the model.
        job: What is run.
        environment: What the Aggregator gets in its environment besides this process's.
    """
    with tempfile.TemporaryDirectory(prefix="fx-bench-") as directory:
        place = Path(directory)
        plan, gate = place / "workspace" / "plan.yaml", place / "gate"
        make_workspace(plan.parent, 1)
        settings = (
            f"admission.min_collaborators={collaborators}",
            "admission.timeout_s=600",
            *job.settings(gate),
        )
        federation = ThrowAwayFederation(place)
        certificates = federation.folder(federation.credentials(Role.AGGREGATOR, EXPERIMENT))
        command = fx_command(
            "aggregator", "start", "--plan", str(plan), "--experiment", EXPERIMENT, "--listen", "localhost:0",
            "--directory", str(place / "record"), "--certificates", str(certificates), "--json",
            *(word for setting in settings for word in ("--set", setting)),
        )  # fmt: skip
        names = [f"site-{number}" for number in range(1, collaborators + 1)]
        aggregator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
        with Measuring(gate, collaborators, {aggregator.pid: "server"}, job) as measuring:
            assert aggregator.stdout is not None  # noqa: S101 (piped just above)
            address = str(json.loads(aggregator.stdout.readline())["address"])
            arguments = place, address, names, shape, plan_digest(load_plan(plan, settings))
            stubs = multiprocessing.get_context("spawn").Process(target=_stubs, args=arguments)
            stubs.start()
            for line in aggregator.stdout:
                event = json.loads(line)
                if event.get("kind") == "round_finished":
                    measuring.published(float(event["time"]))
            aggregator.wait()
            stubs.join()
        if aggregator.returncode:
            raise SystemExit(f"the aggregator ended with exit code {aggregator.returncode}")
        return measuring.measured()
